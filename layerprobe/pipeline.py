"""From a model file and rows to a dump: `plan` checks everything, `running.run` is the one loop.

    plan(...)  the model described, addresses selected, data opened, output checked, the engine
               chosen, the model built, one batch computed; nothing is written
    run(plan)  for each batch: compute, while the next ones are read and the ones before written;
               then commit

Memory is a few batches of inputs and of the chosen outputs, whatever the number of rows. Every
batch is filled up to the same size, so that no engine compiles twice and no row's value depends on
how many rows came after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

from layerprobe.backend import engine as engines
from layerprobe.checks import check_data
from layerprobe.counts import Counts
from layerprobe.errors import LayerNotFound
from layerprobe.feed import Feed, Given, close_feeds
from layerprobe.grouping import Grouping, group
from layerprobe.inputs import open_inputs
from layerprobe.layers import LayerOutput
from layerprobe.live import build, reading_of, refuse_unrun
from layerprobe.memory import peak_memory
from layerprobe.modelfile import ModelFile, open_model
from layerprobe.options import Options
from layerprobe.outputs import Output
from layerprobe.passes import Pass
from layerprobe.preparing import Prepared, prepare
from layerprobe.probing import Forecast, Probe, probe
from layerprobe.report import Report, cast_notes
from layerprobe.resuming import call_of
from layerprobe.scales import known_scales
from layerprobe.shards import shard_rows
from layerprobe.sinks import Dataset
from layerprobe.timing import Times

if TYPE_CHECKING:
    from layerprobe.backend.model import Model


@dataclass
class Plan:
    """An extraction with everything checked and nothing written; a context manager.

    Attributes:
        model: The model file's description.
        rows: The range of rows of the input, first included, last excluded.
        whole: That of all shards together.
        grouping: Rows a pass, and which layer outputs are computed together.
        engine: Name of the engine.
        device: The device it uses.
        target: Where the rows go.
        notes: What the user should know: casts, made-up rows, upgrades.
        layers: The addresses of the layer outputs.
        call: What was asked for, as the journal keeps it.
        complete: The manifest of the dump, if it is there already and was to be gone on with.
        forecast: What it will take.
        first: What was computed already.
    """

    model: ModelFile
    rows: tuple[int, int]
    whole: tuple[int, int]
    grouping: Grouping
    engine: str
    device: str
    target: Output
    notes: tuple[str, ...]
    options: Options
    passes: Sequence[Pass]
    feeds: list[Feed]
    layers: tuple[str, ...]
    call: dict[str, object]
    complete: dict[str, Any] | None
    forecast: Forecast
    first: Probe = field(repr=False)

    @property
    def datasets(self) -> tuple[Dataset, ...]:
        """What will be written: address, shape (rows first), dtype."""
        return self.first.datasets

    @property
    def batch_size(self) -> int:
        """Rows a pass."""
        return self.grouping.batch_size

    @property
    def output(self) -> Path:
        """The final name of the dump."""
        return self.target.path

    @property
    def row_count(self) -> int:
        """Number of rows to be written."""
        return self.rows[1] - self.rows[0]

    def report(
        self,
        seconds: float = 0.0,
        counts: Sequence[Counts] = (),
        times: Times | None = None,
        *,
        dry_run: bool = True,
    ) -> Report:
        """Return what this extraction writes, or has written."""
        pairs = zip(self.datasets, counts, strict=False)
        return Report(
            path=self.output,
            rows=self.row_count,
            datasets=self.datasets,
            engine=self.engine,
            device=self.device,
            seconds=seconds,
            nonfinite={d.address: c for d, c in pairs if c},
            nan_in_inputs={feed.spec.name: feed.nan for feed in self.feeds if feed.nan},
            notes=(*self.notes, *self._remarks),
            dry_run=dry_run,
            forecast=self.forecast,
            times=times,
            groups=tuple(tuple(a for a, _ in each.outputs) for each in self.passes),
            grouping=self.grouping.why,
        )

    @property
    def _remarks(self) -> list[str]:
        """What happened on the way, each once."""
        return list(dict.fromkeys(said for each in self.passes for said in each.remarks))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        close_feeds(self.feeds)


def plan(
    model: str | Path,
    layers: Sequence[str],
    given: Given | None,
    output: str | Path | IO[bytes] | None,
    options: Options,
) -> Plan:
    """Check an extraction from end to end without writing anything.

    What can be found out without a framework is checked first, so that most mistakes show at once.
    The arguments are those of `layerprobe.extract`.

    Raises:
        LayerprobeError: Something is wrong with the model, an address, the data, the engine or
            the output.
    """
    file, wanted, begin = _selected(model, layers, options)
    target = Output.of(output, file.path, options)
    with ExitStack() as undo:
        feeds, notes = open_inputs(file, wanted, begin, given, options)
        undo.callback(close_feeds, feeds)
        finished = target.check(wanted, file, feeds, options)
        whole = check_data(file, wanted, begin, feeds, options)
        selected, built, prepared = _prepared(file, begin, feeds, wanted, options)
        begun = target.begun(finished, options)
        way = file.table.needed(wanted, begin)
        passes, grouping = group(prepared, wanted, way, feeds, whole, begun, options)
        rows = shard_rows(whole, grouping.batch_size, options.part)
        found = probe(passes, feeds, rows, grouping.batch_size, options, known_scales(begun))
        target.check_room(found.datasets, options)
        undo.pop_all()
    return Plan(
        model=file,
        rows=rows,
        whole=whole,
        grouping=grouping,
        engine=selected.name,
        device=selected.device,
        target=target,
        notes=(*built.notes, *_of_phase(passes), *notes, *cast_notes(feeds, found)),
        options=options,
        passes=passes,
        feeds=feeds,
        layers=tuple(row.address for row in wanted),
        call=call_of(model, layers, given, options),
        complete=finished,
        forecast=Forecast(peak_memory(), found.seconds, target.free),
        first=found,
    )


def _of_phase(passes: Sequence[Pass]) -> list[str]:
    """Return what to know of the training phase, from the pass that says least: others draw."""
    return min((each.notes for each in passes), key=len)


def _selected(
    model: str | Path, layers: Sequence[str], options: Options
) -> tuple[ModelFile, list[LayerOutput], list[LayerOutput]]:
    """Check the engine and open the model; return it, the outputs wanted, and those to begin at."""
    engines.check_choice(options.backend, options.device, options.threads)
    file = open_model(model, options.architecture)
    wanted = file.table.select(layers)
    if not wanted:
        raise LayerNotFound(
            "No layer was asked for.",
            expected="the address of at least one, or 'all'",
            fix=f"List them with: layerprobe list-layers {file.path}",
        )
    begin = [file.table.find(address) for address in options.start]
    refuse_unrun(file, wanted, begin, options)
    return file, wanted, begin


def _prepared(
    file: ModelFile,
    begin: Sequence[LayerOutput],
    feeds: Sequence[Feed],
    wanted: Sequence[LayerOutput],
    options: Options,
) -> tuple[engines.Selected, Model, Prepared]:
    """Load the engine and the model on it; return them, and all outputs as they are stored."""
    selected = engines.select(
        options.backend, device=options.device, threads=options.threads, quiet=options.quiet
    )
    built = build(file, selected, reading_of(options), options.custom_objects)
    return selected, built, prepare(built, begin, feeds, wanted, selected, options)

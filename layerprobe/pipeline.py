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
from typing import IO, Any, Self

import numpy as np

from layerprobe.backend import engine as engines
from layerprobe.batches import (
    computed,
    datasets_of,
    planned_bytes,
    read,
    rows_a_pass,
)
from layerprobe.checks import check_data, odd_name
from layerprobe.errors import LayerNotFound, OutputError
from layerprobe.feed import Feed, Given, close_feeds, open_feeds
from layerprobe.layers import LayerOutput, TensorSpec
from layerprobe.live import build, reading_of, refuse_unrun
from layerprobe.modelfile import ModelFile, open_model
from layerprobe.options import InputOptions, Options
from layerprobe.passes import Pass, make_pass
from layerprobe.report import Counts, Report, cast_notes
from layerprobe.resuming import call_of
from layerprobe.sinks import (
    Dataset,
    check_space,
    check_stream,
    check_streamed,
    check_target,
    complete,
    destination,
    unfinished,
)
from layerprobe.synthetic import synthetic_rows

Array = np.ndarray[Any, Any]


@dataclass
class Plan:
    """An extraction with everything checked and nothing written; a context manager.

    Attributes:
        model: The model file's description.
        datasets: What will be written: address, shape (rows first), dtype.
        rows: The range of rows of the input, first included, last excluded.
        batch_size: Rows a pass.
        engine: Name of the engine.
        device: The device it uses.
        output: Where the dump goes.
        notes: What the user should know: casts, made-up rows, upgrades.
        layers: The addresses of the layer outputs.
        call: What was asked for, as the journal keeps it.
        complete: The manifest of the dump, if it is there already and was to be gone on with.
        stream: What takes the rows instead, as one array.
    """

    model: ModelFile
    datasets: tuple[Dataset, ...]
    rows: tuple[int, int]
    batch_size: int
    engine: str
    device: str
    output: Path
    notes: tuple[str, ...]
    options: Options
    compute: Pass
    feeds: list[Feed]
    layers: tuple[str, ...]
    call: dict[str, object]
    complete: dict[str, Any] | None
    first: list[Array] = field(repr=False)
    stream: IO[bytes] | None = None

    @property
    def row_count(self) -> int:
        """Number of rows to be written."""
        return self.rows[1] - self.rows[0]

    def report(
        self, seconds: float = 0.0, counts: Sequence[Counts] = (), *, dry_run: bool = True
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
            nonfinite={d.address: c for d, c in pairs if c.nan or c.inf},
            nan_in_inputs={feed.spec.name: feed.nan for feed in self.feeds if feed.nan},
            notes=self.notes,
            dry_run=dry_run,
        )

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
    target, stream = destination(output, f"{file.path.stem}-activations.h5")
    refuse_unrun(file, wanted, begin, options)
    with ExitStack() as undo:
        feeds, notes = open_inputs(file, wanted, begin, given, options)
        undo.callback(close_feeds, feeds)
        finished = _check_output(target if stream is None else stream, wanted, file, feeds, options)
        rows = check_data(file, wanted, begin, feeds, options)
        selected = _engine(options)
        built = build(file, selected, reading_of(options), options.custom_objects)
        compute = make_pass(built, begin, feeds, wanted, selected, options)
        batch_size = rows_a_pass(compute, options.batch_size, rows[1] - rows[0])
        first, datasets = _first(compute, feeds, rows, batch_size, options.dtype)
        _check_room(target if stream is None else stream, datasets, options)
        undo.pop_all()
    return Plan(
        model=file,
        datasets=datasets,
        rows=rows,
        batch_size=batch_size,
        engine=selected.name,
        device=selected.device,
        output=target,
        notes=(*built.notes, *compute.notes, *notes, *cast_notes(feeds, datasets, first)),
        options=options,
        compute=compute,
        feeds=feeds,
        layers=tuple(row.address for row in wanted),
        call=call_of(model, layers, given, options),
        complete=finished,
        first=first,
        stream=stream,
    )


def _first(
    compute: Pass,
    feeds: Sequence[Feed],
    rows: tuple[int, int],
    batch_size: int,
    dtype: str | None,
) -> tuple[list[Array], tuple[Dataset, ...]]:
    """Return the results of the first batch, and what will be stored."""
    for feed in feeds:
        feed.seen.every = batch_size
    beginning = read(feeds, rows[0], min(rows[0] + batch_size, rows[1]))
    _, first = next(computed(compute, beginning, rows[0], batch_size))
    return first, datasets_of(compute, first, batch_size, rows[1] - rows[0], dtype)


def _check_output(
    target: Path | IO[bytes],
    wanted: Sequence[LayerOutput],
    file: ModelFile,
    feeds: Sequence[Feed],
    options: Options,
) -> dict[str, Any] | None:
    """Check that the output may be written; return its manifest if there is nothing left to do."""
    if not isinstance(target, Path):
        asked = {name: getattr(options, name) for name in ("resume", "overwrite", "compress")}
        check_stream(target, [row.address for row in wanted], **asked)
        return None
    check_distinct(target, file, feeds)
    if options.resume and unfinished(target) is None:
        finished = complete(target)
        if finished is not None:
            return finished
    check_target(
        target, overwrite=options.overwrite, resume=options.resume, compress=options.compress
    )
    return None


def _check_room(target: Path | IO[bytes], datasets: Sequence[Dataset], options: Options) -> None:
    if not isinstance(target, Path):
        check_streamed(datasets)
    elif not (options.resume or options.compress):  # it has its room; nobody knows how much
        check_space(target, planned_bytes(datasets))


def _selected(
    model: str | Path, layers: Sequence[str], options: Options
) -> tuple[ModelFile, list[LayerOutput], list[LayerOutput]]:
    """Check the engine and open the model; return it, the outputs wanted, and those to start at."""
    engines.check_choice(options.backend, options.device, options.threads)
    file = open_model(model, options.architecture)
    wanted = file.table.select(layers)
    if not wanted:
        raise LayerNotFound(
            "No layer was asked for.",
            expected="the address of at least one, or 'all'",
            fix=f"List them with: layerprobe list-layers {file.path}",
        )
    return file, wanted, [file.table.find(address) for address in options.start]


def _engine(options: Options) -> engines.Selected:
    return engines.select(
        options.backend, device=options.device, threads=options.threads, quiet=options.quiet
    )


def open_inputs(
    file: ModelFile,
    wanted: Sequence[LayerOutput],
    begin: Sequence[LayerOutput],
    given: Given | None,
    options: InputOptions,
) -> tuple[list[Feed], list[str]]:
    """Open the data for the tensors to feed, or make it up; return it with notes."""
    if begin:
        specs = [TensorSpec(row.address, row.output_shape, row.dtype) for row in begin]
    else:
        specs = _needed_inputs(file, wanted)
    limits = {s.name: n for s in specs if (n := file.token_limit(s.name)) is not None}
    if given is not None:
        unused = () if begin else [s.name for s in file.inputs if s not in specs]
        return open_feeds(given, specs, limits, unused, options.sources), [*odd_name(file)]
    made = synthetic_rows(specs, limits)
    rows = next(iter(made.values())).shape[0]
    return open_feeds(made, specs, limits), [
        *odd_name(file),
        f"no --input given: {rows} rows made up from the model's input specification",
    ]


def _needed_inputs(file: ModelFile, wanted: Sequence[LayerOutput]) -> list[TensorSpec]:
    """Return the model's inputs that the wanted layer outputs depend on."""
    by_address = {row.address: row for row in file.table.with_insides()}
    waiting = [row.address for row in wanted]
    reached: set[str] = set()
    while waiting:
        address = waiting.pop()
        if address not in reached:
            reached.add(address)
            waiting += by_address[address].inbound
    return [spec for spec in file.inputs if spec.name in reached]


def check_distinct(target: Path, file: ModelFile, feeds: Sequence[Feed]) -> None:
    """Make sure that an output is not the model or the data.

    Raises:
        OutputError: It is (exit code 2).
    """
    if not target.exists():
        return
    data = [(f"the data for {feed.spec.name}", p) for feed in feeds for p in feed.source.files]
    for what, path in [("the model", file.path), *data]:
        if target.samefile(path):
            raise OutputError(
                f"The output {target} is also {what}.",
                expected="a file of its own for the output",
                fix="Give the output another name.",
                exit_code=2,
                path=str(target),
            )

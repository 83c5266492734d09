"""From a model file and rows to a dump: `plan` checks everything, `run` is the one loop.

    plan(...)  the model described, addresses selected, data opened, output checked, the engine
               chosen, the model built, one batch computed; nothing is written
    run(plan)  for each batch: compute, while the next ones are read and the ones before written;
               then commit

Memory is a few batches of inputs and of the chosen outputs, whatever the number of rows. Every
batch is filled up to the same size, so that no engine compiles twice and no row's value depends on
how many rows came after it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np

from layerprobe.backend import engine as engines
from layerprobe.batches import (
    as_stored,
    computed,
    datasets_of,
    planned_bytes,
    read,
    rows_a_pass,
)
from layerprobe.checks import check_data, check_finite, odd_name
from layerprobe.errors import LayerNotFound, OutputError
from layerprobe.feed import Feed, Given, close_feeds, open_feeds
from layerprobe.layers import LayerOutput, TensorSpec
from layerprobe.live import build, reading_of, refuse_unrun
from layerprobe.modelfile import ModelFile, open_model
from layerprobe.options import Options
from layerprobe.passes import Pass, make_pass
from layerprobe.report import Counts, Report, cast_notes, manifest_of
from layerprobe.sinks import Dataset, check_space, check_target, open_sink
from layerprobe.stages import Behind, ahead, blocks
from layerprobe.synthetic import synthetic_rows

Array = np.ndarray[Any, Any]
Progress = Callable[[int, int], None]


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
    first: list[Array] = field(repr=False)

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
    output: str | Path | None,
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
    target = Path(output) if output is not None else Path(f"{file.path.stem}-activations.h5")
    reading = reading_of(options)
    refuse_unrun(file, wanted, begin, options)
    with ExitStack() as undo:
        feeds, notes = open_inputs(file, wanted, begin, given, trailing=options.allow_trailing)
        undo.callback(close_feeds, feeds)
        check_distinct(target, file, feeds)
        check_target(target, overwrite=options.overwrite)
        rows = check_data(file, wanted, begin, feeds, options)
        selected = _engine(options)
        built = build(file, selected, reading, options.custom_objects)
        compute = make_pass(built, begin, feeds, wanted, selected, options)
        batch_size = rows_a_pass(compute, options.batch_size, rows[1] - rows[0])
        beginning = read(feeds, rows[0], min(rows[0] + batch_size, rows[1]))
        _, first = next(computed(compute, beginning, rows[0], batch_size))
        datasets = datasets_of(compute, first, batch_size, rows[1] - rows[0], options.dtype)
        check_space(target, planned_bytes(datasets))
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
        first=first,
    )


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


def run(planned: Plan, progress: Progress | None = None) -> Report:
    """Carry out a plan.

    Args:
        planned: The plan; it can be run once.
        progress: Called with the rows done and the rows in all: before the first batch, after each.

    Raises:
        LayerprobeError: A row cannot be read or written; nothing is left under the output's name.
    """
    began = time.perf_counter()
    counts = [Counts() for _ in planned.datasets]
    start, stop = planned.rows
    if progress is not None:
        progress(0, stop - start)
    with open_sink(planned.output, planned.datasets, overwrite=planned.options.overwrite) as sink:

        def store(at: int, batches: Sequence[Sequence[Array]]) -> None:
            columns = zip(*batches, strict=True)
            stored = [as_stored(c, d) for c, d in zip(columns, planned.datasets, strict=True)]
            if planned.options.fail_on_nan:
                check_finite(stored, planned.datasets, at)
            for count, array in zip(counts, stored, strict=True):
                count.add(array)
            sink.write(at - start, stored)

        with Behind(store) as write:
            for at, batches in _blocks(planned):
                results: list[list[Array]] = []
                end = at
                for count, result in batches:
                    results.append([array[:count] for array in result])
                    end += count
                    if progress is not None:
                        progress(end - start, stop - start)
                write(at, results)
        sink.commit(manifest_of(planned, counts))
    return planned.report(time.perf_counter() - began, counts, dry_run=False)


def _blocks(planned: Plan) -> Iterator[tuple[int, Iterator[tuple[int, list[Array]]]]]:
    """Yield the first row of each block, and its batches as they are computed."""
    (start, stop), size = planned.rows, planned.batch_size
    if planned.first:
        first, planned.first = planned.first, []
        count = min(size, stop - start)
        yield start, iter([(count, first)])
        start += count
    row_bytes = planned_bytes(planned.datasets) // planned.row_count
    row_bytes += sum(feed.row_bytes for feed in planned.feeds)
    ranges = blocks((start, stop), size, row_bytes)
    for (at, _), block in ahead(lambda rows: read(planned.feeds, *rows), ranges):
        yield at, computed(planned.compute, block, at, size)


def open_inputs(
    file: ModelFile,
    wanted: Sequence[LayerOutput],
    begin: Sequence[LayerOutput],
    given: Given | None,
    *,
    trailing: bool = False,
) -> tuple[list[Feed], list[str]]:
    """Open the data for the tensors to feed, or make it up; return it with notes."""
    if begin:
        specs = [TensorSpec(row.address, row.output_shape, row.dtype) for row in begin]
    else:
        specs = _needed_inputs(file, wanted)
    limits = {s.name: n for s in specs if (n := file.token_limit(s.name)) is not None}
    if given is not None:
        unused = () if begin else [s.name for s in file.inputs if s not in specs]
        return open_feeds(given, specs, limits, unused, allow_trailing=trailing), [*odd_name(file)]
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
    files = {"the model": file.path} | {
        f"the data for {feed.spec.name}": feed.source.path for feed in feeds if feed.source.path
    }
    for what, path in files.items():
        if target.exists() and target.samefile(path):
            raise OutputError(
                f"The output {target} is also {what}.",
                expected="a file of its own for the output",
                fix="Give the output another name.",
                exit_code=2,
                path=str(target),
            )

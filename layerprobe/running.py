"""The one loop: batches computed while the next ones are read and the ones before written.

When it ends early, for whatever reason, the rows so far are safe and another run goes on with them:
the batches are the same then, and so are the bytes in the end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from layerprobe.batches import as_stored, computed, input_bytes, planned_bytes, read
from layerprobe.checks import check_finite
from layerprobe.counts import Counts
from layerprobe.errors import DataError
from layerprobe.pipeline import Plan
from layerprobe.report import Report, finished_report, manifest_of, plan_of
from layerprobe.resuming import telling
from layerprobe.sinks import Sink, StreamSink, open_sink
from layerprobe.stages import Behind, ahead, blocks, reads, reads_ahead, started, waiting_blocks
from layerprobe.timing import Times

Array = np.ndarray[Any, Any]
Progress = Callable[[int, int], None]
Batches = Iterable[tuple[int, list[Array]]]  # the rows of each, and its results


def run(planned: Plan, progress: Progress | None = None) -> Report:
    """Carry out a plan.

    Args:
        planned: The plan; it can be run once.
        progress: Called with the rows done and the rows in all: before the first batch, after each.

    Raises:
        LayerprobeError: A row cannot be read or written. The rows before it are kept for a run with
            `resume`, if there are any; a note of the exception says so.
    """
    began = time.perf_counter()
    progress = progress or (lambda _done, _total: None)
    progress(0, planned.row_count)
    if planned.complete is not None:
        return finished_report(planned.output, planned.complete, plan_of(planned))
    counts, times = [Counts() for _ in planned.datasets], Times()
    sink = _sink(planned)
    with telling(sink, planned.output, planned.row_count), sink:
        if sink.durable:
            _restore(planned, sink, counts, progress)
        _stream(planned, sink, counts, times, progress)
        with times.spent("write"), times.spent("wait_write"):
            sink.commit(manifest_of(planned, counts))
    return planned.report(time.perf_counter() - began, counts, times, dry_run=False)


def _sink(planned: Plan) -> Sink:
    if planned.target.stream is not None:
        return StreamSink(planned.target.stream, planned.datasets)
    return open_sink(
        planned.output,
        planned.datasets,
        overwrite=planned.options.overwrite,
        resume=planned.options.resume,
        compress=planned.options.compress,
        plan=plan_of(planned),
        call=planned.call,
    )


def _stream(
    planned: Plan, sink: Sink, counts: Sequence[Counts], times: Times, progress: Progress
) -> None:
    """Compute all rows that the sink has not got yet, and write them."""
    start, stop = planned.rows
    store = partial(_store, planned, sink, counts)
    depth = waiting_blocks(planned.batch_size, _row_bytes(planned))
    with Behind(times.of("write", store), depth) as write:
        for at, until, groups in _blocks(planned, start + sink.durable, times):
            for number, batches in enumerate(groups):
                results: list[list[Array]] = []
                end = at
                last = number == len(groups) - 1
                try:
                    for count, result in times.each("compute", batches):
                        results.append([array[:count] for array in result])
                        del result  # it is held no longer than it takes to write it
                        end += count
                        progress((end if last else at) - start, stop - start)
                finally:  # what was computed is kept, also if somebody interrupts
                    if results and (end == until or len(groups) == 1):
                        with times.spent("wait_write"):
                            write(number, at, end, results)
                    del results
        with times.spent("wait_write"):
            write.wait()


def _store(
    planned: Plan,
    sink: Sink,
    counts: Sequence[Counts],
    number: int,
    at: int,
    end: int,
    batches: Sequence[Sequence[Array]],
) -> None:
    """Write some rows of the layers of a group."""
    compute = planned.passes[number]
    first = sum(len(each.outputs) for each in planned.passes[:number])
    chosen = slice(first, first + len(compute.outputs))
    datasets = planned.datasets[chosen]
    tallies = zip(*(compute.tallies(batch) for batch in batches), strict=True)
    columns = zip(zip(*batches, strict=True), datasets, tallies, strict=False)
    stored = [as_stored(*column) for column in columns]
    if planned.options.fail_on_nan:
        check_finite(stored, datasets, at)
    now: list[list[int]] = []

    def look(index: int, rows: Array) -> None:
        if stored[index - first].tally is None:
            counts[index].add(rows)

    def state() -> dict[str, object]:
        """Return what a run that goes on after these rows has to know."""
        marks = [feed.seen.mark(end) for feed in planned.feeds]
        return {"counts": now or _numbers(counts), "inputs": marks}

    for count, part in zip(counts[chosen], stored, strict=True):
        count.add_tally(part)
    rows = [part.rows for part in stored]
    sink.write(at - planned.rows[0], rows, state, first=first, look=look)
    # As they are now: those of the groups that come first run ahead of the rows that count.
    now += _numbers(counts)


def _numbers(counts: Sequence[Counts]) -> list[list[int]]:
    return [[count.nan, count.inf, count.overflow] for count in counts]


def _restore(planned: Plan, sink: Sink, counts: Sequence[Counts], progress: Progress) -> None:
    """Go back to where another run stopped: the counts, and the rows that were read by then."""
    start, row = planned.rows[0], planned.rows[0] + sink.durable
    for count, numbers in zip(counts, sink.state["counts"], strict=True):
        vars(count).update(vars(Counts(*numbers)))
    # The plan has read them.
    begun = start + planned.first.rows
    planned.first.batches.clear()
    planned.first.more.clear()
    for at, end in _reads(planned, (begun, row)):
        progress(sink.durable, planned.row_count)
        read(planned.feeds, at, end)
    for feed, before in zip(planned.feeds, sink.state["inputs"], strict=True):
        if feed.seen.describe() != before:
            raise DataError(
                f"The first {sink.durable:,} rows of {feed.source.location} are not those that "
                "this output was begun with.",
                expected="the same rows; later ones may have changed",
                fix="Put the data back, or begin anew, and lose the rows, with --overwrite.",
                location=feed.source.location,
            )


def _blocks(planned: Plan, at: int, times: Times) -> Iterator[tuple[int, int, list[Batches]]]:
    """Yield each block of rows from some row on: its ends, and its batches by groups of layers.

    The batches are computed when they are asked for.
    """
    stop, size = planned.rows[1], planned.batch_size
    first = planned.first

    def groups(block: Sequence[Array], row: int) -> list[Batches]:
        return [computed(each, block, row, size) for each in planned.passes]

    if at == planned.rows[0]:  # what the plan has read and computed stands at the beginning
        begun, known = at + first.computed_rows, at + first.rows
        for begin, end in blocks((at, begun), size, _row_bytes(planned)):
            # They are let go of one by one, as they are written.
            count = -(-(end - begin) // size)
            yield begin, end, [(first.batches.pop(0) for _ in range(count))]
        for begin, end in blocks((begun, known), size, _row_bytes(planned)):
            part = [rows[begin - begun : end - begun] for rows in first.more]
            yield begin, end, groups(part, begin)
        if first.failure is not None:
            raise first.failure
        at = known
    first.batches.clear()
    first.more.clear()
    reading = _read_ahead(planned, (at, stop), times)
    if not _side_by_side(planned):
        for (begin, end), block in reading:
            yield begin, end, groups(block, begin)
        return

    def batches(read: tuple[tuple[int, int], list[Array]]) -> Batches:
        (begin, _), block = read
        return list(computed(planned.passes[0], block, begin, size))

    for ((begin, end), _), wait in started(batches, reading, threads=2, depth=2):
        yield begin, end, [_when_there(wait)]


def _read_ahead(
    planned: Plan, rows: tuple[int, int], times: Times
) -> Iterator[tuple[tuple[int, int], list[Array]]]:
    """Yield the ends and the rows of each block, several of which may be read at once."""
    work = times.of("read", lambda part: read(planned.feeds, *part))
    parts = _reads(planned, rows)
    most = max((stop - start for start, stop in parts), default=0)
    depth = reads_ahead(most * input_bytes(planned.feeds))
    for (start, stop), inputs in times.each("wait_read", ahead(work, parts, depth)):
        for begin, end in blocks((start, stop), planned.batch_size, _row_bytes(planned)):
            yield (begin, end), [part[begin - start : end - start] for part in inputs]


def _side_by_side(planned: Plan) -> bool:
    """Tell whether two blocks are computed at once: while one is copied, the other computes.

    On a CPU they would only take each other's processors; and random numbers, and groups of layers
    that are to take less memory, come one after another.
    """
    gpu = planned.device.startswith("gpu")
    return gpu and not planned.options.training and len(planned.passes) == 1


def _when_there(wait: Callable[[], Batches]) -> Batches:
    yield from wait()


def _row_bytes(planned: Plan) -> int:
    return planned_bytes(planned.datasets) // planned.row_count + input_bytes(planned.feeds)


def _reads(planned: Plan, rows: tuple[int, int]) -> list[tuple[int, int]]:
    return reads(rows, planned.batch_size, input_bytes(planned.feeds), _row_bytes(planned))

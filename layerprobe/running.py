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

from layerprobe.batches import as_stored, computed, planned_bytes, read
from layerprobe.checks import check_finite
from layerprobe.counts import Counts
from layerprobe.errors import DataError
from layerprobe.pipeline import Plan
from layerprobe.report import Report, finished_report, manifest_of, plan_of
from layerprobe.resuming import telling
from layerprobe.sinks import Sink, StreamSink, open_sink
from layerprobe.stages import Behind, ahead, blocks, waiting_blocks
from layerprobe.timing import Times

Array = np.ndarray[Any, Any]
Progress = Callable[[int, int], None]


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

    def store(at: int, end: int, batches: Sequence[Sequence[Array]]) -> None:
        tallies = zip(*(planned.compute.tallies(batch) for batch in batches), strict=True)
        columns = zip(zip(*batches, strict=True), planned.datasets, tallies, strict=False)
        stored = [as_stored(*column) for column in columns]
        if planned.options.fail_on_nan:
            check_finite(stored, planned.datasets, at)
        for count, part in zip(counts, stored, strict=True):
            count.add(part)
        rows = [part.rows for part in stored]
        sink.write(at - start, rows, partial(_state, planned, end, counts))

    depth = waiting_blocks(planned.batch_size, _row_bytes(planned))
    with Behind(times.of("write", store), depth) as write:
        for at, batches in _blocks(planned, start + sink.durable, times):
            results: list[list[Array]] = []
            end = at
            try:
                for count, result in times.each("compute", batches):
                    results.append([array[:count] for array in result])
                    end += count
                    progress(end - start, stop - start)
            finally:  # what was computed is kept, also if somebody interrupts
                if results:
                    with times.spent("wait_write"):
                        write(at, end, results)
        with times.spent("wait_write"):
            write.wait()


def _state(planned: Plan, row: int, counts: Sequence[Counts]) -> dict[str, object]:
    """Return what a run that goes on at a row has to know."""
    return {
        "counts": [[count.nan, count.inf, count.overflow] for count in counts],
        "inputs": [feed.seen.mark(row) for feed in planned.feeds],
    }


def _restore(planned: Plan, sink: Sink, counts: Sequence[Counts], progress: Progress) -> None:
    """Go back to where another run stopped: the counts, and the rows that were read by then."""
    start, row = planned.rows[0], planned.rows[0] + sink.durable
    for count, numbers in zip(counts, sink.state["counts"], strict=True):
        vars(count).update(vars(Counts(*numbers)))
    # The plan has read them.
    begun = start + planned.first.rows
    planned.first.batches.clear()
    planned.first.more.clear()
    for at, end in blocks((begun, row), planned.batch_size, _row_bytes(planned)):
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


def _blocks(
    planned: Plan, at: int, times: Times
) -> Iterator[tuple[int, Iterable[tuple[int, list[Array]]]]]:
    """Yield the first row of each block from some row on, and its batches as they are computed."""
    stop, size = planned.rows[1], planned.batch_size
    first = planned.first
    if at == planned.rows[0]:  # what the plan has read and computed stands at the beginning
        yield at, first.batches
        at += first.computed_rows
        if first.failure is not None:
            raise first.failure
        for begin, end in blocks((at, planned.rows[0] + first.rows), size, _row_bytes(planned)):
            part = [rows[begin - at : end - at] for rows in first.more]
            yield begin, computed(planned.compute, part, begin, size)
        at = planned.rows[0] + first.rows
    first.batches.clear()
    first.more.clear()
    ranges = blocks((at, stop), size, _row_bytes(planned))
    work = times.of("read", lambda rows: read(planned.feeds, *rows))
    for (begin, _), block in times.each("wait_read", ahead(work, ranges)):
        yield begin, computed(planned.compute, block, begin, size)


def _row_bytes(planned: Plan) -> int:
    row_bytes = planned_bytes(planned.datasets) // planned.row_count
    return row_bytes + sum(feed.row_bytes for feed in planned.feeds)

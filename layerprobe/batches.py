"""Rows through the compiled function, batch by batch, and the results as they are stored."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from layerprobe.errors import BackendError, DataError
from layerprobe.feed import Feed
from layerprobe.finite import all_finite
from layerprobe.passes import Pass
from layerprobe.sinks import Dataset, dtype_named

Array = np.ndarray[Any, Any]


def row_range(rows: tuple[int | None, int | None] | None, available: int) -> tuple[int, int]:
    """Return the range of rows that was asked for, first included, last excluded.

    Raises:
        DataError: It is empty, or not within the rows there are.
    """
    asked = (None, None) if rows is None else rows
    start, stop = asked[0] or 0, available if asked[1] is None else asked[1]
    if not 0 <= start < stop <= available:
        raise DataError(
            f"The rows {start}:{stop} were asked for; the input has {available}.",
            expected=f"a range START:STOP within 0:{available}",
            exit_code=2,
            rows=(start, stop),
        )
    return start, stop


def input_bytes(feeds: Sequence[Feed]) -> int:
    """Return the bytes of one row of all inputs together, as the model takes it."""
    return sum(feed.row_bytes for feed in feeds)


def read(feeds: Sequence[Feed], start: int, stop: int) -> list[Array]:
    """Return some rows of each input."""
    return [feed.read(start, stop) for feed in feeds]


def computed(
    compute: Pass, block: Sequence[Array], row: int, batch_size: int
) -> Iterator[tuple[int, list[Array]]]:
    """Compute rows batch by batch, the last one filled up with copies of the last row.

    Args:
        compute: What a batch goes through; it may want to have the last one as it is.
        block: The rows of each input.
        row: The number of the first row.
        batch_size: Rows a pass.

    Yields:
        The number of rows of a batch, and the results, of those rows and then of the copies.
    """
    for at in range(0, len(block[0]), batch_size):
        batch = [rows[at : at + batch_size] for rows in block]
        count = len(batch[0])
        if count < batch_size and compute.fills:
            batch = [
                np.concatenate([rows, np.repeat(rows[-1:], batch_size - count, axis=0)])
                for rows in batch
            ]
        yield count, compute(batch, row + at)


def datasets_of(
    compute: Pass,
    first: Sequence[Array],
    batch_size: int,
    rows: int,
    dtype: str | None,
) -> tuple[Dataset, ...]:
    """Return what will be stored, from the results of the first batch.

    Raises:
        BackendError: An output does not have one row for each row of the input.
    """
    # An axis of fixed size does not count rows, even where its size happens to be the batch's.
    varies = all(shape[0] is None for shape in compute.inputs)
    datasets: list[Dataset] = []
    for (address, shape), result in zip(compute.outputs, first, strict=False):  # tallies follow
        counts_rows = result.ndim > 0 and not (varies and shape[0] is not None)
        if not counts_rows or result.shape[0] != batch_size:
            raise BackendError(
                f"{address} returns shape {result.shape} for {batch_size} rows.",
                expected="one row for each row of the input, as a dump stores them",
                fix="Leave this address out; layerprobe.backend.function returns it as it is.",
                address=address,
            )
        stored = _stored_dtype(result, dtype)
        scale = compute.scales.of(len(datasets)) if compute.scales else None
        datasets.append(Dataset(address, (rows, *result.shape[1:]), stored, scale))
    return tuple(datasets)


def _stored_dtype(result: Array, asked: str | None) -> np.dtype[Any]:
    # bfloat16 is of kind V; unless it is asked for it is kept as float32, which everybody reads.
    if result.dtype.kind not in "fV":
        return np.dtype[Any](result.dtype)
    return dtype_named(asked or ("float32" if result.dtype.kind == "V" else result.dtype.name))


class Stored(NamedTuple):
    """A dataset's results of some batches.

    Attributes:
        rows: As the sink takes them: its dtype, contiguous.
        tally: How many values of each row were NaN, Inf, and finite but too large: (rows, 3). None
            if `rows` shows it.
    """

    rows: Array
    tally: Array | None = None


def as_stored(
    results: Sequence[Array], dataset: Dataset, tallies: Sequence[Array | None] = ()
) -> Stored:
    """Return a dataset's results of some batches, and their tallies, as they are stored.

    Raises:
        BackendError: They differ in their shape.
    """
    for result in results:
        if result.shape[1:] != dataset.shape[1:]:
            raise BackendError(
                f"{dataset.address} changes its shape from batch to batch: {result.shape[1:]} "
                f"after {dataset.shape[1:]}.",
                expected="rows of one shape",
                address=dataset.address,
            )
    result = results[0] if len(results) == 1 else np.concatenate(results)
    with np.errstate(over="ignore"):  # what does not fit becomes Inf, and is counted
        rows = np.ascontiguousarray(result, dtype=dataset.dtype)
    known = [tally for tally in tallies if tally is not None]
    if known:
        return Stored(rows, np.concatenate(known))
    if rows.dtype.itemsize >= result.dtype.itemsize or all_finite(rows):
        return Stored(rows)
    marks = np.isnan(result), np.isinf(result), np.isinf(rows) & np.isfinite(result)
    return Stored(rows, np.stack([m.reshape(len(m), -1).sum(1) for m in marks], axis=-1))


def planned_bytes(datasets: Sequence[Dataset]) -> int:
    """Return the bytes of some datasets together, uncompressed."""
    return sum(math.prod(d.shape) * d.dtype.itemsize for d in datasets)

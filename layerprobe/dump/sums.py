"""The sums that a manifest keeps of its rows, and rows compared with them when they are read.

CRC-32 is computed many times as fast as a disk is read, so the checksum that a container keeps
itself (HDF5's Fletcher-32) is left alone where the manifest's sums are close together.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from layerprobe.dump.lazy import Array, Fill, Read
from layerprobe.sinks import checksum

_GOOD_BYTES = 1 << 20  # of what is compared at once
_WORTH_THREADS = 8  # pieces: reading, comparing and touching new memory takes longer than threads
_MOST_THREADS = 4
_MOST_BYTES = 16 << 20  # the first of these rows to be read waits for the others


class Piece(NamedTuple):
    """Rows that have a sum.

    Attributes:
        rows: The first, and the one after the last.
        before: The sum that it goes on from.
        after: The sum behind them.
    """

    rows: tuple[int, int]
    before: int
    after: int


def summed(manifest: Mapping[str, Any], entry: Mapping[str, Any]) -> Iterator[Piece]:
    """Yield the pieces of a dataset that have a sum, in their order.

    Args:
        manifest: Of the dump.
        entry: What it says of the dataset.
    """
    rows = int(entry["shape"][0])
    marks = [int(text, 16) for text in entry.get("crc32_marks", "").split()]
    every = _rows_a_piece(manifest, entry)
    before = start = 0
    for at, mark in enumerate(marks, 1):
        yield Piece((start, at * every), before, mark)
        start, before = at * every, mark
    # Also where there is nothing left: the sum of all rows has to be that of the last mark.
    yield Piece((start, rows), before, int(entry["crc32"], 16))


def compared(
    fill: Fill, dtype: np.dtype[Any], manifest: Mapping[str, Any], entry: Mapping[str, Any]
) -> Read | None:
    """Return what reads rows and compares their sums; None where there are too few sums for that.

    Args:
        fill: Reads rows as they lie there.
        dtype: As they lie there.
        manifest: Of the dump.
        entry: What it says of the dataset.
    """
    every, shape = _rows_a_piece(manifest, entry), tuple(entry["shape"][1:])
    size = every * math.prod(shape) * dtype.itemsize
    if every > 1 and size > _MOST_BYTES:
        return None
    together = max(1, _GOOD_BYTES // max(1, size))
    pieces = _joined(list(summed(manifest, entry)), together)
    return _Compared(fill, dtype, shape, pieces, every * together).read


class _Compared:
    """Rows of which each piece is compared once, when it is touched first.

    Args:
        fill: Reads rows.
        dtype: Their dtype.
        shape: The shape of one.
        pieces: What has a sum.
        every: Rows of a piece, but for the last ones.
    """

    def __init__(
        self,
        fill: Fill,
        dtype: np.dtype[Any],
        shape: tuple[int, ...],
        pieces: Sequence[Piece],
        every: int,
    ) -> None:
        self._fill = fill
        self._dtype = dtype
        self._shape = shape
        self._pieces = pieces
        self._every = every
        self._right = np.zeros(len(pieces), bool)

    def read(self, start: int, stop: int) -> Array:
        """Return rows `start` to `stop`.

        Raises:
            ValueError: They, or rows near them, are not what was written.
        """
        rows = self._memory(stop - start)

        def fill(spans: Sequence[tuple[int, int]]) -> None:
            for at, end in spans:
                self._fill_span(at, end, rows[at - start : end - start])

        spans = list(self._spans(start, stop))
        if len(spans) < _WORTH_THREADS:
            fill(spans)
            return rows
        threads = min(_MOST_THREADS, os.cpu_count() or 1)
        step = -(-len(spans) // (4 * threads))
        with ThreadPoolExecutor(threads) as pool:
            runs = (spans[at : at + step] for at in range(0, len(spans), step))
            for _ in pool.map(fill, runs):  # the first that is wrong ends it
                pass
        return rows

    def _spans(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """Cut rows into pieces that are to be compared, and all that lies between such."""
        # Piece by piece, since what was just read is still in the processor's cache.
        while start < stop:
            number = start // self._every
            after = self._first_unknown(number) if self._right[number] else number + 1
            end = min(stop, after * self._every)
            yield start, end
            start = end

    def _fill_span(self, start: int, stop: int, into: Array) -> None:
        number = start // self._every
        known = bool(self._right[number])
        self._fill(start, stop, into)
        if not known:
            self._compare(self._pieces[number], into, start, stop)
            self._right[number] = True

    def _first_unknown(self, number: int) -> int:
        """Return the first piece from some number on that was not compared yet."""
        later = np.flatnonzero(~self._right[number:])
        return number + int(later[0]) if len(later) else len(self._right)

    def _compare(self, piece: Piece, rows: Array, start: int, stop: int) -> None:
        """Compare a piece with its sum; the rows that were read already are not read again."""
        (begin, end), total, wanted = piece
        total = checksum(self._others(begin, start), total)
        total = checksum(rows, total)
        total = checksum(self._others(stop, end), total)
        if total != wanted:
            raise ValueError(
                f"the checksum of its rows {begin:,} to {end:,} is {total:08x}, "
                f"and was {wanted:08x} when they were written"
            )

    def _others(self, start: int, stop: int) -> Array:
        rows = self._memory(stop - start)
        if start < stop:
            self._fill(start, stop, rows)
        return rows

    def _memory(self, count: int) -> Array:
        return np.empty((count, *self._shape), self._dtype)


def _joined(pieces: Sequence[Piece], count: int) -> list[Piece]:
    """Make one piece of so many: each sum goes on from the one before."""
    groups = [pieces[at : at + count] for at in range(0, len(pieces), count)]
    return [Piece((g[0].rows[0], g[-1].rows[1]), g[0].before, g[-1].after) for g in groups]


def _rows_a_piece(manifest: Mapping[str, Any], entry: Mapping[str, Any]) -> int:
    every = int(manifest.get("rows_a_mark", max(1, entry["shape"][0])))
    if every < 1:
        raise ValueError(f"its sums stand {every} rows apart")
    return every

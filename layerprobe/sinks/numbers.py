"""What a dump stores: datasets, known before their first row, and the sums of their rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from zlib_ng import zlib_ng  # the same CRC-32 as the standard library's, ten times as fast

Array = npt.NDArray[Any]

_MARK_BYTES = 1 << 20  # and of what is worked on at once: so much stays in a processor's cache
_MOST_MARKS = 100_000  # of all datasets together: the manifest holds them


@dataclass(frozen=True, slots=True)
class Dataset:
    """One dataset of a dump, known before its first row.

    Attributes:
        address: The layer output whose rows it holds.
        shape: Rows first: (rows, *shape of one row).
        dtype: Boolean, integer, float (bfloat16 as that of ml_dtypes) or complex. It is stored
            little-endian.
        scale: Of quantised values: what one step stands for in each channel (the last axis), or
            one number for all.
    """

    address: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    scale: tuple[float, ...] | None = None

    @property
    def row_shape(self) -> tuple[int, ...]:
        """The shape of one row."""
        return self.shape[1:]

    @property
    def nbytes(self) -> int:
        """Bytes of all rows, without what a container adds."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return math.prod(self.row_shape) * self.dtype.itemsize

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> Dataset:
        """Return what an entry of a manifest describes."""
        scale = tuple(entry["scale"]) if "scale" in entry else None
        shape = tuple(entry["shape"])
        return cls(entry["address"], shape, dtype_named(entry["dtype"]), scale)

    def entry(self, name: str) -> dict[str, object]:
        """Return what the manifest says of it, its stored name included."""
        told = {"address": self.address, "shape": list(self.shape), "dtype": self.dtype.name}
        return {**told, "name": name, **({"scale": [*self.scale]} if self.scale else {})}

    @property
    def stored(self) -> np.dtype[Any]:
        """The dtype as it is on disk."""
        return self.dtype.newbyteorder("<")


def dtype_named(name: str) -> np.dtype[Any]:
    """Return the dtype of a name in a manifest; bfloat16, which NumPy lacks, is that of ml_dtypes.

    Example:
        >>> dtype_named("float16"), dtype_named("bfloat16").itemsize
        (dtype('float16'), 2)
    """
    if name != "bfloat16":
        return np.dtype(name)
    import ml_dtypes

    found: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
    return found


def is_bfloat16(dtype: np.dtype[Any]) -> bool:
    """Tell whether a dtype is bfloat16, which has the kind of opaque bytes."""
    return str(dtype.name) == "bfloat16"


def mark_rows(datasets: Sequence[Dataset]) -> int:
    """Return after how many rows the checksums are kept again: about 1 MiB of the widest.

    Example:
        >>> mark_rows([Dataset("a", (10**6, 1024), np.dtype("float32"))])
        256
    """
    rows = datasets[0].shape[0]
    by_bytes = _MARK_BYTES // max(1, *(dataset.row_bytes for dataset in datasets))
    return max(1, by_bytes, -(-rows * len(datasets) // _MOST_MARKS))


class Sums:
    """The checksums of the rows of some datasets: CRC-32 from the first row on.

    A sum goes on from the one before, so that each can be checked with the rows in between alone.
    Rows may come a few datasets at a time; they count when those of the last dataset have come.

    Attributes:
        every: After how many rows the sums are kept as a mark.
        rows: How many rows have come of all datasets.
        now: The sums of these.
        marks: The sums at rows `every`, 2 * `every` and so on.
    """

    def __init__(self, count: int, every: int) -> None:
        self.every = every
        self.rows = 0
        self.now = [0] * count
        self.marks: list[list[int]] = []
        self._begin()

    def add(self, index: int, rows: Array) -> None:
        """Take some more rows of dataset number `index`, C-ordered and as they are stored."""
        for start, piece in pieces(self._come[index], rows, self.every):
            self._sums[index] = checksum(piece, self._sums[index])
            self._come[index] = start + len(piece)
            if self._come[index] % self.every == 0:
                self._passed[index].append(self._sums[index])

    def count(self) -> None:
        """Count the rows that were taken, as many of each dataset."""
        self.rows = self._come[0]
        self.now = self._sums
        self.marks += map(list, zip(*self._passed, strict=True))
        self._begin()

    def restore(self, rows: int, now: Sequence[int], marks: Sequence[Sequence[int]]) -> None:
        """Go back to the sums of an earlier moment."""
        self.rows, self.now, self.marks = rows, [*now], [[*mark] for mark in marks]
        self._begin()

    def _begin(self) -> None:
        """Go on from the rows that count: of each dataset the rows, the sum, that at each mark."""
        self._come = [self.rows] * len(self.now)
        self._sums = [*self.now]
        self._passed: list[list[int]] = [[] for _ in self.now]


def pieces(start: int, rows: Array, step: int) -> Iterator[tuple[int, Array]]:
    """Yield some rows in pieces that end at multiples of `step`, each with its first row's number.

    Example:
        >>> [(at, len(piece)) for at, piece in pieces(3, np.zeros(9), 4)]
        [(3, 1), (4, 4), (8, 4)]
    """
    at = 0
    while at < len(rows):
        to = min(len(rows), at + step - (start + at) % step)
        yield start + at, rows[at:to]
        at = to


def rows_at_once(chunk: int, row_bytes: int) -> int:
    """Return how many rows to work on at once: whole chunks of so many rows, of about 1 MiB.

    Example:
        >>> rows_at_once(20, 4096), rows_at_once(20, 10**6)
        (240, 20)
    """
    return chunk * max(1, _MARK_BYTES // max(1, chunk * row_bytes))


def sum_of(
    read: Callable[[int, int], Array], rows: tuple[int, int], row_bytes: int, before: int
) -> int:
    """Return the CRC-32 of a range of rows, read about 1 MiB at a time."""
    step = rows_at_once(1, row_bytes)
    for start in range(*rows, step):
        before = checksum(read(start, min(start + step, rows[1])), before)
    return before


def checksum(rows: Array, before: int = 0) -> int:
    """Return the CRC-32 of C-ordered rows that follow rows of the checksum `before`."""
    return zlib_ng.crc32(rows.reshape(-1).view(np.uint8).data, before)

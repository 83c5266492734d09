"""An array on the disk that is indexed as one in memory is.

NumPy's own answer is a memory map, which kills the process when its file is cut short; HDF5's reads
other things than NumPy for the same brackets. Here one small class gives every container the same
meaning, and holds no more in memory than what is asked for and one window of about a chunk.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Read = Callable[[int, int], Array]
"""Reads the rows from `start` up to `stop`."""
Fill = Callable[[int, int, Array], None]
"""Reads the rows from `start` up to `stop` into C-ordered memory for them."""

_WINDOW_BYTES = 1 << 20


class LazyArray:
    """A dataset of a dump, read from the disk when it is indexed.

    Rows take an int, a slice, or a one-dimensional array of booleans or integers; the other axes
    take ints and slices; each means what it means for a NumPy array, an IndexError included.
    `np.asarray` reads everything.

    Attributes:
        address: The layer output.
        shape: Rows first.
        dtype: Of the values.
        scale: Of int8: float32, what one step stands for in each channel (the last axis), or one
            number for all; None where values are what they are.
    """

    def __init__(
        self,
        address: str,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        read: Read,
        scale: Array | None = None,
    ) -> None:
        self.address = address
        self.shape = shape
        self.dtype = dtype
        self.scale = scale
        self._read = read
        self._window = max(1, _WINDOW_BYTES // max(1, self.row_bytes))

    @property
    def ndim(self) -> int:
        """The number of axes, that of the rows included."""
        return len(self.shape)

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return self.dtype.itemsize * math.prod(self.shape[1:])

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return f"<LazyArray {self.address!r}: shape {self.shape}, {self.dtype.name}>"

    def dequantized(self, rows: Any = slice(None)) -> Array:
        """Return rows times their scale, as float32; as they are where there is no scale.

        Args:
            rows: An int, a slice, or an array of booleans or integers.
        """
        found: Array = self[rows]
        return found if self.scale is None else np.asarray(found * self.scale, np.float32)

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> Array:
        if copy is False:
            raise ValueError("A dataset on the disk cannot be an array without being read.")
        return np.asarray(self[...], dtype=dtype)

    def __getitem__(self, key: Any) -> Any:
        rows, *others = self._per_axis(key)
        if isinstance(rows, int | np.integer):
            row = range(len(self))[rows]
            return self._read(row, row + 1)[(0, *others)]
        inside = (slice(None), *others)
        wanted = range(len(self))[rows] if isinstance(rows, slice) else self._indices(rows)
        if isinstance(wanted, range) and wanted.step == 1 and _is_everything(others):
            return self._read(wanted.start, max(wanted.start, wanted.stop))
        kept = np.empty((0, *self.shape[1:]), self.dtype)[inside].shape[1:]
        result = np.empty((len(wanted), *kept), self.dtype)
        for places, window, picks in self._windows(wanted):
            result[places] = self._read(window.start, window.stop)[picks][inside]
        return result

    def _per_axis(self, key: Any) -> tuple[Any, ...]:
        """Return one index an axis, those of the other axes checked."""
        keys = list(key) if isinstance(key, tuple) else [key]
        dots = [position for position, part in enumerate(keys) if part is Ellipsis]
        missing = self.ndim - len(keys) + len(dots)
        at = dots[0] if dots else len(keys)
        keys[at : at + 1] = [slice(None)] * missing
        plain = all(isinstance(k, int | np.integer | slice) for k in keys[1:])
        if not plain or any(isinstance(k, bool) for k in keys):
            raise IndexError(
                f"{self!r} takes up to {self.ndim} indices: an int, a slice or a list for the "
                "rows, then ints and slices. For anything else read the rows first."
            )
        return tuple(keys)

    def _indices(self, rows: npt.ArrayLike) -> npt.NDArray[np.intp]:
        """Return the row numbers that an array of booleans or integers means."""
        given = np.asarray(rows)
        count = len(self)
        if given.dtype == bool and given.shape == (count,):
            return np.flatnonzero(given)
        if given.ndim != 1 or (given.size and given.dtype.kind not in "iu"):
            raise IndexError(
                f"Rows take an int, a slice, {count} booleans or a list of integers, "
                f"not {given.dtype} of shape {given.shape}."
            )
        indices = given.astype(np.intp)
        if given.size and not -count <= indices.min() <= indices.max() < count:
            raise IndexError(f"A row is outside of the {count} rows of {self!r}.")
        return indices % max(1, count)

    def _windows(self, wanted: range | npt.NDArray[np.intp]) -> Iterator[tuple[Any, range, Any]]:
        """Cut the wanted rows into pieces that lie close together on the disk.

        Yields:
            The places of the piece in the result, the rows to read, and which of those are wanted.
        """
        if isinstance(wanted, range):
            count = max(1, self._window // abs(wanted.step))
            for first in range(0, len(wanted), count):
                piece = wanted[first : first + count]
                window = range(min(piece[0], piece[-1]), max(piece[0], piece[-1]) + 1)
                yield slice(first, first + len(piece)), window, slice(None, None, wanted.step)
            return
        order = np.argsort(wanted, kind="stable")
        ordered = wanted[order]
        first = 0
        while first < len(ordered):
            low = int(ordered[first])
            end = int(np.searchsorted(ordered, low + self._window))
            window = range(low, int(ordered[end - 1]) + 1)
            yield order[first:end], window, ordered[first:end] - low
            first = end


def _is_everything(keys: list[Any]) -> bool:
    return all(key == slice(None) for key in keys)

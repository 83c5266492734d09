"""Arrays handed over in Python as a source, so that the pipeline has one way to get rows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from layerprobe.errors import DataError
from layerprobe.sources.rows import Array, RowReader, tidy


class MemorySource(RowReader):
    """Rows of an array in memory; every read is a copy, so nobody can change the array by it."""

    def __init__(self, location: str, array: Array) -> None:
        super().__init__(location, None, array.shape, array.dtype)
        self._array = array

    def _fetch(self, start: int, stop: int) -> Array:
        return np.array(self._array[start:stop], self.dtype, order="C")

    def _release(self) -> None:
        self._array = np.empty(0)  # lets go of the caller's array


def array_source(array: npt.ArrayLike, location: str = "memory") -> MemorySource:
    """Return a source of the rows of an array.

    Args:
        array: A NumPy array or whatever `np.asarray` takes, rows first. It is not copied, so it
            should not change while it is read.
        location: What messages and the manifest call it.

    Raises:
        DataError: It is not an array of numbers with at least one row, or it is masked.

    Example:
        >>> with array_source([[1.0, 2.0], [3.0, 4.0]]) as source:
        ...     source.shape, source.read(1, 2)
        ((2, 2), array([[3., 4.]]))
    """
    if isinstance(array, np.ma.MaskedArray):
        raise DataError(
            f"{location} is a masked array, and a model knows no masks.",
            fix="Say what stands in the masked places, for example: array.filled(0.0)",
            location=location,
        )
    try:
        rows = np.asarray(array)
    except (ValueError, TypeError, RuntimeError) as error:
        raise DataError(
            f"{location} cannot be made an array: {tidy(error)}.",
            expected="rows that all have the same shape",
            location=location,
        ) from error
    return MemorySource(location, rows)

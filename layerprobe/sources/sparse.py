"""Matrices of `scipy.sparse.save_npz`, whose rows are made dense a batch at a time.

Such an archive holds the arrays of the matrix beside its format and shape. Compressed rows can
be read a range at a time: `indptr` says where the numbers of each row lie in `indices` and `data`.
The other formats scatter a row over all of the file, and are refused with the line that converts
them. NumPy alone reads all of it, so that SciPy is not needed, and nothing is unpickled.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from layerprobe.errors import DataError
from layerprobe.sources.rows import Array, RowReader

MEMBERS = frozenset(("format", "shape", "data"))
_PLACES = frozenset(("indices", "row", "offsets"))
_ARRAYS = ("indptr", "indices", "data")

Opener = Callable[[str], RowReader]


def open_sparse(
    location: str, path: Path, form: str, shape: tuple[int, ...], opener: Opener
) -> SparseSource:
    """Open a matrix of which the format and the shape are known.

    Args:
        location: What the user wrote.
        path: The archive.
        form: "csr"; the others are refused.
        shape: The matrix'.
        opener: Opens an array of the archive by its name.

    Raises:
        DataError: It is in another format than CSR, or its arrays do not belong together.
    """
    if form != "csr" or len(shape) != 2:
        raise DataError(
            f"{location} is a sparse matrix in {form.upper()} form, which scatters its rows.",
            expected="compressed rows (CSR), which can be read a range at a time",
            fix="Convert it: m = scipy.sparse.load_npz('old.npz'); "
            "scipy.sparse.save_npz('new.npz', m.tocsr())",
            location=location,
        )
    with ExitStack() as stack:
        arrays = [stack.enter_context(opener(name)) for name in _ARRAYS]
        pointers, indices, data = arrays
        if (
            pointers.shape != (shape[0] + 1,)
            or indices.shape != data.shape
            or len(data.shape) != 1
            or pointers.dtype.kind not in "iu"
            or indices.dtype.kind not in "iu"
        ):
            raise _inconsistent(location, "its arrays do not belong together")
        source = SparseSource(location, path, shape, (pointers, indices, data))
        stack.pop_all()
    return source


class SparseSource(RowReader):
    """Dense rows of a matrix in CSR form; numbers at one place twice are added, as SciPy does."""

    def __init__(
        self,
        location: str,
        path: Path,
        shape: tuple[int, ...],
        arrays: tuple[RowReader, RowReader, RowReader],
    ) -> None:
        super().__init__(location, path, shape, arrays[2].dtype)
        self._pointers, self._indices, self._data = arrays
        self._end = (-1, 0)  # a row, and where it begins: compressed arrays are read forward

    def _fetch(self, start: int, stop: int) -> Array:
        rows = np.zeros((stop - start, self.shape[1]), self.dtype)
        if start == stop:
            return rows
        known, begin = self._end
        if known == start:
            ends = self._pointers.read(start + 1, stop + 1).astype(np.int64)
            pointers = np.concatenate([[begin], ends])
        else:
            pointers = self._pointers.read(start, stop + 1).astype(np.int64)
        low, high = int(pointers[0]), int(pointers[-1])
        counts = np.diff(pointers)
        if (counts < 0).any() or low < 0 or high > self._data.shape[0]:
            raise _inconsistent(self.location, f"rows {start} to {stop} overlap, or lie outside")
        columns = self._indices.read(low, high)
        if len(columns) and not 0 <= columns.min() <= columns.max() < self.shape[1]:
            raise _inconsistent(self.location, f"a column of rows {start} to {stop} does not exist")
        places = np.repeat(np.arange(stop - start) * self.shape[1], counts) + columns
        np.add.at(rows.reshape(-1), places, self._data.read(low, high))
        self._end = (stop, high)
        return rows

    def _release(self) -> None:
        for array in (self._pointers, self._indices, self._data):
            array.close()


def _inconsistent(location: str, problem: str) -> DataError:
    return DataError(
        f"{location} is a sparse matrix that is damaged: {problem}.",
        expected="a matrix as scipy.sparse.save_npz writes it",
        fix="Copy or write the file again.",
        location=location,
    )


def is_sparse(names: Collection[str]) -> bool:
    """Tell whether the arrays of an archive are those of a sparse matrix."""
    return MEMBERS.issubset(names) and not _PLACES.isdisjoint(names)

"""Where rows come from: .npy, .npz, HDF5, or an array in memory. The only place that reads data.

The pipeline sees one narrow thing, a `Source`: a shape, a dtype, and rows by range. Whatever the
kind of file, memory use does not grow with the number of rows, nothing in a file is ever run or
unpickled, no other file is opened than the one given, and what cannot be read is never made up.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from layerprobe.sources.location import kind_of, split
from layerprobe.sources.memory import array_source
from layerprobe.sources.npy import open_npy
from layerprobe.sources.npz import npz_names, open_npz

__all__ = ["Source", "array_source", "dataset_names", "open_source"]


class Source(Protocol):
    """Rows of numbers, by range.

    `layerprobe.testing.SourceSuite` is the full contract; a new kind of file passes it.

    Attributes:
        location: What the user wrote, for messages and the manifest.
        path: The file, or None for rows from memory.
        key: The array's name inside its file, or None where the file is one array.
        shape: Rows first; at least one row.
        dtype: Booleans, integers or floats, in native byte order.
    """

    location: str
    path: Path | None
    key: str | None
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def read(self, start: int, stop: int) -> npt.NDArray[Any]:
        """Return the rows `start` to `stop` (excluded), C-contiguous, in memory of their own.

        Raises:
            DataError: The range does not lie within the rows, or they cannot be read.
        """
        ...

    def close(self) -> None:
        """Release the file."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


def open_source(
    location: str | os.PathLike[str],
    *,
    fits: Callable[[tuple[int, ...], np.dtype[Any]], bool] | None = None,
    allow_trailing: bool = False,
) -> Source:
    """Open the rows that a location names.

    Args:
        location: `x.npy`; `x.npz::name`; `file.h5::/group/dataset`; or an .npz or HDF5 file alone,
            if exactly one array in it comes into question. The kind is told by content.
        fits: Whether an array of this shape (rows first) and native dtype is wanted. Asked only to
            choose among the arrays of a file that was given without a name.
        allow_trailing: Whether an .npy file may have bytes after its array.

    Raises:
        DataError: The file is missing (exit code 66), is in use by a writer (75), would have to run
            code or to open other files (77), or is damaged or holds no rows of numbers (65).

    Example:
        >>> import tempfile, pathlib
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder, "x.npy")
        ...     np.save(path, np.arange(6.0).reshape(3, 2))
        ...     with open_source(path) as source:
        ...         source.shape, source.read(1, 3)
        ((3, 2), array([[2., 3.],
               [4., 5.]]))
    """
    location = os.fspath(location)
    path, key = split(location)
    kind = kind_of(location, path)
    if kind == "npy":
        return open_npy(location, path, key, allow_trailing=allow_trailing)
    if kind == "npz":
        return open_npz(location, path, key, fits)
    from layerprobe.sources.hdf5 import open_hdf5

    return open_hdf5(location, path, key, fits)


def dataset_names(location: str | os.PathLike[str]) -> list[str] | None:
    """Return the names of all arrays in an .npz or HDF5 file, to match several inputs by name.

    Args:
        location: As for `open_source`.

    Returns:
        Names to put behind `location::`, usable or not (opening one that is not says why). None
        where the location is one array: an .npy, or one already named.

    Raises:
        DataError: The file is missing, damaged, or of another kind.
    """
    location = os.fspath(location)
    path, key = split(location)
    kind = kind_of(location, path)
    if key is not None or kind == "npy":
        return None
    if kind == "npz":
        return npz_names(location, path)
    from layerprobe.sources.hdf5 import hdf5_names

    return hdf5_names(location, path)

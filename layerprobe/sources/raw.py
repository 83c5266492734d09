"""Rows of a file that is nothing but numbers, as `ndarray.tofile` and `np.memmap` leave it.

Such a file says nothing of itself, so its dtype comes from the user and the shape of a row from the
user or the model. All that can be checked is its size: it has to be a whole number of rows.
"""

from __future__ import annotations

import math
from io import FileIO
from pathlib import Path

from layerprobe.errors import DataError
from layerprobe.sources.npy import Header, NpySource
from layerprobe.sources.options import SourceOptions


def open_raw(location: str, path: Path, key: str | None, options: SourceOptions) -> NpySource:
    """Open a file of numbers; their dtype is `options.dtype`, their order C.

    Raises:
        DataError: Nobody knows the shape of a row (exit code 2), the file is not a whole number of
            rows, or a name is given.
    """
    if key is not None:
        raise DataError(
            f"{path} is read as plain numbers, without a name such as {key!r}.",
            fix=f"Give it as {path}, or leave out --input-dtype.",
            location=location,
        )
    dtype, shape = options.number_type(), _row_shape(location, options)
    row = math.prod(shape) * dtype.itemsize
    found = path.stat().st_size
    if found % row:
        raise DataError(
            f"{location} has {found:,} bytes: {found // row:,} rows and {found % row:,} bytes.",
            expected=f"a multiple of {row:,} bytes, for rows of shape {shape} {dtype}",
            fix="Give the right --input-dtype and --input-shape; or the file is cut short.",
            location=location,
            found_bytes=found,
            row_bytes=row,
        )
    return NpySource(location, path, FileIO(path), Header((found // row, *shape), dtype, False, 0))


def _row_shape(location: str, options: SourceOptions) -> tuple[int, ...]:
    if options.row_shape is not None:
        return options.row_shape
    wanted = None if options.wanted is None else options.wanted[1:]
    known = [size for size in wanted or () if size is not None]
    if wanted is None or len(known) < len(wanted):
        raise DataError(
            f"Nothing says how many numbers make a row of {location}.",
            expected="the shape of a row, which this model leaves open",
            fix="Add it, as in: --input-shape 224,224,3",
            exit_code=2,
            location=location,
        )
    return tuple(known)


def refuse_dtype(location: str, kind: str) -> DataError:
    """Return the error for a file that says its dtype itself, given with another one."""
    return DataError(
        f"{location} is {kind}, which says its dtype itself.",
        expected="--input-dtype for files of plain numbers alone",
        fix="Leave out --input-dtype; rows are cast to what the model takes.",
        exit_code=2,
        location=location,
    )

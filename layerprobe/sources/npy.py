"""Rows of an .npy file, or of an array stored uncompressed in an .npz, read by their position.

A memory map would be shorter, and wrong here: mapped pages count as the process's memory until
the system takes them back, and a file cut short while it is mapped ends the process by a signal,
with no message. So NumPy parses the header, and rows are read into fresh memory.

The format is that of NEP 1 and `numpy.lib.format`. Object arrays are pickles, and never unpickled.
"""

from __future__ import annotations

import math
import warnings
from contextlib import ExitStack
from io import FileIO
from pathlib import Path
from tokenize import TokenError
from typing import IO, NamedTuple

import numpy as np
from numpy.lib import format as npy_format

from layerprobe.errors import DataError
from layerprobe.sources.rows import (
    Array,
    DType,
    RowReader,
    Shape,
    aligned_rows,
    check_rows,
    tidy,
)

# What NumPy's reading of a header, which is a Python literal, raises on arbitrary bytes.
_BAD_HEADER = (ValueError, TypeError, SyntaxError, TokenError, RecursionError, MemoryError)
_FORTRAN = (
    "in Fortran order, turned row by row, which is slow: a row lies scattered over the file. "
    "Faster from one in C order: np.save('new.npy', np.ascontiguousarray(np.load('old.npy')))"
)


class Header(NamedTuple):
    """What the header of an .npy says.

    Attributes:
        shape: Rows first.
        dtype: As stored, in the file's byte order.
        fortran: Whether the first index varies fastest in the file.
        size: Bytes of the header, after which the values begin.
    """

    shape: Shape
    dtype: DType
    fortran: bool
    size: int

    @property
    def total(self) -> int:
        """Bytes of header and values."""
        return self.size + math.prod(self.shape) * self.dtype.itemsize


def read_header(location: str, file: IO[bytes]) -> Header:
    """Read the header of a file, or of a member of an archive, that stands at its beginning.

    Raises:
        DataError: It is damaged, of an unknown version, or declares pickled objects (exit code 77).
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a header of Python 2 takes a little longer
            shape, fortran, dtype = _parsed(file)
    except _BAD_HEADER as error:
        raise DataError(
            f"{location} has an NPY header that is damaged or cut short: {tidy(error)}.",
            expected="a header as np.save writes it",
            fix="Copy or write the file again.",
            location=location,
        ) from error
    if dtype.hasobject:
        raise _pickled(location)
    return Header(shape, dtype, fortran, file.tell())


def _parsed(file: IO[bytes]) -> tuple[Shape, bool, DType]:
    version = npy_format.read_magic(file)
    if version == (1, 0):
        return npy_format.read_array_header_1_0(file)
    if version in {(2, 0), (3, 0)}:
        # Version 3 differs from 2 in the encoding of field names only, and fields are refused.
        return npy_format.read_array_header_2_0(file)
    raise ValueError(f"version {version} is not known")


def open_npy(
    location: str, path: Path, key: str | None, *, allow_trailing: bool = False
) -> NpySource:
    """Open an .npy file.

    Raises:
        DataError: It is damaged, cut short, has bytes after its array, or holds no rows of numbers;
            or a name is given, though an .npy holds one array without a name.
    """
    if key is not None:
        raise DataError(
            f"{path} is an NPY file: one array, without a name such as {key!r}.",
            fix=f"Give it as {path}",
            location=location,
        )
    with ExitStack() as stack:
        file = stack.enter_context(FileIO(path))
        header = read_header(location, file)
        found = path.stat().st_size
        check_size(location, header, min(found, header.total) if allow_trailing else found)
        source = NpySource(location, path, file, header)
        stack.pop_all()
    return source


def check_size(location: str, header: Header, found: int) -> None:
    """Raise `DataError` unless it is rows of numbers that take exactly the bytes that are there."""
    check_rows(location, header.shape, header.dtype)
    expected = header.total
    if found == expected:
        return
    if found < expected:
        what = f"{location} is cut short: it has {found:,} bytes."
        fix = "Copy or write the file again."
    else:
        what = f"{location} has {found - expected:,} bytes after its array: {found:,} in all."
        fix = "If the first array is the one that is meant, add --allow-trailing, or save it anew: "
        fix += "np.save('new.npy', np.load('old.npy'))"
    raise DataError(
        what,
        expected=f"{expected:,} bytes, for {header.shape} {header.dtype} as its header says",
        fix=fix,
        location=location,
        expected_bytes=expected,
        found_bytes=found,
    )


class NpySource(RowReader):
    """Rows that lie uncompressed in a file, from some byte on.

    Args:
        location: What the user wrote.
        path: The file.
        file: The same file, open and unbuffered; the source closes it.
        header: What the array's header says.
        base: Where in the file the header begins.
        key: The array's name, inside an .npz.
    """

    def __init__(
        self,
        location: str,
        path: Path,
        file: FileIO,
        header: Header,
        base: int = 0,
        key: str | None = None,
    ) -> None:
        super().__init__(location, path, header.shape, header.dtype, key)
        self._file = file
        self._fortran = header.fortran
        if header.fortran and math.prod(header.shape[1:]) > 1:
            self.layout = "; ".join(filter(None, (self.layout, _FORTRAN)))
        self._values = base + header.size

    def _fetch(self, start: int, stop: int) -> Array:
        try:
            return self._columns(start, stop) if self._fortran else self._rows(start, stop)
        except EOFError as error:
            raise self._unreadable(start, stop, "the file was cut short meanwhile") from error
        except OSError as error:
            raise self._unreadable(start, stop, error.strerror, exit_code=74) from error

    def _rows(self, start: int, stop: int) -> Array:
        rows = aligned_rows((stop - start, *self.shape[1:]), self._stored_dtype)
        self._fill(rows, self._values + start * self._row_bytes)
        return rows

    def _columns(self, start: int, stop: int) -> Array:
        """Read rows of a file in Fortran order, where a row lies scattered over the whole file.

        What lies together is one element of all rows (a column), so each column gives one piece.
        That is a read per element of a row: slower than C order, but right and no more memory.
        """
        width = math.prod(self.shape[1:])
        columns = np.empty((width, stop - start), self._stored_dtype)
        for number, column in enumerate(columns):
            position = number * self.shape[0] + start
            self._fill(column, self._values + position * self.dtype.itemsize)
        return columns.reshape(-1).reshape((stop - start, *self.shape[1:]), order="F")

    def _fill(self, target: Array, position: int) -> None:
        """Read a contiguous array full from a position; a single read may stop early, at 2 GiB."""
        left = target.reshape(-1).view(np.uint8).data
        self._file.seek(position)
        while left:
            count = self._file.readinto(left)
            if not count:
                raise EOFError
            left = left[count:]

    def _release(self) -> None:
        self._file.close()


def _pickled(location: str) -> DataError:
    return DataError(
        f"{location} holds pickled Python objects: a program, which layerprobe never runs.",
        expected="an array of numbers",
        fix="If you made the file yourself, save its numbers anew: "
        "np.save('x.npy', np.load('old.npy', allow_pickle=True).astype('float32'))",
        exit_code=77,
        location=location,
    )

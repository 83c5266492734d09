"""What every source promises, in one place: rows by range, in memory of their own, or an error.

A kind of file adds two things to `RowReader`: how to fetch rows (`_fetch`) and what to release
(`_release`). The promises are kept here so that no kind of file can forget one:

- a dtype or a shape that cannot be rows of numbers is refused before anything is read;
- a range outside the rows is an error, never a shorter answer, as slices of NumPy would give;
- rows come in native byte order, C-contiguous, and never as a view of something that may change;
- whatever goes wrong while reading becomes a `DataError` that names the rows asked for.
"""

from __future__ import annotations

import math
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from layerprobe.errors import DataError

Array = npt.NDArray[Any]
DType = np.dtype[Any]
Shape = tuple[int, ...]

_MAX_RANK = 32  # HDF5's limit, and NumPy's before version 2
_NOT_NUMBERS = {
    "O": "Python objects or values of varying length",
    "S": "text",
    "U": "text",
    "T": "text",
    "V": "records or raw bytes",
    "M": "dates",
    "m": "time differences",
    "c": "complex numbers",
}


def native(dtype: DType) -> DType:
    """Return a dtype in the machine's byte order, without metadata such as HDF5's enum names.

    Example:
        >>> native(np.dtype(">f4")) == np.float32
        True
    """
    return np.dtype(dtype.str).newbyteorder("=")


def fault(shape: Shape, dtype: DType) -> str:
    """Return what keeps an array from being rows of numbers, as the end of a sentence, or "".

    Example:
        >>> fault((0, 3), np.dtype("float32")), fault((2, 3), np.dtype("float32"))
        ('holds 0 rows', '')
    """
    if dtype.kind not in "biuf":
        kind = _NOT_NUMBERS.get(dtype.kind, "something else than numbers")
        return f"holds {kind} (dtype {tidy(dtype, 60)})"
    if not shape:
        return "holds a single number (0-d), not rows"
    if any(size < 0 for size in shape) or len(shape) > _MAX_RANK:
        return f"declares the impossible shape {tidy(shape, 60)}"
    if shape[0] == 0:
        return "holds 0 rows"
    if 0 in shape:
        return f"holds rows without elements (shape {shape})"
    return ""


def check_rows(location: str, shape: Shape, dtype: DType) -> None:
    """Raise `DataError` unless an array of this shape and dtype can be rows of numbers."""
    problem = fault(shape, dtype)
    if problem:
        raise DataError(
            f"{location} {problem}.",
            expected="an array of booleans, integers or floats with at least one row",
            fix="Save the numbers, for example: np.save('x.npy', array.astype('float32'))",
            location=location,
            shape=shape,
            dtype=str(dtype),
        )


def tidy(thing: object, limit: int = 200) -> str:
    """Return one printable line about something that may quote bytes of a file."""
    text = str(thing)
    line = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
    return line if len(line) <= limit else f"{line[:limit]}…"


def aligned_rows(shape: Shape, dtype: DType) -> Array:
    """Return an array of memory that begins where vectors of 64 bytes do, its values as they are.

    Engines take such an array as it is, and copy others.

    Example:
        >>> aligned_rows((2, 3), np.dtype("float32")).ctypes.data % 64
        0
    """
    size = math.prod(shape) * dtype.itemsize
    memory = np.empty(size + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + size].view(dtype).reshape(shape)


class RowReader:
    """Base of all sources: checks, conversion and error messages around `_fetch` and `_release`.

    Attributes:
        location: What the user wrote.
        path: The file, or None for rows from memory, from a stream or from several files.
        key: The array's name inside its file, or None where the file is one array.
        shape: Rows first.
        dtype: In native byte order.
        seekable: Whether rows can be read again and in any order.
        layout: What is done to how the numbers lie in the file, if that is worth a word; else "".
    """

    seekable = True

    def __init__(
        self, location: str, path: Path | None, shape: Shape, dtype: DType, key: str | None = None
    ) -> None:
        check_rows(location, shape, dtype)
        self.location = location
        self.path = path
        self.key = key
        self.shape = shape
        self.dtype = native(dtype)
        self._stored_dtype = dtype
        order = "big" if dtype.byteorder == ">" else "little"
        self.layout = "" if dtype.isnative else f"{order}-endian, turned into this machine's order"
        self._closed = False

    @property
    def _row_bytes(self) -> int:
        return math.prod(self.shape[1:]) * self.dtype.itemsize

    @property
    def files(self) -> tuple[Path, ...]:
        """The files the rows come from."""
        return () if self.path is None else (self.path,)

    def place_of(self, row: int) -> str:
        """Return where a row comes from, if that says more than its number; else ""."""
        del row
        return ""

    def row_ids(self, start: int, stop: int) -> list[str] | None:
        """Return what the rows `start` to `stop` are called, if they have names; else None."""
        del start, stop
        return None

    def read(self, start: int, stop: int) -> Array:
        """Return the rows `start` to `stop` (excluded) as an array of their own.

        Raises:
            DataError: The range does not lie within the rows, the source is closed, or the file is
                damaged, was cut short since it was opened, or cannot be read (exit code 74).
        """
        if self._closed:
            raise DataError(f"{self.location} is closed already.", location=self.location)
        if not 0 <= start <= stop <= self.shape[0]:
            raise DataError(
                f"There are no rows {start} to {stop} in {self.location}.",
                expected=f"a range within its rows, 0 to {self.shape[0]}",
                location=self.location,
                start=start,
                stop=stop,
            )
        try:
            rows = self._fetch(start, stop)
        except MemoryError as error:
            size = (stop - start) * self._row_bytes
            raise DataError(
                f"Rows {start} to {stop} of {self.location} take {size:,} bytes of memory, which "
                "are not there.",
                fix="Read fewer rows at a time, with a smaller --batch-size.",
                location=self.location,
                bytes=size,
            ) from error
        return np.ascontiguousarray(rows, self.dtype)

    def close(self) -> None:
        """Release the file. Closing twice is allowed."""
        if not self._closed:
            self._closed = True
            self._release()

    def _fetch(self, start: int, stop: int) -> Array:
        """Return the rows in an array nobody else holds, in any byte order and memory layout."""
        raise NotImplementedError

    def _release(self) -> None:
        """Close what `_fetch` reads from."""
        raise NotImplementedError

    def _unreadable(
        self, start: int, stop: int, why: object, fix: str = "", exit_code: int = 65
    ) -> DataError:
        return DataError(
            f"Rows {start} to {stop} of {self.location} cannot be read: {tidy(why)}.",
            fix=fix or "Copy or write the file again; layerprobe guesses no rows.",
            exit_code=exit_code,
            location=self.location,
            start=start,
            stop=stop,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

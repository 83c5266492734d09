"""Rows of an .npy that comes through a pipe, read once and in order.

The header says how many rows will come. Fewer are an error when the stream ends, and so is one byte
more: two arrays written one after the other must not become half of the rows.
"""

from __future__ import annotations

import sys
from typing import IO

import numpy as np

from layerprobe.errors import DataError
from layerprobe.sources.npy import Header, read_header
from layerprobe.sources.rows import Array, RowReader, check_rows

NAME = "standard input"

_PIECE = 1 << 20
_MAGIC = b"\x93NUMPY"
_FILES = ((b"PK", "an .npz file"), (b"\x89HDF", "an HDF5 file"), (b"PAR1", "a Parquet file"))


def open_stdin(*, again: bool = False) -> StreamSource:
    """Open the .npy that comes on standard input.

    Args:
        again: Whether its rows will be wanted more than once.

    Raises:
        DataError: They will (exit code 2), or standard input is a terminal or empty (66), or is
            not an .npy.
    """
    if again:
        raise DataError(
            "The input '-' is standard input, which can be read once.",
            expected="a file: every epoch reads all rows again",
            fix="Write it to a file first: cat > x.npy",
            exit_code=2,
        )
    if sys.stdin.isatty():
        raise DataError(
            "The input '-' is standard input, which is a terminal.",
            expected="an .npy file through a pipe",
            fix="Give it as in: layerprobe extract … --input - < x.npy",
            exit_code=66,
        )
    return open_stream(NAME, sys.stdin.buffer)


def open_stream(location: str, file: IO[bytes]) -> StreamSource:
    """Open an .npy in a stream that cannot be moved back.

    Args:
        location: What messages call it.
        file: The stream, at its beginning; the source closes it, unless it is standard input.

    Raises:
        DataError: It is empty (exit code 66), is not an .npy, or its rows lie in columns.
    """
    stream = _Counted(location, file)
    stream.check_kind()
    header = read_header(location, stream)  # type: ignore[arg-type]
    check_rows(location, header.shape, header.dtype)
    if header.fortran and len(header.shape) > 1:
        raise DataError(
            f"{location} is in Fortran order: its first row is complete when all has come.",
            expected="C order",
            fix="Write it with np.save(file, np.ascontiguousarray(array)), or give it as a file.",
            location=location,
        )
    return StreamSource(location, stream, header)


class StreamSource(RowReader):
    """Rows of a stream, each of which can be read once."""

    seekable = False

    def __init__(self, location: str, stream: _Counted, header: Header) -> None:
        super().__init__(location, None, header.shape, header.dtype)
        self._stream = stream
        self._header = header
        self._next = 0

    def _fetch(self, start: int, stop: int) -> Array:
        rows = np.empty((stop - start, *self.shape[1:]), self._stored_dtype)
        if not len(rows):
            return rows
        if start < self._next:
            raise DataError(
                f"Rows {start} to {stop} of {self.location} are past: a stream is read once.",
                expected="a file, where rows are wanted a second time",
                fix="Write the stream to a file first, and give that.",
                location=self.location,
                start=start,
            )
        skipped = (start - self._next) * self._row_bytes
        for at in range(0, skipped, _PIECE):
            self._fill(np.empty(min(_PIECE, skipped - at), np.uint8))
        self._fill(rows)
        self._next = stop
        if stop == self.shape[0] and self._stream.read(1):
            raise DataError(
                f"{self.location} goes on after its {stop:,} rows.",
                expected=f"{self._header.total:,} bytes, as its header says",
                fix="Send one array; np.concatenate makes one of several.",
                location=self.location,
            )
        return rows

    def _fill(self, target: Array) -> None:
        if self._stream.fill(target.reshape(-1).view(np.uint8).data):
            return
        came = self._stream.tell() - self._header.size
        whole = came // self._row_bytes
        raise DataError(
            f"{self.location} ended after {whole:,} of its {self.shape[0]:,} rows.",
            expected=f"{self._header.total:,} bytes, as its header says; "
            f"{self._stream.tell():,} came",
            fix="Look at the program that sends them: it stopped early, or wrote a wrong header.",
            location=self.location,
            row=whole,
        )

    def _release(self) -> None:
        self._stream.close()


class _Counted:
    """A stream that knows how many bytes were read, which a pipe does not."""

    def __init__(self, location: str, file: IO[bytes]) -> None:
        self._location = location
        self._file = file
        self._head = b""  # read to see what comes, and given once more
        self._count = 0

    def check_kind(self) -> None:
        head = bytearray(len(_MAGIC))
        self.fill(memoryview(head))
        self._head, self._count = bytes(head[: self._count]), 0
        if self._head == _MAGIC:
            return
        if not self._head:
            raise DataError(
                f"{self._location} is empty.",
                expected="an .npy file",
                exit_code=66,
                location=self._location,
            )
        other = next((name for start, name in _FILES if self._head.startswith(start)), "")
        raise DataError(
            f"{self._location} is no .npy: it begins with {self._head!r}"
            f"{f', as {other} does' if other else ''}.",
            expected="an .npy file, as np.save writes it",
            fix="Give other files by their name: they are read by position.",
            location=self._location,
        )

    def read(self, size: int) -> bytes:
        head, self._head = self._head[:size], self._head[size:]
        found = head + self._file.read(size - len(head))
        self._count += len(found)
        return found

    def fill(self, target: memoryview) -> bool:
        """Read a buffer full; tell whether there was enough."""
        while target:
            count = self._file.readinto(target)  # type: ignore[attr-defined]
            if not count:
                return False
            self._count += count
            target = target[count:]
        return True

    def tell(self) -> int:
        return self._count

    def close(self) -> None:
        if self._file is not getattr(sys.stdin, "buffer", None):
            self._file.close()

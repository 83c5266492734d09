"""A file, or a part of one, as the HDF5 library may read it.

The library asks for the file's bytes here, so what would keep it busy for ever is seen before it
is. HDF5 1.14 never ends with a global heap (where texts of attributes lie) in which an object
takes no room: the file's bytes say how far to go on, and they may say "nowhere".

Source: the HDF5 File Format Specification 3.0, III.E, "Global Heap".
"""

from __future__ import annotations

import io
from typing import BinaryIO

_HEAP = b"GCOL"
# The size of a number in front of a heap, or of an object in it, is that of lengths in the file; it
# is padded to 8 bytes. The number of an object takes 2 bytes.
_HEAD, _MOST_OBJECTS = 16, 1 << 16


class FileWindow(io.RawIOBase):
    """A part of a file as a file of its own.

    HDF5 seeks a lot and `ZipFile.open` seeks by reading; Keras stores the weights uncompressed, so
    they can be read where they lie: 0.3 s instead of 2.6 s for 100 MB.
    """

    def __init__(self, file: BinaryIO, start: int, size: int) -> None:
        super().__init__()
        self._file, self._start, self._size, self._at = file, start, size, 0

    def readable(self) -> bool:
        """Windows are for reading."""
        return True

    def seekable(self) -> bool:
        """Windows are for seeking."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to an offset inside the window."""
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def tell(self) -> int:
        """Return the offset inside the window."""
        return self._at

    def readinto(self, buffer) -> int:  # type: ignore[no-untyped-def]
        """Fill a buffer from the window.

        Raises:
            OSError: What begins here is a heap that the HDF5 library would never be done with.
        """
        view = memoryview(buffer)[: max(0, self._size - self._at)]
        self._file.seek(self._start + self._at)
        count = self._file.readinto(view)  # type: ignore[attr-defined]
        if bytes(view[: len(_HEAP)]) == _HEAP:
            self._check_heap(self._at)
        self._at += count
        return int(count)

    def _check_heap(self, at: int) -> None:
        end = at + self._number(at + 8)
        at += _HEAD
        for _ in range(_MOST_OBJECTS):
            if end - at < _HEAD:  # no more than a rest, which has no head
                return
            self._file.seek(self._start + at)
            free = self._file.read(2) == b"\0\0"
            size = self._number(at + 8)
            taken = size if free else _HEAD + -(-size // 8) * 8
            if not _HEAD <= taken <= end - at or end > self._size:
                break
            at += taken
        raise OSError(f"the heap at byte {at} is damaged")

    def _number(self, at: int) -> int:
        self._file.seek(self._start + at)
        return int.from_bytes(self._file.read(8), "little")

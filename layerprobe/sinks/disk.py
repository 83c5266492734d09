"""Plain writing to a disk: all of it or an error, and on the disk, not only in memory.

No memory maps: writing to one on a full disk kills the process without a word. Every write counts
what was taken, since a nearly full disk takes a part and says so in the count alone.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from layerprobe.errors import OutputError
from layerprobe.units import in_units

_NO_PREALLOCATION = frozenset({errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP})
_WORTH_A_CALL = 8 << 20  # bytes
_READ_WRITE = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn what the system or HDF5 raises while writing into an OutputError that names `path`."""
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:  # HDF5 raises all three
        # HDF5 hides the system's reason in a long text full of addresses.
        found = re.search(r"errno = (\d+)", str(error))
        number = int(found[1]) if found else getattr(error, "errno", None)
        reason = os.strerror(number) if number else str(error)
        free = _free(path)
        room = "" if free is None else f" ({in_units(free)} free there)"
        raise OutputError(
            f"{path} cannot be written: {reason}{room}.",
            expected="a disk that has room and takes writes",
            fix="Free some space, or write to another disk.",
            path=str(path),
            errno=number,
            free=free,
        ) from error


def check_space(path: str | os.PathLike[str], nbytes: int) -> None:
    """Check that the disk of an output has room for it. Nothing is written.

    Args:
        path: The output, which need not exist; its folder must.
        nbytes: Bytes that will be written.

    Raises:
        OutputError: There is less room than that (exit code 74).

    Example:
        >>> check_space("features.h5", 1_000)  # silent: there is room
    """
    free = free_space(path)
    if free < nbytes:
        raise OutputError(
            f"{os.fspath(path)} needs {in_units(nbytes)}, {in_units(free)} free.",
            fix="Take fewer layers or rows, --dtype float16, or another disk.",
            path=os.fspath(path),
            needed=nbytes,
            free=free,
        )


def free_space(path: str | os.PathLike[str]) -> int:
    """Return the bytes that are free on the disk of an output, whose folder must exist.

    Raises:
        OutputError: The disk does not tell.
    """
    with disk_errors(Path(path)):
        return shutil.disk_usage(Path(path).absolute().parent).free


def check_folder(path: Path) -> None:
    """Check that the folder an output would lie in is there and takes files.

    Raises:
        OutputError: It is missing or not writable (exit code 74).
    """
    parent = path.absolute().parent
    if not parent.is_dir():
        raise OutputError(
            f"{parent} is no folder, so {path} cannot be written.",
            expected="an existing folder",
            fix=f"Make it with: mkdir -p {parent}",
            path=str(path),
        )
    if not os.access(parent, os.W_OK | os.X_OK):
        raise OutputError(
            f"{parent} is not writable, so {path} cannot be written.",
            fix="Change its permissions, or write somewhere else.",
            path=str(path),
        )


class File:
    """An open file: all of what is asked for at a place is written or read, or an error is raised.

    As a context it closes at its end.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, place: int, data: memoryview) -> None:
        """Write bytes at a place; a nearly full disk takes a part and is asked again."""
        while data:
            count = _pwrite(self._descriptor, data, place)
            data, place = data[count:], place + count

    def begin_writing(self, place: int, count: int) -> None:
        """Let the system begin to bring a part of the file to the disk, without waiting for it.

        That promises nothing, but a sync that comes later finds less to do.
        """
        _begin_writing(self._descriptor, place, count)

    def read(self, place: int, into: memoryview) -> None:
        """Read bytes from a place.

        Raises:
            OSError: The file ends before.
        """
        while into:
            found = _pread(self._descriptor, len(into), place)
            if not found:
                raise OSError(errno.EIO, "it is cut short")
            into[: len(found)] = found
            into, place = into[len(found) :], place + len(found)

    def resize(self, size: int) -> None:
        """Cut the file, or let it grow, if it has another size."""
        if os.fstat(self._descriptor).st_size != size:
            os.ftruncate(self._descriptor, size)

    def sync(self) -> None:
        """Bring what was written to the disk. After a failure the bytes are lost: never again."""
        os.fsync(self._descriptor)

    def close(self) -> None:
        """Close it; calling it again does nothing."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Beginner:
    """Lets the system begin with what was written in order, 8 MiB at a time."""

    def __init__(self) -> None:
        self._begin = self._end = 0

    def wrote(self, file: File, place: int, count: int) -> None:
        """Take note of some bytes that were written to a file."""
        if place < self._end:
            self._begin = place
        self._end = place + count
        if self._end - self._begin >= _WORTH_A_CALL:
            file.begin_writing(self._begin, self._end - self._begin)
            self._begin = self._end


def open_file(path: Path) -> File:
    """Open a file that exists, for reading and writing."""
    return File(os.open(path, _READ_WRITE))


def create(path: Path, nbytes: int, head: bytes = b"") -> None:
    """Make a file of `nbytes` bytes that begins with `head` and has its room on the disk.

    Raises:
        OSError: It exists, or there is no room.
    """
    descriptor = os.open(path, _READ_WRITE | os.O_CREAT | os.O_EXCL, 0o666)
    with File(descriptor) as file:
        _allocate(descriptor, nbytes)
        file.write(0, memoryview(head))


def replace_content(path: Path, content: bytes) -> None:
    """Write a small file in place: its old text keeps its room until the new one has it."""
    with File(os.open(path, _READ_WRITE | os.O_CREAT, 0o666)) as file:
        file.write(0, memoryview(content))
        file.resize(len(content))
        file.sync()


def sync(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk."""
    if sys.platform == "win32":  # knows no sync of folders, and of files only when open for writing
        if path.is_dir():
            return
        descriptor = os.open(path, os.O_RDWR)
    else:
        descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems cannot sync a folder; a file that cannot be synced is a failure.
        if not path.is_dir() or error.errno != errno.EINVAL:
            raise
    finally:
        os.close(descriptor)


def _allocate(descriptor: int, nbytes: int) -> None:
    if nbytes and hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(descriptor, 0, nbytes)
        except OSError as error:
            if error.errno not in _NO_PREALLOCATION:
                raise
        else:
            return
    os.ftruncate(descriptor, nbytes)


if sys.platform == "win32":

    def _pwrite(descriptor: int, data: memoryview, place: int) -> int:
        os.lseek(descriptor, place, os.SEEK_SET)
        return os.write(descriptor, data)

    def _pread(descriptor: int, count: int, place: int) -> bytes:
        os.lseek(descriptor, place, os.SEEK_SET)
        return os.read(descriptor, count)

else:

    def _pwrite(descriptor: int, data: memoryview, place: int) -> int:
        return os.pwrite(descriptor, data, place)

    def _pread(descriptor: int, count: int, place: int) -> bytes:
        return os.pread(descriptor, count, place)


def _writer() -> Callable[[int, int, int], object]:
    """Return what `File.begin_writing` calls: the system's own call, or nothing."""
    try:
        call = ctypes.CDLL(None).sync_file_range  # Linux alone has it
    except (AttributeError, OSError, TypeError):
        return lambda *_: None
    call.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return lambda descriptor, place, count: call(descriptor, place, count, _START_WRITING)


_START_WRITING = 2  # SYNC_FILE_RANGE_WRITE
_begin_writing = _writer()


def _free(path: Path) -> int | None:
    with suppress(OSError):
        return shutil.disk_usage(path.absolute().parent).free
    return None

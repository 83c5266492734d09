"""Plain writing to a disk: all of it or an error, and on the disk, not only in memory.

No memory maps: writing to one on a full disk kills the process without a word. Every write counts
what was taken, since a nearly full disk takes a part and says so in the count alone.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from layerprobe.errors import OutputError

_NO_PREALLOCATION = frozenset({errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP})
_WRITE = os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


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
        raise OutputError(
            f"{path} cannot be written: {reason}.",
            expected="a disk that has room and takes writes",
            fix="Free some space, or write to another disk.",
            path=str(path),
            errno=number,
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
    with disk_errors(Path(path)):
        free = shutil.disk_usage(Path(path).absolute().parent).free
    if free < nbytes:
        raise OutputError(
            f"{os.fspath(path)} needs {_readable(nbytes)}, {_readable(free)} free.",
            fix="Take fewer layers or rows, --dtype float16, or another disk.",
            path=os.fspath(path),
            needed=nbytes,
            free=free,
        )


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


def create(path: Path, nbytes: int, head: bytes = b"") -> None:
    """Make a file of `nbytes` bytes that begins with `head` and has its room on the disk.

    Raises:
        OSError: It exists, or there is no room.
    """
    descriptor = os.open(path, _WRITE | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        _allocate(descriptor, nbytes)
        _write_all(descriptor, memoryview(head))
    finally:
        os.close(descriptor)


def write_at(path: Path, offset: int, data: memoryview) -> None:
    """Write bytes into a file that exists; no file stays open, however many an output has."""
    descriptor = os.open(path, _WRITE)
    try:
        os.lseek(descriptor, offset, os.SEEK_SET)
        _write_all(descriptor, data)
    finally:
        os.close(descriptor)


def replace_content(path: Path, content: bytes) -> None:
    """Write a small file in place: its old text keeps its room until the new one has it."""
    descriptor = os.open(path, _WRITE | os.O_CREAT, 0o666)
    try:
        _write_all(descriptor, memoryview(content))
        os.ftruncate(descriptor, len(content))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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


def _write_all(descriptor: int, data: memoryview) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _readable(nbytes: float) -> str:
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if nbytes < 1000:
            return f"{nbytes:.0f} B" if unit == "B" else f"{nbytes:.1f} {unit}"
        nbytes /= 1000
    return f"{nbytes:.1f} PB"

"""The lock of an output: one writer at a time, and no trace of a dead one.

The lock is the operating system's on an open file, so it ends with its process however that ends; a
lock file that a killed run left behind stops nobody. It is taken before any output is opened, since
opening for writing already truncates. Files called "*.lock" belong to many tools: one that is not
ours is neither changed nor removed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket
import sys
from pathlib import Path

from layerprobe.errors import OutputError

_MARK = "layerprobe lock"
_NO_LOCKS_HERE = frozenset({errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP})
_FLAGS = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)

if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        # A locked byte cannot be read by others on Windows: lock one far behind the text.
        os.lseek(descriptor, 1 << 30, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            raise BlockingIOError from error

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


class Lock:
    """The exclusive right to write one output, held until `release`.

    Args:
        path: The lock file. It is made, filled with the process id, and removed at the end.
        output: The output it stands for, named in messages.

    Raises:
        OutputError: Another process holds it (exit code 75), or a file that is no lock of ours has
            this name (exit code 2).
        OSError: The file cannot be made.
    """

    def __init__(self, path: Path, output: Path) -> None:
        self._path = path
        self._output = output
        self._descriptor: int | None = self._acquire()

    def release(self) -> None:
        """Remove the lock file and let go; calling it again does nothing."""
        if self._descriptor is None:
            return
        # Removed while it is still held: whoever opened it before sees that it is gone (`_is_at`).
        with contextlib.suppress(OSError):
            self._path.unlink()
        os.close(self._descriptor)
        self._descriptor = None
        if sys.platform == "win32":  # which refuses to remove an open file
            with contextlib.suppress(OSError):
                self._path.unlink()

    def _acquire(self) -> int:
        while True:
            descriptor, made = self._open()
            try:
                self._try_lock(descriptor, made=made)
                if _is_at(descriptor, self._path):
                    text = f"{_MARK} pid {os.getpid()} host {socket.gethostname()}\n"
                    os.ftruncate(descriptor, 0)
                    os.lseek(descriptor, 0, os.SEEK_SET)
                    os.write(descriptor, text.encode())
                    return descriptor
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)

    def _open(self) -> tuple[int, bool]:
        try:
            return os.open(self._path, _FLAGS | os.O_EXCL, 0o666), True
        except FileExistsError:
            return os.open(self._path, _FLAGS, 0o666), False

    def _try_lock(self, descriptor: int, *, made: bool) -> None:
        text = os.read(descriptor, 4096).decode("utf-8", "replace")
        if text and not text.startswith(_MARK):
            raise OutputError(
                f"{self._path} is needed to lock {self._output}, and is a file of something else.",
                fix="Give the output another name.",
                exit_code=2,
                path=str(self._output),
                lock=str(self._path),
            )
        try:
            _lock(descriptor)
        except BlockingIOError as error:
            raise self._held(text, "Wait until it ends, or give another name.") from error
        except OSError as error:
            if error.errno not in _NO_LOCKS_HERE:
                raise
            # Some network file systems know no locks: there the mere file is the lock.
            if not made:
                raise self._held(text, f"If that run is dead, remove {self._path}.") from error

    def _held(self, text: str, fix: str) -> OutputError:
        found = re.search(r"pid (\d+) host (\S+)", text)
        holder = f"process {found[1]} on {found[2]}" if found else "another process"
        return OutputError(
            f"{self._output} is being written by {holder}.",
            expected="one writer at a time",
            fix=fix,
            exit_code=75,
            path=str(self._output),
            pid=int(found[1]) if found else None,
        )


def may_be_held(path: Path) -> bool:
    """Tell whether a lock file is there whose process may still live; nothing is changed."""
    try:
        text = path.read_text("utf-8", "replace")
    except OSError:
        return False
    found = re.search(r"pid (\d+) host (\S+)", text)
    if found is None or found[2] != socket.gethostname() or sys.platform == "win32":
        return True
    try:
        os.kill(int(found[1]), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    """Tell whether a locked file still has its name: its last holder may just have removed it."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False

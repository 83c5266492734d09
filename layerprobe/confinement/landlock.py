"""Landlock: a Linux process gives up, for good, what it need not open.

The kernel then refuses every other file and every TCP connection to this process and to all that
it starts, whatever code runs in it. It needs no privilege, and cannot be undone.

The rules are those of the thread that asks for them and of threads and processes that it starts
later; threads that run already keep theirs. So this comes before an engine is loaded.

Source: the kernel's own description, Documentation/userspace-api/landlock.rst.
"""

from __future__ import annotations

import ctypes
import os
import stat
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

# The numbers of the three system calls are the same on every architecture that CPython runs on.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_ASK_VERSION, _PATH_BENEATH = 1, 1

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REMOVE_DIR, _REMOVE_FILE, _MAKE_DIR, _MAKE_REGULAR = 1 << 4, 1 << 5, 1 << 7, 1 << 8
_TRUNCATE, _DEVICE_CONTROL = 1 << 14, 1 << 15
_ANY_TCP, _ANY_SCOPE = 0b11, 0b11

LIST = _READ_DIR
READ = _READ_FILE | _READ_DIR
RUN = _EXECUTE | _READ_FILE
WRITE = (
    READ | _WRITE_FILE | _TRUNCATE | _REMOVE_FILE | _REMOVE_DIR | _MAKE_DIR | _MAKE_REGULAR
)  # and no links, sockets or devices
DEVICE = READ | _WRITE_FILE | _DEVICE_CONTROL
_FOR_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _DEVICE_CONTROL


class _Ruleset(ctypes.Structure):
    _fields_ = (
        ("files", ctypes.c_uint64),
        ("network", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"  # Python 3.14 asks for it beside _pack_
    _fields_ = (("allowed", ctypes.c_uint64), ("folder", ctypes.c_int32))


def version() -> int:
    """Return the version of Landlock that the running kernel has, or 0 where it has none."""
    if sys.platform != "linux":
        return 0
    try:
        return _syscall(_CREATE_RULESET, None, 0, _ASK_VERSION)
    except OSError:  # not built in, not switched on, or hidden by a container
        return 0


def restrict(allowed: Mapping[Path, int], found: int) -> None:
    """Give up all files but these, TCP, and signals to processes outside.

    `privileges.forgo` comes first; the kernel asks for it.

    Args:
        allowed: What may be done with a file, or with everything below a folder: LIST, READ, RUN,
            WRITE or DEVICE. Paths that do not exist are passed over.
        found: What `version` returned; older kernels know fewer kinds of access.

    Raises:
        OSError: The kernel refuses.
    """
    handled = _known_rights(found)
    ruleset = _Ruleset(handled, _ANY_TCP, _ANY_SCOPE)
    size = 8 if found < 4 else 16 if found < 6 else 24
    descriptor = _syscall(_CREATE_RULESET, ctypes.byref(ruleset), size, 0)
    try:
        for path, rights in allowed.items():
            _allow(descriptor, path, rights & handled)
        _syscall(_RESTRICT_SELF, descriptor, 0)
    finally:
        os.close(descriptor)


def allowed_on(paths: Iterable[Path], rights: int) -> dict[Path, int]:
    """Return the same rights for some paths."""
    return dict.fromkeys(paths, rights)


def _known_rights(found: int) -> int:
    if found < 2:
        bits = 13
    elif found < 3:
        bits = 14
    else:
        bits = 15 if found < 5 else 16
    return (1 << bits) - 1


def _allow(ruleset: int, path: Path, rights: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            rights &= _FOR_FILES
        rule = _PathBeneath(rights, descriptor)
        _syscall(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(rule), 0)
    finally:
        os.close(descriptor)


def _syscall(number: int, *arguments: object) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    given = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    result = int(libc.syscall(ctypes.c_long(number), *given))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result

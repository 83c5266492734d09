"""How much memory this process has taken, and may take."""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress
from pathlib import Path

_MMAP_THRESHOLD, _ARENA_MAX = -3, -8  # of glibc's mallopt
_LARGE = 4 << 20


def peak_memory() -> int | None:
    """Return the most bytes that this process has held so far; None if the system does not tell.

    Example:
        >>> (peak_memory() or 1) > 0
        True
    """
    # Linux counts in getrusage() what the process that started this one had held, too.
    with suppress(OSError, ValueError, IndexError):
        return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) * 1024
    if sys.platform == "win32":
        return None
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def held_memory() -> int | None:
    """Return the bytes that this process holds now, as the limit of memory counts them.

    That is without what it has mapped of files. The most that it has held so far, where the system
    does not tell more; None where it tells nothing.
    """
    with suppress(OSError, ValueError, IndexError):
        _, resident, shared = Path("/proc/self/statm").read_text().split()[:3]
        return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")
    return peak_memory()


def give_back_freed() -> None:
    """Let what is freed go back to the system at once, if it is large, from here on.

    The C library of Linux keeps freed pieces of up to 32 MiB, for later ones; where threads take
    and free results of that size by turns, what it keeps can be several times what is in use.
    """
    _set_malloc(_MMAP_THRESHOLD, _LARGE)


def share_freed() -> None:
    """Let all threads that start from here on take from one heap what any of them freed.

    The C library of Linux gives each thread a heap of its own, up to eight a processor, and each
    keeps room for the most that it ever held. Rows are taken by one thread and freed by another, so
    that this can be several times what is in use. What the user has said about it stays.
    """
    if "MALLOC_ARENA_MAX" not in os.environ and "GLIBC_TUNABLES" not in os.environ:
        _set_malloc(_ARENA_MAX, 1)


def _set_malloc(parameter: int, value: int) -> None:
    if sys.platform == "linux":
        with suppress(AttributeError, OSError):  # a C library without it
            ctypes.CDLL(None).mallopt(parameter, value)


def machine_memory() -> int | None:
    """Return the bytes that this process may have: the machine's, or what its group is given."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # a system that does not tell
        return None
    for file in ("memory.max", "memory/memory.limit_in_bytes"):
        with suppress(OSError, ValueError):
            total = min(total, int(Path("/sys/fs/cgroup", file).read_text()))
    return total


def default_memory() -> int | None:
    """Return the bytes that a run may hold where nothing is said: nine tenths of all."""
    total = machine_memory()
    return None if total is None else total * 9 // 10

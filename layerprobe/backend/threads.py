"""How many threads an engine may use: the user's number checked, the machine's CPUs and cores."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from layerprobe.errors import BackendError

_MOST = 1024  # more is a slip of the finger, and starting them would take the machine down
_SYSTEM = Path("/sys/devices/system/cpu")


def check_threads(threads: int | None) -> None:
    """Make sure that a number of threads is one, or None.

    Raises:
        BackendError: It is not a whole number from 1 to 1024.
    """
    whole = isinstance(threads, int) and not isinstance(threads, bool)
    if threads is None or (whole and 1 <= threads <= _MOST):
        return
    raise BackendError(
        f"The number of threads is {threads!r}.",
        expected=f"1 to {_MOST}",
        exit_code=2,
        threads=threads,
    )


def cpus() -> set[int]:
    """Return the numbers of the CPUs this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


# Those it started with: a process that has given some up may take them back.
_FIRST = sorted(cpus())


def keep_to_cpus(count: int) -> None:
    """Keep this process to a number of the CPUs it started with, or to all if they are fewer.

    Raises:
        BackendError: The system has no way to do it.
    """
    if not hasattr(os, "sched_setaffinity"):
        raise BackendError(
            "A process cannot be kept to some CPUs on this system.",
            fix="Leave the number of threads away, or take another engine.",
            threads=count,
        )
    # Two processes with one thread each should not meet on one CPU.
    first = os.getpid() % len(_FIRST)
    chosen = [*_FIRST[first:], *_FIRST[:first]][:count]
    # An affinity is a thread's own: those that libraries have started already need it too.
    tasks = Path("/proc/self/task")
    for task in tasks.iterdir() if tasks.is_dir() else [Path("0")]:
        with suppress(ProcessLookupError):  # it has ended meanwhile
            os.sched_setaffinity(int(task.name), chosen)


def cores() -> int:
    """Return how many physical cores this process may run on.

    CPUs that share a core count once; where the system does not tell, each counts.
    """
    return len({_siblings(cpu) for cpu in cpus()})


def _siblings(cpu: int) -> str:
    try:
        return (_SYSTEM / f"cpu{cpu}" / "topology" / "thread_siblings_list").read_text()
    except OSError:
        return str(cpu)

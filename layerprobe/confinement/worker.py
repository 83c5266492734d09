"""The work in a process of its own, watched by the one that the user started.

The watcher sleeps nearly all of the time. It keeps an eye on the memory that the work takes and on
the time that a model takes to load, passes signals on, removes the private folder however the work
ends, and says in words what became of it: a process that the system kills for its memory, or that
crashes in an engine, cannot speak for itself. It has a process of its own because code that hangs
or crashes takes all threads along.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, NoReturn

from layerprobe.confinement import private_folders
from layerprobe.units import in_units

_TICK = 0.05
_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT,
              signal.SIGUSR1, signal.SIGUSR2)  # fmt: skip
_FROM_KERNEL = 0x80  # SI_KERNEL: a key on the terminal, which all processes in front hear
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG
_EXIT = 70
_loaded: int | None = None


class Limits(NamedTuple):
    """How much the work may take.

    Attributes:
        memory: Bytes of memory of its own that it may hold; None for any number.
        load_seconds: How long it may take until `loaded` is called; None for any time.
    """

    memory: int | None = None
    load_seconds: float | None = None


def loaded() -> None:
    """Tell the watcher that the model is loaded; without a watcher, or again, nothing happens."""
    global _loaded  # noqa: PLW0603 - a process has one watcher
    if _loaded is not None:
        with contextlib.suppress(OSError):
            os.write(_loaded, b".")
            os.close(_loaded)
        _loaded = None


def go_on_apart(limits: Limits, *, home: bool, say: Callable[[str], None]) -> None:
    """Go on in a new process; the old one watches it and never returns.

    Args:
        limits: What the new one may take.
        home: Whether the new one gets a home folder of its own, beside a temporary folder.
        say: How the watcher tells what became of the work.
    """
    global _loaded  # noqa: PLW0603
    folder = Path(tempfile.mkdtemp(prefix="layerprobe-"))
    heard, told = os.pipe()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # where it is ignored, no end can be heard of
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {*_FORWARDED, signal.SIGCHLD})
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(_EXIT)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.close(heard)
        _loaded = told
        private_folders(folder, home=home)
        return
    os.close(told)
    try:
        code, message = _Watch(child, heard, limits).until_its_end()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if message:
        say(message)
    _end(code)


@dataclass
class _Watch:
    """A process under watch."""

    child: int
    heard: int
    limits: Limits

    def until_its_end(self) -> tuple[int, str]:
        """Return the exit code, negative for a signal, and what there is to say about it."""
        os.set_blocking(self.heard, False)
        deadline = None
        if self.limits.load_seconds is not None:
            deadline = time.monotonic() + self.limits.load_seconds
        while True:
            found = signal.sigtimedwait({*_FORWARDED, signal.SIGCHLD}, _TICK)
            if found is not None and found.si_signo != signal.SIGCHLD:
                # What the terminal sends goes to the child by itself.
                if found.si_code != _FROM_KERNEL:
                    os.kill(self.child, found.si_signo)
                continue
            pid, status, used = os.wait4(self.child, os.WNOHANG)
            if pid:
                return _told(os.waitstatus_to_exitcode(status), used.ru_maxrss * 1024)
            if deadline is not None and self._has_loaded():
                deadline = None
            if deadline is not None and time.monotonic() > deadline:
                return self._stopped(
                    f"The model was not loaded within {self.limits.load_seconds:g} seconds.\n"
                    "Expected: an end within --load-timeout.\n"
                    "Give it more seconds, if the model is that large."
                )
            memory = self._memory()
            if self.limits.memory is not None and memory > self.limits.memory:
                return self._stopped(
                    f"The work took {in_units(memory)} of memory and was stopped.\n"
                    f"Expected: at most {in_units(self.limits.memory)}.\n"
                    "Take a smaller --batch-size or fewer layers, or raise --max-memory."
                )

    def _memory(self) -> int:
        """Return the bytes that the child holds: not what it has mapped of files."""
        with contextlib.suppress(OSError, ValueError, IndexError):
            _, resident, shared = Path(f"/proc/{self.child}/statm").read_text().split()[:3]
            return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")
        return 0

    def _has_loaded(self) -> bool:
        try:
            return os.read(self.heard, 1) == b"."
        except BlockingIOError:
            return False

    def _stopped(self, message: str) -> tuple[int, str]:
        os.kill(self.child, signal.SIGKILL)
        os.waitpid(self.child, 0)
        return _EXIT, message


def _told(code: int, peak: int) -> tuple[int, str]:
    took = f"it held {in_units(peak)} of memory"
    if code == -signal.SIGKILL:
        return _EXIT, (
            f"The work was killed from outside; {took}.\n"
            "The usual reason is that the system ran out of memory.\n"
            "Take a smaller --batch-size or fewer layers."
        )
    crashes = (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGFPE, signal.SIGILL)
    if code < 0 and -code in crashes:
        return _EXIT, (
            f"The engine crashed ({signal.Signals(-code).name}); {took}.\n"
            "Try another engine with --backend, or a smaller --batch-size."
        )
    return code, ""


def _end(code: int) -> NoReturn:
    """End as the work ended: with its exit code, or by its signal."""
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {-code})
        os.kill(os.getpid(), -code)
    sys.exit(code if code >= 0 else 128 - code)

"""Ctrl-C while an engine is being loaded, and signals that end a run in order.

Python turns SIGINT into one KeyboardInterrupt, wherever the program is. Frameworks do not stand
that while they are imported and build a model: in some places they catch everything, so that a run
of hours would go on as if nobody had pressed a key, and in others they crash. Nothing has been
written by then, so the process can simply end. Later, rows have been: there a signal only asks, and
the run stops after its batch, makes its rows safe, and says how to go on.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from types import FrameType
from typing import Any, Self

EXIT_CODE = 130  # 128 and the number of SIGINT, as shells say it
MESSAGE = "interrupted; no output was written."


class EndOnInterrupt:
    """A context, up to its `over`, in which SIGINT ends the process at once.

    After that SIGINT is a KeyboardInterrupt again. Where it is not Python's own to begin with, as
    in background jobs of a shell, nothing is changed.

    Args:
        message: What to print on stderr then; also if stderr is redirected in the meantime.
    """

    def __init__(self, message: str) -> None:
        self._message = message
        self._stderr: int | None = None
        self._ours = False

    def over(self) -> None:
        """Give SIGINT back to Python; calling it again does nothing."""
        if self._ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            self._ours = False
        if self._stderr is not None:
            os.close(self._stderr)
            self._stderr = None

    def __enter__(self) -> Self:
        self._ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if self._ours:
            with suppress(OSError):  # stderr may be closed
                self._stderr = os.dup(2)
            signal.signal(signal.SIGINT, self._end)
        return self

    def __exit__(self, *_: object) -> None:
        self.over()

    def _end(self, *_: object) -> None:
        if self._stderr is not None:
            with suppress(OSError):
                os.write(self._stderr, self._message.encode())
        os._exit(EXIT_CODE)


class Stopped(KeyboardInterrupt):
    """A run was asked to stop, by a signal.

    Attributes:
        exit_code: 128 and the number of the signal, as shells say it.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


class StopOnSignal:
    """A context in which Ctrl-C, SIGTERM and SIGHUP only ask, until `check` is called.

    A second Ctrl-C ends the process at once. Signals that somebody else handles, or that are
    ignored as in `nohup`, are left alone.
    """

    def __init__(self) -> None:
        self._asked: int | None = None
        self._before: dict[int, Any] = {}

    def start(self) -> None:
        """Take over the signals; calling it again does nothing."""
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)  # Windows has no SIGHUP
            usual = (signal.SIG_DFL, signal.default_int_handler)
            if number is not None and signal.getsignal(number) in usual:
                self._before[number] = signal.signal(number, self._ask)

    def check(self) -> None:
        """Raise Stopped if a signal has come."""
        if self._asked is not None:
            raise Stopped(self._asked)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
        self._before.clear()

    def _ask(self, number: int, _: FrameType | None) -> None:
        if self._asked is not None and number == signal.SIGINT:
            os._exit(EXIT_CODE)
        self._asked = number

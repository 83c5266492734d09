"""Where the time of a run goes: how long each stage works, and how long computing waits for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import ParamSpec, TypeVar

T = TypeVar("T")
P = ParamSpec("P")


@dataclass
class Times:
    """Seconds of a run, by what they were spent on.

    Reading, computing and writing run side by side, so the first three together may be more than
    the run took; the two kinds of waiting are part of no other.

    Attributes:
        read: Reading, checking and casting rows.
        compute: In the engine.
        write: Bringing results to the disk, with checksums and counts.
        wait_read: Nothing to compute, as rows were still being read.
        wait_write: Nothing computed, as the results before were still being written.
    """

    read: float = 0.0
    compute: float = 0.0
    write: float = 0.0
    wait_read: float = 0.0
    wait_write: float = 0.0

    @contextmanager
    def spent(self, on: str) -> Iterator[None]:
        """Add the seconds of a block of code. Each name is for one thread at a time."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self._add(on, began)

    def each(self, on: str, items: Iterable[T]) -> Iterator[T]:
        """Yield some items, and add the seconds that it takes to get them."""
        iterator = iter(items)
        while True:
            began = time.perf_counter()
            try:
                item = next(iterator)
            except StopIteration:
                return
            finally:
                self._add(on, began)
            yield item

    def of(self, on: str, work: Callable[P, T]) -> Callable[P, T]:
        """Return what does some work and adds its seconds."""

        def timed(*given: P.args, **named: P.kwargs) -> T:
            began = time.perf_counter()
            try:
                return work(*given, **named)
            finally:
                self._add(on, began)

        return timed

    def _add(self, on: str, began: float) -> None:
        setattr(self, on, getattr(self, on) + time.perf_counter() - began)

    def to_json(self) -> dict[str, float]:
        """Return the seconds by name."""
        return {name: round(seconds, 3) for name, seconds in asdict(self).items()}

    def __str__(self) -> str:
        """Return them in one line for people.

        Example:
            >>> print(Times(0.25, 2.0, 0.5, 0.0, 0.125))
            computed 2.00 s, read 0.25 s, wrote 0.50 s; waited 0.00 s for rows, 0.12 s for the disk
        """
        return (
            f"computed {self.compute:.2f} s, read {self.read:.2f} s, wrote {self.write:.2f} s; "
            f"waited {self.wait_read:.2f} s for rows, {self.wait_write:.2f} s for the disk"
        )

"""Three stages side by side: read ahead, compute, write behind.

Reading and writing have a thread each, and hold one block of rows at a time: so many that handing
them from thread to thread costs nothing beside working on them, so few that memory stays small.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self, TypeVar

T = TypeVar("T")
R = TypeVar("R")

_BLOCK_BYTES = 1 << 20  # of inputs and outputs together


def blocks(rows: tuple[int, int], size: int, row_bytes: int) -> list[tuple[int, int]]:
    """Divide rows into blocks of whole batches, of about 1 MiB each.

    Args:
        rows: The first row, and the one after the last.
        size: Rows a batch.
        row_bytes: Bytes of one row of all inputs and outputs.

    Example:
        >>> blocks((5, 101), 32, 10**6), blocks((0, 3000), 32, 1000)
        ([(5, 37), (37, 69), (69, 101)], [(0, 1024), (1024, 2048), (2048, 3000)])
    """
    start, stop = rows
    step = max(1, _BLOCK_BYTES // max(1, row_bytes * size)) * size
    return [(at, min(at + step, stop)) for at in range(start, stop, step)]


def ahead(work: Callable[[T], R], items: Iterable[T]) -> Iterator[tuple[T, R]]:
    """Yield each item with the result of work on it, which runs while the last one is used.

    What the work raises is raised when its turn comes.
    """
    with ThreadPoolExecutor(1) as thread:
        waiting: tuple[T, Future[R]] | None = None
        for item in items:
            following = thread.submit(work, item)
            if waiting is not None:
                yield waiting[0], waiting[1].result()
            waiting = item, following
        if waiting is not None:
            yield waiting[0], waiting[1].result()


class Behind:
    """Work that is done in its order while the caller goes on, one piece at a time.

    As a context it ends when all work has, with what that raised.

    Args:
        work: What to call with each piece.
    """

    def __init__(self, work: Callable[..., None]) -> None:
        self._work = work
        self._thread = ThreadPoolExecutor(1)
        self._running: Future[None] | None = None

    def __call__(self, *piece: Any) -> None:
        """Wait for the piece before, raise what it raised, and start on this one."""
        self.wait()
        self._running = self._thread.submit(self._work, *piece)

    def wait(self) -> None:
        """Wait for the last piece, and raise what it raised."""
        running, self._running = self._running, None
        if running is not None:
            running.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self.wait()
        finally:
            self._thread.shutdown()

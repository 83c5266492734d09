"""Three stages side by side: read ahead, compute, write behind.

Reading and writing have a thread each, and are handed blocks of rows: so large that handing them
over costs nothing beside working on them, and so few that memory stays small.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self, TypeVar

T = TypeVar("T")
R = TypeVar("R")

_BLOCK_BYTES = 1 << 20  # of inputs and outputs together
_RESULT_BYTES = 16 << 20  # of one read
_WAITING_BYTES = 8 << 20
_MOST_READS = 4


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
    step = _rows_a_block(size, row_bytes)
    return [(at, min(at + step, stop)) for at in range(start, stop, step)]


def reads(
    rows: tuple[int, int], size: int, input_bytes: int, row_bytes: int
) -> list[tuple[int, int]]:
    """Divide rows into what is read at once: about 1 MiB of inputs, or what becomes 16 MiB.

    Where rows are small beside what becomes of them, that is several blocks: each read wakes a
    thread, which takes the time of a small batch.

    Args:
        rows: The first row, and the one after the last.
        size: Rows a batch.
        input_bytes: Bytes of one row of all inputs.
        row_bytes: Bytes of one row of all inputs and outputs.

    Example:
        >>> reads((0, 600), 32, 64, 65_536), reads((0, 64), 32, 50_000, 65_536)
        ([(0, 256), (256, 512), (512, 600)], [(0, 32), (32, 64)])
    """
    return blocks(rows, size, max(input_bytes, row_bytes * _BLOCK_BYTES // _RESULT_BYTES))


def reads_ahead(read_bytes: int) -> int:
    """Return how many reads of so many bytes may wait: 8 MiB of them, and four are enough.

    Where there are more threads than processors, a reader that is only one read ahead is late now
    and then.

    Example:
        >>> reads_ahead(1 << 20), reads_ahead(10**9)
        (4, 1)
    """
    return min(_MOST_READS, _that_may_wait(read_bytes))


def ahead(work: Callable[[T], R], items: Iterable[T], depth: int = 1) -> Iterator[tuple[T, R]]:
    """Yield each item with the result of work on it, which runs while the last one is used.

    What the work raises is raised when its turn comes.

    Args:
        work: What to call with each item, in a thread.
        items: In their order.
        depth: How many results may wait or be worked on while the last one is used.
    """
    for item, result in started(work, items, threads=1, depth=depth):
        yield item, result()


def started(
    work: Callable[[T], R], items: Iterable[T], threads: int, depth: int
) -> Iterator[tuple[T, Callable[[], R]]]:
    """Yield each item with what waits for the result of work on it, or raises what that raised.

    Args:
        work: What to call with each item.
        items: In their order; each is asked for when there is room for it.
        threads: How many are worked on side by side.
        depth: How many may wait or be worked on while the last one is used.
    """
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[tuple[T, Future[R]]] = deque()
        for item in items:
            waiting.append((item, pool.submit(work, item)))
            if len(waiting) > depth:
                first, future = waiting.popleft()
                yield first, future.result
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result


class Behind:
    """Work that is done in its order while the caller goes on, some pieces behind.

    As a context it ends when all work has, with what that raised. After a piece that failed, none
    that waits is begun.

    Args:
        work: What to call with each piece.
        depth: How many pieces may wait or be worked on before the caller waits.
    """

    def __init__(self, work: Callable[..., None], depth: int = 1) -> None:
        self._work = work
        self._depth = depth
        self._thread = ThreadPoolExecutor(1)
        self._running: deque[Future[None]] = deque()
        self._failed = False

    def __call__(self, *piece: Any) -> None:
        """Hand over a piece, when there is room for it; raise what an earlier one raised."""
        while self._running and (len(self._running) >= self._depth or self._running[0].done()):
            self._running.popleft().result()
        self._running.append(self._thread.submit(self._do, piece))

    def wait(self) -> None:
        """Wait for the last piece, and raise what one raised."""
        while self._running:
            self._running.popleft().result()

    def _do(self, piece: tuple[Any, ...]) -> None:
        if self._failed:
            return
        try:
            self._work(*piece)
        except BaseException:
            self._failed = True
            raise

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


def waiting_blocks(size: int, row_bytes: int) -> int:
    """Return how many blocks may wait to be written: 8 MiB of them.

    While the disk settles what it was given, a stage that could hand over only one block would
    stand still.

    Args:
        size: Rows a batch.
        row_bytes: Bytes of one row of all inputs and outputs.

    Example:
        >>> waiting_blocks(32, 1000), waiting_blocks(32, 10**8)
        (8, 1)
    """
    return _that_may_wait(_rows_a_block(size, row_bytes) * row_bytes)


def _that_may_wait(piece_bytes: int) -> int:
    return max(1, _WAITING_BYTES // max(1, piece_bytes))


def _rows_a_block(size: int, row_bytes: int) -> int:
    return max(1, _BLOCK_BYTES // max(1, row_bytes * size)) * size

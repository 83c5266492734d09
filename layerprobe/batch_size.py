"""How many rows a pass: as asked, as the model fixes it, or the number that is found to be good.

Larger batches are faster up to some size, and take more memory from there on for nothing. Where
that is depends on model, engine and machine, so it is measured, with made-up rows.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from layerprobe.feed import Feed
from layerprobe.layers import TensorSpec
from layerprobe.memory import peak_memory
from layerprobe.synthetic import synthetic_rows

if TYPE_CHECKING:
    from layerprobe.passes import Pass

Array = np.ndarray[Any, Any]

PLAIN = 32  # where nothing can be measured
SMALLEST, LARGEST = 8, 1024
_SLOW = 2.0  # seconds a pass: it need not take longer
_GOOD = 0.95  # of the best speed


def rows_a_pass(
    passes: Sequence[Pass],
    feeds: Sequence[Feed],
    rows: int,
    memory: int | None,
    most: int = LARGEST,
) -> int:
    """Return the batch size that is found to be good.

    Args:
        passes: What a batch goes through.
        feeds: What it is fed.
        rows: How many rows there are.
        memory: Bytes that the process may hold, if there is a limit.
        most: How many rows a pass may have.
    """
    return min(rows, _knee(passes, feeds, min(rows, most), memory))


def _knee(passes: Sequence[Pass], feeds: Sequence[Feed], most: int, memory: int | None) -> int:
    """Return the smallest size that is nearly as fast as the fastest."""
    if any(feed.spec.dtype == "string" for feed in feeds):
        return PLAIN
    speeds: dict[int, float] = {}
    size, held = min(SMALLEST, most), peak_memory() or 0
    while True:
        seconds = _seconds(passes, feeds, size)
        pieces = [each.piece for each in passes if each.piece is not None]
        if pieces:  # the device had no memory for so many
            for each in passes:
                each.piece = None
            return max(speeds, default=min(pieces))
        speeds[size] = size / seconds
        before, held = held, peak_memory() or 0
        too_much = memory is not None and held + 2 * (held - before) > memory
        best = max(speeds.values())
        # One slower measurement may be a disturbance, two in a row are none.
        stalled = len(speeds) > 2 and max(list(speeds.values())[-2:]) < best
        if too_much or stalled or seconds > _SLOW or size == most:
            break
        size = min(2 * size, most)
    return min(size for size, speed in speeds.items() if speed >= _GOOD * max(speeds.values()))


def _seconds(passes: Sequence[Pass], feeds: Sequence[Feed], size: int) -> float:
    """Return how long a batch takes, without what its first one takes to compile."""
    batch = _made_up(feeds, size)

    def compute() -> None:
        for each in passes:
            each(batch, 0)

    began = time.perf_counter()
    compute()
    taken: list[float] = []
    while len(taken) < 3 and time.perf_counter() - began < 2 * _SLOW:
        at = time.perf_counter()
        compute()
        taken.append(time.perf_counter() - at)
    return min(taken, default=time.perf_counter() - began)


def _made_up(feeds: Sequence[Feed], size: int) -> list[Array]:
    """Return rows for each input that nobody has given, to be measured with."""
    specs = [
        TensorSpec(feed.spec.name, (None, *feed.source.shape[1:]), feed.spec.dtype)
        for feed in feeds
    ]
    limits = {feed.spec.name: feed.limit for feed in feeds if feed.limit is not None}
    return list(synthetic_rows(specs, limits, size).values())

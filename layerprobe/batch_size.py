"""How many rows a pass: as asked, as the model fixes it, or the number that is found to be good.

Larger batches are faster up to some size, and take more memory from there on for nothing. Where
that is depends on model, engine and machine, so it is measured, with made-up rows.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from layerprobe.feed import Feed
from layerprobe.layers import TensorSpec
from layerprobe.memory import peak_memory
from layerprobe.synthetic import synthetic_rows

if TYPE_CHECKING:
    from layerprobe.passes import Pass

PLAIN = 32  # where nothing can be measured
_SMALLEST, _LARGEST = 8, 1024
_SLOW = 2.0  # seconds a pass: it need not take longer
_GOOD = 0.95  # of the best speed


def rows_a_pass(
    compute: Pass,
    feeds: Sequence[Feed],
    asked: int | str,
    rows: int,
    memory: int | None,
    begun: int | None = None,
) -> int:
    """Return the batch size.

    Args:
        compute: What a batch goes through.
        feeds: What it is fed.
        asked: A number, or "auto".
        rows: How many rows there are.
        memory: Bytes that the process may hold, if there is a limit.
        begun: The batch size of an output that is gone on with, where "auto" found it.
    """
    fixed = [shape[0] for shape in compute.inputs if shape[0] is not None]
    if fixed:
        return fixed[0]
    if not isinstance(asked, str):
        return min(asked, rows)
    return begun or min(rows, _knee(compute, feeds, min(rows, _LARGEST), memory))


def _knee(compute: Pass, feeds: Sequence[Feed], most: int, memory: int | None) -> int:
    """Return the smallest size that is nearly as fast as the fastest."""
    if any(feed.spec.dtype == "string" for feed in feeds):
        return PLAIN
    speeds: dict[int, float] = {}
    size, held = min(_SMALLEST, most), peak_memory() or 0
    while True:
        seconds = _seconds(compute, feeds, size)
        if compute.piece is not None:  # the device had no memory for so many
            fitting, compute.piece = compute.piece, None
            return max(speeds, default=fitting)
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


def _seconds(compute: Pass, feeds: Sequence[Feed], size: int) -> float:
    """Return how long a pass takes, without what its first one takes to compile."""
    specs = [
        TensorSpec(feed.spec.name, (None, *feed.source.shape[1:]), feed.spec.dtype)
        for feed in feeds
    ]
    limits = {feed.spec.name: feed.limit for feed in feeds if feed.limit is not None}
    batch = list(synthetic_rows(specs, limits, size).values())
    began = time.perf_counter()
    compute(batch, 0)
    taken: list[float] = []
    while len(taken) < 3 and time.perf_counter() - began < 2 * _SLOW:
        at = time.perf_counter()
        compute(batch, 0)
        taken.append(time.perf_counter() - at)
    return min(taken, default=time.perf_counter() - began)

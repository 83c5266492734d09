"""The first batches of an extraction: what will be stored, and what all of it will take."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from layerprobe.batches import computed, datasets_of, read
from layerprobe.errors import LayerprobeError
from layerprobe.feed import Feed
from layerprobe.passes import Pass
from layerprobe.sinks import Dataset

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Forecast:
    """What an extraction takes, as far as its first two batches tell.

    Attributes:
        memory: Bytes that the process has held at most, the model and two batches included; it
            does not grow with the number of rows. None on systems that do not tell.
        seconds: Of reading and computing the rows after the two batches, side by side; None where
            there is no second batch to tell.
        free: Bytes free where the output goes.
    """

    memory: int | None
    seconds: float | None
    free: int

    def to_json(self) -> dict[str, object]:
        """Return it as JSON has it."""
        seconds = None if self.seconds is None else round(self.seconds, 3)
        return {"memory": self.memory, "seconds": seconds, "free": self.free}


@dataclass(frozen=True)
class Probe:
    """The first batches, computed.

    Attributes:
        batches: The number of rows and the results of each.
        datasets: What will be stored.
        seconds: What reading and computing the rest will take; None if only one batch is there.
        failure: What the second batch raised, to be raised when its turn comes: the rows before it
            are written first.
    """

    batches: list[tuple[int, list[Array]]]
    datasets: tuple[Dataset, ...]
    seconds: float | None = None
    failure: LayerprobeError | None = None

    @property
    def rows(self) -> int:
        """How many rows that are."""
        return sum(count for count, _ in self.batches)


def probe(
    compute: Pass,
    feeds: Sequence[Feed],
    rows: tuple[int, int],
    batch_size: int,
    dtype: str | None,
    *,
    timed: bool,
) -> Probe:
    """Compute the first batch, in which engines compile, and a second one to time.

    Args:
        compute: What a batch goes through.
        feeds: Where the rows come from.
        rows: The first row, and the one after the last.
        batch_size: Rows a pass.
        dtype: What floating-point results are stored as.
        timed: Whether to compute a second batch.
    """
    for feed in feeds:
        feed.seen.every = batch_size
    start, stop = rows
    middle, end = min(start + batch_size, stop), min(start + 2 * batch_size, stop)
    batches = list(computed(compute, read(feeds, start, middle), start, batch_size))
    _, first = batches[0]
    count = batch_size if compute.fills else middle - start  # a last shard may begin with less
    datasets = datasets_of(compute, first, count, stop - start, dtype)
    if not timed or end == middle:
        return Probe(batches, datasets)
    began = time.perf_counter()
    try:
        block = read(feeds, middle, end)
        had = time.perf_counter()
        batches += computed(compute, block, middle, batch_size)
    except LayerprobeError as error:
        return Probe(batches, datasets, failure=error)
    slower = max(had - began, time.perf_counter() - had)
    return Probe(batches, datasets, slower * -(-(stop - end) // batch_size))

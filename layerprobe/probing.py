"""The first batches of an extraction: what will be stored, and what all of it will take."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from layerprobe.batches import computed, datasets_of, read
from layerprobe.errors import LayerprobeError
from layerprobe.feed import Feed
from layerprobe.options import Options
from layerprobe.passes import Pass
from layerprobe.scales import rows_to_measure
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


@dataclass
class Probe:
    """What was read and computed of the first rows, to be used once.

    Attributes:
        batches: The number of rows and the results of each of the first batches.
        datasets: What will be stored.
        more: Rows of the inputs that were read behind them.
        seconds: What reading and computing the rest will take; None if only one batch is there.
        failure: What the second batch raised, to be raised when its turn comes: the rows before it
            are written first.
    """

    batches: list[tuple[int, list[Array]]]
    datasets: tuple[Dataset, ...]
    more: list[Array]
    seconds: float | None = None
    failure: LayerprobeError | None = None

    @property
    def computed_rows(self) -> int:
        """How many rows are computed."""
        return sum(count for count, _ in self.batches)

    @property
    def rows(self) -> int:
        """How many rows were read."""
        return self.computed_rows + (len(self.more[0]) if self.more else 0)


def probe(
    compute: Pass,
    feeds: Sequence[Feed],
    rows: tuple[int, int],
    batch_size: int,
    options: Options,
    known: Mapping[str, Sequence[float]],
) -> Probe:
    """Compute the first batch, in which engines compile, and a second one to time.

    A run that goes on has no use for the second.

    Args:
        compute: What a batch goes through; it gets its scales here, if it quantises.
        feeds: Where the rows come from; nothing was read yet.
        rows: The first row, and the one after the last.
        batch_size: Rows a pass.
        options: What was asked for.
        known: The scales that are used if a run goes on, by address.

    Raises:
        LayerprobeError: As `feed.Feed.read` and `batches.datasets_of`.
    """
    for feed in feeds:
        feed.seen.every = batch_size
    start, stop = rows
    measuring = compute.scales is not None and not options.resume
    held = sum(feed.row_bytes for feed in feeds)
    size = rows_to_measure(batch_size, held) if measuring else batch_size
    beginning = read(feeds, start, min(start + size, stop))
    if compute.scales is not None and measuring:
        compute.scales.measure(lambda each: computed(each, beginning, start, batch_size))
    elif compute.scales is not None:
        compute.scales.take([address for address, _ in compute.outputs], known)
    batch = [part[:batch_size] for part in beginning]
    batches = list(computed(compute, batch, start, batch_size))
    count = batch_size if compute.fills else len(batch[0])  # a last shard may begin with less
    datasets = datasets_of(compute, batches[0][1], count, stop - start, options.dtype)
    more = [part[batch_size:] for part in beginning if len(part) > batch_size]
    found = Probe(batches, datasets, more)
    if not options.resume:
        _go_on(found, compute, feeds, rows, batch_size)
    return found


def _go_on(
    found: Probe, compute: Pass, feeds: Sequence[Feed], rows: tuple[int, int], batch_size: int
) -> None:
    """Compute a second batch, if there is one, and note what the rest will take."""
    start, stop = rows
    middle = start + found.computed_rows
    end = min(middle + batch_size, stop)
    if middle == end:
        return
    began = time.perf_counter()
    try:
        block = [part[:batch_size] for part in found.more] or read(feeds, middle, end)
        had = time.perf_counter()
        found.batches += computed(compute, block, middle, batch_size)
    except LayerprobeError as error:
        found.failure = error
        return
    found.more = [part[batch_size:] for part in found.more if len(part) > batch_size]
    slower = max(had - began, time.perf_counter() - had)
    found.seconds = slower * -(-(stop - end) // batch_size)

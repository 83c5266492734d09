"""The first batches of an extraction: what will be stored, and what all of it will take."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from layerprobe.batches import computed, datasets_of, input_bytes, read
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
        free: Bytes free where the output goes; None for a stream.
    """

    memory: int | None
    seconds: float | None
    free: int | None

    def to_json(self) -> dict[str, object]:
        """Return it as JSON has it."""
        seconds = None if self.seconds is None else round(self.seconds, 3)
        return {"memory": self.memory, "seconds": seconds, "free": self.free}


@dataclass
class Probe:
    """What was read and computed of the first rows, to be used once.

    Attributes:
        batches: The number of rows and the results of each of the first batches; none if groups
            of layers are computed one after another, whose results are not to be held together.
        datasets: What will be stored.
        dtypes: As what each was computed.
        more: Rows of the inputs that were read behind those of `batches`.
        seconds: What reading and computing the rest will take; None if only one batch is there.
        failure: What the second batch raised, to be raised when its turn comes: the rows before it
            are written first.
    """

    batches: list[tuple[int, list[Array]]]
    datasets: tuple[Dataset, ...]
    dtypes: tuple[np.dtype[Any], ...]
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
    passes: Sequence[Pass],
    feeds: Sequence[Feed],
    rows: tuple[int, int],
    batch_size: int,
    options: Options,
    known: Mapping[str, Sequence[float]],
) -> Probe:
    """Compute the first batch, in which engines compile, and a second one to time.

    A run that goes on has no use for the second.

    Args:
        passes: What a batch goes through; they get their scales here, if they quantise.
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
    measuring = any(each.scales is not None for each in passes) and not options.resume
    size = rows_to_measure(batch_size, input_bytes(feeds)) if measuring else batch_size
    beginning = read(feeds, start, min(start + size, stop))
    for each in passes:
        _set_scales(each, beginning, start, batch_size, None if measuring else known)
    found = Probe([], (), (), beginning)
    batch = [part[:batch_size] for part in beginning]
    for each in passes:
        count, results = next(computed(each, batch, start, batch_size))
        filled = batch_size if each.fills else count  # a last shard may begin with less
        found.datasets += datasets_of(each, results, filled, stop - start, options.dtype)
        found.dtypes += tuple(result.dtype for result in results[: len(each.outputs)])
        if len(passes) == 1:
            found.batches.append((count, results))
            found.more = _behind(beginning, batch_size)
        del results  # before the next group's are there
    if not options.resume:
        _go_on(found, passes, feeds, rows, batch_size)
    return found


def _set_scales(
    compute: Pass,
    beginning: Sequence[Array],
    start: int,
    batch_size: int,
    known: Mapping[str, Sequence[float]] | None,
) -> None:
    """Set the scales of a pass that quantises: those that are known, or those of the first rows."""
    if compute.scales is not None and known is None:
        compute.scales.measure(lambda each: computed(each, beginning, start, batch_size))
    elif compute.scales is not None:
        compute.scales.take([address for address, _ in compute.outputs], known or {})


def _behind(rows: Sequence[Array], count: int) -> list[Array]:
    return [part[count:] for part in rows if len(part) > count]


def _go_on(
    found: Probe,
    passes: Sequence[Pass],
    feeds: Sequence[Feed],
    rows: tuple[int, int],
    batch_size: int,
) -> None:
    """Compute a second batch, if there is one, and note what the rest will take."""
    start, stop = rows
    middle = min(start + batch_size, stop)
    end = min(middle + batch_size, stop)
    if middle == end:
        return
    held = middle - start - found.computed_rows  # rows of the first batch that are not computed
    began = time.perf_counter()
    try:
        if start + found.rows < end:
            more = read(feeds, start + found.rows, end)
            pairs = zip(found.more, more, strict=True) if found.more else ()
            found.more = [np.concatenate(pair) for pair in pairs] or more
        block = [part[held:][:batch_size] for part in found.more]
        had = time.perf_counter()
        for each in passes:
            second = next(computed(each, block, middle, batch_size))
            if len(passes) == 1:
                found.batches.append(second)
            del second
    except LayerprobeError as error:
        found.more = [part[:held] for part in found.more if held]
        found.failure = error
        return
    if len(passes) == 1:
        found.more = _behind(found.more, batch_size)
    slower = max(had - began, time.perf_counter() - had)
    found.seconds = slower * -(-(stop - end) // batch_size)

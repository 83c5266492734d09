"""The first rows of an extraction: computed before anything is written, to know what will be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from layerprobe.batches import computed, datasets_of, read, rows_a_pass
from layerprobe.feed import Feed
from layerprobe.options import Options
from layerprobe.passes import Pass
from layerprobe.scales import rows_to_measure
from layerprobe.sinks import Dataset

Array = np.ndarray[Any, Any]


class Begun(NamedTuple):
    """What was read and computed, to be used once.

    Attributes:
        batch_size: Rows a pass.
        first: The results of the first batch.
        more: Rows of the inputs that were read behind it.
    """

    batch_size: int
    first: Sequence[Array] = ()
    more: Sequence[Array] = ()


def begun_with(
    compute: Pass,
    feeds: Sequence[Feed],
    rows: tuple[int, int],
    options: Options,
    known: Mapping[str, Sequence[float]],
) -> tuple[Begun, tuple[Dataset, ...]]:
    """Return what is computed of the first rows, and what will be stored.

    Args:
        compute: What a batch goes through; it gets its scales here.
        feeds: The inputs, of which nothing was read.
        rows: The first row, and the one after the last.
        options: What was asked for.
        known: The scales that are used if a run goes on, by address.

    Raises:
        LayerprobeError: As `feed.Feed.read` and `batches.datasets_of`.
    """
    start, stop = rows
    batch_size = rows_a_pass(compute, options.batch_size, stop - start)
    for feed in feeds:
        feed.seen.every = batch_size
    scales = compute.scales
    if scales is not None and options.resume:
        scales.take([address for address, _ in compute.outputs], known)
        scales = None
    held = sum(feed.row_bytes for feed in feeds)
    size = batch_size if scales is None else rows_to_measure(batch_size, held)
    beginning = read(feeds, start, min(start + size, stop))
    if scales is not None:
        scales.measure(lambda each: computed(each, beginning, start, batch_size))
    batch = [part[:batch_size] for part in beginning]
    _, first = next(computed(compute, batch, start, batch_size))
    more = [part[batch_size:] for part in beginning if len(part) > batch_size]
    datasets = datasets_of(compute, first, batch_size, stop - start, options.dtype)
    return Begun(batch_size, first, more), datasets

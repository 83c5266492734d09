"""The rows of an epoch, batch by batch: in order, or mixed; never all of them in memory.

Mixed means: pieces of about 1 MiB are taken in random order, some dozens of them are in memory at a
time, and their rows are shuffled. What fits into that memory is shuffled whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from layerprobe.batches import input_bytes, read
from layerprobe.feed import Feed
from layerprobe.stages import ahead, blocks

Array = np.ndarray[Any, Any]

_PIECES = 64  # in memory at a time


def in_order(feeds: Sequence[Feed], size: int) -> Iterator[list[Array]]:
    """Yield the rows of all feeds in batches of `size`; the last one holds what is left."""
    ranges = blocks((0, feeds[0].rows), size, input_bytes(feeds))
    for _, block in ahead(lambda rows: read(feeds, *rows), ranges):
        yield from _cut(block, size, len(block[0]))


def mixed(
    feeds: Sequence[Feed], size: int, random: np.random.Generator, pieces: int = _PIECES
) -> Iterator[list[Array]]:
    """Yield the rows of all feeds, each row once, in random order and in batches of `size`.

    Args:
        feeds: What is read; the same rows of each go together.
        size: Rows a batch; the last one holds what is left.
        random: Where the order comes from.
        pieces: How many pieces of about 1 MiB are mixed with one another.
    """
    ranges = blocks((0, feeds[0].rows), 1, input_bytes(feeds))
    order = random.permutation(len(ranges))
    pools = [
        [ranges[number] for number in order[at : at + pieces]]
        for at in range(0, len(order), pieces)
    ]
    left: list[Array] | None = None
    for _, pool in ahead(lambda wanted: _joined([read(feeds, *rows) for rows in wanted]), pools):
        rows = pool if left is None else _joined([left, pool])
        turn = random.permutation(len(rows[0]))
        rows = [array[turn] for array in rows]
        whole = len(turn) // size * size
        yield from _cut(rows, size, whole)
        left = [array[whole:] for array in rows]
    if left is not None and len(left[0]):
        yield left


def _joined(blocks_: Sequence[Sequence[Array]]) -> list[Array]:
    return [np.concatenate(arrays) for arrays in zip(*blocks_, strict=True)]


def _cut(rows: Sequence[Array], size: int, stop: int) -> Iterator[list[Array]]:
    for at in range(0, stop, size):
        yield [array[at : min(at + size, stop)] for array in rows]

"""What a journal and its syncs cost: the sinks beside a plain file, and beside themselves without.

Three ways to put the same rows on the disk, in turns within one run: the sink as it is; the sink
whose groups never end, so that everything is synced once, at the end; and a plain file, written and
synced after as many bytes as a group has. What counts are the ratios of each turn.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from layerprobe.sinks import Dataset, open_sink, rows

_BLOCK_ROWS = 256
_WIDTH = 4096


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--megabytes", type=int, default=512)
    given = parser.parse_args()
    count = given.megabytes * 2**20 // (_WIDTH * 4 * _BLOCK_ROWS)
    block = np.random.default_rng(0).random((_BLOCK_ROWS, _WIDTH)).astype("float32")
    print(f"{count * block.nbytes / 2**20:.0f} MiB, groups of {rows.GROUP_BYTES / 2**20:.0f} MiB")
    for name in ("out.h5", "out"):
        ways: dict[str, Callable[[Path], None]] = {
            "sink": lambda folder, name=name: _sink(folder / name, block, count),
            "without": lambda folder, name=name: _without(folder / name, block, count),
            "plain": lambda folder: _plain(folder / "plain", block, count),
        }
        _report(name, ways, given.repeats, count * block.nbytes / 2**20)


def _report(name: str, ways: dict[str, Callable[[Path], None]], repeats: int, size: float) -> None:
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(repeats + 1):
        for way, write in ways.items():
            folder = Path(tempfile.mkdtemp())
            began = time.perf_counter()
            write(folder)
            took = time.perf_counter() - began
            shutil.rmtree(folder)
            os.sync()  # nobody pays for what another has left
            if turn:
                seconds[way].append(took)
    for way, found in seconds.items():
        ratios = [took / sink for took, sink in zip(found, seconds["sink"], strict=True)]
        speed = size / statistics.median(found)
        print(
            f"{name:8} {way:8} {speed:7.0f} MiB/s   the sink's speed is "
            f"{statistics.median(ratios):.2f} of it ({min(ratios):.2f} to {max(ratios):.2f})"
        )


def _sink(path: Path, block: np.ndarray[Any, Any], count: int) -> None:
    dataset = Dataset("a", (count * len(block), block.shape[1]), block.dtype)
    with open_sink(path, [dataset]) as sink:
        for number in range(count):
            sink.write(number * len(block), [block])
        sink.commit({"datasets": [{"address": "a"}]})


def _without(path: Path, block: np.ndarray[Any, Any], count: int) -> None:
    kept = rows.GROUP_BYTES, rows.GROUP_SECONDS
    rows.GROUP_BYTES, rows.GROUP_SECONDS = 1 << 60, 1e9
    try:
        _sink(path, block, count)
    finally:
        rows.GROUP_BYTES, rows.GROUP_SECONDS = kept


def _plain(path: Path, block: np.ndarray[Any, Any], count: int) -> None:
    with path.open("wb", buffering=0) as file:
        waiting = 0
        for _ in range(count):
            left = memoryview(block).cast("B")
            while left:
                left = left[file.write(left) :]
            waiting += block.nbytes
            if waiting >= rows.GROUP_BYTES:
                os.fsync(file.fileno())
                waiting = 0
        os.fsync(file.fileno())


if __name__ == "__main__":
    main()

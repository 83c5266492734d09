"""Dumps read back, beside NumPy's `fromfile` and plain h5py: random rows, whole datasets.

Files are in the system's cache, as they are when they are read again and again. Every contestant
opens its file anew in each turn, so that the checksums of a dump are computed in all of them.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

import layerprobe
from layerprobe.sinks import Dataset, open_sink

SHAPES = ((40_000, 2048), (4_000, 14, 14, 128))  # features, maps: 330 and 400 MB of float32
TURNS, ROWS, BATCH = 5, 100, 256


def main() -> int:
    """Measure everything and print a table in Markdown."""
    print("| a row | read with | a random row | later | whole | 256 rows at a time |")
    print("|---|---|---|---|---|---|")
    for shape in SHAPES:
        with tempfile.TemporaryDirectory() as folder:
            _write(Path(folder), shape)
            for line in _lines(Path(folder), shape):
                print(line)
    return 0


def _write(folder: Path, shape: tuple[int, ...]) -> None:
    rows = np.random.default_rng(0).standard_normal(shape, dtype="float32")
    rows.tofile(folder / "raw")
    for name in ("dump.h5", "dump"):
        with open_sink(folder / name, [Dataset("a", shape, rows.dtype)]) as sink:
            for start in range(0, len(rows), 1000):
                sink.write(start, [rows[start : start + 1000]])
            sink.commit({"datasets": [{"address": "a"}]})


def _lines(folder: Path, shape: tuple[int, ...]) -> list[str]:
    ways: dict[str, Callable[[], Any]] = {
        "a memory map": lambda: np.memmap(folder / "raw", "float32", "r", shape=shape),
        "h5py": lambda: h5py.File(folder / "dump.h5", locking=False)["a"],
        "`open_dump`, HDF5": lambda: layerprobe.open_dump(folder / "dump.h5")["a"],
        "`open_dump`, NPY": lambda: layerprobe.open_dump(folder / "dump")["a"],
    }
    found: dict[str, list[tuple[float, ...]]] = {name: [] for name in ways}
    for turn in range(TURNS):
        for name, opened in ways.items():
            # Anew, and the fastest of three: new memory comes at a price that varies.
            raw = lambda: np.fromfile(folder / "raw", "float32")  # noqa: E731
            plain = min(_seconds(raw) for _ in range(3))
            whole = plain / _seconds(lambda opened=opened: _read(opened()[:]))
            pieces = plain / _seconds(lambda opened=opened: _batches(opened()))
            found[name].append((*_row(opened(), turn), whole, pieces))
    lines = []
    for name, turns in found.items():
        first, later, *ratios = map(statistics.median, zip(*turns, strict=True))
        cells = [" x ".join(map(str, shape[1:])), name]
        cells += [f"{seconds * 1e3:.3f} ms" for seconds in (first, later)]
        lines.append(f"| {' | '.join(cells + [f'{ratio:.2f}' for ratio in ratios])} |")
    return lines


def _row(array: Any, seed: int) -> tuple[float, float]:
    """Return the median time of a row of a dataset that was just opened, and of rows later on."""
    np.array(array[0])
    chosen = np.random.default_rng(seed).permutation(len(array))
    first = [_seconds(lambda n=int(n): np.array(array[n])) for n in chosen[:ROWS]]
    for number in chosen[ROWS : 20 * ROWS]:
        array[int(number)]
    later = [_seconds(lambda n=int(n): np.array(array[n])) for n in chosen[-ROWS:]]
    return statistics.median(first), statistics.median(later)


def _batches(array: Any) -> None:
    for start in range(0, len(array), BATCH):
        _read(array[start : start + BATCH])


def _read(rows: Any) -> None:
    if isinstance(rows, np.memmap):
        np.array(rows)  # a map reads nothing before it is used


def _seconds(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main())

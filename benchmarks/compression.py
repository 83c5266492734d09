"""How small activations become, and how fast: what the levels of `--compress` were chosen by.

Chunks as a Zarr dump has them, of real activations, packed and unpacked in memory by each codec at
several levels: times smaller, and MB a second of processor time, packing and unpacking. The
checksum behind each chunk and the disk are left out.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numcodecs.blosc
import numcodecs.zstd
import numpy as np

import layerprobe
from benchmarks.measure import SAMPLES
from layerprobe.sinks import Dataset
from layerprobe.sinks.grid import grid_of

Array = np.ndarray[Any, Any]
Pack = Callable[[bytes, int], bytes]
Unpack = Callable[[bytes], Any]

_SHUFFLES = {"": 0, "bytes": 1, "bits": 2}
_BLOSC = [("lz4", level, shuffle) for level in (1, 5, 9) for shuffle in ("", "bytes")]
_BLOSC += [("lz4", 5, "bits"), ("zstd", 1, "bytes"), ("zstd", 3, "bytes")]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    numcodecs.blosc.use_threads = False
    activations = _activations()
    print("|", " | ".join(["codec", *(name for name, _, _ in activations)]), "|")
    print("|---" * (len(activations) + 1) + "|")
    for label, (pack, unpack) in _codecs().items():
        cells = []
        for _, chunks, itemsize in activations:
            ratio, packed, unpacked = _measured(chunks, itemsize, pack, unpack, repeats)
            cells.append(f"{ratio:.2f} ({packed:,.0f}, {unpacked:,.0f})")
        print("|", " | ".join([label, *cells]), "|", flush=True)


def _activations() -> list[tuple[str, list[bytes], int]]:
    """Return chunks of a convolution after its ReLU and of a dense layer, at two widths."""
    found = []
    for dtype in ("float32", "float16"):
        for layer, what in (("conv1", "convolution, ReLU"), ("features", "dense")):
            with tempfile.TemporaryDirectory() as folder:
                layerprobe.extract(
                    SAMPLES / "digits_cnn.keras",
                    layer,
                    SAMPLES / "data" / "digits.npy",
                    Path(folder) / "out",
                    dtype=dtype,
                    quiet=True,
                )
                rows = np.load(Path(folder) / "out" / f"{layer}.npy")
            size = grid_of(Dataset("a", rows.shape, rows.dtype), 1).rows
            chunks = [rows[at : at + size].tobytes() for at in range(0, len(rows), size)]
            zeros = f"{np.mean(rows == 0):.0%} zeros"
            found.append((f"{what}, {dtype}, {zeros}", chunks, rows.itemsize))
    return found


def _codecs() -> dict[str, tuple[Pack, Unpack]]:
    codecs: dict[str, tuple[Pack, Unpack]] = {}
    for level in (1, 5, 9):
        codecs[f"gzip {level}"] = _gzip(level)
    for level in (1, 3, 9):
        codecs[f"zstd {level}"] = (
            lambda data, _, level=level: numcodecs.zstd.compress(data, level),  # type: ignore[misc]
            numcodecs.zstd.decompress,
        )
    for name, level, shuffle in _BLOSC:
        label = f"blosc {name} {level}" + (f", shuffle of {shuffle}" if shuffle else "")
        codecs[label] = _blosc(name, level, _SHUFFLES[shuffle])
    return codecs


def _gzip(level: int) -> tuple[Pack, Unpack]:
    def pack(data: bytes, _: int) -> bytes:
        packer = zlib.compressobj(level, zlib.DEFLATED, 31)
        return packer.compress(data) + packer.flush()

    return pack, lambda data: zlib.decompress(data, 31)


def _blosc(name: str, level: int, shuffle: int) -> tuple[Pack, Unpack]:
    def pack(data: bytes, itemsize: int) -> bytes:
        elements = np.frombuffer(data, f"V{itemsize}")
        packed: bytes = numcodecs.blosc.compress(elements, name.encode(), level, shuffle, 0)
        return packed

    return pack, numcodecs.blosc.decompress


def _measured(
    chunks: list[bytes], itemsize: int, pack: Pack, unpack: Unpack, repeats: int
) -> tuple[float, float, float]:
    size = sum(map(len, chunks))
    packed = [pack(chunk, itemsize) for chunk in chunks]
    if [bytes(unpack(data)) for data in packed] != chunks:
        raise SystemExit("a codec has lost something")
    times = max(1, (1 << 20) // size)  # a few MB a turn, so that the clock is fine enough
    turns: list[tuple[float, float]] = []
    for _ in range(repeats):
        began = time.process_time()
        for _ in range(times):
            for chunk in chunks:
                pack(chunk, itemsize)
        middle = time.process_time()
        for _ in range(times):
            for data in packed:
                unpack(data)
        turns.append((middle - began, time.process_time() - middle))
    speeds = [size * times / 1e6 / statistics.median(column) for column in zip(*turns, strict=True)]
    return size / sum(map(len, packed)), speeds[0], speeds[1]


if __name__ == "__main__":
    main()

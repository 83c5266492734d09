"""`extract` on a GPU beside the bare compiled loop: `python -m benchmarks.streaming.gpu`.

A ResNet50 in bfloat16, a layer in its middle reduced to a mean of each channel on the device, large
batches. The bars: at least 0.9 of the rows a second of the loop, which keeps its rows in memory and
writes nothing, and a device that is busy at least 90 % of the time. It also runs without a GPU, to
try it: `--rows 64 --batch-size 16 --side 64`.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import shutil
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from benchmarks import measure

LAYER = "conv4_block6_out"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", choices=("jax", "torch", "tensorflow"), default="jax")
    parser.add_argument("--rows", type=int, default=16_384)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--side", type=int, default=224, help="of the images, in pixels")
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    os.environ["KERAS_BACKEND"] = os.environ["LAYERPROBE_BACKEND"] = given.engine
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _make(folder, given.rows, given.side)
        _measure(folder, given.batch_size, given.repeats)


def _make(folder: Path, rows: int, side: int) -> None:
    """Save the model and the images."""
    import keras

    keras.config.set_dtype_policy("mixed_bfloat16")
    model = keras.applications.ResNet50(
        weights=None, include_top=False, input_shape=(side, side, 3), pooling="avg"
    )
    model.save(folder / "model.keras")
    keras.config.set_dtype_policy("float32")
    some = np.random.default_rng(0).random((min(rows, 256), side, side, 3), np.float32)
    stored = np.lib.format.open_memmap(
        folder / "images.npy", "w+", np.dtype("float32"), (rows, side, side, 3)
    )
    for start in range(0, rows, len(some)):
        stored[start : start + len(some)] = some[: rows - start]
    stored.flush()


def _measure(folder: Path, batch_size: int, repeats: int) -> None:
    from layerprobe import pipeline
    from layerprobe.options import Options
    from layerprobe.outputs import Output
    from layerprobe.probing import Probe
    from layerprobe.running import run

    options = Options(batch_size=batch_size, reduce="mean")
    given = folder / "model.keras", [LAYER], folder / "images.npy", folder / "out.h5"
    with pipeline.plan(*given, options) as planned:
        images = np.load(folder / "images.npy", mmap_mode="r")
        size = planned.batch_size
        # As many batches as fit beside everything else; over and over.
        kept = [
            np.array(images[at : at + size]) for at in range(0, min(len(images), 8 * size), size)
        ]
        loops, extractions, busy = [], [], []
        for turn in range(repeats + 1):
            began = time.perf_counter()
            for number in range(-(-len(images) // size)):
                planned.passes[0]([kept[number % len(kept)]], 0)
            loop = time.perf_counter() - began
            first = Probe([], planned.datasets, planned.first.dtypes, [])
            target = Output(folder / f"{turn}.h5", None)
            with _sampled() as samples:
                report = run(dataclasses.replace(planned, target=target, first=first))
            if turn:
                loops.append(loop)
                extractions.append(report.seconds)
                busy += samples
        ratios = [loop / ours for loop, ours in zip(loops, extractions, strict=True)]
        print(f"{planned.engine} on {planned.device}, batches of {size}, {len(images):,} rows")
        print(f"bare loop  {len(images) / statistics.median(loops):,.0f} rows/s")
        print(f"extract    {len(images) / statistics.median(extractions):,.0f} rows/s, ", end="")
        print(f"{measure.spread(ratios, 2)} of the loop; {report.times}")
        print(f"device     {statistics.mean(busy):.0f} % busy" if busy else "device     not told")


@contextmanager
def _sampled() -> Iterator[list[float]]:
    """Give a list that fills with how busy the first GPU is, in percent, while a block runs."""
    found: list[float] = []
    program = shutil.which("nvidia-smi")
    if program is None:
        yield found
        return
    words = ["--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "-i", "0"]
    with subprocess.Popen(
        [program, *words, "-lms", "200"], stdout=subprocess.PIPE, text=True
    ) as process:
        reader = threading.Thread(
            target=lambda: found.extend(float(line) for line in process.stdout or ()), daemon=True
        )
        reader.start()
        try:
            yield found
        finally:
            process.terminate()
            reader.join()


if __name__ == "__main__":
    main()

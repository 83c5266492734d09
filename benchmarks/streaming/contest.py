"""One engine's contest, in this process: prints what every turn took, as JSON.

    python -m benchmarks.streaming.contest MODEL LAYER ROWS.npy FOLDER BATCH_SIZE REPEATS

The hand-written loops are what one writes without layerprobe, at their best: the model built and
traced once, rows mapped from the .npy file, one HDF5 dataset made beforehand. They take no
checksums and count no NaN, and only one of them waits for the disk, as `extract` does.
"""

from __future__ import annotations

import dataclasses
import gc
import json
import os
import random
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from benchmarks.streaming.cases import ANEW, BARE, BY_HAND, DURABLE, STORED, SYNCED, WHOLE
from layerprobe import pipeline
from layerprobe.counts import Counts
from layerprobe.options import Options
from layerprobe.outputs import Output
from layerprobe.probing import Probe
from layerprobe.running import run
from layerprobe.sinks import open_sink
from layerprobe.sinks.rows import GROUP_BYTES

Array = np.ndarray[Any, Any]
_SHARE = 16  # of the rows
_HELD = 32  # batches
_MIB = bytes(1 << 20)


def main() -> None:
    """Let the contestants take turns."""
    model, layer, rows, folder = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), sys.argv[4]
    batch_size, repeats = int(sys.argv[5]), int(sys.argv[6])
    options = Options(batch_size=batch_size)
    with pipeline.plan(model, [layer], rows, Path(folder, "planned.h5"), options) as planned:
        contestants = {
            **_layerprobe(planned, Path(folder)),
            BARE: _bare(planned, rows),
            DURABLE: _durable(planned, Path(folder)),
            STORED: _stored(planned, rows, Path(folder)),
            **_by_hand(model, layer, rows, Path(folder), batch_size),
        }
        turns: dict[str, list[tuple[float, float]]] = {name: [] for name in contestants}
        drawn = random.Random(0)  # noqa: S311 - nobody always comes behind the same one
        for turn in range(repeats + 1):
            for name, contestant in drawn.sample([*contestants.items()], len(contestants)):
                _settle(Path(folder), planned.report().bytes)
                taken = _timed(contestant)
                if name == ANEW:  # so slow that a part has to do
                    taken = taken[0] * _SHARE, taken[1] * _SHARE
                if turn:  # the first one compiles and fills caches
                    turns[name].append(taken)
    print(json.dumps(turns))


def _layerprobe(planned: pipeline.Plan, folder: Path) -> dict[str, Callable[[], object]]:
    def extract(output: Path) -> None:
        # A plan brings its first batches along, computed before the clock starts.
        first = Probe([], planned.datasets, planned.first.dtypes, [])
        run(dataclasses.replace(planned, target=Output(output, None), first=first))

    return {
        "extract to .h5": lambda: extract(folder / "extracted.h5"),
        "extract to .npy": lambda: extract(folder / "extracted"),
    }


def _bare(planned: pipeline.Plan, rows: Path) -> Callable[[], object]:
    images = np.load(rows)
    size = planned.batch_size
    batches = [images[at : at + size] for at in range(0, len(images), size)]

    def loop() -> None:
        for batch in batches:
            planned.passes[0]([batch], 0)

    return loop


def _durable(planned: pipeline.Plan, folder: Path) -> Callable[[], object]:
    """Return what writes as many bytes to a plain file, synced as often as rows are made safe."""
    size = planned.report().bytes
    block = memoryview(np.random.default_rng(0).bytes(1 << 20))

    def write() -> None:
        with (folder / "plain").open("wb", buffering=0) as file:
            left, waiting = size, 0
            while left:
                count = file.write(block[:left])
                left, waiting = left - count, waiting + count
                if waiting >= GROUP_BYTES:
                    os.fsync(file.fileno())
                    waiting = 0
            os.fsync(file.fileno())

    return write


def _stored(planned: pipeline.Plan, rows: Path, folder: Path) -> Callable[[], object]:
    """Return what writes as many rows as `extract` does, checks and counts and all, from memory."""
    images, size = np.load(rows, mmap_mode="r"), planned.batch_size
    starts = range(0, planned.row_count, size)
    # So many that they have left the processor's cache when their turn comes again.
    held = [planned.passes[0]([images[at : at + size]], 0)[0].copy() for at in starts[:_HELD]]

    def store() -> None:
        counts = Counts()
        with open_sink(folder / "stored.h5", planned.datasets) as sink:
            for number, at in enumerate(starts):
                batch = held[number % len(held)][: planned.row_count - at]
                sink.write(at, [batch], look=lambda _, piece: counts.add(piece))
            sink.commit({"datasets": [{"address": planned.datasets[0].address}]})

    return store


def _by_hand(
    model: Path, layer: str, rows: Path, folder: Path, batch_size: int
) -> dict[str, Callable[[], object]]:
    import keras

    whole = keras.models.load_model(model)
    part = keras.Model(whole.inputs, whole.get_layer(layer).output)
    images = np.load(rows, mmap_mode="r")
    shape = (len(images), *part.output_shape[1:])

    def predict_on_batch() -> None:
        with h5py.File(folder / "by_hand.h5", "w") as file:
            dataset = file.create_dataset(layer, shape, "float32")
            for at in range(0, len(images), batch_size):
                batch = images[at : at + batch_size]
                dataset[at : at + len(batch)] = part.predict_on_batch(batch)

    def synced() -> None:
        predict_on_batch()
        with (folder / "by_hand.h5").open("rb") as file:
            os.fsync(file.fileno())

    def predict() -> None:
        # All activations lie in memory before the first is written.
        results = part.predict(np.asarray(images), batch_size=batch_size, verbose=0)
        with h5py.File(folder / "by_hand.h5", "w") as file:
            file.create_dataset(layer, data=results)

    def anew() -> None:
        with h5py.File(folder / "by_hand.h5", "w") as file:
            dataset = file.create_dataset(layer, shape, "float32")
            for at in range(0, len(images) // _SHARE, batch_size):
                batch = np.asarray(images[at : at + batch_size])
                part = keras.Model(whole.inputs, whole.get_layer(layer).output)
                dataset[at : at + len(batch)] = part.predict(batch, verbose=0)

    return {BY_HAND: predict_on_batch, SYNCED: synced, WHOLE: predict, ANEW: anew}


def _timed(contestant: Callable[[], object]) -> tuple[float, float]:
    """Return the seconds a contestant takes, and the processor time of all its threads."""
    began, cpu = time.perf_counter(), time.process_time()
    contestant()
    return time.perf_counter() - began, time.process_time() - cpu


def _settle(folder: Path, size: int) -> None:
    """Clear away what the turn before has left: files, what the disk still has to do, garbage.

    And touch the memory that the system will keep written rows in. A virtual machine has to ask for
    memory that was not used for some seconds: that takes as long as writing, and would be on the
    clock of whoever comes first after a pause.
    """
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    os.sync()
    gc.collect()
    touched = folder / "touched"
    with touched.open("wb", buffering=0) as file:
        for _ in range(size * 3 // 2 >> 20):
            file.write(_MIB)
    touched.unlink()  # before the system begins to bring it to the disk


if __name__ == "__main__":
    main()

"""Whether memory grows with the number of rows: `python -m benchmarks.memory`.

The same `layerprobe extract` runs on some rows and on a hundred times as many, each time in a
process of its own, and the peaks of their resident memory are compared, with each other and with
that of a process that loads the same model with the same engine and stops. A hundred times the
rows are 3.1 GB to read and 4.2 GB to write, so that holding a part of either would show. One time
is 20 batches: fewer end before all stages have something to do.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks import measure
from benchmarks.measure import Run, median, python, spread

ROWS = 640
TIMES = 100
_LOAD = "import sys, h5py, keras; keras.models.load_model(sys.argv[1])"
# Input, output, engine. What the engine holds is the same for every kind of file.
CASES = (
    ("npy", "features.h5", "tensorflow"),
    ("npy", "features", "tensorflow"),
    ("npy", "features.zarr", "tensorflow"),
    ("h5", "features.h5", "tensorflow"),
    ("h5", "features", "tensorflow"),
    ("npy", "features.h5", "jax"),
    ("npy", "features.h5", "torch"),
)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5, help="turns that count (5)")
    repeats = parser.parse_args().repeats
    measure.print_machine()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = folder / "model.keras"
        measure.run(python("-m", "benchmarks.make", "one-convolution", model))
        for kind in ("npy", "h5"):
            for rows in (ROWS, ROWS * TIMES):
                images = folder / f"{rows}.{kind}"
                measure.run(python("-m", "benchmarks.make", "images", images, str(rows)))
        table = [_compared(folder, model, case, repeats) for case in CASES]
    measure.print_table(
        f"Peak memory for {ROWS:,} and {ROWS * TIMES:,} rows (median of {repeats} processes each)",
        [
            *("engine", "input", "output", "MB, model loaded", f"MB, {ROWS:,} rows"),
            *(f"MB, {ROWS * TIMES:,} rows", "ratio", "MB above the model"),
        ],
        table,
    )


def _compared(folder: Path, model: Path, case: tuple[str, str, str], repeats: int) -> list[str]:
    """Return one row of the table."""
    kind, output, engine = case
    few: list[Run] = []
    many: list[Run] = []
    loaded = []
    for _ in range(repeats):
        loaded.append(measure.run(python("-c", _LOAD, model), {"KERAS_BACKEND": engine}))
        for rows, runs in ((ROWS, few), (ROWS * TIMES, many)):
            images = folder / f"{rows}.{kind}"
            runs.append(_extract(model, images, folder / output, engine))
    bare, less, more = _peaks(loaded), _peaks(few), _peaks(many)
    written = Path(output).suffix or "folder of .npy"
    ratio = f"{median(more) / median(less):.3f}"
    above = f"{median(more) - median(bare):.0f}"
    peaks = (spread(bare, 0), spread(less, 0), spread(more, 0))
    return [engine, f".{kind}", written, *peaks, ratio, above]


def _extract(model: Path, images: Path, output: Path, engine: str) -> Run:
    words: list[str | Path] = ["extract", model, "--layer", "conv", "--input", images, "-o", output]
    finished = measure.run(python("-m", "layerprobe", *words, "--backend", engine))
    if output.is_dir():
        shutil.rmtree(output)
    else:
        output.unlink()
        Path(f"{os.fspath(output)}.json").unlink(missing_ok=True)
    return finished


def _peaks(runs: Sequence[Run]) -> list[float]:
    return [run.peak for run in runs]


if __name__ == "__main__":
    main()

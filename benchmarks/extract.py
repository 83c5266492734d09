"""How fast `extract` is against the loops it replaces: `python -m benchmarks.extract`.

Each engine has a process of its own (`contest.py`), in which the contestants take turns on the same
model, rows and disk. Loading and compiling are left out: what is timed is the run from the first
row read to the finished file.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks import measure
from benchmarks.measure import SAMPLES, median, python, spread


class Turn(NamedTuple):
    """What one contestant took for all rows: seconds, and seconds of processor time."""

    seconds: float
    cpu: float


class Case(NamedTuple):
    """What one contest is about: a layer of a model, a kind of rows, how many, and how batched."""

    title: str
    model: str
    layer: str
    rows_of: str
    rows: int
    batch_size: int


CASES = {
    "deep": Case(
        "ResNet50 on 64 x 64 images, layer conv3_block4_out, 131 kB a row",
        "small-resnet",
        "conv3_block4_out",
        "images",
        1_024,
        32,
    ),
    "small": Case(
        "digits_cnn, layer conv2, 1.5 kB a row", "digits_cnn", "conv2", "digits", 60_032, 32
    ),
    "small-256": Case(
        "digits_cnn, layer conv2, 1.5 kB a row", "digits_cnn", "conv2", "digits", 120_064, 256
    ),
    "wide": Case(
        "one convolution on 64 x 64 images, 66 kB a row",
        "one-convolution",
        "conv",
        "images",
        6_400,
        32,
    ),
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7, help="turns that count (7)")
    parser.add_argument("--engine", choices=measure.ENGINES, action="append", help="(all)")
    parser.add_argument("--case", choices=CASES, action="append", help="(all)")
    chosen = parser.parse_args()
    measure.print_machine()
    with tempfile.TemporaryDirectory() as folder:
        for case in chosen.case or CASES:
            model, rows = _made(CASES[case], Path(folder))
            results = {
                engine: _contest(CASES[case], engine, model, rows, chosen.repeats)
                for engine in chosen.engine or measure.ENGINES
            }
            _print(CASES[case], results, chosen.repeats)


def _made(case: Case, folder: Path) -> tuple[Path, Path]:
    """Return the model and the rows of a case, made where they are not there yet."""
    model = SAMPLES / f"{case.model}.keras"
    if not model.exists():
        model = folder / model.name
    if not model.exists():
        measure.run(python("-m", "benchmarks.make", case.model, model))
    rows = folder / f"{case.rows_of}-{case.rows}.npy"
    if not rows.exists():
        measure.run(python("-m", "benchmarks.make", case.rows_of, rows, str(case.rows)))
    return model, rows


def _contest(
    case: Case, engine: str, model: Path, rows: Path, repeats: int
) -> dict[str, list[Turn]]:
    """Return what each contestant's turns took on one engine."""
    with tempfile.TemporaryDirectory(dir=rows.parent) as folder:
        numbers = [str(case.batch_size), str(repeats)]
        command = python("-m", "benchmarks.contest", model, case.layer, rows, folder, *numbers)
        finished = measure.run(command, {"KERAS_BACKEND": engine, "LAYERPROBE_BACKEND": engine})
    turns = json.loads(finished.stdout.splitlines()[-1])
    return {name: [Turn(*turn) for turn in of_one] for name, of_one in turns.items()}


def _print(case: Case, results: Mapping[str, Mapping[str, Sequence[Turn]]], repeats: int) -> None:
    rows = []
    for engine, contestants in results.items():
        ours = contestants["extract to .h5"]
        for name, turns in contestants.items():
            # Within a turn all contestants meet the machine in nearly the same state.
            ratios = [t.seconds / our.seconds for t, our in zip(turns, ours, strict=True)]
            rows.append(
                [
                    engine,
                    name,
                    f"{case.rows / median([turn.seconds for turn in turns]):,.0f}",
                    f"{median([turn.cpu for turn in turns]) / case.rows * 1e6:,.0f}",
                    spread(ratios, 2),
                ]
            )
    measure.print_table(
        f"{case.title}: {case.rows:,} rows in batches of {case.batch_size}, {repeats} turns",
        ["engine", "who", "rows/s", "CPU us/row", "extract to .h5 is times as fast"],
        rows,
    )


if __name__ == "__main__":
    main()

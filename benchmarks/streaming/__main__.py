"""How fast `extract` is beside the limits and other ways: `python -m benchmarks.streaming`.

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
from benchmarks.streaming.cases import CASES, Case


class Turn(NamedTuple):
    """What one contestant took for all rows: seconds, and seconds of processor time."""

    seconds: float
    cpu: float


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5, help="turns that count (5)")
    parser.add_argument("--engine", choices=measure.ENGINES, action="append", help="(all)")
    parser.add_argument("--case", choices=CASES, action="append", help="(all)")
    chosen = parser.parse_args()
    measure.print_machine()
    bars: list[list[str]] = []
    with tempfile.TemporaryDirectory() as folder:
        for case in chosen.case or CASES:
            model, rows = _made(CASES[case], Path(folder))
            results = {
                engine: _contest(CASES[case], engine, model, rows, chosen.repeats)
                for engine in chosen.engine or measure.ENGINES
            }
            _print(CASES[case], results, chosen.repeats)
            bars += _held(CASES[case], results)
    measure.print_table(
        f"Held to bars, medians of {chosen.repeats} turns",
        ["case", "engine", "who", "beside", "as fast", "bar", ""],
        bars,
    )


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
        command = python(
            "-m", "benchmarks.streaming.contest", model, case.layer, rows, folder, *numbers
        )
        finished = measure.run(command, {"KERAS_BACKEND": engine, "LAYERPROBE_BACKEND": engine})
    turns = json.loads(finished.stdout.splitlines()[-1])
    return {name: [Turn(*turn) for turn in of_one] for name, of_one in turns.items()}


def _held(case: Case, results: Mapping[str, Mapping[str, Sequence[Turn]]]) -> list[list[str]]:
    """Return a line for each bar on each engine."""
    lines = []
    for engine, contestants in results.items():
        for bar in case.bars:
            for who in bar.outputs:
                pairs = zip(contestants[bar.who], contestants[who], strict=True)
                ratio = median([other.seconds / ours.seconds for other, ours in pairs])
                kept = "kept" if ratio >= bar.least else "missed"
                words = [case.model, engine, who, bar.who, f"{ratio:.2f}", f"{bar.least:g}", kept]
                lines.append(words)
    return lines


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

"""What confinement costs an extraction: the whole command with it, without it, and in one process.

`python -m benchmarks.confinement` prints one table for the step alone, without an engine, and one
each for `extract` on 600 and on 60,000 rows of the sample model.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from benchmarks import measure
from benchmarks.measure import SAMPLES, median, python, spread

# The command as Python code calls it: no process of its own, nothing given up.
_IN_ONE = "from layerprobe.cli import main; import sys; main(sys.argv[1:])"
_START = "import layerprobe.cli, layerprobe.commands.confined"
_STEP = f"""{_START}
from layerprobe.confinement import confine
from layerprobe.confinement.worker import Limits, go_on_apart
go_on_apart(Limits(10**12, 60.0), home=True, say=print)
confine(reads=["samples"], writes=["."])
"""
_TIMES = 100


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7, help="turns that count (7)")
    parser.add_argument("--backend", default="tensorflow", help="the engine (tensorflow)")
    given = parser.parse_args()
    measure.print_machine()
    alone = {"start and end": python("-c", _START), "with the step": python("-c", _STEP)}
    _print(measure.in_turns(alone, 3 * given.repeats), f"No engine, {3 * given.repeats} turns")
    data = SAMPLES / "data" / "digits.npy"
    with tempfile.TemporaryDirectory() as folder:
        many = Path(folder, "many.npy")
        np.save(many, np.tile(np.load(data), (_TIMES, 1, 1, 1)))
        for rows, count in ((data, 600), (many, 600 * _TIMES)):
            model, output = SAMPLES / "digits_cnn.keras", Path(folder, "out.h5")
            words = ["extract", model, "-l", "conv2", "-i", rows, "-o", output, "--overwrite"]
            words += ["--device", "cpu", "--backend", given.backend]
            runs = measure.in_turns(
                {
                    "in one process, unconfined": python("-c", _IN_ONE, *words),
                    "`extract --no-sandbox`": python("-m", "layerprobe", *words, "--no-sandbox"),
                    "`extract`": python("-m", "layerprobe", *words),
                },
                given.repeats,
            )
            _print(runs, f"{count:,} rows, {given.backend}, {given.repeats} turns")


def _print(runs: dict[str, list[measure.Run]], title: str) -> None:
    first = next(iter(runs.values()))
    rows = []
    for name, ran in runs.items():
        row = [name]
        for field in ("seconds", "cpu"):
            values, others = ([getattr(run, field) for run in runs] for runs in (ran, first))
            added = [one - other for one, other in zip(values, others, strict=True)]
            row += [spread(values, 2), f"{median(added):+.2f}"]
        rows.append(row)
    measure.print_table(title, ["how", "seconds", "added", "CPU seconds", "added"], rows)


if __name__ == "__main__":
    main()

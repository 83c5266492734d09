"""What confinement costs an extraction: the whole command with it, without it, and in one process.

`python -m benchmarks.confinement` runs `extract` on the sample model in turns, and again on 60,000
rows, and prints one table for each.
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
_TIMES = 100


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7, help="turns that count (7)")
    parser.add_argument("--backend", default="tensorflow", help="the engine (tensorflow)")
    given = parser.parse_args()
    measure.print_machine()
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
        added = [one.seconds - other.seconds for one, other in zip(ran, first, strict=True)]
        seconds, cpu = ([getattr(run, field) for run in ran] for field in ("seconds", "cpu"))
        rows.append([name, spread(seconds, 2), spread(cpu, 2), f"{median(added):+.2f}"])
    measure.print_table(title, ["how", "seconds", "CPU seconds", "added seconds"], rows)


if __name__ == "__main__":
    main()

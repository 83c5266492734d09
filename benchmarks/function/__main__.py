"""How fast `function` is beside Keras' own: `python -m benchmarks.function`.

Each engine has a process of its own (`contest.py`), in which the contestants take turns. Building
and compiling are left out; how often the function was traced is counted.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

from benchmarks import measure
from benchmarks.measure import median, python, spread

_TITLES = {
    "forward": "forward pass of a tiny network, batch of 8, NumPy in and out",
    "update": "one Adam step of the same network",
    "middle": "ResNet50 on 64 x 64 images, batch of 8, to conv3_block4_out",
}
# What is counted: its text, its key, what it is divided by, digits.
_COUNTS = [
    ("steps to conv3_block4_out", "steps", 1, 0),
    ("steps to the last layer", "all_steps", 1, 0),
    ("GFLOP to conv3_block4_out", "run", 1e9, 3),
    ("of these in convolutions, by hand", "by_hand", 1e9, 3),
    ("GFLOP to the last layer", "all_run", 1e9, 3),
    ("runs of a layer's Python code in 1,000 calls, batches of 1 to 32", "traces", 1, 0),
]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9, help="turns that count (9)")
    parser.add_argument("--engine", choices=measure.ENGINES, action="append", help="(all)")
    chosen = parser.parse_args()
    measure.print_machine()
    results: dict[str, Any] = {}
    for engine in chosen.engine or measure.ENGINES:
        command = python("-m", "benchmarks.function.contest", str(chosen.repeats))
        environment = {"KERAS_BACKEND": engine, "LAYERPROBE_BACKEND": engine}
        results[engine] = json.loads(measure.run(command, environment).stdout.splitlines()[-1])
    for case, title in _TITLES.items():
        rows = []
        for engine, found in results.items():
            ours = found["turns"][case]["function"]
            for name, turns in found["turns"][case].items():
                # Within a turn all contestants meet the machine in nearly the same state.
                ratios = [our / other for our, other in zip(ours, turns, strict=True)]
                rows.append([engine, name, f"{median(turns) * 1e6:,.0f}", spread(ratios, 2)])
        heading = ["engine", "who", "us a call", "function takes times its time"]
        measure.print_table(f"{title}, {chosen.repeats} turns", heading, rows)
    counts = {engine: found["counts"] for engine, found in results.items()}
    heading = ["", *results]
    rows = [
        [text, *(f"{count[key] / scale:,.{digits}f}" for count in counts.values())]
        for text, key, scale, digits in _COUNTS
    ]
    measure.print_table("What runs, counted", heading, rows)


if __name__ == "__main__":
    main()

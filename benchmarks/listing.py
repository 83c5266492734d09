"""How long the commands take that load no framework, and how much memory: side by side with Keras.

`python -m benchmarks.listing` makes a ResNet50 of about 100 MB in a temporary folder and prints one
table: `--help` and `list-layers`, against `load_model(...).summary()` and a bare Python.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from benchmarks import measure
from benchmarks.measure import Run, median, python, spread

_KERAS = "import keras, sys; keras.models.load_model(sys.argv[1]).summary()"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9, help="turns that count (9)")
    repeats = parser.parse_args().repeats
    measure.print_machine()
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder, "resnet50.keras")
        measure.run(python("-m", "benchmarks.make", "resnet", model))
        runs = measure.in_turns(
            {
                "python -c pass": python("-c", "pass"),
                "python -c 'import h5py'": python("-c", "import h5py"),
                "layerprobe --help": python("-m", "layerprobe", "--help"),
                "layerprobe list-layers": python("-m", "layerprobe", "list-layers", model),
                "layerprobe list-layers --json": python(
                    "-m", "layerprobe", "list-layers", model, "--json"
                ),
                "load_model(...).summary()": python("-c", _KERAS, model),
            },
            repeats,
        )
        size = model.stat().st_size / 1e6
    _print(runs, size, repeats)


def _print(runs: dict[str, list[Run]], size: float, repeats: int) -> None:
    listing = runs["layerprobe list-layers"]
    rows = []
    for name, ran in runs.items():
        row = [f"`{name}`"]
        for field, digits in (("seconds", 2), ("cpu", 2), ("peak", 0)):
            values = [getattr(run, field) for run in ran]
            unit = median([getattr(run, field) for run in listing])
            row += [spread(values, digits), f"{median(values) / unit:.2f}"]
        rows.append(row)
    measure.print_table(
        f"Listing a ResNet50 of {size:.0f} MB (median, lowest and highest of {repeats} processes)",
        ["command", "seconds", "ratio", "CPU seconds", "ratio", "peak MB", "ratio"],
        rows,
    )
    print("\nRatios are to `layerprobe list-layers`.")


if __name__ == "__main__":
    main()

"""Use one model's features to train another: `python features_for_another_model.py [FOLDER]`.

Dumps the layer before the last two of the digits CNN, then fits ridge regression on one half of
the dump in plain NumPy, and the same on raw pixels for comparison.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

import layerprobe

HERE = Path(__file__).resolve().parent
TRAINING_ROWS = 300


def accuracy(features: np.ndarray, labels: np.ndarray) -> float:
    """Fit least squares to one-hot labels on the first rows and return the share found of the rest.

    Args:
        features: Shape (rows, ...).
        labels: Shape (rows,), digits 0 to 9.
    """
    x = features.reshape(len(features), -1).astype("float64")
    x = np.hstack([x, np.ones((len(x), 1))])
    train, test = slice(None, TRAINING_ROWS), slice(TRAINING_ROWS, None)
    # A little ridge: pixels in the corners are always 0, and plain least squares would not solve.
    gram = x[train].T @ x[train] + 0.1 * np.eye(x.shape[1])
    weights = np.linalg.solve(gram, x[train].T @ np.eye(10)[labels[train]])
    return float(((x[test] @ weights).argmax(1) == labels[test]).mean())


def main() -> None:
    """Dump, fit twice, print both accuracies."""
    out = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp(prefix="layerprobe-"))
    out.mkdir(parents=True, exist_ok=True)
    images = HERE / "data/digits.npy"
    dump_path = out / "features.h5"
    layerprobe.extract(HERE / "digits_cnn.keras", ["features"], images, dump_path, overwrite=True)

    labels = np.load(HERE / "data/digits_labels.npy")
    with layerprobe.open_dump(dump_path) as dump:
        learned = accuracy(np.asarray(dump["features"]), labels)
    raw = accuracy(np.load(images), labels)
    print(f"features of the CNN {learned:.1%}, raw pixels {raw:.1%}")
    if learned <= raw:
        sys.exit("The features are worth no more than the pixels: something is wrong.")


if __name__ == "__main__":
    main()

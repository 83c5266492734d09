"""Which layers of two models see the same? `python compare_layers.py [FOLDER]`.

Runs the same digits through the CNN and through the encoder of the siamese model, and prints how
alike their layers are by linear CKA: 1 for the same geometry of the rows (up to rotation and one
scale), 0 for nothing in common. Formula: Kornblith, Norouzi, Lee and Hinton, "Similarity of Neural
Network Representations Revisited", ICML 2019, section 3, https://arxiv.org/abs/1905.00414.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

import layerprobe

HERE = Path(__file__).resolve().parent
CNN_LAYERS = ["pool1", "pool2", "features", "logits"]
ENCODER_LAYERS = ["encoder@0/pool1", "encoder@0/pool2", "encoder@0/code"]


def linear_cka(x: np.ndarray, y: np.ndarray) -> float:
    """Return the linear centred kernel alignment of two arrays with the same rows, from 0 to 1.

    Args:
        x: Shape (rows, ...); all axes but the first are taken as one.
        y: Shape (rows, ...).
    """
    x, y = (a.reshape(len(a), -1).astype("float64") for a in (x, y))
    x, y = x - x.mean(0), y - y.mean(0)
    shared = np.linalg.norm(y.T @ x) ** 2
    return float(shared / (np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)))


def main() -> None:
    """Dump both models' layers and print the table of similarities."""
    out = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp(prefix="layerprobe-"))
    out.mkdir(parents=True, exist_ok=True)
    images = HERE / "data/digits.npy"
    layerprobe.extract(
        HERE / "digits_cnn.keras", CNN_LAYERS, images, out / "cnn.h5", overwrite=True
    )
    # The encoder's call 0 is on the left images, so only that input of the two is needed.
    left = {"left": images}
    layerprobe.extract(
        HERE / "digits_pairs.keras", ENCODER_LAYERS, left, out / "pairs.h5", overwrite=True
    )

    with layerprobe.open_dump(out / "cnn.h5") as cnn, layerprobe.open_dump(out / "pairs.h5") as two:
        print(" " * 18 + "".join(f"{name:>10}" for name in CNN_LAYERS))
        for row in ENCODER_LAYERS:
            alike = [linear_cka(np.asarray(two[row]), np.asarray(cnn[name])) for name in CNN_LAYERS]
            print(f"{row:18}" + "".join(f"{value:10.3f}" for value in alike))
        itself = linear_cka(np.asarray(cnn["pool1"]), 3 * np.asarray(cnn["pool1"]))
    if abs(itself - 1) > 1e-9:
        sys.exit("A layer is not like itself: something is wrong.")


if __name__ == "__main__":
    main()

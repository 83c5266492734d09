"""The first layers trained with a loss of one's own: `python train_first_layers.py [FOLDER]`.

The layers up to `features` learn to put images of one digit together and those of others apart
(Hadsell, Chopra and LeCun, 2006). The loss is an expression on the layer in the middle: the layers
behind it take no part, run in no step, and do not move.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import layerprobe
from layerprobe import backend as K  # noqa: N812 - the name that users of Keras 2 gave it

HERE = Path(__file__).resolve().parent
TRAINED, BATCH, EPOCHS, MARGIN = 400, 50, 30, 4.0


def contrast(features: Any, same: Any) -> Any:
    """Return the loss: how far apart those of one digit are, and how near those of others.

    Args:
        features: (rows, units).
        same: (rows, rows), 1 where two rows show the same digit.
    """
    difference = K.expand_dims(features, 1) - K.expand_dims(features, 0)
    squared = K.sum(difference * difference, axis=-1)
    distance = K.sqrt(squared + 1e-6)
    apart = K.square(K.maximum(MARGIN - distance, 0.0))
    return K.mean(same * squared + (1.0 - same) * apart)


def nearest(features: Any, labels: Any) -> float:
    """Return how many of the later rows have a nearest neighbour of their digit in the others."""
    known, asked = features[:TRAINED], features[TRAINED:]
    distances = ((asked[:, None] - known[None]) ** 2).sum(-1)
    return float((labels[:TRAINED][distances.argmin(1)] == labels[TRAINED:]).mean())


def main() -> None:
    """Train from random weights, print the loss curve, and save the model."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp(prefix="layerprobe-"))
    folder.mkdir(parents=True, exist_ok=True)
    model = layerprobe.load(HERE / "digits_cnn.keras")
    import keras

    images, labels = (np.load(HERE / "data" / f"digits{n}.npy") for n in ("", "_labels"))
    trained = [
        model.keras.get_layer(name) for name in ("conv1", "norm1", "conv2", "norm2", "features")
    ]
    random = np.random.default_rng(0)
    for layer in trained:
        if layer.name.startswith(("conv", "features")):
            weights = [random.normal(0, 0.1, w.shape) for w in layer.get_weights()]
            layer.set_weights(weights)
    rest = [np.array(w) for w in model.keras.get_layer("logits").get_weights()]

    same = K.placeholder((None, None))
    loss = contrast(model["features"], same)
    optimizer = keras.optimizers.Adam(0.003)
    updates = [*K.get_updates(optimizer, loss, trained), *K.state_updates(trained)]
    step = K.function([*model.inputs, same], loss, updates, training=True)
    look = K.function(model.inputs, model["features"])

    print(f"nearest neighbour right before: {nearest(look([images]), labels):.3f}")
    for epoch in range(EPOCHS):
        rows = random.permutation(TRAINED).reshape(-1, BATCH)
        losses = [step([images[r], labels[r][:, None] == labels[r][None]]) for r in rows]
        print(f"epoch {epoch + 1:2d}  loss {np.mean(losses):.4f}")
    print(f"nearest neighbour right after:  {nearest(look([images]), labels):.3f}")

    for before, after in zip(rest, model.keras.get_layer("logits").get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)
    model.keras.save(folder / "digits_features.keras")
    print(f"saved as {folder / 'digits_features.keras'}")


if __name__ == "__main__":
    main()

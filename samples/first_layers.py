"""The first layers of a network alone: `python first_layers.py`.

The oldest use of a backend's function: `function([model.inputs[0]], [a layer's output])`. What lies
behind that layer does not run, and several layers come out of one pass.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

import layerprobe
from layerprobe import backend as K  # noqa: N812 - the name that users of Keras 2 gave it

HERE = Path(__file__).resolve().parent


def main() -> None:
    """Print what the first layers say to a few images, and check it by Keras' own layers."""
    model = layerprobe.load(HERE / "digits_cnn.keras")
    images = np.load(HERE / "data/digits.npy")[:5]

    first = K.function([model.inputs[0]], [model["conv1"], model["pool1"]])
    conv, pool = first([images])
    whole = K.function(model.inputs, [model["digit"]])
    print(f"conv1 {conv.shape}, pool1 {pool.shape}")
    print(f"{len(first.plan.steps)} of {len(whole.plan.steps)} layers run")

    # Keras' own symbolic tensors do as well, which is how old code reads.
    keras_model = model.keras
    old = K.function([keras_model.inputs[0]], [keras_model.layers[3].output])
    np.testing.assert_array_equal(old([images])[0], pool)

    by_hand = images
    for layer in keras_model.layers[:4]:
        by_hand = layer(by_hand, training=False)
    np.testing.assert_allclose(pool, K.eval(by_hand), rtol=0, atol=1e-6)


if __name__ == "__main__":
    main()

"""Losses by name against the same names given to Keras' `compile`."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from layerprobe import backend as K  # noqa: N812 - the name that users of Keras 2 gave it
from layerprobe.backend.named import loss_named


def rows(*shape, seed=3):
    """Return made-up numbers of both signs."""
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


TARGETS = {
    "sparse_categorical_crossentropy": np.arange(12) % 4,
    "CategoricalGeneralizedCrossEntropy": np.arange(12) % 4,
    "ctc": np.arange(24).reshape(12, 2) % 3 + 1,
}
SHAPES = {"ctc": (12, 6, 4)}
LOSSES = """binary_crossentropy BinaryFocalCrossentropy categorical_crossentropy huber mse mape kld
    CategoricalGeneralizedCrossEntropy categorical_hinge cosine_similarity dice hinge log_cosh
    msle poisson squared_hinge tversky sparse_categorical_crossentropy mae bce ctc"""


@pytest.mark.engine("tensorflow")
@pytest.mark.parametrize("name", LOSSES.split())
def test_losses_are_those_compile_takes(name):
    """A loss by name gives what a compiled model gives on the same batch."""
    shape = SHAPES.get(name, (12, 4))
    x, y = np.abs(rows(*shape)) / 4, TARGETS.get(name, np.abs(rows(*shape, seed=4)) / 4)
    given = keras.Input(shape[1:])
    out = keras.layers.Activation("linear")(given)
    model = keras.Model(given, out)
    model.compile("sgd", getattr(keras.losses, name)() if name[0].isupper() else name)
    wanted = K.placeholder((None, *y.shape[1:]), dtype=str(y.dtype).replace("64", "32"))
    loss = K.lazy(loss_named(name), wanted, out)
    (found,) = K.function([given, wanted], [loss])([x, y])
    np.testing.assert_allclose(found, float(model.test_on_batch(x, y)), rtol=1e-5)

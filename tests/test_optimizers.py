"""Every optimizer of Keras, against its own training step, on each engine and between engines."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from optimizer_setups import OTHERS, RECORDED, SETUPS, STEPS, batches, by_train_on_batch, network

from layerprobe import backend as K  # noqa: N812 - the name that users of Keras 2 gave it

pytestmark = pytest.mark.engine


def by_function(model: Any, optimizer: Any, steps: int = STEPS, loss: Any = None) -> Any:
    """Return the model after some steps of ours."""
    target = K.placeholder((None, 1))
    error = K.lazy(loss or keras.losses.MeanSquaredError(), target, model.outputs[0])
    total = error + K.model_losses(model)
    step = K.function(
        [*model.inputs, target], total, K.get_updates(optimizer, total, model), training=True
    )
    for batch in batches(steps):
        step(list(batch))
    return model


def assert_identical(ours: Any, theirs: Any) -> None:
    """Check that the weights of two models, and the states of their layers, agree in every bit."""
    for mine, other in zip(ours.weights, theirs.weights, strict=True):
        found, wanted = (keras.ops.convert_to_numpy(v.value) for v in (mine, other))
        np.testing.assert_array_equal(found, wanted, err_msg=mine.path)


@pytest.mark.parametrize("name", SETUPS)
def test_fifty_steps_are_keras_own(name: str) -> None:
    """Each set-up moves the weights as train_on_batch does, and as on the other engines."""
    ours = by_function(network(name), SETUPS[name]())
    assert_identical(ours, by_train_on_batch(network(name), SETUPS[name]()))
    with np.load(RECORDED) as recorded:
        for at, (found, before) in enumerate(
            zip(ours.get_weights(), network(name).get_weights(), strict=True)
        ):
            assert np.abs(found - before).max() > 1e-2
            np.testing.assert_allclose(found, recorded[f"{name}/{at}"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", OTHERS)
def test_every_other_optimizer_takes_keras_own_steps(name: str) -> None:
    """The classes of keras.optimizers, each with options of its own."""
    steps = 8
    ours = by_function(network(), OTHERS[name](), steps)
    assert_identical(ours, by_train_on_batch(network(), OTHERS[name](), steps))
    pairs = zip(ours.get_weights(), network().get_weights(), strict=True)
    assert all((a != b).any() for a, b in pairs)


def test_no_optimizer_is_left_out() -> None:
    """Every class of keras.optimizers is above, but the base and MultiOptimizer's table."""
    classes = {n for n, v in vars(keras.optimizers).items() if isinstance(v, type)}
    assert classes - set(OTHERS) == {"Optimizer", "OptimizerMap"}

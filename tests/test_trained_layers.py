"""Layers that train in ways of their own, against Keras' own training step, bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pytest
from by_hand import slopes
from optimizer_setups import batches

from layerprobe import backend as K  # noqa: N812 - the name that users of Keras 2 gave it

pytestmark = pytest.mark.engine
Array = npt.NDArray[Any]
Batches = list[tuple[Array, Array]]
_L, _O = keras.layers, keras.optimizers


def held(*variables: Any) -> list[Array]:
    """Return copies of what variables hold."""
    return [np.array(keras.ops.convert_to_numpy(v.value)) for v in variables]


def both(
    make: Callable[[], Any], optimizer: Callable[[], Any], given: Batches
) -> tuple[Any, Any, Any]:
    """Train a model and its twin, by a function and by Keras; return them and our optimizer."""
    ours, theirs = make(), make()
    theirs.set_weights(ours.get_weights())
    target = K.placeholder((None, 1))
    loss = K.lazy(keras.losses.MeanSquaredError(), target, ours.outputs[0])
    moved = optimizer()
    updates = [*K.get_updates(moved, loss, ours), *K.state_updates(ours)]
    step = K.function([*ours.inputs, target], loss, updates, training=True)
    theirs.compile(optimizer(), "mse", auto_scale_loss=False)
    for x, y in given:
        step([x, y])
        theirs.train_on_batch(x, y)
    return ours, theirs, moved


def assert_identical(ours: Any, theirs: Any) -> None:
    """Check that weights, statistics and generators of two models agree in every bit."""
    for mine, other in zip(ours.variables, theirs.variables, strict=True):
        np.testing.assert_array_equal(*held(mine, other), err_msg=mine.path)


def stack(*layers: Callable[[], Any]) -> Any:
    """Return the layers one behind the other, on five numbers."""
    return keras.Sequential([keras.Input((5,)), _L.Dense(8), *(make() for make in layers)])


def test_dropout_draws_the_same_masks() -> None:
    """The generator's state moves as in Keras' step, so that each step drops the same values."""

    def make() -> Any:
        return stack(lambda: _L.Dropout(0.5, seed=3), lambda: _L.Dense(1))

    ours, theirs, _ = both(make, lambda: _O.Adam(0.01), batches(6))
    assert_identical(ours, theirs)
    assert (held(ours.layers[1].seed_generator.state)[0] == [3, 6]).all()


def test_statistics_are_kept() -> None:
    """BatchNormalization's, through state_updates, as in Keras' own step."""
    ours, theirs, _ = both(
        lambda: stack(_L.BatchNormalization, lambda: _L.Dense(1)),
        lambda: _O.Adam(0.01),
        batches(6),
    )
    assert_identical(ours, theirs)
    assert held(ours.layers[1].moving_mean)[0].all()


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "clipped"])
def test_embeddings(optimizer: str) -> None:
    """Only some rows have gradients; TensorFlow keeps them sparse, as its own step does."""
    made = {
        "sgd": lambda: _O.SGD(0.1, momentum=0.9),
        "adam": lambda: _O.Adam(0.01),
        "clipped": lambda: _O.Adam(0.01, global_clipnorm=0.01),
    }[optimizer]
    random = np.random.default_rng(0)
    given = [
        (random.integers(0, 20, (16, 4)), random.normal(size=(16, 1)).astype("float32"))
        for _ in range(6)
    ]

    def make() -> Any:
        tokens = keras.Input((4,), dtype="int32")
        averaged = _L.GlobalAveragePooling1D()(_L.Embedding(50, 6)(tokens))
        return keras.Model(tokens, _L.Dense(1)(averaged))

    before = keras.utils.set_random_seed(0) or make().get_weights()[0]
    keras.utils.set_random_seed(0)
    ours, theirs, _ = both(make, made, given)
    assert_identical(ours, theirs)
    moved = (ours.get_weights()[0] != before).any(axis=1)
    assert moved[:20].all()
    assert not moved[20:].any()


def test_constraints_hold() -> None:
    """They are applied after each step, by the optimizer."""
    norm = keras.constraints.MaxNorm(0.5)
    ours, theirs, _ = both(
        lambda: stack(
            lambda: _L.Dense(4, kernel_constraint="non_neg"),
            lambda: _L.Dense(1, kernel_constraint=norm),
        ),
        lambda: _O.Adam(0.05),
        batches(6),
    )
    assert_identical(ours, theirs)
    first, _, last, _ = ours.get_weights()[2:]
    assert (first >= 0).all()
    assert (first == 0).any()
    assert np.linalg.norm(last) <= 0.5 + 1e-6


def test_frozen_layers_stay() -> None:
    """What is not trainable is no parameter of the model, and does not move."""

    def make() -> Any:
        model = stack(_L.BatchNormalization, lambda: _L.Dense(1))
        model.layers[0].trainable = model.layers[1].trainable = False
        return model

    ours, theirs, optimizer = both(make, lambda: _O.Adam(0.01), batches(6))
    assert_identical(ours, theirs)
    assert not held(ours.layers[1].moving_mean)[0].any()
    assert len(optimizer.variables) == 2 + 2 * 2  # the step and rate, and two a parameter


def test_half_precision_with_a_scaled_loss() -> None:
    """The scale is too large at first and falls, grows again, and skips no more than Keras does."""

    def make() -> Any:
        half = {"dtype": "mixed_float16"}
        return keras.Sequential([keras.Input((5,)), _L.Dense(8, **half), _L.Dense(1, **half)])

    ours, theirs, optimizer = both(
        make,
        lambda: _O.LossScaleOptimizer(_O.Adam(0.01), 2.0**20, dynamic_growth_steps=3),
        batches(16),
    )
    assert_identical(ours, theirs)
    for mine, other in zip(optimizer.variables, theirs.optimizer.variables, strict=True):
        np.testing.assert_array_equal(*held(mine, other), err_msg=mine.path)
    steps = int(held(optimizer.inner_optimizer.iterations)[0])
    assert 4 < steps < 16  # some were skipped
    assert held(ours.weights[0])[0].dtype == np.float32


def test_two_optimizers_on_two_losses() -> None:
    """Each moves its own parameters, both from the state before the call."""
    x = keras.Input((5,))
    first, second = _L.Dense(3), _L.Dense(1)
    middle = first(x)
    one = keras.ops.mean(keras.ops.square(middle))
    two = keras.ops.mean(keras.ops.square(second(middle) - 1))
    updates = [
        K.get_updates(_O.SGD(0.1, momentum=0.5), one, first),
        K.get_updates(_O.Adam(0.05), two, second),
    ]
    step = K.function([x], [one, two], updates)
    twins = [_L.Dense(3), _L.Dense(1)]
    for twin, layer in zip(twins, (first, second), strict=True):
        twin.build((None, layer.kernel.shape[0]))
        twin.set_weights(layer.get_weights())
    optimizers = [_O.SGD(0.1, momentum=0.5), _O.Adam(0.05)]
    for given, _ in batches(10):
        step([given])
        losses = [
            lambda: keras.ops.mean(keras.ops.square(twins[0](given))),  # noqa: B023 - called at once
            lambda: keras.ops.mean(keras.ops.square(twins[1](twins[0](given)) - 1)),  # noqa: B023
        ]
        found = [
            slopes(loss, twin.trainable_variables) for loss, twin in zip(losses, twins, strict=True)
        ]
        for optimizer, twin, gradients in zip(optimizers, twins, found, strict=True):
            optimizer.apply(gradients, twin.trainable_variables)
    for twin, layer in zip(twins, (first, second), strict=True):
        for mine, other in zip(layer.get_weights(), twin.get_weights(), strict=True):
            np.testing.assert_allclose(mine, other, rtol=0, atol=1e-6)

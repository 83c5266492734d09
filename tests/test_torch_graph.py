"""Plans recorded on PyTorch: used for shapes that come again, exact, and aware of new weights."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from layerprobe import backend as K  # noqa: N812 - the name that users of Keras 2 gave it

pytestmark = pytest.mark.engine("torch")
CALLS = 12  # more than a recording waits for


def ran(layer: Any) -> list[int]:
    """Count how often Keras runs a layer from now on, in a list of one number."""
    count, call = [0], layer.call

    def counted(*args: Any, **kwargs: Any) -> Any:
        count[0] += 1
        return call(*args, **kwargs)

    object.__setattr__(layer, "call", counted)
    return count


def test_a_recording_takes_over_and_stays_exact() -> None:
    """After some calls Keras' layer is not run any more; the numbers stay, as do new weights."""
    x = keras.Input((6, 6, 2))
    conv = keras.layers.Conv2D(3, 3, activation="gelu")
    lstm = keras.layers.LSTM(4)
    out = lstm(keras.layers.Reshape((16, 3))(conv(x)))
    count = ran(conv)
    function = K.function([x], [conv.output, out])
    rows = np.random.default_rng(0).normal(size=(5, 6, 6, 2)).astype("float32")
    early = function([rows])
    for _ in range(CALLS):
        late = function([rows])
    before = count[0]
    late = function([rows])
    assert count[0] == before
    for one, other in zip(early, late, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    conv.bias.assign([1.0, 2.0, 3.0])
    expected = keras.ops.convert_to_numpy(conv(rows))
    np.testing.assert_allclose(function([rows])[0], expected, atol=1e-6)
    smaller = function([rows[:3]])[0]
    np.testing.assert_allclose(smaller, expected[:3], atol=1e-6)


def _network() -> Any:
    keras.utils.set_random_seed(3)
    layers = [
        keras.layers.Conv2D(4, 3),
        keras.layers.BatchNormalization(),
        keras.layers.MaxPooling2D(),
        keras.layers.Flatten(),
        keras.layers.Dense(3, activation="softmax", kernel_regularizer="l2"),
    ]
    return keras.Sequential([keras.Input((8, 8, 2)), *layers])


def test_a_recorded_step_trains_as_train_on_batch() -> None:
    """Gradients, regularizers and moving statistics: the same weights after 30 steps."""
    ours, theirs = _network(), _network()
    theirs.compile(keras.optimizers.Adam(0.01), "mse")
    target = K.placeholder((None, 3))
    losses = keras.losses.mean_squared_error(target, ours.outputs[0])
    loss = keras.ops.mean(losses) + K.model_losses(ours)
    updates = K.get_updates(keras.optimizers.Adam(0.01), loss, ours)
    step = K.function(
        [*ours.inputs, target], loss, [*updates, *K.state_updates(ours)], training=True
    )
    count = ran(ours.layers[0])
    draw = np.random.default_rng(0)
    for _ in range(30):
        rows = draw.normal(size=(6, 8, 8, 2)).astype("float32")
        targets = draw.random((6, 3)).astype("float32")
        found = step([rows, targets])
        np.testing.assert_allclose(found, theirs.train_on_batch(rows, targets), rtol=1e-5)
    assert count[0] <= CALLS
    for one, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=2e-6)
    weights = np.zeros((3, 3, 2, 4))
    ours.layers[0].kernel.assign(weights)
    theirs.layers[0].kernel.assign(weights)
    found = step([rows, targets])
    np.testing.assert_allclose(found, theirs.train_on_batch(rows, targets), rtol=1e-5)


def test_a_size_comes_back_as_before() -> None:
    """It is no tensor, so there is no recording."""
    x = keras.Input((3,))
    function = K.function([x], [keras.layers.Dense(2)(x), K.shape(x)])
    for _ in range(CALLS):
        assert list(function([np.ones((4, 3))])[1]) == [4, 3]


def test_what_a_user_wrote_is_never_recorded() -> None:
    """A branch on values would be fixed for ever in a recording."""

    class Branch(keras.layers.Layer):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            return x * 2 if float(keras.ops.sum(x)) > 0 else x * 3

        def compute_output_shape(self, input_shape: Any) -> Any:
            return input_shape

        def compute_output_spec(self, x: Any) -> Any:
            return keras.KerasTensor(x.shape, x.dtype)

    x = keras.Input((1,))
    function = K.function([x], Branch()(x))
    for _ in range(CALLS):
        assert function([[[1.0]]]) == [[2.0]]
    assert function([[[-1.0]]]) == [[-3.0]]

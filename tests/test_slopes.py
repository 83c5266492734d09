"""Gradients that do not exist are refused, those that do are right: against gradients by hand."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pytest
from by_hand import assert_unmoved, held, rows, slope

from layerprobe import backend as K  # noqa: N812 - the name that users of Keras 2 gave it
from layerprobe.errors import BackendError

pytestmark = pytest.mark.engine
Array = npt.NDArray[Any]


def stopped(place: str) -> Any:
    """Return what stops gradients, where only running it shows that."""
    if place == "lambda":
        return keras.layers.Lambda(keras.ops.stop_gradient)
    if place == "lazy":
        return lambda tensor: K.lazy(lambda value: keras.ops.stop_gradient(value) + 1, tensor)
    inner = keras.Input((2,))
    if place == "nested":
        return keras.Model(inner, keras.layers.Lambda(keras.ops.stop_gradient)(inner))
    return keras.layers.Dense(2, activation=lambda value: keras.ops.stop_gradient(value) * 2)


@pytest.mark.parametrize("place", ["lambda", "lazy", "nested", "activation"])
def test_parameters_off_the_path_are_refused(place: str) -> None:
    """A stop that hides in the user's code is found at the first call, before anything moves."""
    x, dense, free = keras.Input((3,)), keras.layers.Dense(2), keras.layers.Dense(2)
    out = stopped(place)(dense(x)) + free(x)
    loss = keras.ops.mean(out * out)
    optimizer = keras.optimizers.SGD(0.1)
    with pytest.raises(BackendError, match="does not depend on") as caught:  # noqa: PT012
        function = K.function([x], loss, K.get_updates(optimizer, loss, [dense, free]))
        before = held(*dense.variables, *free.variables)
        function([rows(4, 3)])
    assert caught.value.fields["names"] == [v.path for v in dense.variables]
    if "before" in locals():
        assert_unmoved([*dense.variables, *free.variables], before)
    # Without them it works, also on a batch in which every gradient is zero or a constant.
    step = K.function([x], loss, K.get_updates(keras.optimizers.SGD(0.1), loss, free))
    step([np.zeros((4, 3))])


def test_a_constant_or_vanishing_gradient_is_one() -> None:
    """The gradient by a bias is a constant, that of a dead ReLU is zero: both are no mistake."""
    x, dense = keras.Input((3,)), keras.layers.Dense(2, bias_initializer=lambda *_, **__: [-9.0, 2])
    out = keras.layers.Lambda(keras.ops.relu)(dense(x))
    linear = keras.layers.Lambda(lambda value: value * 2.0)(out)
    loss = keras.ops.sum(linear)
    step = K.function([x], loss, K.get_updates(keras.optimizers.SGD(0.5), loss, dense))
    assert step([np.zeros((1, 3))]) == 4
    assert held(dense.bias)[0].tolist() == [-9.0, 1.0]


def test_grad_cam() -> None:
    """The classic use of gradients: by a layer in the middle, weighted and summed."""
    conv = keras.layers.Conv2D(4, 3, activation="relu")
    pool, dense = keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3)
    x = keras.Input((8, 8, 1))
    middle = conv(x)
    scores = dense(pool(middle))
    (by_middle,) = K.gradients(keras.ops.sum(scores[:, 1]), [middle])
    dense.set_weights([np.abs(rows(4, 3)), rows(3)])  # else no part of the image may speak for it
    weights = keras.ops.mean(by_middle, axis=(1, 2), keepdims=True)
    cam = keras.ops.relu(keras.ops.sum(middle * weights, axis=-1))
    image = rows(2, 8, 8, 1)
    found, slopes = K.function([x], [cam, by_middle])([image])
    at = keras.ops.convert_to_numpy(conv(image))
    expected = slope(lambda value: keras.ops.sum(dense(pool(value))[:, 1]), at)
    np.testing.assert_allclose(slopes, expected, rtol=0, atol=1e-7)
    by_hand = np.maximum((at * expected.mean((1, 2), keepdims=True)).sum(-1), 0)
    assert by_hand.any()
    np.testing.assert_allclose(found, by_hand, rtol=0, atol=1e-6)

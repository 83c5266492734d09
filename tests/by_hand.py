"""Gradients as one writes them by hand on each engine, eagerly, without the code under test."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def rows(*shape: int) -> Array:
    """Return made-up numbers of both signs."""
    return np.random.default_rng(sum(shape)).normal(size=shape).astype("float32")


def held(*variables: Any) -> list[Array]:
    """Return copies of what variables hold."""
    return [np.array(keras.ops.convert_to_numpy(v.value)) for v in variables]


def assert_unmoved(variables: Any, before: list[Array]) -> None:
    """Check that variables hold what they held, bit for bit."""
    for variable, old, now in zip(variables, before, held(*variables), strict=True):
        assert now.tobytes() == old.tobytes(), variable.path


def slopes(loss: Callable[[], Any], variables: Sequence[Any]) -> list[Any]:
    """Return the gradients of a scalar by Keras variables, as the engine's tensors."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            value = loss()
        return list(tape.gradient(value, [v.value for v in variables]))
    if keras.backend.backend() == "torch":
        import torch

        return list(torch.autograd.grad(loss(), [v.value for v in variables]))
    import jax

    def pure(values: Any) -> Any:
        with keras.StatelessScope(list(zip(variables, values, strict=True))):
            return loss()

    return list(jax.grad(pure)([v.value for v in variables]))


def compiled(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a function of the engine's tensors, compiled where the engine's users compile."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        traced: Callable[[Any], Any] = tf.function(function)
        return traced
    return function


def slope(loss: Callable[[Any], Any], at: Any) -> Array:
    """Return the gradient of a scalar function of one array."""
    given = np.asarray(at, "float32")
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        x = tf.constant(given)
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = loss(x)
        return np.asarray(tape.gradient(value, x))
    if keras.backend.backend() == "torch":
        import torch

        x = torch.tensor(given, requires_grad=True)
        return torch.autograd.grad(loss(x), x)[0].numpy()
    import jax

    return np.asarray(jax.grad(loss)(jax.numpy.asarray(given)))

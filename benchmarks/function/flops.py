"""Floating-point operations that a function runs, as each engine's own counter sees them."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from typing import Any
from unittest import mock

import keras
import numpy as np

Call = Callable[[], object]


def counted(build: Callable[[], Call]) -> float:
    """Build a function, call it once, and return how many operations that took.

    TensorFlow and JAX count what they have compiled, PyTorch the products of what runs.
    """
    count = {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}[keras.config.backend()]
    return count(build)


def by_hand(model: Any, last: str, rows: int) -> float:
    """Return the multiplications and additions in a chain's convolutions up to a layer."""
    names = [layer.name for layer in model.layers]
    convolutions = [
        layer
        for layer in model.layers[: names.index(last) + 1]
        if isinstance(layer, keras.layers.Conv2D)
    ]
    sizes = [np.prod(c.output.shape[1:3]) * np.prod(c.kernel.shape) for c in convolutions]
    return 2.0 * rows * float(sum(sizes))


def _tensorflow(build: Callable[[], Call]) -> float:
    import tensorflow as tf
    from tensorflow.python.eager.polymorphic_function import polymorphic_function

    graphs: list[Any] = []
    trace = polymorphic_function.Function.get_concrete_function

    def spied(self: Any, *args: Any, **kwargs: Any) -> Any:
        traced = trace(self, *args, **kwargs)
        graphs.append(traced.graph)
        return traced

    with mock.patch.object(polymorphic_function.Function, "get_concrete_function", spied):
        build()()
    options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
    with contextlib.redirect_stdout(io.StringIO()):
        found = tf.compat.v1.profiler.profile(graphs[-1], options={**options, "output": "none"})
    return float(found.total_float_ops)


def _jax(build: Callable[[], Call]) -> float:
    import jax

    found: list[float] = []
    real = jax.jit

    def spied(function: Any) -> Any:
        jitted = real(function)

        def call(*args: Any) -> Any:
            found.append(jitted.lower(*args).compile().cost_analysis()["flops"])
            return jitted(*args)

        return call

    with mock.patch.object(jax, "jit", spied):
        build()()
    return found[-1]


def _torch(build: Callable[[], Call]) -> float:
    from torch.utils.flop_counter import FlopCounterMode

    call = build()
    with FlopCounterMode(display=False) as counter:
        call()
    return float(counter.get_total_flops())

"""Random numbers as Keras 2 asked for them.

A seed gives the same numbers at every call. As part of a graph (a symbolic tensor, or a symbolic
shape such as `K.shape(x)`), a generator stands in the graph, begun from the seed: each run draws
anew, in a reproducible order.

Example:
    >>> from layerprobe import backend as K
    >>> sorted(set(K.eval(K.random_bernoulli((100,), p=0.5, seed=1)).tolist()))
    [0.0, 1.0]
    >>> K.is_variable(K.random_normal_variable((2, 3), mean=0.0, scale=1.0, seed=1))
    True
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from layerprobe.backend.keras2.deferred import defer, is_symbolic, known
from layerprobe.backend.keras2.values import variable

__all__ = [
    "dropout",
    "random_bernoulli",
    "random_binomial",
    "random_normal",
    "random_normal_variable",
    "random_uniform",
    "random_uniform_variable",
    "truncated_normal",
]


def _draw(
    function: Callable[..., Any],
    shape: Any,
    parameters: tuple[Any, ...],
    dtype: str | None,
    seed: Any,
) -> Any:
    kind = dtype or keras.config.floatx()
    if not is_symbolic(shape, parameters):
        return function(shape, *parameters, kind, seed=seed)

    def spec(shape: Any, *rest: Any) -> Any:
        return keras.KerasTensor(known(shape), rest[-1])

    return defer(function, shape, *parameters, kind, spec=spec, seed=(seed,))


def random_normal(
    shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: str | None = None, seed: Any = None
) -> Any:
    """Return normally distributed numbers."""
    return _draw(_normal, shape, (mean, stddev), dtype, seed)


def _normal(shape: Any, mean: Any, stddev: Any, dtype: str, seed: Any) -> Any:
    return keras.random.normal(shape, dtype=dtype, seed=seed) * stddev + mean


def truncated_normal(
    shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: str | None = None, seed: Any = None
) -> Any:
    """Return normally distributed numbers, none more than two deviations off the mean."""
    return _draw(_truncated, shape, (mean, stddev), dtype, seed)


def _truncated(shape: Any, mean: Any, stddev: Any, dtype: str, seed: Any) -> Any:
    return keras.random.truncated_normal(shape, dtype=dtype, seed=seed) * stddev + mean


def random_uniform(
    shape: Any, minval: Any = 0.0, maxval: Any = 1.0, dtype: str | None = None, seed: Any = None
) -> Any:
    """Return evenly distributed numbers from minval up to maxval, which never comes."""
    return _draw(_uniform, shape, (minval, maxval), dtype, seed)


def _uniform(shape: Any, minval: Any, maxval: Any, dtype: str, seed: Any) -> Any:
    if "int" in dtype:
        return keras.random.randint(shape, int(minval), int(maxval), dtype=dtype, seed=seed)
    return keras.random.uniform(shape, minval, maxval, dtype=dtype, seed=seed)


def random_bernoulli(shape: Any, p: Any = 0.0, dtype: str | None = None, seed: Any = None) -> Any:
    """Return ones with probability p, else zeros."""
    return _draw(_bernoulli, shape, (p,), dtype, seed)


def random_binomial(shape: Any, p: Any = 0.0, dtype: str | None = None, seed: Any = None) -> Any:
    """Return ones with probability p, else zeros; the older name of `random_bernoulli`."""
    return random_bernoulli(shape, p, dtype, seed)


def _bernoulli(shape: Any, p: Any, dtype: str, seed: Any) -> Any:
    return ops.cast(ops.less(keras.random.uniform(shape, seed=seed), p), dtype)


def dropout(x: Any, level: float, noise_shape: Any = None, seed: Any = None) -> Any:
    """Return x with a part of its values set to 0 and the others scaled up, in every phase.

    Args:
        x: A tensor.
        level: The part, from 0 up to 1.
        noise_shape: A shape that is broadcast to that of x, to set values to 0 together.
        seed: See the top of this file.
    """
    if not is_symbolic(x):
        return _dropout(x, level, noise_shape, seed)
    return defer(_dropout, x, level, noise_shape, spec=_like, seed=(seed,))


def _dropout(x: Any, level: float, noise_shape: Any, seed: Any) -> Any:
    x = ops.convert_to_tensor(x)
    return keras.random.dropout(x, level, noise_shape=noise_shape, seed=seed)


def _like(x: Any, *_: Any) -> Any:
    return keras.KerasTensor(x.shape, x.dtype)


def random_uniform_variable(
    shape: Any,
    low: float,
    high: float,
    dtype: str | None = None,
    name: str | None = None,
    seed: Any = None,
) -> Any:
    """Return a variable that begins with evenly distributed numbers."""
    return variable(random_uniform(shape, low, high, dtype, seed), dtype, name)


def random_normal_variable(
    shape: Any,
    mean: float,
    scale: float,
    dtype: str | None = None,
    name: str | None = None,
    seed: Any = None,
) -> Any:
    """Return a variable that begins with normally distributed numbers."""
    return variable(random_normal(shape, mean, scale, dtype, seed), dtype, name)

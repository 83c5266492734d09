"""Arithmetic of Keras 2 where `keras.ops` has other defaults, another meaning, or other names.

Example:
    >>> from layerprobe import backend as K
    >>> K.eval(K.hard_sigmoid(K.constant([-2.0, 0.0]))).round(3)  # 0.2 x + 0.5
    array([0.1, 0.5], dtype=float32)
    >>> K.eval(K.relu(K.constant([-1.0, 2.0, 9.0]), alpha=0.5, max_value=6.0)).tolist()
    [-0.5, 2.0, 6.0]
    >>> K.int_shape(K.batch_dot(K.zeros((5, 3)), K.zeros((5, 3, 4)), axes=1))
    (5, 4)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras import ops

from layerprobe.backend.keras2.settings import normalize_data_format
from layerprobe.backend.keras2.values import int_shape, is_tensor, ndim
from layerprobe.errors import BackendError

__all__ = [
    "batch_dot",
    "batch_normalization",
    "bias_add",
    "clip",
    "cumprod",
    "cumsum",
    "dot",
    "equal",
    "greater",
    "greater_equal",
    "hard_sigmoid",
    "l2_normalize",
    "less",
    "less_equal",
    "maximum",
    "minimum",
    "normalize_batch_in_training",
    "not_equal",
    "pow",
    "relu",
    "sqrt",
    "stop_gradient",
]

_TINY = 1e-12  # what TensorFlow's l2_normalize takes at least for a squared norm


def equal(x: Any, y: Any) -> Any:
    """Return where x equals y."""
    return ops.equal(x, y)


def not_equal(x: Any, y: Any) -> Any:
    """Return where x differs from y."""
    return ops.not_equal(x, y)


def greater(x: Any, y: Any) -> Any:
    """Return where x is greater than y."""
    return ops.greater(x, y)


def greater_equal(x: Any, y: Any) -> Any:
    """Return where x is at least y."""
    return ops.greater_equal(x, y)


def less(x: Any, y: Any) -> Any:
    """Return where x is less than y."""
    return ops.less(x, y)


def less_equal(x: Any, y: Any) -> Any:
    """Return where x is at most y."""
    return ops.less_equal(x, y)


def maximum(x: Any, y: Any) -> Any:
    """Return the greater of each pair."""
    return ops.maximum(x, y)


def minimum(x: Any, y: Any) -> Any:
    """Return the lesser of each pair."""
    return ops.minimum(x, y)


def pow(x: Any, a: Any) -> Any:
    """Return x to the power of a."""
    return ops.power(x, a)


def sqrt(x: Any) -> Any:
    """Return the square root; of numbers below zero it is 0, not NaN."""
    return ops.sqrt(ops.maximum(x, 0))


def clip(x: Any, min_value: Any, max_value: Any) -> Any:
    """Return x between two bounds, None for none; a maximum below the minimum is raised to it."""
    numbers = (int, float)
    if isinstance(min_value, numbers) and isinstance(max_value, numbers):
        max_value = max(min_value, max_value)
    if min_value is not None:
        x = ops.maximum(x, min_value)
    return x if max_value is None else ops.minimum(x, max_value)


def cumsum(x: Any, axis: int = 0) -> Any:
    """Return running sums along an axis, the first unless told."""
    return ops.cumsum(x, axis=axis)


def cumprod(x: Any, axis: int = 0) -> Any:
    """Return running products along an axis, the first unless told."""
    return ops.cumprod(x, axis=axis)


def stop_gradient(variables: Any) -> Any:
    """Return the same values, of one tensor or of each in a list, as constants to gradients."""
    if isinstance(variables, list | tuple):
        return [stop_gradient(variable) for variable in variables]
    known = is_tensor(variables)
    return ops.stop_gradient(variables if known else ops.convert_to_tensor(variables))


def hard_sigmoid(x: Any) -> Any:
    """Return 0.2 x + 0.5 between 0 and 1 (Keras 3's own has the slope 1/6)."""
    return ops.clip(ops.add(ops.multiply(x, 0.2), 0.5), 0.0, 1.0)


def relu(x: Any, alpha: float = 0.0, max_value: float | None = None, threshold: float = 0.0) -> Any:
    """Return x above a threshold and alpha (x - threshold) below it, at most `max_value`.

    With a `max_value`, what lies between a negative threshold and 0 becomes 0.
    """
    above = ops.where(ops.greater(x, threshold), x, 0.0) if threshold else ops.relu(x)
    if max_value is not None:
        above = ops.clip(above, 0, max_value)
    if not alpha:
        return above
    return ops.subtract(above, ops.multiply(ops.relu(ops.subtract(threshold, x)), alpha))


def l2_normalize(x: Any, axis: Any = None) -> Any:
    """Return x over its Euclidean norm along an axis, or of the whole; never over zero."""
    squares = ops.sum(ops.square(x), axis=axis, keepdims=True)
    return ops.multiply(x, ops.rsqrt(ops.maximum(squares, _TINY)))


def dot(x: Any, y: Any) -> Any:
    """Return the product over the last axis of x and the last but one of y."""
    # Only matmul takes sparse matrices, and keras.ops.dot is wrong for high ranks on PyTorch.
    if ndim(x) == ndim(y) == 2:
        return ops.matmul(x, y)
    return ops.tensordot(x, y, axes=[[ndim(x) - 1], [ndim(y) - 2]])


def batch_dot(x: Any, y: Any, axes: int | Sequence[int] | None = None) -> Any:
    """Return for each row of the batch the product over one axis of x and one of y.

    Args:
        x: Rank 2 at least, the batch first.
        y: Likewise.
        axes: The axis of both, or of each; by default the last of x, and of y the last if its rank
            is 2, else the last but one.

    Returns:
        The batch, the other axes of x, the other axes of y; of two matrices, (batch, 1).

    Raises:
        BackendError: The ranks, the axes or the lengths along them do not fit.
    """
    ranks = ndim(x), ndim(y)
    if min(ranks) < 2:
        raise BackendError(f"batch_dot takes ranks of 2 at least, not {ranks}.", exit_code=2)
    if axes is None:
        axes = (ranks[0] - 1, ranks[1] - 1 if ranks[1] == 2 else ranks[1] - 2)
    first, second = (axes, axes) if isinstance(axes, int) else axes
    along = first % ranks[0], second % ranks[1]
    lengths = int_shape(x)[along[0]], int_shape(y)[along[1]]
    if 0 in along or (None not in lengths and lengths[0] != lengths[1]):
        raise BackendError(
            f"batch_dot of shapes {int_shape(x)} and {int_shape(y)} over their axes {along}.",
            expected="axes of the same length, and not the batch",
            exit_code=2,
        )
    letters = iter("cdefghijklmnopqrstuvwxyz")
    left = ["a", *(next(letters) for _ in range(ranks[0] - 1))]
    right = ["a", *(next(letters) for _ in range(ranks[1] - 1))]
    left[along[0]] = right[along[1]] = "b"
    kept = [letter for letter in (*left, *right[1:]) if letter != "b"]
    result = ops.einsum(f"{''.join(left)},{''.join(right)}->{''.join(kept)}", x, y)
    return ops.expand_dims(result, -1) if ranks == (2, 2) else result


def bias_add(x: Any, bias: Any, data_format: str | None = None) -> Any:
    """Return x plus a bias: one number a channel, or one for every place of a row.

    Args:
        x: The batch first.
        bias: Of rank 1, or of the shape of a row of x with the channels last. With channels first
            Keras 2 reshaped the latter, without moving axes, and so does this.
        data_format: Where the channels of x are; by default as Keras is set.

    Raises:
        BackendError: The bias has another rank.
    """
    first = normalize_data_format(data_format) == "channels_first"
    rank, shape = ndim(x), int_shape(bias)
    if len(shape) not in (1, rank - 1):
        raise BackendError(
            f"A bias of shape {shape} does not fit {rank} axes.",
            expected=f"a bias of rank 1 or {rank - 1}",
            exit_code=2,
        )
    if len(shape) == 1:
        shape = (shape[0], *(1,) * (rank - 2)) if first else shape
    elif first:
        shape = (shape[-1], *shape[:-1])
    return ops.add(x, ops.reshape(bias, shape))


def _along(parameter: Any, axis: int, rank: int) -> Any:
    """Return a vector of parameters so that it runs along an axis."""
    if parameter is None or ndim(parameter) != 1 or axis % rank == rank - 1:
        return parameter
    return ops.reshape(parameter, [-1 if i == axis % rank else 1 for i in range(rank)])


def batch_normalization(
    x: Any,
    mean: Any,
    var: Any,
    beta: Any,
    gamma: Any,
    axis: int = -1,
    epsilon: float = 1e-3,
) -> Any:
    """Return gamma (x - mean) / sqrt(var + epsilon) + beta.

    Beta comes before gamma, and either may be None. Parameters of rank 1 run along `axis`; others
    are broadcast.
    """
    rank = ndim(x)
    mean, var, beta, gamma = (_along(p, axis, rank) for p in (mean, var, beta, gamma))
    scale = ops.rsqrt(ops.add(var, epsilon))
    if gamma is not None:
        scale = ops.multiply(scale, gamma)
    result = ops.multiply(ops.subtract(x, mean), scale)
    return result if beta is None else ops.add(result, beta)


def normalize_batch_in_training(
    x: Any, gamma: Any, beta: Any, reduction_axes: Sequence[int], epsilon: float = 1e-3
) -> tuple[Any, Any, Any]:
    """Return x normalized by its own statistics over some axes, and its mean and variance.

    The variance is that of the population (Keras 2 on TensorFlow gave that of a sample for images,
    as an effect of the kernel it took).
    """
    rank = ndim(x)
    reduced = [axis % rank for axis in reduction_axes]
    mean, var = ops.moments(x, reduced, keepdims=True)
    lengths = [1 if axis in reduced else int_shape(x)[axis] for axis in range(rank)]

    def spread(parameter: Any) -> Any:
        return parameter if parameter is None else ops.reshape(parameter, lengths)

    normed = batch_normalization(x, mean, var, spread(beta), spread(gamma), epsilon=epsilon)
    return normed, ops.squeeze(mean, reduced), ops.squeeze(var, reduced)

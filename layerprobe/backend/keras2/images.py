"""Pooling, resizing, and convolutions with a kernel for each place, as Keras 2 had them.

Example:
    >>> from layerprobe import backend as K
    >>> image = K.ones((1, 4, 6, 2))
    >>> K.int_shape(K.pool2d(image, (2, 2), strides=(2, 2), pool_mode="avg"))
    (1, 2, 3, 2)
    >>> K.int_shape(K.resize_images(image, 2, 3, "channels_last"))
    (1, 8, 18, 2)
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from layerprobe.backend.keras2.channels import channels_last, check_padding
from layerprobe.backend.keras2.deferred import deferred, deferred_as
from layerprobe.backend.keras2.settings import normalize_data_format
from layerprobe.backend.keras2.values import int_shape, ndim
from layerprobe.errors import BackendError

__all__ = [
    "local_conv1d",
    "local_conv2d",
    "pool2d",
    "pool3d",
    "resize_images",
    "resize_volumes",
]


def _local(
    inputs: Any, kernel: Any, size: Sequence[int], strides: Sequence[int], data_format: str | None
) -> Any:
    """Return (batch, *places, filters) of patches each with a kernel of its own."""
    first = normalize_data_format(data_format) == "channels_first"
    lengths = int_shape(inputs)[2:] if first else int_shape(inputs)[1:-1]
    places = [(n - k) // s + 1 for n, k, s in zip(lengths, size, strides, strict=True)]  # type: ignore[operator]
    patches = []
    for offset in itertools.product(*(range(k) for k in size)):
        box = [
            slice(begin, begin + s * (count - 1) + 1, s)
            for begin, s, count in zip(offset, strides, places, strict=True)
        ]
        patches.append(inputs[(slice(None), slice(None), *box) if first else (slice(None), *box)])
    # Keras 2 flattened a patch as it lay in memory: channels in front or behind.
    stacked = ops.stack(
        [ops.moveaxis(p, 1, -1) for p in patches] if first else patches, axis=-1 if first else -2
    )
    flat = ops.reshape(stacked, (-1, math.prod(places), int_shape(kernel)[1]))
    result = ops.einsum("bpk,pkf->bpf", flat, kernel)
    result = ops.reshape(result, (-1, *places, int_shape(kernel)[2]))
    return ops.moveaxis(result, -1, 1) if first else result


def local_conv1d(
    inputs: Any,
    kernel: Any,
    kernel_size: Sequence[int],
    strides: Sequence[int],
    data_format: str | None = None,
) -> Any:
    """Return a convolution with a kernel of its own at each step.

    Args:
        inputs: (batch, steps, channels); the steps must be known.
        kernel: (steps of the result, width times channels, filters).
        kernel_size: The width, in a tuple.
        strides: The stride, in a tuple.
        data_format: Where the channels are; by default as Keras is set.
    """
    return _local(inputs, kernel, kernel_size, strides, data_format)


def local_conv2d(
    inputs: Any,
    kernel: Any,
    kernel_size: Sequence[int],
    strides: Sequence[int],
    output_shape: Sequence[int] | None = None,
    data_format: str | None = None,
) -> Any:
    """Return a convolution with a kernel of its own at each place.

    Args:
        inputs: Images of a known size.
        kernel: (places of the result, numbers in a patch, filters).
        kernel_size: Height and width.
        strides: Along height and width.
        output_shape: Ignored: it follows from the others.
        data_format: Where the channels are; by default as Keras is set.
    """
    del output_shape
    return _local(inputs, kernel, kernel_size, strides, data_format)


def _pool(
    x: Any,
    size: Sequence[int],
    strides: Sequence[int],
    padding: str,
    data_format: str | None,
    mode: str,
) -> Any:
    axes = ndim(x) - 2
    if len(size) != axes or len(strides) != axes or mode not in ("max", "avg"):
        raise BackendError(
            f"Pooling with mode {mode!r}, size {size!r} and strides {strides!r}.",
            expected=f"the mode max or avg, and {axes} numbers each",
            exit_code=2,
        )
    check_padding(padding)

    def run(x: Any) -> Any:
        if mode == "max":
            return ops.max_pool(x, tuple(size), tuple(strides), padding, "channels_last")
        if padding == "same":
            return _mean_of_what_is_there(x, tuple(size), tuple(strides))
        return ops.average_pool(x, tuple(size), tuple(strides), "valid", "channels_last")

    return channels_last(x, data_format, run)


def _pooled(x: Any, size: Sequence[int], strides: Sequence[int]) -> Any:  # noqa: ARG001
    lengths = (
        None if n is None else -(-n // s) for n, s in zip(x.shape[1:], strides, strict=False)
    )
    return keras.KerasTensor((x.shape[0], *lengths, x.shape[-1]), x.dtype)


@deferred_as(_pooled)
def _mean_of_what_is_there(x: Any, size: Sequence[int], strides: Sequence[int]) -> Any:
    """Return the mean of each window, the padding left out, which PyTorch's kernel counts in."""
    lengths = tuple(ops.shape(x))[1:-1]
    pads = []
    for length, window, stride in zip(lengths, size, strides, strict=True):
        needed = (-(-length // stride) - 1) * stride + window - length
        total = max(0, needed) if isinstance(needed, int) else ops.maximum(0, needed)
        pads.append((total // 2, total - total // 2))

    def mean(x: Any) -> Any:
        padded = ops.pad(x, [(0, 0), *pads, (0, 0)])
        return ops.average_pool(padded, size, strides, "valid", "channels_last")

    x = ops.convert_to_tensor(x)
    return ops.divide(mean(x), mean(ops.ones((1, *lengths, 1), dtype=x.dtype)))


def pool2d(
    x: Any,
    pool_size: Sequence[int],
    strides: Sequence[int] = (1, 1),
    padding: str = "valid",
    data_format: str | None = None,
    pool_mode: str = "max",
) -> Any:
    """Return the greatest value ("max") or the mean ("avg") of each window of an image."""
    return _pool(x, pool_size, strides, padding, data_format, pool_mode)


def pool3d(
    x: Any,
    pool_size: Sequence[int],
    strides: Sequence[int] = (1, 1, 1),
    padding: str = "valid",
    data_format: str | None = None,
    pool_mode: str = "max",
) -> Any:
    """Return the greatest value ("max") or the mean ("avg") of each window of a volume."""
    return _pool(x, pool_size, strides, padding, data_format, pool_mode)


def resize_images(
    x: Any, height_factor: int, width_factor: int, data_format: str, interpolation: str = "nearest"
) -> Any:
    """Return images so many times as high and as wide.

    Args:
        x: Images.
        height_factor: A whole number.
        width_factor: A whole number.
        data_format: Where the channels are.
        interpolation: "nearest" or "bilinear", the latter as tf.keras 2.15 had it: pixels have
            their values in their middle.

    Raises:
        BackendError: The interpolation is another, which engines compute differently.
    """
    if interpolation == "nearest":
        return _enlarged(x, (height_factor, width_factor), data_format)
    if interpolation != "bilinear":
        raise BackendError(
            f"The interpolation {interpolation!r} is not offered: engines differ in it.",
            expected="nearest or bilinear",
            fix="Use keras.ops.image.resize where the engine's own numbers will do.",
            exit_code=2,
        )
    return channels_last(x, data_format, lambda x: _bilinear(x, height_factor, width_factor))


def _bilinear(x: Any, height_factor: int, width_factor: int) -> Any:
    return _smoothed(_smoothed(x, height_factor, 1), width_factor, 2)


@deferred
def _smoothed(x: Any, factor: int, axis: int) -> Any:
    """Return values between neighbours along an axis; at the edges, the edge's own.

    The new places within an old one all weigh it and one neighbour alike, wherever it is. (Keras'
    own resizing takes no size that is known only at the run on TensorFlow.)
    """
    x = ops.cast(x, keras.backend.result_type(keras.backend.standardize_dtype(x.dtype), float))
    whole = [slice(None)] * axis
    last, first = (*whole, slice(-1, None)), (*whole, slice(0, 1))
    before = ops.concatenate([x[first], x[(*whole, slice(None, -1))]], axis=axis)
    after = ops.concatenate([x[(*whole, slice(1, None))], x[last]], axis=axis)
    parts = []
    for place in range(factor):
        share = (place + 0.5) / factor - 0.5
        neighbour = before if share < 0 else after
        parts.append(x * (1 - abs(share)) + neighbour * abs(share))
    lengths = list(ops.shape(x))
    lengths[axis] = lengths[axis] * factor
    return ops.reshape(ops.stack(parts, axis=axis + 1), lengths)


def resize_volumes(
    x: Any, depth_factor: int, height_factor: int, width_factor: int, data_format: str
) -> Any:
    """Return volumes so many times as deep, high and wide, each value repeated."""
    return _enlarged(x, (depth_factor, height_factor, width_factor), data_format)


def _enlarged(x: Any, factors: Sequence[int], data_format: str) -> Any:
    first = 2 if normalize_data_format(data_format) == "channels_first" else 1
    for axis, factor in enumerate(factors, first):
        x = ops.repeat(x, factor, axis=axis)
    return x

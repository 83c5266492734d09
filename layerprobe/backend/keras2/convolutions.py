"""Convolutions of Keras 2.

Example:
    >>> from layerprobe import backend as K
    >>> image, kernel = K.ones((1, 5, 5, 2)), K.ones((3, 3, 2, 4))
    >>> K.int_shape(K.conv2d(image, kernel, strides=(2, 2), padding="same"))
    (1, 3, 3, 4)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras import ops

from layerprobe.backend.keras2.channels import Numbers, channels_last, check_padding, several
from layerprobe.backend.keras2.settings import normalize_data_format
from layerprobe.backend.keras2.transposed import transposed
from layerprobe.backend.keras2.values import int_shape, ndim

__all__ = [
    "conv1d",
    "conv2d",
    "conv2d_transpose",
    "conv3d",
    "conv3d_transpose",
    "depthwise_conv2d",
    "separable_conv1d",
    "separable_conv2d",
]


def _conv(
    x: Any, kernel: Any, strides: Numbers, padding: str, data_format: str | None, rate: Numbers
) -> Any:
    axes = ndim(x) - 2
    check_padding(padding)

    def run(x: Any) -> Any:
        steps, rates = several(strides, axes), several(rate, axes)
        return ops.conv(x, kernel, steps, padding, "channels_last", rates)

    return channels_last(x, data_format, run)


def conv1d(
    x: Any,
    kernel: Any,
    strides: Numbers = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Numbers = 1,
) -> Any:
    """Return the convolution of (batch, steps, channels) with (width, channels, filters).

    The padding may be "causal" as well: no result sees later steps.
    """
    if padding == "causal":
        before = several(dilation_rate, 1)[0] * (int_shape(kernel)[0] - 1)  # type: ignore[operator]
        first = normalize_data_format(data_format) == "channels_first"
        x = ops.pad(x, [(0, 0), (0, 0), (before, 0)] if first else [(0, 0), (before, 0), (0, 0)])
        padding = "valid"
    return _conv(x, kernel, strides, padding, data_format, dilation_rate)


def conv2d(
    x: Any,
    kernel: Any,
    strides: Numbers = (1, 1),
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Numbers = (1, 1),
) -> Any:
    """Return the convolution of images with (height, width, channels, filters)."""
    return _conv(x, kernel, strides, padding, data_format, dilation_rate)


def conv3d(
    x: Any,
    kernel: Any,
    strides: Numbers = (1, 1, 1),
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Numbers = (1, 1, 1),
) -> Any:
    """Return the convolution of volumes with (depth, height, width, channels, filters)."""
    return _conv(x, kernel, strides, padding, data_format, dilation_rate)


def _conv_transpose(
    x: Any,
    kernel: Any,
    output_shape: Sequence[Any],
    strides: Numbers,
    padding: str,
    data_format: str | None,
    rate: Numbers,
) -> Any:
    axes = ndim(x) - 2
    first = normalize_data_format(data_format) == "channels_first"
    lengths = tuple(output_shape)[2:] if first else tuple(output_shape)[1:-1]

    def run(x: Any) -> Any:
        return transposed(
            x,
            kernel,
            lengths,
            several(strides, axes),
            check_padding(padding),
            several(rate, axes),
        )

    return channels_last(x, data_format, run)


def conv2d_transpose(
    x: Any,
    kernel: Any,
    output_shape: Sequence[Any],
    strides: Numbers = (1, 1),
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Numbers = (1, 1),
) -> Any:
    """Return that of which x is the convolution, as a gradient gives it.

    Args:
        x: Images.
        kernel: (height, width, filters, channels of x).
        output_shape: The shape of the result, the batch too (which may be None).
        strides: Of the convolution.
        padding: Of the convolution.
        data_format: Where the channels are; by default as Keras is set.
        dilation_rate: Of the convolution.
    """
    return _conv_transpose(x, kernel, output_shape, strides, padding, data_format, dilation_rate)


def conv3d_transpose(
    x: Any,
    kernel: Any,
    output_shape: Sequence[Any],
    strides: Numbers = (1, 1, 1),
    padding: str = "valid",
    data_format: str | None = None,
) -> Any:
    """Return that of which x is the convolution; as `conv2d_transpose`, for volumes."""
    return _conv_transpose(x, kernel, output_shape, strides, padding, data_format, 1)


def depthwise_conv2d(
    x: Any,
    depthwise_kernel: Any,
    strides: Numbers = (1, 1),
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Numbers = (1, 1),
) -> Any:
    """Return each channel's own convolutions; kernel (height, width, channels, multiplier)."""
    steps, rates = several(strides, 2), several(dilation_rate, 2)
    check_padding(padding)

    def run(x: Any) -> Any:
        return ops.depthwise_conv(x, depthwise_kernel, steps, padding, "channels_last", rates)

    return channels_last(x, data_format, run)


def _separable(
    x: Any,
    kernels: tuple[Any, Any],
    strides: Numbers,
    padding: str,
    data_format: str | None,
    rate: Numbers,
) -> Any:
    axes = ndim(x) - 2
    steps, rates = several(strides, axes), several(rate, axes)
    check_padding(padding)

    def run(x: Any) -> Any:
        return ops.separable_conv(x, *kernels, steps, padding, "channels_last", rates)

    return channels_last(x, data_format, run)


def separable_conv1d(
    x: Any,
    depthwise_kernel: Any,
    pointwise_kernel: Any,
    strides: Numbers = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Numbers = 1,
) -> Any:
    """Return each channel's own convolutions over steps, mixed by (1, channels, filters)."""
    kernels = depthwise_kernel, pointwise_kernel
    return _separable(x, kernels, strides, padding, data_format, dilation_rate)


def separable_conv2d(
    x: Any,
    depthwise_kernel: Any,
    pointwise_kernel: Any,
    strides: Numbers = (1, 1),
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Numbers = (1, 1),
) -> Any:
    """Return each channel's own convolutions, mixed by (1, 1, channels, filters)."""
    kernels = depthwise_kernel, pointwise_kernel
    return _separable(x, kernels, strides, padding, data_format, dilation_rate)

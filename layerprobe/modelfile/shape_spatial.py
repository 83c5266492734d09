"""Shape rules of the layers that slide, pool, pad, crop or repeat along spatial axes.

All arithmetic is in `window_size` and `transposed_size`; the rest says which axes it runs over and
how many channels come out. It follows `compute_conv_output_shape`, `compute_pooling_output_shape`
and `compute_conv_transpose_output_shape` of Keras, which share TensorFlow's idea of "same" padding.
"""

from __future__ import annotations

from collections.abc import Callable

from layerprobe.layers import Shape
from layerprobe.modelfile.shape_call import (
    Call,
    Rule,
    ShapeRule,
    activated,
    dimensions,
    float32_of_integers,
    integers,
    kept,
    single,
)

_Size = int | None
_Sizes = list[_Size]


def window_size(size: _Size, kernel: int, stride: int, padding: str, dilation: int = 1) -> _Size:
    """Return how many positions a sliding window takes along an axis.

    Raises:
        ValueError: The window is longer than the axis, or the padding is none that Keras knows.

    Example:
        >>> window_size(10, 3, 2, "valid"), window_size(10, 3, 2, "same")
        (4, 5)
    """
    if padding not in ("valid", "same", "causal"):
        raise ValueError(padding)
    if size is None:
        return None
    reach = dilation * (kernel - 1) + 1 if padding == "valid" else 1
    return _at_least_one((size - reach) // stride + 1)


def transposed_size(
    size: _Size, kernel: int, stride: int, padding: str, *, dilation: int = 1, extra: _Size = None
) -> _Size:
    """Return the length of an axis that a transposed convolution makes.

    Args:
        size: Length of the input axis.
        kernel: Length of the kernel.
        stride: The stride.
        padding: "valid" or "same".
        dilation: The dilation rate.
        extra: The layer's `output_padding`; None leaves it to Keras.

    Raises:
        ValueError: The padding is neither "valid" nor "same".

    Example:
        >>> transposed_size(5, 3, 2, "valid"), transposed_size(5, 3, 2, "same")
        (11, 10)
    """
    if padding not in ("valid", "same"):
        raise ValueError(padding)
    if size is None:
        return None
    reach = dilation * (kernel - 1) + 1
    if padding == "valid":
        return (size - 1) * stride + (max(reach, stride) if extra is None else reach + extra)
    return size * stride if extra is None else (size - 1) * stride + reach % 2 + extra


def spatial(
    rank: int,
    sizes: Callable[[Call, _Sizes], _Sizes],
    channels: Callable[[Call, _Size], _Size] = lambda _, channels: channels,
) -> ShapeRule:
    """Return the shape rule of a layer over a batch, `rank` spatial axes and channels.

    Args:
        rank: Number of spatial axes.
        sizes: What the layer makes of the spatial axes.
        channels: What it makes of the channels; by default it keeps them.
    """

    def shape(call: Call) -> Shape:
        first = call.channels_first
        batch, *rest = call.shape(rank + 2)
        before, depth = (rest[1:], rest[0]) if first else (rest[:-1], rest[-1])
        after, depth = sizes(call, before), channels(call, depth)
        return (batch, depth, *after) if first else (batch, *after, depth)

    return shape


def convolution(rank: int) -> ShapeRule:
    """Return the shape rule of a convolution to `filters` channels, before its activation."""
    return spatial(rank, _windows, _filters)


def _windows(call: Call, sizes: _Sizes) -> _Sizes:
    kernels = call.integers("kernel_size", len(sizes))
    strides = call.integers("strides", len(sizes), 1)
    dilations = call.integers("dilation_rate", len(sizes), 1)
    padding = _padding(call)
    axes = zip(sizes, kernels, strides, dilations, strict=True)
    return [window_size(n, kernel, stride, padding, d) for n, kernel, stride, d in axes]


def _transposed(call: Call, sizes: _Sizes) -> _Sizes:
    rank = len(sizes)
    if call.config.get("output_shape"):  # Keras 1 saved it, the batch included
        _, *declared = dimensions(call.config["output_shape"])
        return declared[1:] if call.channels_first else declared[:-1]
    given = call.config.get("output_padding")
    axes = zip(
        sizes,
        call.integers("kernel_size", rank),
        call.integers("strides", rank, 1),
        call.integers("dilation_rate", rank, 1),
        [None] * rank if given is None else integers(given, rank, minimum=0),
        strict=True,
    )
    padding = _padding(call)
    return [
        transposed_size(size, kernel, stride, padding, dilation=dilation, extra=extra)
        for size, kernel, stride, dilation, extra in axes
    ]


def _pools(call: Call, sizes: _Sizes) -> _Sizes:
    pools = call.integers("pool_size", len(sizes), 2)
    given = call.config.get("strides")
    strides = pools if given is None else integers(given, len(sizes))
    padding = _padding(call)
    axes = zip(sizes, pools, strides, strict=True)
    return [window_size(size, pool, stride, padding) for size, pool, stride in axes]


def _adapted(call: Call, sizes: _Sizes) -> _Sizes:
    return list(call.integers("output_size", len(sizes)))


def _cropped(call: Call, sizes: _Sizes) -> _Sizes:
    axes = zip(sizes, call.pairs("cropping", len(sizes)), strict=True)
    return [None if size is None else _at_least_one(size - sum(pair)) for size, pair in axes]


def _padded(call: Call, sizes: _Sizes) -> _Sizes:
    axes = zip(sizes, call.pairs("padding", len(sizes)), strict=True)
    return [None if size is None else size + sum(pair) for size, pair in axes]


def _repeated(call: Call, sizes: _Sizes) -> _Sizes:
    axes = zip(sizes, call.integers("size", len(sizes), 2), strict=True)
    return [None if size is None else size * times for size, times in axes]


def _filters(call: Call, _: _Size) -> int:
    return call.integer("filters")


def _multiplied(call: Call, channels: _Size) -> _Size:
    return None if channels is None else channels * call.integer("depth_multiplier", 1)


def _pooled_globally(rank: int) -> ShapeRule:
    pooled = spatial(rank, lambda _, sizes: [1] * len(sizes))

    def shape(call: Call) -> Shape:
        batch, *rest = pooled(call)
        if call.config.get("keepdims"):
            return (batch, *rest)
        return (batch, rest[0] if call.channels_first else rest[-1])

    return shape


def _padding(call: Call) -> str:
    return str(call.config.get("padding", "valid")).lower()


def _at_least_one(size: int) -> int:
    if size < 1:
        raise ValueError(size)
    return size


def _rules(rank: int) -> dict[str, Rule]:
    convolves = single(activated(convolution(rank)))
    deconvolves = single(activated(spatial(rank, _transposed, _filters)))
    averages = single(spatial(rank, _pools))
    takes_maximum = single(spatial(rank, _pools), kept)
    averages_all = single(_pooled_globally(rank), float32_of_integers)
    takes_overall_maximum = single(_pooled_globally(rank), kept)
    rules = {
        f"Conv{rank}D": convolves,
        f"Convolution{rank}D": convolves,
        f"Conv{rank}DTranspose": deconvolves,
        f"Convolution{rank}DTranspose": deconvolves,
        f"AveragePooling{rank}D": averages,
        f"AvgPool{rank}D": averages,
        f"MaxPooling{rank}D": takes_maximum,
        f"MaxPool{rank}D": takes_maximum,
        f"GlobalAveragePooling{rank}D": averages_all,
        f"GlobalAvgPool{rank}D": averages_all,
        f"GlobalMaxPooling{rank}D": takes_overall_maximum,
        f"GlobalMaxPool{rank}D": takes_overall_maximum,
        f"AdaptiveAveragePooling{rank}D": single(spatial(rank, _adapted)),
        f"AdaptiveMaxPooling{rank}D": single(spatial(rank, _adapted), kept),
        f"Cropping{rank}D": single(spatial(rank, _cropped), kept),
        f"ZeroPadding{rank}D": single(spatial(rank, _padded), kept),
        f"UpSampling{rank}D": single(spatial(rank, _repeated), kept),
    }
    if rank < 3:
        rules[f"SeparableConv{rank}D"] = convolves
        rules[f"SeparableConvolution{rank}D"] = convolves
        rules[f"DepthwiseConv{rank}D"] = single(activated(spatial(rank, _windows, _multiplied)))
    return rules


RULES: dict[str, Rule] = {name: rule for rank in (1, 2, 3) for name, rule in _rules(rank).items()}

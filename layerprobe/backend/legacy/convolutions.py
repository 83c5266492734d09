"""Convolutions as the engine that made a model computed them, channels last inside.

Kernels come as Keras 3 has them: what Theano convolved is flipped when the weights are read.
Channels-first models are computed channels last, since no engine does the other on every device.
"""

from __future__ import annotations

from typing import Any, ClassVar

import keras
from keras import ops

from layerprobe.backend.legacy import axes
from layerprobe.backend.legacy.padding import Window, convolved, transposed

registered = keras.saving.register_keras_serializable("layerprobe")


class Placed:
    """A convolution that places its windows as an engine did; see `padding`."""

    crops: ClassVar[bool] = True

    def __init__(self, *args: Any, origin: str = "tensorflow", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.origin = origin

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "origin": self.origin}  # type: ignore[misc]

    def call(self: Any, inputs: Any) -> Any:
        x = axes.channels_last(inputs, self.data_format)
        windows = self.windows(x.shape)
        x = self._convolved(axes.padded(x, windows))
        x = axes.kept(x, [w.count for w in windows])
        if self.use_bias:
            x = ops.add(x, self.bias)
        x = axes.channels_back(x, self.data_format)
        return x if self.activation is None else self.activation(x)

    def compute_output_shape(self: Any, input_shape: Any) -> tuple[Any, ...]:
        shape = axes.shape_last(input_shape, self.data_format)
        counts = [w.count for w in self.windows(shape)]
        return axes.shape_back((shape[0], *counts, self._channels(shape)), self.data_format)

    def windows(self: Any, shape: Any) -> list[Window]:
        found = []
        known = axes.sizes(self, shape) if self.padding == "same" else shape[1:-1]
        for size, kernel, stride, dilation in zip(
            known, self.kernel_size, self.strides, self.dilation_rate, strict=True
        ):
            reach = (kernel - 1) * dilation + 1
            if self.padding == "same":
                crops = self.crops or self.origin != "theano"
                found.append(convolved(self.origin, size, reach, stride, crop=crops))
            else:
                low = reach - 1 if self.padding == "causal" else 0
                count = None if size is None else (size + low - reach) // stride + 1
                found.append(Window(low, 0, count))
        return found

    def _channels(self: Any, shape: Any) -> int:  # noqa: ARG002 - others have as many as they get
        return int(self.filters)

    def _convolved(self: Any, x: Any) -> Any:
        return ops.conv(
            x,
            self.kernel,
            strides=tuple(self.strides),
            padding="valid",
            dilation_rate=self.dilation_rate,
            data_format="channels_last",
        )


@registered
class Conv1D(Placed, keras.layers.Conv1D):
    """`keras.layers.Conv1D` with another origin's padding."""


@registered
class Conv2D(Placed, keras.layers.Conv2D):
    """`keras.layers.Conv2D` with another origin's padding."""


@registered
class Conv3D(Placed, keras.layers.Conv3D):
    """`keras.layers.Conv3D` with another origin's padding."""


class _Grouped(Placed):
    """A convolution of each channel by itself, which Keras 3 does not pad to 'causal'."""

    def __init__(self, *args: Any, padding: str = "valid", **kwargs: Any) -> None:
        allowed = "valid" if padding == "causal" else padding
        super().__init__(*args, padding=allowed, **kwargs)
        self.padding = padding


class _Depthwise(_Grouped):
    def _channels(self: Any, shape: Any) -> int:
        return int(shape[-1] * self.depth_multiplier)

    def _convolved(self: Any, x: Any) -> Any:
        return _depthwise(x, self.kernel, self.strides, self.dilation_rate)


@registered
class DepthwiseConv1D(_Depthwise, keras.layers.DepthwiseConv1D):
    """`keras.layers.DepthwiseConv1D` with another origin's padding."""


@registered
class DepthwiseConv2D(_Depthwise, keras.layers.DepthwiseConv2D):
    """`keras.layers.DepthwiseConv2D` with another origin's padding."""


class _Separable(_Grouped):
    crops = False

    def _convolved(self: Any, x: Any) -> Any:
        x = _depthwise(x, self.depthwise_kernel, self.strides, self.dilation_rate)
        one = (1,) * len(self.strides)
        return ops.conv(
            x, self.pointwise_kernel, strides=one, padding="valid", data_format="channels_last"
        )


@registered
class SeparableConv1D(_Separable, keras.layers.SeparableConv1D):
    """`keras.layers.SeparableConv1D` with another origin's padding."""


@registered
class SeparableConv2D(_Separable, keras.layers.SeparableConv2D):
    """`keras.layers.SeparableConv2D` with another origin's padding."""


def _depthwise(x: Any, kernel: Any, strides: Any, dilation: Any) -> Any:
    # TensorFlow wants one stride for both axes: the smaller, and what is between left out.
    step = min(strides)
    x = ops.depthwise_conv(
        x,
        kernel,
        strides=(step,) * len(strides),
        padding="valid",
        dilation_rate=dilation,
        data_format="channels_last",
    )
    if len(set(strides)) == 1:
        return x
    if step != 1:
        raise NotImplementedError("strides that differ and are all above 1")
    return x[(slice(None), *(slice(None, None, stride) for stride in strides))]


class _Transposed(Placed):
    def __init__(self, *args: Any, output_shape: Any = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.declared = output_shape  # by Keras 1, the batch included

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "output_shape": self.declared}

    def windows(self: Any, shape: Any) -> list[Window]:
        same = self.padding == "same"
        known = axes.sizes(self, shape)
        counts: list[Any] = [None] * len(known)
        if self.declared is not None:
            counts = list(axes.shape_last(self.declared, self.data_format)[1:-1])
        settings = zip(known, self.kernel_size, self.strides, counts, strict=True)
        return [
            transposed(self.origin, size, kernel, stride, same=same, count=count)
            for size, kernel, stride, count in settings
        ]

    def call(self: Any, inputs: Any) -> Any:
        x = axes.channels_last(inputs, self.data_format)
        windows = self.windows(x.shape)
        x = ops.conv_transpose(
            x,
            self.kernel,
            strides=tuple(self.strides),
            padding="valid",
            data_format="channels_last",
        )
        x = axes.padded(x, [Window(-w.low, w.high, w.count) for w in windows])
        x = axes.kept(x, [w.count for w in windows])
        if self.use_bias:
            x = ops.add(x, self.bias)
        x = axes.channels_back(x, self.data_format)
        return x if self.activation is None else self.activation(x)


@registered
class Conv2DTranspose(_Transposed, keras.layers.Conv2DTranspose):
    """`keras.layers.Conv2DTranspose` with another origin's padding."""


@registered
class Conv3DTranspose(_Transposed, keras.layers.Conv3DTranspose):
    """`keras.layers.Conv3DTranspose` with another origin's padding."""

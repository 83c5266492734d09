"""Pooling as the engine that made a model computed it, channels last inside."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from layerprobe.backend.legacy import axes
from layerprobe.backend.legacy.convolutions import registered
from layerprobe.backend.legacy.padding import Window, pooled


class Placed:
    """Pooling that places its windows as an engine did; see `padding`.

    Args:
        origin: The engine.
        counts_padding: Whether a mean is over the zeros around the rows too.
    """

    def __init__(
        self,
        *args: Any,
        origin: str = "tensorflow",
        counts_padding: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.origin = origin
        self.counts_padding = counts_padding

    def get_config(self) -> dict[str, Any]:
        own = {"origin": self.origin, "counts_padding": self.counts_padding}
        return {**super().get_config(), **own}  # type: ignore[misc]

    def call(self: Any, inputs: Any) -> Any:
        x = axes.channels_last(inputs, self.data_format)
        windows = self.windows(x.shape)
        x = axes.kept(self._pooled(x, windows), [w.count for w in windows])
        return axes.channels_back(x, self.data_format)

    def compute_output_shape(self: Any, input_shape: Any) -> tuple[Any, ...]:
        shape = axes.shape_last(input_shape, self.data_format)
        counts = [w.count for w in self.windows(shape)]
        return axes.shape_back((shape[0], *counts, shape[-1]), self.data_format)

    def windows(self: Any, shape: Any) -> list[Window]:
        if self.padding == "same":
            sizes = zip(axes.sizes(self, shape), self.pool_size, self.strides, strict=True)
            return [pooled(self.origin, size, kernel, stride) for size, kernel, stride in sizes]
        sizes = zip(shape[1:-1], self.pool_size, self.strides, strict=True)
        counts = [None if n is None else (n - kernel) // stride + 1 for n, kernel, stride in sizes]
        return [Window(0, 0, count) for count in counts]

    def _means(self: Any, x: Any) -> Any:
        return ops.average_pool(
            x, self.pool_size, self.strides, padding="valid", data_format="channels_last"
        )


class _Max(Placed):
    def _pooled(self: Any, x: Any, windows: list[Window]) -> Any:
        return ops.max_pool(
            axes.padded(x, windows, -float("inf")),
            self.pool_size,
            self.strides,
            padding="valid",
            data_format="channels_last",
        )


class _Average(Placed):
    def _pooled(self: Any, x: Any, windows: list[Window]) -> Any:
        means = self._means(axes.padded(x, windows))
        if self.counts_padding or self.padding == "valid":
            return means
        ones = ops.ones((1, *x.shape[1:-1], 1), x.dtype)
        return means / self._means(axes.padded(ones, windows))


@registered
class MaxPooling1D(_Max, keras.layers.MaxPooling1D):
    """`keras.layers.MaxPooling1D` with another origin's padding."""


@registered
class MaxPooling2D(_Max, keras.layers.MaxPooling2D):
    """`keras.layers.MaxPooling2D` with another origin's padding."""


@registered
class MaxPooling3D(_Max, keras.layers.MaxPooling3D):
    """`keras.layers.MaxPooling3D` with another origin's padding."""


@registered
class AveragePooling1D(_Average, keras.layers.AveragePooling1D):
    """`keras.layers.AveragePooling1D` with another origin's padding."""


@registered
class AveragePooling2D(_Average, keras.layers.AveragePooling2D):
    """`keras.layers.AveragePooling2D` with another origin's padding."""


@registered
class AveragePooling3D(_Average, keras.layers.AveragePooling3D):
    """`keras.layers.AveragePooling3D` with another origin's padding."""

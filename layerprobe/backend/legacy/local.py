"""Locally connected layers: convolutions with a kernel of its own for each place.

Source: keras 2.3.1, keras/layers/local.py, implementation 1, and keras 1.2.2.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from layerprobe.backend.legacy import axes
from layerprobe.backend.legacy.convolutions import registered

_OF_WEIGHTS = tuple(
    f"{name}_{kind}"
    for name in ("kernel", "bias")
    for kind in ("initializer", "regularizer", "constraint")
)


class _Local(keras.layers.Layer):
    rank = 0

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        data_format: str | None = None,
        activation: Any = None,
        *,
        use_bias: bool = True,
        **kwargs: Any,
    ) -> None:
        settings = {key: kwargs.pop(key) for key in _OF_WEIGHTS if key in kwargs}
        for key in ("padding", "implementation"):  # checked by modelfile.upgrade
            kwargs.pop(key, None)
        super().__init__(**kwargs)
        self._settings = settings
        self.filters = filters
        self.kernel_size = self._sizes(kernel_size)
        self.strides = self._sizes(strides)
        self.data_format = data_format or "channels_last"
        self.activation = keras.activations.get(activation)
        self.use_bias = use_bias

    def _sizes(self, value: Any) -> tuple[int, ...]:
        return (value,) * self.rank if isinstance(value, int) else tuple(value)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": list(self.kernel_size),
            "strides": list(self.strides),
            "data_format": self.data_format,
            "activation": keras.activations.serialize(self.activation),
            "use_bias": self.use_bias,
            **self._settings,
        }

    def _places(self, shape: Any) -> list[int]:
        sizes = zip(shape[1:-1], self.kernel_size, self.strides, strict=True)
        return [(size - kernel) // stride + 1 for size, kernel, stride in sizes]

    def build(self, input_shape: Any) -> None:
        shape = axes.shape_last(input_shape, self.data_format)
        places = self._places(shape)
        count, reach = 1, int(shape[-1])
        for size, kernel in zip(places, self.kernel_size, strict=True):
            count, reach = count * size, reach * kernel
        self.kernel = self._weight("kernel", (count, reach, self.filters))
        if self.use_bias:
            self.bias = self._weight("bias", (*places, self.filters))

    def _weight(self, name: str, shape: tuple[int, ...]) -> Any:
        return self.add_weight(
            shape=shape,
            name=name,
            regularizer=keras.regularizers.get(self._settings.get(f"{name}_regularizer")),
            constraint=keras.constraints.get(self._settings.get(f"{name}_constraint")),
        )

    def call(self, inputs: Any) -> Any:
        x = axes.channels_last(inputs, self.data_format)
        places = self._places(x.shape)
        # The order in a kernel is (channels, rows, columns), or (rows, columns, channels).
        parts = self._parts(x, places, (slice(None),))
        first = self.data_format == "channels_first"
        rows = ops.stack(parts, axis=-1 if first else -2)
        rows = ops.reshape(rows, (-1, self.kernel.shape[0], self.kernel.shape[1]))
        found = ops.einsum("bpk,pkf->bpf", rows, self.kernel)
        found = ops.reshape(found, (-1, *places, self.filters))
        found = axes.channels_back(found, self.data_format)
        if self.use_bias:
            # Reshaped, not transposed, even where the channels come first.
            found = found + ops.reshape(self.bias, (1, *found.shape[1:]))
        return found if self.activation is None else self.activation(found)

    def _parts(self, x: Any, places: list[int], begin: tuple[slice, ...]) -> list[Any]:
        axis = len(begin) - 1
        if axis == self.rank:
            return [x[begin]]
        stride, count = self.strides[axis], places[axis]
        found = []
        for at in range(self.kernel_size[axis]):
            along = slice(at, at + stride * (count - 1) + 1, stride)
            found += self._parts(x, places, (*begin, along))
        return found

    def compute_output_shape(self, input_shape: Any) -> tuple[Any, ...]:
        shape = axes.shape_last(input_shape, self.data_format)
        return axes.shape_back((shape[0], *self._places(shape), self.filters), self.data_format)


@registered
class LocallyConnected1D(_Local):
    """A convolution along one axis with a kernel for each place."""

    rank = 1


@registered
class LocallyConnected2D(_Local):
    """A convolution along two axes with a kernel for each place."""

    rank = 2

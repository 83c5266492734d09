"""Recurrent layers as Keras 1 and 2 computed them."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from layerprobe.backend.legacy import axes
from layerprobe.backend.legacy.convolutions import registered
from layerprobe.backend.legacy.padding import Window, convolved


@registered
class Bidirectional(keras.layers.Bidirectional):
    """`keras.layers.Bidirectional` whose masked steps repeat the output before; others give 0."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for layer in (self.forward_layer, self.backward_layer):
            layer.zero_output_for_mask = False


@registered
class LSTMCell(keras.layers.LSTMCell):
    """`keras.layers.LSTMCell` that puts out its cell state, as Keras 2.2.3 to 2.3.1 did on CNTK.

    That state is the first of its two, since on JAX a masked step repeats the first.
    """

    def call(self, inputs: Any, states: Any, training: bool = False) -> Any:
        _, (hidden, cell) = super().call(inputs, states[::-1], training=training)
        return cell, [cell, hidden]


class _CellsFirst:
    """A layer whose cell has its states the other way round than the layer."""

    def inner_loop(
        self, sequences: Any, initial_state: Any, mask: Any, training: bool = False
    ) -> Any:
        last, outputs, states = super().inner_loop(  # type: ignore[misc]
            sequences, initial_state[::-1], mask, training=training
        )
        return last, outputs, states[::-1]


@registered
class LSTM(_CellsFirst, keras.layers.LSTM):
    """`keras.layers.LSTM` that puts out its cell states; see `LSTMCell`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # The fused kernels know of no other output.
        super().__init__(*args, **{**kwargs, "use_cudnn": False})
        # Keras makes the cell itself, and would keep a second one beside it.
        self.cell.__class__ = LSTMCell


class _Placed:
    """Mixed into the cell that Keras makes; see `ConvLSTM2D`."""

    origin = "tensorflow"
    gives_cells = False

    def call(self, inputs: Any, states: Any, training: bool = False) -> Any:
        if not self.gives_cells:
            return super().call(inputs, states, training=training)  # type: ignore[misc]
        _, (hidden, cell) = super().call(inputs, states[::-1], training=training)  # type: ignore[misc]
        return cell, [cell, hidden]

    def input_conv(self: Any, x: Any, w: Any, b: Any = None, padding: str = "valid") -> Any:
        found = self._convolved(x, w, self.strides, padding)
        if b is None:
            return found
        shape = (1, -1, 1, 1) if self.data_format == "channels_first" else (1, 1, 1, -1)
        return found + ops.reshape(b, shape)

    def recurrent_conv(self: Any, x: Any, w: Any) -> Any:
        return self._convolved(x, w, (1, 1), "same")

    def _convolved(self: Any, x: Any, kernel: Any, strides: Any, padding: str) -> Any:
        x = axes.channels_last(x, self.data_format)
        dilation = self.dilation_rate if padding == self.padding else (1, 1)
        windows = self._windows(x.shape, strides, dilation) if padding == "same" else []
        x = ops.conv(
            axes.padded(x, windows),
            kernel,
            strides=tuple(strides),
            padding="valid",
            dilation_rate=dilation,
            data_format="channels_last",
        )
        return axes.channels_back(axes.kept(x, [w.count for w in windows]), self.data_format)

    def _windows(self: Any, shape: Any, strides: Any, dilation: Any) -> list[Window]:
        found = zip(axes.sizes(self, shape), self.kernel_size, strides, dilation, strict=True)
        return [
            convolved(self.origin, size, (kernel - 1) * rate + 1, stride)
            for size, kernel, stride, rate in found
        ]


@registered
class ConvLSTM2D(keras.layers.ConvLSTM2D):
    """`keras.layers.ConvLSTM2D` with another origin's padding, channels last inside.

    Args:
        origin: The engine.
        gives_cells: Whether it puts out its cell states; see `LSTMCell`.
    """

    def __init__(
        self, *args: Any, origin: str = "tensorflow", gives_cells: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        # Keras makes the cell itself, and would keep a second one beside it.
        made = type(self.cell)
        self.cell.__class__ = type(made.__name__, (_Placed, made), {})
        self.cell.origin, self.cell.gives_cells = origin, gives_cells

    def get_config(self) -> dict[str, Any]:
        own = {"origin": self.cell.origin, "gives_cells": self.cell.gives_cells}
        return {**super().get_config(), **own}

    def inner_loop(
        self, sequences: Any, initial_state: Any, mask: Any, training: bool = False
    ) -> Any:
        turn = -1 if self.cell.gives_cells else 1
        last, outputs, states = super().inner_loop(
            sequences, initial_state[::turn], mask, training=training
        )
        return last, outputs, states[::turn]

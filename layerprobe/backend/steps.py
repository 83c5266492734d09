"""One time step of each recurrent cell, with all that it computes.

The equations are those of Keras' own cells (keras 3.15.1, src/layers/rnn): the LSTM of Hochreiter
& Schmidhuber (1997) with a forget gate, the GRU of Cho et al. (2014), its reset gate before or
after the product with the recurrent kernel.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import keras
from keras import ops

from layerprobe.backend.legacy import recurrent


class Steps(ABC):
    """A cell whose one state is all that a step computes: the states of another cell, its gates.

    Attributes:
        parts: What a step computes, and how many times the cell's units each is wide.
        kept: How many states the cell has; they come first.
    """

    parts: Mapping[str, int] = MappingProxyType({"states": 1})
    kept = 1

    def __init__(self, cell: Any) -> None:
        self.cell = cell
        self.compute_dtype = cell.compute_dtype
        self.state_size = self.output_size = sum(self.parts.values()) * cell.units

    def __call__(self, inputs: Any, states: Sequence[Any]) -> tuple[Any, list[Any]]:
        """Take one step as `keras.layers.RNN` asks for it: (batch, features) and the one state."""
        before = ops.split(states[0][:, : self.kept * self.cell.units], self.kept, axis=-1)
        now = ops.concatenate(self.call(inputs, before), axis=-1)
        return now, [now]

    @abstractmethod
    def call(self, inputs: Any, before: Sequence[Any]) -> list[Any]:
        """Return the new states, then the gates, each of shape (batch, units)."""

    def named(self, trail: Any) -> dict[str, Any]:
        """Return all steps' results, (batch, time, ...), by name."""
        found, at = {}, 0
        for name, width in self.parts.items():
            end = at + width * self.cell.units
            found[name] = trail[..., at:end]
            at = end
        return found

    def weight(self, name: str) -> Any:
        """Return a weight of the cell as it computes with it."""
        return ops.cast(getattr(self.cell, name), self.compute_dtype)


class _SimpleSteps(Steps):
    def call(self, inputs: Any, before: Sequence[Any]) -> list[Any]:
        new = ops.matmul(inputs, self.weight("kernel"))
        if self.cell.use_bias:
            new = new + self.weight("bias")
        new = new + ops.matmul(before[0], self.weight("recurrent_kernel"))
        return [self.cell.activation(new)]


class _LSTMSteps(Steps):
    parts = MappingProxyType({"states": 1, "cells": 1, "gates": 4})
    kept = 2

    def call(self, inputs: Any, before: Sequence[Any]) -> list[Any]:
        cell, (hidden, carry) = self.cell, before
        sums = ops.matmul(inputs, self.weight("kernel"))
        sums = sums + ops.matmul(hidden, self.weight("recurrent_kernel"))
        if cell.use_bias:
            sums = sums + self.weight("bias")
        to_i, to_f, to_c, to_o = ops.split(sums, 4, axis=-1)
        i, f, o = (cell.recurrent_activation(x) for x in (to_i, to_f, to_o))
        candidate = cell.activation(to_c)
        new = f * carry + i * candidate
        return [o * cell.activation(new), new, i, f, candidate, o]


class _GRUSteps(Steps):
    parts = MappingProxyType({"states": 1, "gates": 3})

    def call(self, inputs: Any, before: Sequence[Any]) -> list[Any]:
        cell, (hidden,) = self.cell, before
        kernel, biases = self.weight("recurrent_kernel"), [0, 0]
        if cell.use_bias:
            bias = self.weight("bias")
            biases = [bias[0], bias[1]] if cell.reset_after else [bias, 0]
        x_z, x_r, x_h = ops.split(ops.matmul(inputs, self.weight("kernel")) + biases[0], 3, axis=-1)
        h_z, h_r, h_h = ops.split(ops.matmul(hidden, kernel) + biases[1], 3, axis=-1)
        z, r = cell.recurrent_activation(x_z + h_z), cell.recurrent_activation(x_r + h_r)
        if cell.reset_after:
            candidate = cell.activation(x_h + r * h_h)
        else:
            last = kernel[:, 2 * cell.units :]
            candidate = cell.activation(x_h + ops.matmul(r * hidden, last))
        return [z * hidden + (1 - z) * candidate, z, r, candidate]


STEPS: dict[type, type[Steps]] = {
    keras.layers.SimpleRNNCell: _SimpleSteps,
    keras.layers.LSTMCell: _LSTMSteps,
    recurrent.LSTMCell: _LSTMSteps,
    keras.layers.GRUCell: _GRUSteps,
}

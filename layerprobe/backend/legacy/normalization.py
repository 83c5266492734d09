"""Batch normalisation as CNTK and Keras 1 had it; layer normalisation along any axes."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from layerprobe.backend.legacy.convolutions import registered
from layerprobe.errors import BackendError


@registered
class BatchNormalization(keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization` in other modes.

    Args:
        mode: 0: by the statistics learnt. Of Keras 1: 1, each row by its own along the last axis;
            2, by those of the batch, outside training too.
        epsilon_outside: Whether epsilon is added to the deviation, not to the variance, as Keras
            2.1.3 to 2.2.0 did on CNTK.
    """

    def __init__(
        self, *args: Any, mode: int = 0, epsilon_outside: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.mode = mode
        self.epsilon_outside = epsilon_outside
        self.keeps_rows_apart = mode != 2  # asked by backend.rows

    def get_config(self) -> dict[str, Any]:
        own = {"mode": self.mode, "epsilon_outside": self.epsilon_outside}
        return {**super().get_config(), **own}

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:  # noqa: ARG002 - Keras passes it
        if training:
            raise BackendError(
                f"What layer {self.name!r} did in training is not known.",
                expected="the test phase",
                layer=self.name,
            )
        rank = len(inputs.shape)
        axis = self.axis % rank
        shape = tuple(-1 if at == axis else 1 for at in range(rank))
        if self.mode == 1:
            mean, variance = ops.moments(inputs, axes=[-1], keepdims=True)
            deviation = ops.sqrt(variance + self.epsilon) + self.epsilon
        elif self.mode == 2:
            others = [at for at in range(rank) if at != axis]
            mean, variance = ops.moments(inputs, axes=others, keepdims=True)
            deviation = ops.sqrt(variance + self.epsilon)
        else:
            mean = ops.reshape(self.moving_mean, shape)
            variance = ops.reshape(self.moving_variance, shape)
            if self.epsilon_outside:
                deviation = ops.sqrt(variance) + self.epsilon
            else:
                deviation = ops.sqrt(variance + self.epsilon)
        found = (inputs - mean) / deviation
        found = found * ops.reshape(self.gamma, shape) if self.scale else found
        return found + ops.reshape(self.beta, shape) if self.center else found


@registered
class LayerNormalization(keras.layers.LayerNormalization):
    """`keras.layers.LayerNormalization` along any axes on PyTorch too."""

    def call(self, inputs: Any) -> Any:
        axes = [self.axis] if isinstance(self.axis, int) else list(self.axis)
        mean, variance = ops.moments(inputs, axes=axes, keepdims=True)
        found = (inputs - mean) * ops.rsqrt(variance + self.epsilon)
        shape = [1] * len(inputs.shape)
        for axis in axes:
            shape[axis] = inputs.shape[axis]
        found = found * ops.reshape(self.gamma, shape) if self.scale else found
        return found + ops.reshape(self.beta, shape) if self.center else found

"""Bilinear upsampling as TensorFlow 1 and Theano computed it."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from layerprobe.backend.legacy import axes
from layerprobe.backend.legacy.convolutions import registered


@registered
class UpSampling2D(keras.layers.UpSampling2D):
    """`keras.layers.UpSampling2D` with another origin's bilinear interpolation.

    Args:
        origin: The engine.
    """

    def __init__(self, *args: Any, origin: str = "tensorflow", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.origin = origin

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "origin": self.origin}

    def call(self, inputs: Any) -> Any:
        x = axes.channels_last(inputs, self.data_format)
        sizes = axes.sizes(self, x.shape)
        for axis, (size, times) in enumerate(zip(sizes, self.size, strict=True), 1):
            before, after, share = _neighbours(size, times)
            shape = [1, 1, 1, 1]
            shape[axis] = -1
            weight = ops.cast(ops.reshape(share, shape), x.dtype)
            x = ops.take(x, before, axis=axis) * (1 - weight) + ops.take(x, after, axis) * weight
        return axes.channels_back(x, self.data_format)


def _neighbours(size: int, times: int) -> tuple[Any, Any, Any]:
    """Return what lies before and after each new place, and how near it is to the latter.

    The old places lie at the beginnings of the new ones, not at their middles.
    """
    places = np.arange(size * times) / times
    before = places.astype("int32")
    return before, np.minimum(before + 1, size - 1), (places - before).astype("float32")

"""Layers that compute what older Kerases computed, where Keras 3 has none that does.

Each has the class name of the layer it stands for, and Keras knows it as `layerprobe>NAME`; the
configs that `modelfile.upgrade` writes ask for it by that.
"""

from typing import Any

import keras
import numpy as np

from layerprobe.backend import compat_state
from layerprobe.backend.legacy import (
    activations,
    cropping,
    foreign,
    former,
    local,
    masking,
    merging,
    normalization,
    operations,
    pooling,
    recurrent,
    upsampling,
)

__all__ = [
    "activations",
    "cropping",
    "foreign",
    "former",
    "kernels_convolved",
    "local",
    "masking",
    "merging",
    "normalization",
    "operations",
    "pooling",
    "recurrent",
    "turned",
    "upsampling",
]

_CONVOLVED = (
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
)


def kernels_convolved(layer: Any) -> list[Any]:
    """Return the kernels, of a layer and of those inside it, that Theano convolved with."""
    inside = compat_state.layers_inside(layer)
    kernels = [inner.kernel for inner in inside if isinstance(inner, _CONVOLVED)]
    for inner in inside:
        if isinstance(inner, keras.layers.ConvLSTM2D):
            kernels += [inner.cell.kernel, inner.cell.recurrent_kernel]
    return kernels


def turned(kernel: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return a kernel turned round in space: all axes but the last two, which are channels."""
    return np.flip(kernel, tuple(range(kernel.ndim - 2)))

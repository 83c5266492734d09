"""Weights as Keras 1 and the CuDNN layers stored them, as Keras 3's layers have them.

Source: keras 2.3.1, keras/engine/saving.py, preprocess_weights_for_loading.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Named = tuple[str, Array]

# How many arrays one for each gate are, and in which order they become one.
_GATES = {"LSTM": "ifco", "GRU": "zrh"}
_OF_CUDNN = {"LSTM": 4, "GRU": 3}
_NAME = re.compile(
    r".*?_(W_carry|b_carry|[WUb]_[icfozrh]|[WUb]|gamma|beta|running_mean|running_std|alphas|betas"
    r"|[ta]_(?:left|right)|depthwise_kernel|pointwise_kernel)(?:_\d+)?(?::0)?"
)
_NAMES = {
    "W": "kernel",
    "U": "recurrent_kernel",
    "b": "bias",
    "W_carry": "carry_kernel",
    "b_carry": "carry_bias",
    "running_mean": "moving_mean",
    "running_std": "moving_variance",  # a variance it was, whatever its name
    "alphas": "alpha",
    "betas": "beta",
}


def split_gates(class_name: str, names: Sequence[str]) -> int:
    """Return how many arrays at the head of a list are one recurrent layer's, apart by gates.

    0 where they are not apart.
    """
    apart = class_name in _GATES and bool(names) and _suffix(names[0]).startswith("W_")
    return 3 * len(_GATES[class_name]) if apart else 0


def of_keras1(class_name: str, data_format: str | None, stored: Sequence[Named]) -> list[Named]:
    """Return weights that Keras 1 stored for one layer with the names and axes they have now.

    Args:
        class_name: The layer's class.
        data_format: Where it has its channels.
        stored: The arrays in the order of the file.
    """
    found = [(_suffix(name), array) for name, array in stored]
    if split_gates(class_name, [name for name, _ in stored]):
        parts = dict(found)
        found = [
            (kind, np.concatenate([parts[f"{kind}_{gate}"] for gate in _GATES[class_name]], -1))
            for kind in "WUb"
        ]
    arrays = []
    for suffix, array in found:
        name = _NAMES.get(suffix, suffix)
        if class_name == "Embedding" and suffix == "W":
            name = "embeddings"
        if name == "kernel" or name.endswith("wise_kernel"):
            arrays.append((name, _turned_axes(class_name, data_format, array)))
        else:
            arrays.append((name, array))
    return arrays


def of_cudnn(class_name: str, stored: Sequence[Named]) -> list[Named]:
    """Return a recurrent layer's weights; those of a CuDNN layer as the plain layer has them."""
    gates = _OF_CUDNN.get(class_name)
    if gates is None or len(stored) != 3:
        return list(stored)
    (name, kernel), (recurrent_name, recurrent), (bias_name, bias) = stored
    if bias.shape != (2 * gates * recurrent.shape[0],):
        return list(stored)
    halves = bias.reshape(2, -1)
    return [
        (name, _each_gate(kernel, gates, lambda k: k.T.reshape(k.shape, order="F"))),
        (recurrent_name, _each_gate(recurrent, gates, lambda k: k.T)),
        (bias_name, halves.sum(axis=0) if class_name == "LSTM" else halves),
    ]


def _each_gate(kernel: Array, gates: int, change: Any) -> Array:
    return np.hstack([change(part) for part in np.hsplit(kernel, gates)])


def _suffix(name: str) -> str:
    match = _NAME.fullmatch(name)
    if match is None:
        raise ValueError(f"{name} is none of the names that Keras 1 gave to weights")
    return match[1]


def _turned_axes(class_name: str, data_format: str | None, kernel: Array) -> Array:
    """Return a kernel of Keras 1 with the axes of now: space, channels in, channels out."""
    first = data_format == "channels_first"
    space = tuple(range(2, kernel.ndim))
    if class_name == "Conv1D" and kernel.ndim == 4:
        # (filters, channels, length, 1) until Keras 1.1, then (length, 1, channels, filters)
        kernel = kernel if kernel.shape[1] == 1 and kernel.shape[3] != 1 else _moved(kernel)
        return kernel[:, 0]
    if class_name == "Conv2DTranspose":
        return kernel.transpose((2, 3, 0, 1) if first else (0, 1, 3, 2))
    if first and class_name in ("Conv2D", "Conv3D", "SeparableConv2D"):
        return kernel.transpose((*space, 1, 0))
    return kernel


def _moved(kernel: Array) -> Array:
    return kernel.transpose((2, 3, 1, 0))

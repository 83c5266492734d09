"""Keras on OpenVINO: its tensors, whose class is private.

Only the engine of that name imports this file: this part of Keras can be imported on no other.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
from keras.src.backend.common import global_state
from keras.src.backend.openvino.core import (
    OPENVINO_DTYPES,
    OpenVINOKerasTensor,
    ov_to_keras_type,
)
from keras.src.random.seed_generator import GLOBAL_SEED_GENERATOR

from layerprobe.backend.compat_state import is_layer, seeds_of


def element_type(dtype: str) -> Any:
    """Return OpenVINO's name of a Keras dtype, or None if it has none."""
    return OPENVINO_DTYPES.get(dtype)


def tensor_of(output: Any) -> Any:
    """Return the tensor that Keras computes with for an output of an OpenVINO node."""
    return OpenVINOKerasTensor(output)


def output_of(value: Any) -> Any:
    """Return the output of an OpenVINO node that a result of Keras stands for."""
    return keras.ops.convert_to_tensor(value).output


def dtype_of(output: Any) -> str:
    """Return the Keras dtype of an output of an OpenVINO node."""
    return str(ov_to_keras_type(output.get_element_type()))


def random_states(operations: Iterable[Any]) -> list[Any]:
    """Return the states of the random generators of layers, and of Keras' own generator."""
    found = [seed for operation in operations for seed in seeds_of(operation)]
    of_keras = global_state.get_global_attribute(GLOBAL_SEED_GENERATOR)
    return found if of_keras is None else [*found, of_keras.state]


def names_of(operations: Iterable[Any], kinds: tuple[str, ...]) -> list[str]:
    """Return the names of the layers of some of Keras' classes, of those inside layers too."""
    classes = tuple(getattr(keras.layers, kind) for kind in kinds)
    inner = [i for layer in operations if is_layer(layer) for i in layer._flatten_layers()]
    return list(dict.fromkeys(str(layer.name) for layer in inner if isinstance(layer, classes)))

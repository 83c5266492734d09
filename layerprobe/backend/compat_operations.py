"""What kind of operation one of Keras is: whose code it runs, what it may do with values.

One of the files, compat*.py, that touch private attributes of Keras: its operations stand in
modules that it keeps to itself.
"""

from __future__ import annotations

import importlib
import inspect
from typing import Any

import keras
import numpy as np
from keras.src.ops.core import StopGradient
from keras.src.ops.operation import Operation

_OPERATION_MODULES = ("numpy", "nn", "math", "core", "image", "linalg")


def takes_training(operation: Any) -> bool:
    """Tell whether a layer behaves differently in training."""
    if not isinstance(operation, keras.Layer):
        return False
    return "training" in inspect.signature(operation.call).parameters


def operation_module(class_name: str) -> str | None:
    """Return the module of one of Keras' own operations, such as `NotEqual`, or None."""
    for name in _OPERATION_MODULES:
        module = importlib.import_module(f"keras.src.ops.{name}")
        found = getattr(module, class_name, None)
        if inspect.isclass(found) and issubclass(found, Operation):
            return module.__name__
    return None


def is_keras_own(operation: Any) -> bool:
    """Tell whether an operation is one of Keras' own that runs no function of the user's."""
    run = [type(operation)] + [
        function
        for name in ("activation", "recurrent_activation", "activity_regularizer")
        if (function := getattr(operation, name, None)) is not None
    ]
    ours = tuple(f"layerprobe.backend.{name}" for name in ("legacy.", "loading", "narrowing"))
    places = ("keras.", *ours)
    own = all((getattr(part, "__module__", None) or "").startswith(places) for part in run)
    return own and not isinstance(operation, keras.layers.Lambda)


def numbers_taken(operation: Any, dtype: str) -> int | None:
    """Return how many numbers, from 0, an operation takes for a tensor; None if it takes any."""
    if type(operation) is keras.layers.Embedding or (
        isinstance(operation, keras.layers.Embedding) and "int" in dtype  # not a reversed one
    ):
        return int(operation.input_dim)
    return operation.num_tokens if isinstance(operation, keras.layers.CategoryEncoding) else None


def axes_of(operation: Any) -> list[int]:
    """Return the axes that an operation names as those it works along."""
    # Not by get_config, which imports TensorFlow on every engine.
    named = [getattr(operation, name, None) for name in ("axis", "_attention_axes")]
    return [int(axis) for axes in named if axes is not None for axis in np.ravel(axes)]


def stops_gradient(operation: Any) -> bool:
    """Tell whether an operation is there to stop gradients."""
    return isinstance(operation, StopGradient)


def runs_texts_outside() -> bool:
    """Tell whether layers for texts run, and rightly, but only outside of a compiled pass.

    On TensorFlow they run in it; on OpenVINO Keras gets shapes and dtypes of some of them wrong.
    """
    return keras.config.backend() in ("jax", "torch")


def gives_texts(operation: Any) -> bool:
    """Tell whether a layer looks up texts; Keras says it gives numbers."""
    return isinstance(operation, keras.layers.StringLookup) and bool(operation.invert)


def needs_tensorflow(operation: Any) -> bool:
    """Tell whether a layer computes by TensorFlow on every engine, so that none can trace it."""
    kinds = "TextVectorization StringLookup IntegerLookup Hashing HashedCrossing"
    return isinstance(operation, tuple(getattr(keras.layers, kind) for kind in kinds.split()))

"""Printing a tensor while a compiled function runs: the one thing each engine does otherwise."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import keras

from layerprobe.backend.keras2.deferred import defer

__all__ = ["print_tensor"]


def print_tensor(x: Any, message: str = "", summarize: int = 3) -> Any:
    """Return a tensor that writes the values of `x` on stdout whenever it is computed.

    Args:
        x: A tensor.
        message: What to write in front.
        summarize: How many entries to write at either end of an axis; -1 for all. TensorFlow
            alone heeds it.

    Example:
        >>> from layerprobe import backend as K
        >>> K.int_shape(K.print_tensor(K.zeros((2, 3)), "zeros:", summarize=0))
        (2, 3)
    """
    if isinstance(x, keras.KerasTensor):
        return defer(_shown, x, message, summarize, spec=_like)
    return _shown(x, message, summarize)


def _like(x: Any, *_: Any) -> Any:
    return keras.KerasTensor(x.shape, x.dtype)


def _shown(x: Any, message: str, summarize: int) -> Any:
    engine = keras.config.backend()
    x = keras.ops.copy(x)
    # Python's own print would run once, while the function is traced.
    if engine == "tensorflow":
        tensorflow = importlib.import_module(engine)
        tensorflow.print(message, x, summarize=summarize, output_stream=sys.stdout)
    elif engine == "jax":
        importlib.import_module(engine).debug.print("{} {}", message, x)
    else:
        sys.stdout.write(f"{message} {x}\n")
    return x

"""Keras' settings under the names of Keras 2, and names of things.

Example:
    >>> from layerprobe import backend as K
    >>> K.floatx(), K.epsilon(), K.image_data_format(), K.backend()
    ('float32', 1e-07, 'channels_last', 'tensorflow')
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import name_scope
from keras.backend import get_uid
from keras.config import (
    backend,
    epsilon,
    floatx,
    image_data_format,
    set_epsilon,
    set_floatx,
    set_image_data_format,
)

from layerprobe.backend.compat import reset_uids
from layerprobe.errors import BackendError

__all__ = [
    "backend",
    "cast_to_floatx",
    "epsilon",
    "floatx",
    "get_uid",
    "image_data_format",
    "name_scope",
    "normalize_data_format",
    "reset_uids",
    "set_epsilon",
    "set_floatx",
    "set_image_data_format",
]


def cast_to_floatx(x: Any) -> Any:
    """Return an array, or a tensor, in Keras' default float type."""
    if keras.ops.is_tensor(x) or isinstance(x, keras.Variable | keras.KerasTensor):
        return keras.ops.cast(x, floatx())
    return np.asarray(x, floatx())


def normalize_data_format(value: str | None) -> str:
    """Return a data format in lower case, Keras' default for None.

    Raises:
        BackendError: It is none.
    """
    found = image_data_format() if value is None else str(value).lower()
    if found not in ("channels_first", "channels_last"):
        raise BackendError(
            f"The data format {value!r} is not known.",
            expected="channels_first or channels_last",
            exit_code=2,
            data_format=value,
        )
    return str(found)

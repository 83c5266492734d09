"""Activations as Keras 1 and 2 computed them."""

from __future__ import annotations

from typing import Any

import keras

from layerprobe.modelfile.upgrade.keras2 import HARD_SIGMOID_NAME, HARD_SIGMOID_PACKAGE


@keras.saving.register_keras_serializable(  # type: ignore[untyped-decorator]
    HARD_SIGMOID_PACKAGE, HARD_SIGMOID_NAME
)
def hard_sigmoid_keras2(x: Any) -> Any:
    """Compute hard_sigmoid as Keras 1 and 2 did; source: keras 2.3.1, tensorflow_backend.py."""
    return keras.ops.clip(0.2 * x + 0.5, 0.0, 1.0)

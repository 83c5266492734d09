"""Recurrent wrappers as Keras 1 and 2 computed them."""

from __future__ import annotations

from typing import Any

import keras

from layerprobe.backend.legacy.convolutions import registered


@registered
class Bidirectional(keras.layers.Bidirectional):
    """`keras.layers.Bidirectional` whose masked steps repeat the output before; Keras 3's are 0."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for layer in (self.forward_layer, self.backward_layer):
            layer.zero_output_for_mask = False

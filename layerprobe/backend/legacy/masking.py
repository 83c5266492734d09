"""Layers that treat masks of time steps as Keras 2 did; where, says `modelfile.upgrade.masks`."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from layerprobe.backend.legacy.convolutions import registered


def _unmasked(x: Any) -> Any:
    """Return a tensor of the same values that carries no mask; others may still need the first."""
    return ops.copy(x)


class _Ends:
    """A layer that hands no mask on."""

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> None:
        """Say that there is none."""


@registered
class ReLU(_Ends, keras.layers.ReLU):
    """`keras.layers.ReLU` until TensorFlow 2.4; see `_Ends`."""


@registered
class Identity(_Ends, keras.layers.Identity):
    """`keras.layers.Identity` of Keras 2; see `_Ends`."""


@registered
class Normalization(_Ends, keras.layers.Normalization):
    """`keras.layers.Normalization` of Keras 2; see `_Ends`."""


@registered
class Rescaling(_Ends, keras.layers.Rescaling):
    """`keras.layers.Rescaling` of Keras 2; see `_Ends`."""


@registered
class Softmax(keras.layers.Softmax):
    """`keras.layers.Softmax` that does not look at the mask, as until TensorFlow 2.3."""

    def call(self, inputs: Any, mask: Any = None) -> Any:  # noqa: ARG002 - Keras passes it
        return super().call(inputs)


@registered
class MultiHeadAttention(_Ends, keras.layers.MultiHeadAttention):
    """`keras.layers.MultiHeadAttention` of Keras 2.4 to 2.9, which neither takes masks nor has one.

    A mask that is given as an argument counts; one that inputs carry does not.
    """

    def call(
        self,
        query: Any,
        value: Any,
        key: Any = None,
        query_mask: Any = None,  # noqa: ARG002 - Keras fills it in
        value_mask: Any = None,  # noqa: ARG002 - Keras fills it in
        key_mask: Any = None,  # noqa: ARG002 - Keras fills it in
        **arguments: Any,
    ) -> Any:
        given = [x if x is None else _unmasked(x) for x in (query, value, key)]
        return super().call(*given, **arguments)

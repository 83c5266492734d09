"""Layers that treat masks of time steps as Keras 2 did; where, says `modelfile.upgrade.masks`."""

from __future__ import annotations

import functools
from typing import Any

import keras
from keras import ops

from layerprobe.backend.legacy.convolutions import registered


class _AllKeep:
    """A merging layer that keeps a step if every masked input keeps it; Keras 3: if any does.

    Values are merged as they are at masked steps too, where Keras 3's take the other inputs' alone.
    """

    def call(self, inputs: Any) -> Any:
        return super().call([_unmasked(x) for x in inputs])  # type: ignore[misc]

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:  # noqa: ARG002 - Keras passes them
        given = [one for one in mask or () if one is not None]
        return functools.reduce(ops.logical_and, given) if given else None


@registered
class Add(_AllKeep, keras.layers.Add):
    """`keras.layers.Add`; see `_AllKeep`."""


@registered
class Subtract(_AllKeep, keras.layers.Subtract):
    """`keras.layers.Subtract`; see `_AllKeep`."""


@registered
class Multiply(_AllKeep, keras.layers.Multiply):
    """`keras.layers.Multiply`; see `_AllKeep`."""


@registered
class Average(_AllKeep, keras.layers.Average):
    """`keras.layers.Average`; see `_AllKeep`."""


@registered
class Maximum(_AllKeep, keras.layers.Maximum):
    """`keras.layers.Maximum`; see `_AllKeep`."""


@registered
class Minimum(_AllKeep, keras.layers.Minimum):
    """`keras.layers.Minimum`; see `_AllKeep`."""


@registered
class Concatenate(keras.layers.Concatenate):
    """`keras.layers.Concatenate` that keeps a step if every masked input keeps it.

    Masks lie one behind the other where the inputs do: along time, or for each feature.
    """

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        if all(one is None for one in mask or ()):
            return None
        pairs = zip(inputs, mask, strict=True)
        masks = [_as_wide(one, x) for x, one in pairs]
        return ops.all(ops.concatenate(masks, axis=self.axis), axis=-1)


def _unmasked(x: Any) -> Any:
    """Return a tensor of the same values that carries no mask; others may still need the first."""
    return ops.copy(x)


def _as_wide(mask: Any, x: Any) -> Any:
    """Return a mask with the number of axes of what it masks; one that keeps all for None."""
    if mask is None:
        return ops.ones_like(x, dtype="bool")
    return ops.expand_dims(mask, -1) if len(mask.shape) < len(x.shape) else mask


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

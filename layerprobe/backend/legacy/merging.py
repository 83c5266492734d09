"""Merging layers that make of several masks what Keras 2 made of them.

Source: tf_keras 2.21, src/layers/merging; the same since keras 2.0.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ClassVar

import keras
from keras import ops

from layerprobe.backend.legacy.convolutions import registered


class MergedMask(keras.Operation):
    """The mask of a merge that keeps a step if every input that has a mask keeps it.

    One operation: a graph that has Keras' own would name them as its layers may be named.

    Args:
        axis: Of inputs that are put together: along which.
    """

    def __init__(self, axis: int | None = None) -> None:
        super().__init__()
        self.axis = axis

    def call(self, inputs: Any, masks: Any) -> Any:
        if self.axis is None:
            return ops.all(ops.stack([one for one in masks if one is not None], axis=0), axis=0)
        parts = [
            ops.ones_like(x, dtype="bool") if one is None else _as_wide(one, x)
            for x, one in zip(inputs, masks, strict=True)
        ]
        return ops.all(ops.concatenate(parts, axis=self.axis), axis=-1)

    def compute_output_spec(self, inputs: Any, masks: Any) -> Any:
        if self.axis is None:
            known = [one for one in masks if one is not None]  # all of one shape
            return keras.KerasTensor(known[0].shape, dtype="bool")
        shape = ops.concatenate(inputs, axis=self.axis).shape
        return keras.KerasTensor(shape[:-1], dtype="bool")


def _as_wide(mask: Any, x: Any) -> Any:
    return ops.expand_dims(mask, -1) if len(mask.shape) < len(x.shape) else mask


class _Masked:
    axis: int | None = None

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        if mask is None or all(one is None for one in mask):
            return None
        return MergedMask(self.axis)(inputs, mask)


class _Merge(_Masked):
    combine: ClassVar[Callable[[Any, Any], Any]]

    def _merge_function(self, inputs: Any) -> Any:
        # Keras 3 computes something else where an input is masked.
        return functools.reduce(type(self).combine, inputs)


@registered
class Add(_Merge, keras.layers.Add):
    """`keras.layers.Add` with the masks of Keras 2."""

    combine = staticmethod(ops.add)


@registered
class Subtract(_Merge, keras.layers.Subtract):
    """`keras.layers.Subtract` with the masks of Keras 2."""

    combine = staticmethod(ops.subtract)


@registered
class Multiply(_Merge, keras.layers.Multiply):
    """`keras.layers.Multiply` with the masks of Keras 2."""

    combine = staticmethod(ops.multiply)


@registered
class Average(_Merge, keras.layers.Average):
    """`keras.layers.Average` with the masks of Keras 2."""

    combine = staticmethod(ops.add)

    def _merge_function(self, inputs: Any) -> Any:
        return functools.reduce(ops.add, inputs) / len(inputs)


@registered
class Maximum(_Merge, keras.layers.Maximum):
    """`keras.layers.Maximum` with the masks of Keras 2."""

    combine = staticmethod(ops.maximum)


@registered
class Minimum(_Merge, keras.layers.Minimum):
    """`keras.layers.Minimum` with the masks of Keras 2."""

    combine = staticmethod(ops.minimum)


@registered
class Concatenate(_Masked, keras.layers.Concatenate):
    """`keras.layers.Concatenate` with the masks of Keras 2."""

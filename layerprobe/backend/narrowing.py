"""Outputs cast to fewer bits within the compiled pass, and what that loses counted there.

The values that leave the device are the ones that are stored, so what happened to them on the way
has to be counted where the originals are: for each row how many were NaN, how many were Inf, and
how many finite ones did not fit. That is one more output of three numbers a row.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
from keras import ops

_INF = float("inf")
# The first magnitude that is rounded to Inf: half a step above the largest number.
_TOO_LARGE = {
    "float16": 65520.0,
    "bfloat16": 2.0**128 - 2.0**119,
    "float32": 2.0**128 - 2.0**103,
}
_HOLDS = {  # without a loss of range
    "float16": ("float16",),
    "bfloat16": ("float16", "bfloat16"),
    "float32": ("float16", "bfloat16", "float32"),
}


class Narrowed(NamedTuple):
    """An output as it is stored.

    Attributes:
        values: The symbolic tensor.
        tally: Integers (rows, 3), how many values of each row were NaN, Inf, and finite and did not
            fit; None where nothing can get lost, or the cast is left to who takes the results.
        scale: Of int8: the variable that holds what one step stands for, float32 (channels,).
        peaks: Of int8: the largest finite magnitudes before, float32 (rows, channels).
    """

    values: Any
    tally: Any = None
    scale: Any = None
    peaks: Any = None


def narrowed(tensor: Any, dtype: str | None) -> Narrowed:
    """Return an output cast to a dtype, if it is of floating numbers.

    Args:
        tensor: The symbolic tensor, rows first.
        dtype: "float16", "bfloat16", "float32" or "int8"; None to leave it. As int8, the channels
            (the last axis) have a scale each; the whole has one where their number is open, or
            where a row is a single number.
    """
    given = str(tensor.dtype)
    if dtype is None or "float" not in given or given == dtype:
        return Narrowed(tensor)
    if dtype == "bfloat16" and keras.config.backend() == "openvino":
        return Narrowed(tensor)  # it would compute the layers before in bfloat16 too
    if dtype == "int8":
        layer = Quantise()
        values, tally = layer(tensor)
        return Narrowed(values, tally, layer.scale, Peaks()(tensor))
    if given in _HOLDS[dtype]:
        return Narrowed(ops.cast(tensor, dtype))
    return Narrowed(*Cast(dtype)(tensor))


class Counting(keras.layers.Layer):  # type: ignore[misc]
    """A layer whose second output is the tally of `Narrowed`; it hands no mask on.

    Keras names layers after their classes, and TensorFlow refuses names that begin with "_".
    """

    def __init__(self) -> None:
        super().__init__(autocast=False, dtype="float32")
        self.supports_masking = True

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> None:
        """Say that there is none."""


class Cast(Counting):
    """A cast to another kind of floating number; what is too large becomes Inf."""

    def __init__(self, target: str) -> None:
        super().__init__()
        self._target = target

    def call(self, values: Any) -> tuple[Any, Any]:
        """Return the values as they are stored, and their tally."""
        values = ops.convert_to_tensor(values, sparse=False)
        stored = ops.cast(values, self._target)

        def counted() -> Any:
            magnitude = ops.abs(values)
            # Not by the result: a compiler may keep more digits in it than it has.
            lost = ops.logical_and(magnitude >= _TOO_LARGE[self._target], magnitude < _INF)
            return _tally(ops.isnan(values), magnitude == _INF, lost)

        return stored, _unless(lambda: ops.all(ops.isfinite(stored)), values, counted)


class Quantise(Counting):
    """Whole steps of a scale, from -127 to 127; NaN becomes 0."""

    def build(self, shape: Any) -> None:
        """Make the scale, which is to be assigned before it is used."""
        size = (shape[-1] if len(shape) > 1 else None) or 1
        self.scale = self.add_weight(
            shape=(size,), initializer="ones", trainable=False, dtype="float32", name="scale"
        )

    def call(self, values: Any) -> tuple[Any, Any]:
        """Return the steps, halves to the even one, and their tally."""
        values = ops.convert_to_tensor(values, sparse=False)
        steps = ops.round(ops.cast(values, "float32") / self.scale)
        within = ops.clip(ops.where(ops.isnan(steps), 0.0, steps), -127, 127)

        def counted() -> Any:
            magnitude = ops.abs(values)
            lost = ops.logical_and(ops.abs(steps) > 127, magnitude < _INF)
            return _tally(ops.isnan(values), magnitude == _INF, lost)

        return ops.cast(within, "int8"), _unless(
            lambda: ops.all(ops.abs(steps) <= 127), values, counted
        )


class Peaks(Counting):
    """The largest finite magnitude of each channel in each row."""

    def call(self, values: Any) -> Any:
        """Return them: (rows, channels)."""
        magnitude = ops.abs(ops.cast(ops.convert_to_tensor(values, sparse=False), "float32"))
        finite = ops.where(magnitude < _INF, magnitude, 0.0)
        rank = len(values.shape)
        alone = rank > 1 and values.shape[-1] is not None
        axes = list(range(1, rank - 1 if alone else rank))
        found = ops.max(finite, axis=axes) if axes else finite
        return found if alone else ops.expand_dims(found, -1)


def _unless(fits: Callable[[], Any], values: Any, counted: Callable[[], Any]) -> Any:
    """Return a tally, or zeros if nothing of it is needed."""
    # Each step is a pass over the values on TensorFlow, and one for all of them elsewhere.
    if keras.config.backend() != "tensorflow":
        return counted()
    return ops.cond(fits(), lambda: ops.zeros((ops.shape(values)[0], 3), "int32"), counted)


def _tally(*marks: Any) -> Any:
    return ops.stack([_a_row(ops.cast(mark, "int32")) for mark in marks], axis=-1)


def _a_row(numbers: Any) -> Any:
    axes = list(range(1, len(numbers.shape)))
    return ops.sum(numbers, axis=axes) if axes else numbers

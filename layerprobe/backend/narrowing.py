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
    """

    values: Any
    tally: Any = None


def narrowed(tensor: Any, dtype: str | None) -> Narrowed:
    """Return an output cast to a dtype, if it is of floating numbers.

    Args:
        tensor: The symbolic tensor, rows first.
        dtype: "float16", "bfloat16" or "float32"; None to leave it.
    """
    given = str(tensor.dtype)
    if dtype is None or "float" not in given or given == dtype:
        return Narrowed(tensor)
    if dtype == "bfloat16" and keras.config.backend() == "openvino":
        return Narrowed(tensor)  # it would compute the layers before in bfloat16 too
    if given in _HOLDS[dtype]:
        return Narrowed(ops.cast(tensor, dtype))
    return Narrowed(*_Cast(dtype)(tensor))


class _Counting(keras.layers.Layer):  # type: ignore[misc]
    """A layer whose second output is the tally of `Narrowed`; it hands no mask on."""

    def __init__(self) -> None:
        super().__init__(autocast=False)
        self.supports_masking = True

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> None:
        """Say that there is none."""


class _Cast(_Counting):
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

"""Inputs that are numbers of rows in a table: checked before an engine sees them.

Only TensorFlow and PyTorch on CPU refuse a number that a table has no row for; on JAX it gives NaN,
or another row if it is negative, on OpenVINO and on TensorFlow's GPUs zeros.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from layerprobe.backend import compat_operations
from layerprobe.backend.plan import Plan
from layerprobe.errors import DataError


class Limit(NamedTuple):
    """The numbers that a layer takes for an input: whole ones from 0 to before `size`."""

    position: int
    layer: str
    size: int


def limits_of(plan: Plan) -> list[Limit]:
    """Return the limits of a plan's inputs, as they are fed."""
    found = []
    for step in plan.steps:
        operation: Any = getattr(step.call, "operation", None)
        at = next((at for at, slot in enumerate(plan.fed) if slot in step.takes[:1]), None)
        if at is None:
            continue
        count = compat_operations.numbers_taken(operation, plan.inputs[at].dtype)
        if count is not None:
            found.append(Limit(at, operation.name, count))
    return found


def check_numbers(plan: Plan, limits: Sequence[Limit], arrays: Sequence[Any]) -> None:
    """Make sure that inputs hold numbers that the layers take.

    Raises:
        DataError: One does not.
    """
    for limit in limits:
        array = arrays[limit.position]
        if not isinstance(array, np.ndarray):
            continue
        taken = (array >= 0) & (array < limit.size)
        if array.dtype.kind == "f":
            taken &= np.floor(array) == array
        if not taken.all():
            symbol = plan.inputs[limit.position]
            name = symbol.address or symbol.tensor.name
            raise DataError(
                f"The array for {name!r} holds {array[~taken][0]}.",
                expected=f"integers from 0 to {limit.size - 1:,}, as {limit.layer} takes them",
                name=name,
            )

"""Whether rows have the shape that a model takes, and what may be wrong with their axes if not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from layerprobe.errors import DataError
from layerprobe.layers import Shape, TensorSpec
from layerprobe.sources import Source


def fits(shape: Sequence[int], dtype: np.dtype[Any], wanted: Shape | None) -> bool:
    """Tell whether rows of numbers have the wanted shape, where None takes any size."""
    if dtype.kind not in "biuf":
        return False
    if wanted is None:
        return True
    return len(shape) == len(wanted) and _agree(shape[1:], wanted[1:])


def _agree(have: Sequence[int], wanted: Shape) -> bool:
    """Tell whether sizes are the wanted ones, where None takes any."""
    pairs = zip(have, wanted, strict=False)
    return len(have) == len(wanted) and all(want in (None, size) for size, want in pairs)


def check_fit(source: Source, spec: TensorSpec) -> None:
    """Make sure that a source has the rows that a tensor of the model takes.

    Raises:
        DataError: It has not; the message says what may have happened to the axes.
    """
    if fits(source.shape, source.dtype, spec.shape):
        return
    wanted, have = spec.shape or (), source.shape
    fix = ""
    if _agree(have, wanted[1:]):
        fix = "Is this a single row? The first axis counts the rows: x[None]."
    elif wanted[-1:] == (1,) and _agree(have[1:], wanted[1:-1]):
        fix = "The last axis of size 1 is missing: add it, as in x[..., None]."
    elif sorted(map(str, have[1:])) == sorted(map(str, wanted[1:])):
        fix = "The same axes in another order: transpose the data."
    raise DataError(
        f"{source.location} holds rows of shape {text_of(have[1:])}.",
        expected=f"rows of shape {text_of(wanted[1:])} for input {spec.name!r}",
        fix=fix,
        location=source.location,
        shape=have,
    )


def text_of(shape: Shape) -> str:
    """Return a shape as people read it."""
    return "(" + ", ".join("any" if n is None else str(n) for n in shape) + ")"

"""A pure plan on PyTorch, recorded as a graph of its own operations: no Keras code on the way.

Keras costs more than the computing in small networks. A recording holds for the shapes it was made
with, so it is made for shapes that come again and again, and only for a few of them. It is compared
with the plan itself before it is used, and variables are among its inputs, so that a later
assignment is seen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.fx.experimental.proxy_tensor import make_fx

from layerprobe.backend.compat_state import Scope
from layerprobe.backend.program import Program
from layerprobe.backend.slopes import opaque

_CALLS_BEFORE = 8  # recording takes about as long as so many calls
_RECORDINGS = 4
_TOLERANCE = 1e-6  # of the largest value

Tensors = Sequence[Any]
_Shapes = tuple[tuple[Any, Any], ...]


def records(program: Program, *, training: bool) -> bool:
    """Tell whether a program may be recorded: nothing random or written, only Keras' own layers."""
    plan = program.plan
    moving = program.updates or program.seeds_in(training)
    pure = not (moving or plan.gradients or plan.regularized or training)
    return pure and not any(opaque(operation) for operation in plan.operations)


class Recorder:
    """Runs a plan, by its recording where there is one.

    Args:
        program: What to run; see `records`.
        variables: All variables that it may read.
    """

    def __init__(self, program: Program, variables: Sequence[Any]) -> None:
        self._plan = program.plan
        self._variables = list({id(v): v for v in variables}.values())
        self._calls: Counter[_Shapes] = Counter()
        self._recordings: dict[_Shapes, Callable[..., Any] | None] = {}

    def run(self, tensors: Tensors) -> list[Any]:
        """Return the plan's outputs for tensors of any shape."""
        shapes = tuple((tensor.shape, tensor.dtype) for tensor in tensors)
        if shapes not in self._recordings:
            self._calls[shapes] += 1
            if self._calls[shapes] <= _CALLS_BEFORE or len(self._recordings) >= _RECORDINGS:
                return self._eager([], tensors)
            self._recordings[shapes] = self._recorded(tensors)
        recording = self._recordings[shapes]
        if recording is None:
            return self._eager([], tensors)
        return list(recording([v.value for v in self._variables], list(tensors)))

    def _eager(self, values: Tensors, tensors: Tensors) -> list[Any]:
        mapping = zip(self._variables, values, strict=True) if values else ()
        with Scope(mapping):
            return self._plan.run(tensors)

    def _recorded(self, tensors: Tensors) -> Callable[..., Any] | None:
        """Return the recording, or None where there can be none or it is not exact."""
        values = [variable.value for variable in self._variables]

        def plain(held: Tensors, fed: Tensors) -> list[Any]:  # make_fx would count self as a tensor
            return self._eager(held, fed)

        try:
            recording: Callable[..., Any] = make_fx(plain)(values, list(tensors))
            found = recording(values, list(tensors))
        except Exception:  # noqa: BLE001 - what cannot be recorded runs as it is
            return None
        pairs = zip(found, self._eager([], tensors), strict=True)
        return recording if all(_same(one, other) for one, other in pairs) else None


def _same(one: Any, other: Any) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    if not one.is_floating_point():
        return bool(torch.equal(one, other))
    scale = max(1.0, float(other.abs().max())) if other.numel() else 1.0
    return bool(torch.allclose(one, other, rtol=0, atol=_TOLERANCE * scale, equal_nan=True))

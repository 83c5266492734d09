"""A pass on PyTorch, recorded as a graph of its own operations: no Keras code on the way.

Keras, and autograd's own bookkeeping, cost more than the computing in small networks. A recording
holds the gradients' operations too. It is good for the shapes it was made with, so it is made for
shapes that come again and again, and only for a few of them. It is compared with the pass itself
before it is used, and all variables that the pass reads are among its inputs, so that a later
assignment is seen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.fx.experimental.proxy_tensor import make_fx

from layerprobe.backend import compat
from layerprobe.backend.program import Program
from layerprobe.backend.slopes import opaque
from layerprobe.backend.torch_pass import Values, compute, written

_CALLS_BEFORE = 8  # recording takes about as long as so many calls
_RECORDINGS = 16
_TOLERANCE = 1e-6  # of the largest value

Tensors = Sequence[Any]
_Shapes = tuple[tuple[Any, Any], ...]
_Pass = Callable[[Tensors], tuple[list[Any], Values]]


def records(program: Program, *, training: bool) -> bool:
    """Tell whether a program may be recorded: nothing random, and only Keras' own layers."""
    drawn = program.draws_in(training) and (program.seeds or program.own_seeds)
    return not drawn and not any(opaque(operation) for operation in program.plan.operations)


class Recorder:
    """Runs a program's pass, by its recording where there is one.

    Args:
        program: What to run; see `records`.
        training: The phase.
    """

    def __init__(self, program: Program, *, training: bool) -> None:
        self._program = program
        self._training = training
        self._read: dict[int, Any] = {}
        self._calls: Counter[_Shapes] = Counter()
        self._passes: dict[_Shapes, _Pass] = {}

    def run(self, tensors: Tensors) -> tuple[list[Any], Values]:
        """Return the plan's outputs for tensors of any shape, and what is written to variables."""
        shapes = tuple((tensor.shape, tensor.dtype) for tensor in tensors)
        if shapes not in self._passes:
            self._calls[shapes] += 1
            if self._calls[shapes] <= _CALLS_BEFORE or len(self._passes) >= _RECORDINGS:
                return self._eager(tensors)
            self._passes[shapes] = self._recorded(tensors) or self._eager
        return self._passes[shapes](tensors)

    def _eager(self, tensors: Tensors) -> tuple[list[Any], Values]:
        results, scope = compute(self._program.plan, (), tensors, training=self._training)
        self._read |= scope.read
        return results, written(self._program, scope)

    def _recorded(self, tensors: Tensors) -> _Pass | None:
        """Return the recording, or None where there can be none or it is not exact."""
        variables = list(self._read.values())
        count = len(self._program.plan.outputs)
        changed: list[Any] = []

        def plain(held: Tensors, fed: Tensors) -> list[Any]:
            mapping = list(zip(variables, held, strict=True))
            results, scope = compute(self._program.plan, mapping, fed, training=self._training)
            if not set(scope.read) <= set(compat.ids(variables)):
                raise LookupError  # its value would be fixed for ever
            pairs = written(self._program, scope)
            changed[:] = [variable for variable, _ in pairs]
            return [*results, *(value for _, value in pairs)]

        def replay(fed: Tensors) -> tuple[list[Any], Values]:
            with torch.no_grad():
                found = recording([variable.value for variable in variables], list(fed))
            return found[:count], list(zip(changed, found[count:], strict=True))

        try:
            values = [variable.value.detach() for variable in variables]
            recording: Callable[..., Any] = make_fx(plain)(values, list(tensors))
            results, new = replay(tensors)
        except Exception:  # noqa: BLE001 - what cannot be recorded runs as it is
            return None
        expected, kept = self._eager(tensors)
        found = [*results, *(value for _, value in new)]
        true = [*expected, *(value for _, value in kept)]
        exact = len(found) == len(true) and all(map(_same, found, true))
        return replay if exact else None


def _same(one: Any, other: Any) -> bool:
    if not (torch.is_tensor(one) and torch.is_tensor(other)):  # a size, as K.shape gives it
        return False
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    if not one.is_floating_point():
        return bool(torch.equal(one, other))
    scale = max(1.0, float(other.detach().abs().max())) if other.numel() else 1.0
    return bool(torch.allclose(one, other, rtol=0, atol=_TOLERANCE * scale, equal_nan=True))

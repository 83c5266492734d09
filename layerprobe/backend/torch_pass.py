"""What one call computes on PyTorch, gradients included, before anything is assigned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from layerprobe.backend.compat_state import Scope
from layerprobe.backend.plan import Plan
from layerprobe.backend.program import Program
from layerprobe.backend.slopes import check_found

Values = Sequence[tuple[Any, Any]]  # variables, and what each of them is or becomes


def compute(
    plan: Plan, mapping: Values, tensors: Sequence[Any], *, training: bool
) -> tuple[list[Any], Scope]:
    """Run a plan.

    Args:
        plan: What to run; autograd is on only where it takes gradients.
        mapping: The variables that have another value in this call, and that value.
        tensors: One for each input of the plan.
        training: The phase.

    Returns:
        One tensor for each output of the plan, and the scope in which it ran.
    """
    tape = _Tape(plan, {id(v): value for v, value in mapping}) if plan.gradients else None
    leaves = tape.variables if tape else []
    scope = Scope([*mapping, *leaves], losses=plan.regularized)
    with torch.set_grad_enabled(tape is not None), scope:
        scope.forget_losses()
        return plan.run(tensors, training=training, tape=tape), scope


def written(program: Program, scope: Scope) -> list[tuple[Any, Any]]:
    """Return the variables whose change in a scope is to be kept, and their new values."""
    kept = [variable for variable in program.kept if id(variable) in scope.written]
    return [(variable, scope.get_current_value(variable)) for variable in kept]


class _Tape:
    """Autograd's own record; variables take part as leaves of this call alone.

    Args:
        plan: What takes gradients.
        mapping: The variables that have another value in this call, by id, and that value.

    Attributes:
        variables: Each variable that is differentiated by, with the tensor that stands for it.
    """

    def __init__(self, plan: Plan, mapping: dict[int, Any]) -> None:
        self._plan = plan
        held = {id(v): v for number in plan.gradients for v in plan.asked(number).variables}
        now = {key: mapping.get(key, variable.value) for key, variable in held.items()}
        self._leaves = {key: value.detach().requires_grad_() for key, value in now.items()}
        self.variables = [(held[key], leaf) for key, leaf in self._leaves.items()]

    def watch(self, slot: int, value: Any) -> Any:  # noqa: ARG002 - not needed here
        return value if value.requires_grad else value.detach().requires_grad_()

    def gradient(self, number: int, loss: Any, tensors: Sequence[Any]) -> list[Any]:
        sources = [*tensors, *(self._leaves[id(v)] for v in self._plan.asked(number).variables)]
        more = number != self._plan.gradients[-1]
        found: Sequence[Any] = [None] * len(sources)
        if loss.requires_grad:
            found = torch.autograd.grad(
                loss, sources, retain_graph=more, create_graph=more, allow_unused=True
            )
        check_found(self._plan, number, found)
        return list(found)

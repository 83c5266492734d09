"""Whether a loss depends on what it is differentiated by, seen from the plan alone.

TensorFlow and PyTorch would say None for a gradient that does not exist, JAX zero; both would show
only when the function runs, or never.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from layerprobe.backend import compat_operations, compat_state
from layerprobe.backend.calls import LayerCall, Special
from layerprobe.backend.plan import Plan, Step
from layerprobe.backend.specials import Apply, Losses, Read
from layerprobe.errors import BackendError

_PLACES = ("the first", "the second", "the third", "a further")


def check_gradients(plan: Plan) -> None:
    """Make sure that every gradient of a plan exists.

    Raises:
        BackendError: A loss does not depend on a variable or a tensor; all of them are named.
    """
    for number in plan.gradients:
        loss, *tensors = plan.steps[number].takes
        before = plan.steps[:number]
        origins = [*tensors, *plan.asked(number).variables]
        check_found(plan, number, [loss in _moved_by(before, origin) or None for origin in origins])


def reached(plan: Plan, variables: Sequence[Any]) -> list[Any]:
    """Return the variables that an output of a plan changes with, as floating numbers do."""
    slots = {*plan.start(plan.inputs), *(slot for step in plan.steps for slot, _ in step.gives)}
    wanted = set(plan.returned({slot: slot for slot in slots}))
    return [variable for variable in variables if wanted & _moved_by(plan.steps, variable)]


def check_found(plan: Plan, number: int, gradients: Sequence[Any]) -> None:
    """Make sure that an engine found all gradients a step takes; those it did not are None.

    Raises:
        BackendError: A gradient is None; all of them are named.
    """
    asked = plan.asked(number)
    tensors = len(gradients) - len(asked.variables)
    names = [f"{place} tensor to differentiate by" for place in _PLACES[:tensors]]
    names += [""] * (tensors - len(names)) + [compat_state.name_of(v) for v in asked.variables]
    lost = [name for name, found in zip(names, gradients, strict=True) if found is None]
    if lost:
        raise _no_gradient(lost)


def _no_gradient(names: list[str]) -> BackendError:
    return BackendError(
        f"The loss does not depend on {', '.join(names[:8])}{', …' if len(names) > 8 else ''}.",
        expected="a loss that can be differentiated by all of them",
        fix="Leave them out of params, or compute the loss from what they change.",
        names=names,
    )


def opaque(operation: Any) -> bool:
    """Tell whether an operation runs code of the user's.

    That may read variables it does not list, and stop gradients unseen.
    """
    return isinstance(operation, Apply) or not all(
        map(compat_operations.is_keras_own, inside(operation))
    )


def inside(operation: Any) -> list[Any]:
    """Return a layer and all layers inside it, or a bare operation alone."""
    return compat_state.layers_inside(operation) or [operation]


def _moved_by(steps: tuple[Step, ...], origin: Any) -> set[int]:
    """Return the slots whose values change, as floating numbers do, with a variable or a slot."""
    moved: set[int] = {origin} if isinstance(origin, int) else set()
    for step in steps:
        reads = not isinstance(origin, int) and _reads(step.call, origin)
        if reads or (moved & set(step.takes) and not _stops(step.call)):
            moved.update(slot for slot, position in step.gives if _floating(step.call, position))
    return moved


def _reads(call: Any, variable: Any) -> bool:
    if isinstance(call, Read):
        return call.variable is variable
    if isinstance(call, Losses):
        return any(v is variable for v in compat_state.variables_of(call.model))
    operation = getattr(call, "operation", call)
    if isinstance(operation, Special) and not isinstance(operation, Apply):
        return False
    return opaque(operation) or any(v is variable for v in compat_state.variables_of(operation))


def _stops(call: Any) -> bool:
    return isinstance(call, LayerCall) and compat_operations.stops_gradient(call.operation)


def _floating(call: Any, position: int) -> bool:
    if isinstance(call, LayerCall):
        return "float" in str(call.node.outputs[position].dtype)
    return True

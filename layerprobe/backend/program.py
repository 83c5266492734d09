"""All that one call of a function does: a plan, and what becomes of the state afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from layerprobe.backend import compat_state
from layerprobe.backend.calls import Symbol
from layerprobe.backend.plan import Plan, make_plan
from layerprobe.backend.slopes import check_gradients
from layerprobe.backend.updates import AnyUpdate, OptimizerUpdate, StateUpdate, Update, update
from layerprobe.errors import BackendError


@dataclass(frozen=True, eq=False)
class Optimized:
    """Variables that an optimizer moves.

    Attributes:
        optimizer: A Keras optimizer, built for `variables`.
        variables: What it moves.
        where: Where their gradients are among the plan's outputs, in the variables' order.
    """

    optimizer: Any
    variables: tuple[Any, ...]
    where: slice


@dataclass(frozen=True, eq=False)
class Program:
    """A plan, and what becomes of the state afterwards.

    Every new value is computed from the state before the call; only then are all assigned.

    Attributes:
        plan: Its outputs are those of the function, then the values to assign, then gradients.
        count: How many outputs the function has.
        assigned: The variables that get the plan's next outputs, in order.
        optimized: What optimizers move.
        kept: The variables that keep what layers write to them while they run.
        seeds: States of random generators that advance from call to call, yet not in the model.
        own_seeds: Those that advance in the model; `kept` holds them too.
    """

    plan: Plan
    count: int
    assigned: tuple[Any, ...] = ()
    optimized: tuple[Optimized, ...] = ()
    kept: tuple[Any, ...] = ()
    seeds: tuple[Any, ...] = ()
    own_seeds: tuple[Any, ...] = ()

    def draws_in(self, training: bool) -> bool:
        """Tell whether a phase may draw at random: layers do in training, operations always."""
        return training or self._operations_draw

    @cached_property
    def _operations_draw(self) -> bool:
        return any(
            compat_state.seeds_of(operation) and not compat_state.is_layer(operation)
            for operation in self.plan.operations
        )

    def seeds_in(self, training: bool) -> tuple[Any, ...]:
        """Return the generators that advance in a phase, yet not in the model."""
        return self.seeds if self.draws_in(training) else ()

    @property
    def updates(self) -> bool:
        """Whether a call may change any state."""
        return bool(self.assigned or self.optimized or self.kept)

    def without(self, missing: Sequence[int]) -> Program:
        """Return the program that runs when some inputs, given by their positions, are None."""
        return replace(self, plan=self.plan.without(missing)) if missing else self

    def values(self, results: Sequence[Any]) -> list[tuple[Any, Any]]:
        """Return, from the plan's outputs, the variables to assign and their new values."""
        new = results[self.count : self.count + len(self.assigned)]
        return list(zip(self.assigned, new, strict=True))


def make_program(
    inputs: Sequence[Symbol], outputs: Sequence[Symbol], updates: Iterable[Any] = ()
) -> Program:
    """Return the program of a function.

    Args:
        inputs: The tensors to feed.
        outputs: The tensors to return.
        updates: Pairs `(variable, value)`, and what the functions of `updates` return.

    Raises:
        BackendError: Something cannot be computed from the inputs, a variable has two updates, or
            a loss does not depend on a parameter.
    """
    wanted = [_update(item) for item in updates]
    plain = [item for item in wanted if isinstance(item, Update)]
    steps = [item for item in wanted if isinstance(item, OptimizerUpdate)]
    states = [item for item in wanted if isinstance(item, StateUpdate)]
    kept = {id(v): v for state in states for v in state.variables}
    _refuse_two_updates(plain, steps, kept)
    new = [Symbol(item.value, (), f"the new value of {item.variable.name}") for item in plain]
    grads = [Symbol(tensor) for step in steps for tensor in step.gradients]
    plan = make_plan(inputs, [*outputs, *new, *grads])
    check_gradients(plan)
    seeds = {id(v): v for operation in plan.operations for v in compat_state.seeds_of(operation)}
    at = len(outputs) + len(new)
    optimized = []
    for step in steps:
        end = at + len(step.gradients)
        optimized.append(Optimized(step.optimizer, step.variables, slice(at, end)))
        at = end
    return Program(
        plan,
        len(outputs),
        tuple(item.variable for item in plain),
        tuple(optimized),
        # Who trains expects other random numbers at the next step, in whatever function it is.
        tuple((kept | seeds if wanted else kept).values()),
        () if wanted else tuple(seeds.values()),
        tuple(seeds.values()) if wanted else (),
    )


def _update(item: Any) -> AnyUpdate:
    if isinstance(item, (Update, OptimizerUpdate, StateUpdate)):
        return item
    if isinstance(item, (tuple, list)) and len(item) == 2:
        return update(*item)
    raise BackendError(
        f"A {type(item).__name__} is not an update.",
        expected="a pair (variable, value), or what update(), get_updates() or state_updates() "
        "return, in one list",
    )


def _refuse_two_updates(
    plain: Sequence[Update], steps: Sequence[OptimizerUpdate], kept: dict[int, Any]
) -> None:
    moved = [item.variable for item in plain] + [v for step in steps for v in step.variables]
    seen: set[int] = set(kept)
    for variable in moved:
        if id(variable) in seen:
            raise BackendError(
                f"The variable {compat_state.name_of(variable)} is updated twice.",
                expected="one update for each variable",
                variable=compat_state.name_of(variable),
            )
        seen.add(id(variable))

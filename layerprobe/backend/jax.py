"""JAX: one jitted function; the weights are its arguments, so that a later assignment is seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import sparse

from layerprobe.backend import compat, compat_state
from layerprobe.backend.compat_state import Scope
from layerprobe.backend.engine import Compiled, pick_gpu
from layerprobe.backend.jax_zeros import always_zero
from layerprobe.backend.plan import Plan
from layerprobe.backend.program import Program
from layerprobe.backend.slopes import check_found, opaque
from layerprobe.backend.threads import keep_to_cpus
from layerprobe.backend.values import Sparse
from layerprobe.errors import BackendError, DataError

RECOMPILES = True
RUNS_CHANNELS_FIRST = True
CAPABILITIES = frozenset({"updates", "gradients", "sparse", "channels_first"})

_INT32 = np.iinfo(np.int32)


def prepare(device: str) -> str:
    """Make a device JAX's default; see `Engine.prepare`."""
    try:
        gpus = jax.devices("gpu")
    except RuntimeError:
        gpus = []
    wanted = pick_gpu(device, len(gpus), "jax")
    if device != "auto":
        chosen = jax.devices("cpu")[0] if wanted is None else gpus[wanted]
        jax.config.update("jax_default_device", chosen)
    return "cpu" if wanted is None else f"gpu:{wanted}"


def compile(program: Program, *, training: bool) -> Compiled:  # noqa: A001 - the engines' common word
    """Jit the program; see `Engine.compile`.

    Which variables the plan reads is found by tracing it once, at the first call: layers may hold
    more than they list.
    """
    _refuse_float64(program.plan)
    seeds = program.seeds_in(training)
    found: tuple[_State, Any] | None = None

    def call(values: Sequence[Any], states: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        nonlocal found
        for value in values:
            _refuse_wide(value.values if isinstance(value, Sparse) else value)
        values = [_tensor(value) for value in values]
        if found is None:
            state = _State.found(program, values, seeds, training=training)
            _refuse_zeros(program.plan, state, seeds, (values, states), training=training)
            # One assignment, since other threads may be here too.
            found = state, jax.jit(_step(program, state, seeds, training=training))
        state, jitted = found
        now = [v.value for v in state.read], [v.value for v in state.of_optimizers]
        outputs, advanced, new = jitted(*now, list(states), list(values))
        for variable, value in zip(state.written, new, strict=True):
            variable.assign(value)
        return [_array(out) for out in outputs], [np.asarray(seed) for seed in advanced]

    return call


class _State(NamedTuple):
    """The variables that a call reads and writes, in the order in which they are passed."""

    read: list[Any]
    of_optimizers: list[Any]
    kept: list[Any]
    written: list[Any]

    @classmethod
    def found(
        cls, program: Program, values: Sequence[Any], seeds: Sequence[Any], *, training: bool
    ) -> _State:
        """Return them, by running the plan on shapes alone."""
        scope = Scope(losses=program.plan.regularized)

        def forward(tensors: Sequence[Any]) -> list[Any]:
            return _run(program.plan, scope, tensors, training=training)

        jax.eval_shape(forward, list(values))
        moved = [v for step in program.optimized for v in step.variables]
        passed = set(compat.ids(seeds))
        read = {id(v): v for v in (*scope.read.values(), *moved) if id(v) not in passed}
        inner = [v for step in program.optimized for v in step.optimizer.variables]
        kept = [v for v in program.kept if id(v) in scope.written]
        return cls(list(read.values()), inner, kept, [*program.assigned, *kept, *moved, *inner])


def _step(program: Program, state: _State, seeds: Sequence[Any], *, training: bool) -> Any:
    """Return the pure function of a call: state and inputs -> outputs, new seeds, new state."""

    def step(
        read: Sequence[Any], inner: Sequence[Any], drawn: Sequence[Any], tensors: Sequence[Any]
    ) -> tuple[Sequence[Any], list[Any], list[Any]]:
        mapping = dict(zip(compat.ids(state.read), read, strict=True))
        pairs = zip((*state.read, *seeds), (*read, *drawn), strict=True)
        scope = Scope(pairs, losses=program.plan.regularized)
        results = _run(program.plan, scope, tensors, training=training)
        new = [value for _, value in program.values(results)]
        new += [scope.get_current_value(variable) for variable in state.kept]
        moved: list[Any] = []
        after: list[Any] = []
        for part in program.optimized:
            count = len(part.optimizer.variables)
            old = [mapping[key] for key in compat.ids(part.variables)]
            values, states = part.optimizer.stateless_apply(
                list(inner[len(after) : len(after) + count]), results[part.where], old
            )
            moved += values
            after += states
        advanced = [scope.get_current_value(seed) for seed in seeds]
        return results[: program.count], advanced, [*new, *moved, *after]

    return step


def _run(plan: Plan, scope: Scope, tensors: Sequence[Any], *, training: bool) -> list[Any]:
    """Run a plan in a scope, gradients included, and leave in the scope what was written."""
    end = len(plan.steps)
    mapping = dict(scope.state_mapping)
    values, states = _through(plan, scope, mapping, tensors, end, {}, training=training)
    scope.state_mapping.update(states)
    return plan.returned(values)


def _through(
    plan: Plan,
    scope: Scope,
    mapping: dict[int, Any],
    tensors: Sequence[Any],
    stop: int,
    nudges: dict[int, Any],
    *,
    training: bool,
) -> tuple[dict[int, Any], dict[int, Any]]:
    """Run the steps before `stop`; return the values by slot, and the variables' by id.

    JAX differentiates functions, so everything before the last gradient is one, whose values come
    along with its gradient; gradients before it are taken inside, in the same way.

    Args:
        plan: The plan.
        scope: Notes what is read and written.
        mapping: The variables' values at the beginning, by id.
        tensors: The inputs.
        stop: The number of the first step that is not run.
        nudges: Zeros added to the values of some slots, to differentiate by them.
        training: The phase.
    """

    def watch(slot: int, value: Any) -> Any:
        return value + nudges[slot] if slot in nudges else value

    earlier = [number for number in plan.gradients if number < stop]
    if not earlier:
        at, values, states = 0, None, mapping
    else:
        at, values, states = _differentiated(
            plan, scope, mapping, tensors, earlier[-1], nudges, training=training
        )
    scope.state_mapping = dict(states)
    with scope:
        if values is None:
            scope.forget_losses()
            values = plan.start(tensors, watch)
        plan.advance(values, at, stop, training=training, watch=watch)
    return values, dict(scope.state_mapping)


def _differentiated(
    plan: Plan,
    scope: Scope,
    mapping: dict[int, Any],
    tensors: Sequence[Any],
    number: int,
    nudges: dict[int, Any],
    *,
    training: bool,
) -> tuple[int, dict[int, Any], dict[int, Any]]:
    """Run everything up to a gradient and that; return the next step, values, and variables."""
    asked = plan.asked(number)
    loss, *slots = plan.steps[number].takes
    _refuse_regularized(plan, slots)

    def before(own: dict[int, Any], zeros: dict[int, Any]) -> tuple[Any, Any]:
        at_start = {**mapping, **own}
        nudged = {**nudges, **{s: zero + nudges.get(s, 0) for s, zero in zeros.items()}}
        values, states = _through(plan, scope, at_start, tensors, number, nudged, training=training)
        return values[loss], (values, states)

    own = {id(v): mapping.get(id(v), v.value) for v in asked.variables}
    zeros: dict[int, Any] = {}
    if slots:
        _, (shapes, _) = jax.eval_shape(lambda: before({}, {}))
        zeros = {s: jax.numpy.zeros(shapes[s].shape, shapes[s].dtype) for s in slots}
    differentiate = jax.value_and_grad(before, argnums=(0, 1), has_aux=True)
    (_, (values, states)), (of_variables, of_slots) = differentiate(own, zeros)
    found = [of_slots[s] for s in slots] + [of_variables[id(v)] for v in asked.variables]
    plan.put(values, number, found, None)
    return number + 1, values, states


def _refuse_regularized(plan: Plan, slots: Sequence[int]) -> None:
    """Refuse what would be wrong: a nudge comes after the layer has taken its output's loss."""
    for step in plan.steps if plan.regularized else ():
        makes = any(slot in slots for slot, _ in step.gives)
        if makes and compat_state.regularizes_output(getattr(step.call, "operation", None)):
            raise BackendError(
                "The gradient by the output of a layer with an activity regularizer, whose loss is "
                "part of model_losses, cannot be taken on JAX.",
                fix="Use --backend tensorflow or torch, or write the regularizer into the loss.",
            )


def _refuse_zeros(
    plan: Plan,
    state: _State,
    seeds: Sequence[Any],
    fed: tuple[Sequence[Any], Sequence[Any]],
    *,
    training: bool,
) -> None:
    """Refuse a loss that does not depend on what it is differentiated by; JAX gives zeros for it.

    The plan shows that but where code of the user's runs, which may stop gradients.
    """
    unseen = any(opaque(getattr(step.call, "operation", step.call)) for step in plan.steps)
    for number in plan.gradients if unseen else ():

        def slopes(
            read: Sequence[Any],
            tensors: Sequence[Any],
            drawn: Sequence[Any],
            number: int = number,
        ) -> list[Any]:
            pairs = zip((*state.read, *seeds), (*read, *drawn), strict=True)
            scope = Scope(pairs, losses=plan.regularized)
            mapping = dict(scope.state_mapping)
            _, values, _ = _differentiated(
                plan, scope, mapping, tensors, number, {}, training=training
            )
            return [values[slot] for slot, _ in plan.steps[number].gives]

        zeros = always_zero(slopes, [v.value for v in state.read], *map(list, fed))
        lost = {plan.steps[number].gives[at][1] for at in zeros}
        count = len(plan.steps[number].takes) - 1 + len(plan.asked(number).variables)
        check_found(plan, number, [None if at in lost else True for at in range(count)])


def _tensor(value: Any) -> Any:
    """Return an array as JAX takes it, a sparse one as BCOO."""
    if not isinstance(value, Sparse):
        return value
    # To a power of two, with places outside, which count for nothing: each number would compile.
    count = len(value.values)
    more = (1 << max(count - 1, 0).bit_length()) - count
    indices = np.concatenate([value.indices, np.full((more, len(value.shape)), value.shape)])
    values = np.concatenate([value.values, np.zeros(more, value.values.dtype)])
    return sparse.BCOO((values, indices.astype("int32")), shape=value.shape)


def _array(value: Any) -> np.ndarray[Any, Any]:
    return np.asarray(value.todense() if isinstance(value, sparse.BCOO) else value)


def _refuse_float64(plan: Plan) -> None:
    wide = [s for s in (*plan.inputs, *plan.outputs) if s.dtype in ("float64", "complex128")]
    if wide and not jax.config.jax_enable_x64:
        raise BackendError(
            f"{wide[0].address} is {wide[0].dtype}; JAX computes in 32 bits.",
            fix="Use --backend tensorflow or torch, or set JAX_ENABLE_X64=1.",
        )


def _refuse_wide(value: np.ndarray[Any, Any]) -> None:
    """Refuse 64-bit integers that JAX would cut to 32 bits without a word."""
    if value.dtype not in (np.int64, np.uint64) or jax.config.jax_enable_x64 or not value.size:
        return
    if value.min() < _INT32.min or value.max() > _INT32.max:
        raise DataError(
            f"The input holds integers up to {value.max()}, and JAX computes in 32 bits.",
            fix="Use --backend tensorflow or torch, or set JAX_ENABLE_X64=1.",
        )


def set_threads(count: int | None) -> None:
    """Keep the process to some of its CPUs: JAX's pool has a thread for each, and no setting."""
    if count is not None:
        keep_to_cpus(count)

"""What no compiled pass can hold: layers for text, run before it by TensorFlow on the host.

On TensorFlow itself they are part of the graph. On other engines a plan is split: what text and
lookup layers need, and they themselves, run eagerly; the rest is compiled.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from layerprobe.backend import compat, compat_operations, compat_state
from layerprobe.backend.calls import LayerCall, Special, Symbol
from layerprobe.backend.compat_state import Scope
from layerprobe.backend.engine import Compiled, Engine
from layerprobe.backend.plan import Plan, Step
from layerprobe.backend.program import Program
from layerprobe.errors import BackendError


def compile_hosted(engine: Engine, program: Program, *, training: bool) -> Compiled:
    """Return the compiled pass of a program; see `Engine.compile`.

    Raises:
        BackendError: It holds layers for text, and they cannot run here.
    """
    if not compat_operations.runs_texts_outside():
        return engine.compile(program, training=training)
    hosted = _hosted(program.plan)
    if not hosted and all(symbol.dtype != "string" for symbol in program.plan.inputs):
        return engine.compile(program, training=training)
    _refuse(program, hosted, training=training)
    before, after, kept = _split(program.plan, hosted)
    compiled = engine.compile(replace(program, plan=after), training=training)

    def call(values: Sequence[Any], states: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        with Scope():
            slots = before.start(values)
            before.advance(slots, 0, len(before.steps), training=training)
            made = [_as_array(slots[slot]) for slot in kept]
        return compiled(made, states)

    return call


def _hosted(plan: Plan) -> list[int]:
    """Return the numbers of the steps that run on the host: layers for text, all they need."""
    needed: set[int] = set()
    found = []
    for number in reversed(range(len(plan.steps))):
        step = plan.steps[number]
        made = {slot for slot, _ in step.gives}
        operation = getattr(step.call, "operation", None)
        if made & needed or compat_operations.needs_tensorflow(operation):
            needed.update(step.takes)
            found.append(number)
    return found[::-1]


def _refuse(program: Program, hosted: Sequence[int], *, training: bool) -> None:
    """Refuse what cannot run on the host, or come out of it."""
    if importlib.util.find_spec("tensorflow") is None:
        raise BackendError(
            "The model takes text, or looks up numbers, by layers that need TensorFlow.",
            fix="Install it with: pip install tensorflow",
        )
    texts = [symbol for symbol in program.plan.outputs if symbol.dtype == "string"]
    if texts:
        raise BackendError(
            f"{texts[0].address or texts[0].tensor.name} is text, which only TensorFlow returns.",
            fix="Use --backend tensorflow.",
        )
    for number in hosted:
        call = program.plan.steps[number].call
        operation = getattr(call, "operation", None)
        if operation is not None and compat_operations.gives_texts(operation):
            raise BackendError(
                f"{operation.name} gives text, which only TensorFlow returns.",
                fix="Use --backend tensorflow.",
            )
        seeds = compat_state.seeds_of(operation) if training else []
        if isinstance(call, Special) or seeds:
            raise BackendError(
                "A lookup layer takes what is random, or computed by more than layers.",
                expected="layers alone before it",
                fix="Use --backend tensorflow.",
            )


def _split(plan: Plan, hosted: Sequence[int]) -> tuple[Plan, Plan, list[int]]:
    """Return the plan of the host, that of the engine, and the slots that go from one to other."""
    symbols = dict(zip(plan.fed, plan.inputs, strict=True))
    rest = [step for number, step in enumerate(plan.steps) if number not in hosted]
    for number in hosted:
        step = plan.steps[number]
        symbols |= {slot: _symbol(step.call, position) for slot, position in step.gives}
    read = [slot for step in rest for slot in step.takes] + list(plan.slots)
    kept = [slot for slot in dict.fromkeys(read) if slot in symbols]
    first = tuple(_freeing_nothing(plan.steps[number]) for number in hosted)
    before = replace(plan, steps=first)
    after = replace(
        plan, inputs=tuple(symbols[s] for s in kept), steps=tuple(rest), _fed=tuple(kept)
    )
    return before, after, kept


def _freeing_nothing(step: Step) -> Step:
    # Few values, on the host: what frees them may stand on either side of the split.
    return replace(step, frees=())


def _symbol(call: Any, position: int) -> Symbol:
    made = call.node.outputs[position] if isinstance(call, LayerCall) else call.tensor
    return Symbol(made, (), str(compat.history(made)[0].name))


def _as_array(value: Any) -> Any:
    return value if isinstance(value, np.ndarray) else np.asarray(compat.as_array(value))

"""The engines' suite is worth something: it rejects engines that are wrong on purpose."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest

from layerprobe.backend.suite import BackendSuite
from layerprobe.backend.update_suite import UpdateSuite
from layerprobe.errors import LayerprobeError

pytestmark = pytest.mark.engine("tensorflow")


def wrong(engine: Any, change: Callable[[Any, Any], Any]) -> Any:
    """Return the engine with what its compiled functions return changed."""

    def compile_(program: Any, *, training: bool) -> Any:
        compiled = engine.compile(program, training=training)

        def run(values: Any) -> Any:
            return compiled(values, [])[0]

        return lambda values, _: (change(run, values), [])

    return SimpleNamespace(compile=compile_, RECOMPILES=False)


def reordered(run: Any, values: Any) -> Any:
    """Return the outputs in another order than asked for."""
    return run(values)[::-1]


def swapped_inputs(run: Any, values: Any) -> Any:
    """Take the inputs in another order than given."""
    return run(values[::-1])


def first_rows_only(run: Any, values: Any) -> Any:
    """Repeat the first row, as a batch baked into the graph would."""
    return [np.repeat(result[:1], len(result), axis=0) for result in run(values)]


def training(_: Any) -> Any:
    """Return an engine that runs in the training phase and lets state move."""

    def compile_(program: Any, **_: Any) -> Any:
        def call(values: Any, _: Any) -> Any:
            tensors = [keras.ops.convert_to_tensor(value) for value in values]
            results = program.plan.run(tensors, training=True)
            return [keras.ops.convert_to_numpy(out) for out in results], []

        return call

    return SimpleNamespace(compile=compile_, RECOMPILES=False)


def frozen(engine: Any) -> Any:
    """Return an engine that keeps the results of its first call."""
    kept: dict[int, Any] = {}

    def once(run: Any, values: Any) -> Any:
        return kept.setdefault(id(run), run(values))

    return wrong(engine, once)


def first_call_only(engine: Any) -> Any:
    """Return an engine that gives every call of a layer the values of its first one."""

    def compile_(program: Any, *, training: bool) -> Any:
        made: dict[int, Any] = {}

        def run_as_first(call: Any) -> Any:
            key = id(getattr(call, "operation", call))

            def run(taken: Any, **phase: Any) -> Any:
                if key not in made:
                    made[key] = call.run(taken, **phase)
                return made[key]

            return SimpleNamespace(run=run, operation=getattr(call, "operation", None))

        steps = tuple(replace(step, call=run_as_first(step.call)) for step in program.plan.steps)
        plan = replace(program.plan, steps=steps)
        return engine.compile(replace(program, plan=plan), training=training)

    return SimpleNamespace(compile=compile_, RECOMPILES=False)


def hasty(engine: Any) -> Any:
    """Return an engine that assigns before it computes the outputs."""

    def compile_(program: Any, *, training: bool) -> Any:
        move = engine.compile(program, training=training)
        bare = replace(program, assigned=(), optimized=(), kept=())
        look = engine.compile(bare, training=training)

        def call(values: Any, seeds: Any) -> Any:
            _, advanced = move(values, seeds)
            return look(values, seeds)[0], advanced

        return call

    return SimpleNamespace(compile=compile_, RECOMPILES=False)


def one_after_the_other(engine: Any) -> Any:
    """Return an engine that assigns a value before it computes the next."""

    def compile_(program: Any, *, training: bool) -> Any:
        whole = engine.compile(replace(program, assigned=()), training=training)
        parts = []
        for at, variable in enumerate(program.assigned):
            plan = program.plan
            kept = plan._returned[: program.count], plan._returned[program.count + at :]
            part = replace(plan, _returned=kept[0] + kept[1])
            alone = replace(program, plan=part, assigned=(variable,), optimized=())
            parts.append(engine.compile(alone, training=training))

        def call(values: Any, seeds: Any) -> Any:
            results = whole(values, seeds)
            for part in parts:
                part(values, seeds)
            return results

        return call

    return SimpleNamespace(compile=compile_, RECOMPILES=False)


def phaseless(engine: Any) -> Any:
    """Return an engine that runs in the test phase, whatever it is told."""

    def compile_(program: Any, **_: Any) -> Any:
        compiled = engine.compile(program, training=False)
        return lambda values, seeds: (compiled(values, [])[0], seeds)

    return SimpleNamespace(compile=compile_, RECOMPILES=False)


def standing(engine: Any) -> Any:
    """Return an engine whose random numbers do not advance."""

    def compile_(program: Any, *, training: bool) -> Any:
        compiled = engine.compile(program, training=training)
        return lambda values, seeds: (compiled(values, seeds)[0], seeds)

    return SimpleNamespace(compile=compile_, RECOMPILES=False)


@pytest.mark.parametrize(
    ("broken", "test"),
    [
        (lambda e: wrong(e, reordered), "test_gives_every_layer_of_a_chain"),
        (lambda e: wrong(e, reordered), "test_reaches_into_nested_models_by_call"),
        (lambda e: wrong(e, swapped_inputs), "test_tells_the_calls_of_a_shared_layer_apart"),
        (lambda e: wrong(e, first_rows_only), "test_gives_every_output_of_a_layer"),
        (training, "test_gives_every_layer_of_a_chain"),
        (training, "test_changes_no_state"),
        (frozen, "test_sees_weights_assigned_later"),
        (first_call_only, "test_tells_the_calls_of_a_shared_layer_apart"),
    ],
)
def test_a_wrong_engine_is_rejected(engine: Any, broken: Any, test: str) -> None:
    """Outputs out of order, calls mixed up, rows repeated, state moved: each fails its test."""
    suite = BackendSuite()
    getattr(suite, test)(engine)
    with pytest.raises((AssertionError, LayerprobeError)):
        getattr(suite, test)(broken(engine))


@pytest.mark.parametrize(
    ("broken", "test"),
    [
        (hasty, "test_shows_what_was_before_the_update"),
        (hasty, "test_takes_an_optimizers_steps"),
        (one_after_the_other, "test_assigns_together"),
        (frozen, "test_sees_what_is_assigned_between_updates"),
        (phaseless, "test_obeys_the_phase_of_each_call"),
        (phaseless, "test_keeps_states_where_asked"),
        (standing, "test_random_numbers_follow_the_seed"),
        (lambda e: wrong(e, reordered), "test_gives_gradients"),
    ],
)
def test_an_engine_that_updates_wrongly_is_rejected(engine: Any, broken: Any, test: str) -> None:
    """Assigned too early or in turn, old state kept, phase or seed ignored: each fails its test."""
    suite = UpdateSuite()
    getattr(suite, test)(engine)
    with pytest.raises(AssertionError):
        getattr(suite, test)(broken(engine))

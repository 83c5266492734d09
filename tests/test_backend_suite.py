"""The engines' suite is worth something: it rejects engines that are wrong on purpose."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest

from layerprobe.backend.suite import BackendSuite
from layerprobe.errors import LayerprobeError

pytestmark = pytest.mark.engine("tensorflow")


def wrong(engine: Any, change: Callable[[Any, Any], Any]) -> Any:
    """Return the engine with what its compiled functions return changed."""

    def compile_(program: Any, *, training: bool) -> Any:
        compiled = engine.compile(program, training=training)

        def run(values: Any) -> Any:
            return compiled(values, [])[0]

        return lambda values, _: (change(run, values), [])

    return SimpleNamespace(compile=compile_)


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

    return SimpleNamespace(compile=compile_)


def frozen(engine: Any) -> Any:
    """Return an engine that keeps the results of its first call."""
    kept: dict[int, Any] = {}

    def once(run: Any, values: Any) -> Any:
        return kept.setdefault(id(run), run(values))

    return wrong(engine, once)


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
    ],
)
def test_a_wrong_engine_is_rejected(engine: Any, broken: Any, test: str) -> None:
    """Outputs out of order, calls mixed up, rows repeated, state moved: each fails its test."""
    suite = BackendSuite()
    getattr(suite, test)(engine)
    with pytest.raises((AssertionError, LayerprobeError)):
        getattr(suite, test)(broken(engine))

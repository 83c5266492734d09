"""The plan behind `function`: what runs, in which order, and what is dropped when."""

from __future__ import annotations

from typing import Any

import keras
import pytest

from layerprobe.backend.plan import Plan, make_plan
from layerprobe.backend.suite import wrapped
from layerprobe.errors import BackendError

pytestmark = pytest.mark.engine("tensorflow")


def chain(length: int) -> Any:
    """Return a model of so many Dense layers in a row."""
    layers = [keras.layers.Dense(2, name=f"dense_{i}") for i in range(length)]
    return wrapped(keras.Sequential([keras.Input((2,), name="x"), *layers]))


def most_values_held(plan: Plan) -> int:
    """Follow the slots by hand: return how many values are held at once, checking each use."""
    held = set(plan._fed)
    most = len(held)
    for step in plan.steps:
        assert held >= set(step.takes)
        held |= {slot for slot, _ in step.gives}
        most = max(most, len(held))
        held -= set(step.frees)
    assert held == set(plan._returned) | (set(plan._fed) & held)
    return most


def test_values_are_dropped_after_their_last_use() -> None:
    """A chain of any length holds two values at a time, besides those that are wanted."""
    model = chain(20)
    assert most_values_held(make_plan(model.inputs, [model["dense_19"]])) == 2
    wanted = [model[f"dense_{i}"] for i in (3, 11, 19)]
    assert most_values_held(make_plan(model.inputs, wanted)) == 4


def test_branches() -> None:
    """Layers with weights that do not wait for each other; a nested model may hold such."""
    Dense, Add = keras.layers.Dense, keras.layers.Add  # noqa: N806 - classes
    x = keras.Input((2,), name="x")
    first = Dense(2, name="first")(x)
    residual = Add(name="residual")([first, Dense(2, name="second")(first)])
    two = Add(name="two")([Dense(2, name="a")(residual), Dense(2, name="b")(residual)])
    nested = keras.Sequential([keras.Input((2,)), Dense(2)], name="nested")
    model = wrapped(keras.Model(x, nested(two)))
    for address, branches in (("residual", False), ("a", False), ("two", True)):
        assert make_plan(model.inputs, [model[address]]).branches is branches, address
    last = model.outputs[0]
    assert make_plan([model["two"]], [last]).branches
    assert not make_plan(model.inputs, [model["x"]]).branches


def test_only_the_calls_between_are_planned() -> None:
    """From the middle to the middle: no call before the start or after the end."""
    model = chain(20)
    plan = make_plan([model["dense_4"]], [model["dense_9"]])
    names = [step.call.operation.name for step in plan.steps]
    assert names == [f"dense_{i}" for i in range(5, 10)]


def test_a_deep_graph_needs_no_deep_stack() -> None:
    """Models deeper than Python's recursion limit are planned."""
    x = keras.Input((2,), name="x")
    y = x
    for _ in range(1500):
        y = y + 1.0
    assert len(make_plan(wrapped_inputs(x), wrapped_inputs(y)).steps) == 1500


def wrapped_inputs(tensor: Any) -> list[Any]:
    """Return a bare Keras tensor as a symbol."""
    from layerprobe.backend import Symbol

    return [Symbol(tensor)]


def test_a_fed_tensor_is_never_computed_over() -> None:
    """A layer that must run for its second output does not replace its first, which is fed."""
    x = keras.Input((3, 2), name="x")
    sequence, hidden, _ = keras.layers.LSTM(2, return_sequences=True, return_state=True, name="l")(
        x
    )
    pooled = keras.layers.GlobalAveragePooling1D(name="p")(sequence)
    model = wrapped(keras.Model(x, keras.layers.Add(name="sum")([pooled, hidden])))
    plan = make_plan([model["l"], model["x"]], [model["sum"]])
    fed = plan._fed[0]
    assert all(slot != fed for step in plan.steps for slot, _ in step.gives)


def test_what_is_missing_is_named_by_address() -> None:
    """The tensors to feed besides are named as the listing names them, nested calls and all."""
    inner = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, name="d")], name="inner")
    left, right = keras.Input((2,), name="left"), keras.Input((2,), name="right")
    model = wrapped(
        keras.Model([left, right], keras.layers.Add(name="s")([inner(left), inner(right)]))
    )
    with pytest.raises(BackendError, match="fed as well: inner@1") as refused:
        make_plan([model["inner@0/d"]], [model["s"]])
    assert refused.value.fields["missing"] == ["inner@1"]


def test_a_circle_is_refused_and_not_walked() -> None:
    """A layer that hands its symbolic input on as its output is named; nothing runs forever."""
    x = keras.Input((8, 8, 3))
    y = keras.layers.Equalization(name="equal")(keras.layers.Identity()(x))
    with pytest.raises(BackendError, match="'equal' takes its own output"):
        make_plan(wrapped_inputs(x), wrapped_inputs(y))

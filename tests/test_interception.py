"""Values inside models without a graph, against calls of the same layers one by one."""

from __future__ import annotations

import threading
from typing import Any

import keras
import numpy as np
import pytest

from layerprobe import backend as K  # noqa: N812 - the name that users of Keras 2 gave it
from layerprobe.backend.suite import Counting, assert_same, numbers
from layerprobe.errors import BackendError

pytestmark = pytest.mark.engine


def array(value: Any) -> Any:
    """Return a tensor as an array."""
    return keras.ops.convert_to_numpy(value)


class Block(keras.layers.Layer):
    """A layer of layers: one of them called twice, one that gives several outputs."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.dense = keras.layers.Dense(4, activation="tanh", name="dense")
        self.lstm = keras.layers.LSTM(3, return_sequences=True, return_state=True, name="lstm")

    def call(self, x: Any) -> Any:
        return self.lstm(self.dense(self.dense(x)))[0]


class Net(keras.Model):
    """A model without a graph, with one of Keras' own graphs inside, and counted layers."""

    def __init__(self) -> None:
        super().__init__(name="net")
        self.block = Block(name="block")
        self.graph = keras.Sequential(
            [keras.Input((5, 3)), keras.layers.Dense(2, name="inner")], name="graph"
        )
        self.late = Counting(name="late")
        self.attention = keras.layers.MultiHeadAttention(2, 3, name="mha")
        self.never = keras.layers.Dense(1, name="never")

    def call(self, x: Any, training: bool = False) -> Any:
        y = self.graph(self.block(x))
        y = self.attention(y, y)
        return self.late(y) * (2.0 if training else 1.0)


def by_hand(net: Any, x: Any) -> dict[str, Any]:
    """Return the values inside a net, computed layer by layer."""
    block = net.block
    first = block.dense(x)
    second = block.dense(first)
    sequence, hidden, cell = block.lstm(second)
    inner = net.graph.get_layer("inner")(sequence)
    return {
        "block/dense@0": first,
        "block/dense@1": second,
        "block/lstm": sequence,
        "block/lstm:1": hidden,
        "block/lstm:2": cell,
        "block": sequence,
        "graph": inner,
        "graph/inner": inner,
        "mha": net.attention(inner, inner),
    }


def test_every_value_inside_equals_its_layers_own_call() -> None:
    """Calls, outputs, attributes and layers inside a graph, in one pass with its own."""
    net = Net()
    model = K.subclassed(net, numbers(2, 5, 4))
    rows = numbers(3, 5, 4)
    expected = by_hand(net, rows)
    wanted = [*expected, "attention"]
    function = K.function(model.inputs, [*(model[w] for w in wanted), model.outputs[0]])
    assert len(function.plan.steps) == 1
    *results, whole = function([rows])
    for address, result in zip(wanted, results, strict=True):
        assert_same(result, expected["mha" if address == "attention" else address])
    assert_same(whole, net(rows))
    assert {*expected, "late", "mha/query"} <= {*model.addresses}
    assert model["block/lstm:2"].shape == (None, 3)


def test_nothing_runs_after_the_last_that_is_wanted() -> None:
    """The layers behind the wanted ones are not called; each wanted one once."""
    net = Net()
    model = K.subclassed(net, numbers(2, 5, 4))
    function = K.function(model.inputs, ["graph", "block/dense@1"])
    before = net.late.runs
    function([numbers(3, 5, 4)])
    assert net.late.runs == before
    K.function(model.inputs, ["graph", model.outputs[0]])([numbers(3, 5, 4)])
    assert net.late.runs > before


def test_layers_are_left_as_they_were() -> None:
    """After building, after a call and after a failed one no layer is patched."""
    net = Net()
    model = K.subclassed(net, numbers(2, 5, 4))
    function = K.function(model.inputs, ["block/dense@0", model.outputs[0]])
    function([numbers(3, 5, 4)])
    with pytest.raises(BackendError):
        K.function(model.inputs, ["block/lstm/nothing"])
    for layer in net._flatten_layers():
        assert not {"call", "quantized_call"} & set(vars(layer))
    assert_same(array(net(numbers(3, 5, 4))), function([numbers(3, 5, 4)])[1])


def test_inside_a_layer_of_a_functional_model() -> None:
    """A layer without a graph inside of one; nested, and called twice."""
    block = Block(name="block")
    inner = keras.Sequential([keras.Input((5, 4)), block], name="inner")
    x = keras.Input((5, 4), name="x")
    shifted = x + 1.0
    once, twice = inner(x), inner(shifted)
    model = keras.Model(x, keras.layers.Add()([once, twice]))
    rows = numbers(3, 5, 4)
    first = K.probe(block(x), "dense@1")
    taps = [K.probe(K.Symbol(block.output, (node,)), "dense@1") for node in nodes_of(once, twice)]
    assert_same(K.function([x], [first])([rows])[0], block.dense(block.dense(rows)))
    results = K.function(model.inputs, [*taps, model.outputs[0]])([rows])
    assert_same(results[0], block.dense(block.dense(rows)))
    assert_same(results[1], block.dense(block.dense(rows + 1)))
    assert_same(results[2], model(rows))


def nodes_of(*tensors: Any) -> list[Any]:
    """Return the calls that made symbolic tensors."""
    return [t._keras_history.operation._inbound_nodes[t._keras_history.node_index] for t in tensors]


def test_masks_reach_the_layers_inside() -> None:
    """A mask that comes along with the input is there while the inside is looked at."""

    class Reader(keras.layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.gru = keras.layers.GRU(3, name="gru")
            self.supports_masking = True

        def call(self, x: Any, mask: Any = None) -> Any:
            return self.gru(x, mask=mask) * 2.0

    x = keras.Input((4,), dtype="int32")
    embedding, reader = keras.layers.Embedding(9, 3, mask_zero=True), Reader()
    tokens = np.array([[1, 2, 0, 0], [3, 4, 5, 6]], "int32")
    result = K.function([x], K.probe(reader(embedding(x)), "gru"))([tokens])
    assert_same(result, reader.gru(embedding(tokens), mask=tokens != 0))


def test_gradients_go_through_what_is_captured() -> None:
    """Gradients of a captured value by weights before it and by the input, done by hand."""

    class Two(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.a = keras.layers.Dense(3, use_bias=False, name="a")
            self.b = keras.layers.Dense(2, use_bias=False, name="b")

        def call(self, x: Any) -> Any:
            return self.b(self.a(x) * 2.0) ** 2

    net, rows = Two(), numbers(4, 5)
    model = K.subclassed(net, rows)
    loss = keras.ops.sum(model["b"])
    slopes = K.function(
        model.inputs, K.gradients(loss, [net.a.kernel, model.inputs[0], model["b"]])
    )
    by_a, by_x, by_b = slopes([rows])
    back = 2.0 * np.ones((4, 2), "float32") @ array(net.b.kernel).T
    np.testing.assert_allclose(by_a, rows.T @ back, rtol=1e-5)
    np.testing.assert_allclose(by_x, back @ array(net.a.kernel).T, rtol=1e-5)
    np.testing.assert_array_equal(by_b, np.ones((4, 2)))


def test_the_phase_reaches_the_inside() -> None:
    """Dropout inside drops in training only, and the output there is twice as large."""

    class Noisy(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.drop = keras.layers.Dropout(0.5, seed=1, name="drop")

        def call(self, x: Any, training: bool = False) -> Any:
            return self.drop(x, training=training) + 1.0

    model = K.subclassed(Noisy(), numbers(2, 50))
    ones = np.ones((2, 50), "float32")
    function = K.function([*model.inputs, K.learning_phase()], ["drop", *model.outputs])
    still, moved = function([ones, 0]), function([ones, 1])
    np.testing.assert_array_equal(still[0], ones)
    assert set(np.unique(moved[0])) == {0.0, 2.0}
    np.testing.assert_array_equal(moved[1], moved[0] + 1)


def test_models_on_structures_and_trained_inside() -> None:
    """Inputs in a dict; and a step on a loss of a captured value moves only params."""

    class Pair(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.left = keras.layers.Dense(2, name="left")
            self.right = keras.layers.Dense(2, name="right")

        def call(self, given: Any) -> Any:
            return {"sum": self.left(given["a"]) + self.right(given["b"])}

    net, rows = Pair(), numbers(4, 3)
    model = K.subclassed(net, {"a": rows, "b": rows})
    loss = keras.ops.mean(model["left"] ** 2)
    before = array(net.left.kernel).copy(), array(net.right.kernel).copy()
    slope = rows.T @ (array(net.left(rows)) * 2 / 8)
    updates = K.get_updates(keras.optimizers.SGD(0.1), loss, [net.left.kernel])
    K.function(model.inputs, [loss], updates)([rows, rows])
    np.testing.assert_allclose(array(net.left.kernel), before[0] - 0.1 * slope, rtol=1e-5)
    np.testing.assert_array_equal(array(net.right.kernel), before[1])


def test_other_threads_do_not_disturb() -> None:
    """Eager calls and other functions of the same net, side by side, are all right."""
    net = Net()
    model = K.subclassed(net, numbers(2, 5, 4))
    rows = numbers(3, 5, 4)
    expected = {k: array(v) for k, v in by_hand(net, rows).items()}
    wrong: list[str] = []

    def work(address: str) -> None:
        for _ in range(3):
            result = K.function(model.inputs, [address])([rows])[0]
            eager = array(by_hand(net, rows)[address])
            if not np.allclose(result, expected[address], atol=1e-5) or not np.allclose(
                eager, expected[address], atol=1e-5
            ):
                wrong.append(address)

    threads = [threading.Thread(target=work, args=(a,)) for a in ("block/dense@1", "graph", "mha")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong

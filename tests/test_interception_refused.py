"""What cannot be seen inside models without a graph is refused; unrolled loops can."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from test_interception import Net, array

from layerprobe import backend as K  # noqa: N812 - the name that users of Keras 2 gave it
from layerprobe.backend.suite import assert_same, numbers
from layerprobe.errors import BackendError, LayerNotFound

pytestmark = pytest.mark.engine


class Timed(keras.Model):
    """Runs one layer inside of another, given, and all of it without a graph."""

    def __init__(self, outer: Any) -> None:
        super().__init__()
        self.outer = outer

    def call(self, x: Any) -> Any:
        return self.outer(x)


@pytest.mark.parametrize("cell", ["LSTMCell", "GRUCell", "SimpleRNNCell"])
def test_cells_in_a_loop_are_refused(cell: str) -> None:
    """What a cell computes in a loop is never taken for its first step; around it all is well."""
    outer = keras.layers.RNN(getattr(keras.layers, cell)(2, name="cell"), name="rnn")
    model = K.subclassed(Timed(outer), numbers(2, 3, 4))
    with pytest.raises(BackendError, match="loop over time of rnn; unroll=True"):
        model["outer/cell"]
    assert model.addresses == ["rnn"]
    both = K.subclassed(Timed(keras.layers.Bidirectional(keras.layers.LSTM(2))), numbers(2, 3, 4))
    with pytest.raises(BackendError, match="loop over time"):
        both["outer/forward_layer/cell"]
    result = K.function(both.inputs, ["outer/forward_layer"])([numbers(2, 3, 4)])[0]
    assert_same(result, both.keras.outer.forward_layer(numbers(2, 3, 4)))


def test_unrolled_cells_are_captured() -> None:
    """Each step of an unrolled loop is a call of its own."""
    cell = keras.layers.SimpleRNNCell(2, name="cell")
    model = K.subclassed(Timed(keras.layers.RNN(cell, unroll=True)), numbers(2, 3, 4))
    rows = numbers(2, 3, 4)
    results = K.function(model.inputs, [model[f"outer/cell@{i}"] for i in range(3)])([rows])
    state = np.zeros((2, 2), "float32")
    for step, result in enumerate(results):
        state = array(cell(rows[:, step], state)[0])
        assert_same(result, state)


def test_steps_of_a_known_number_are_captured() -> None:
    """TimeDistributed calls its layer once for each step, if their number is known."""
    dense = keras.layers.Dense(2, name="dense")
    model = K.subclassed(Timed(keras.layers.TimeDistributed(dense)), numbers(2, 3, 4))
    rows = numbers(5, 3, 4)
    results = K.function(model.inputs, [model[f"outer/dense@{i}"] for i in range(3)])([rows])
    for step, result in enumerate(results):
        assert_same(result, dense(rows[:, step]))


def test_steps_of_an_unknown_number_are_refused() -> None:
    """Otherwise there is no such call, and nothing silently stands for it."""
    outer = keras.layers.TimeDistributed(keras.layers.Dense(2, name="dense"))
    outer.build((None, 3, 4))
    with pytest.raises(BackendError) as refused:
        K.subclassed(Timed(outer), keras.Input((None, 4)))["outer/dense@0"]
    # Keras on JAX does not compute such a layer at all where the number of steps is open.
    said = "not known|depends on the data's shape|cannot be called on symbolic tensors"
    assert refused.match(said)


@pytest.mark.parametrize("body", ["map", "cond", "vectorized_map", "scan", "while_loop", "switch"])
def test_bodies_of_loops_and_branches_are_refused(body: str) -> None:
    """A layer inside a function given to ops.map, cond and the like is refused by name."""
    ops = keras.ops
    run = {
        "map": ops.map,
        "vectorized_map": lambda d, x: ops.vectorized_map(lambda r: ops.sum(d(r[None])), x),
        "cond": lambda d, x: ops.cond(ops.sum(x) > 0, lambda: d(x), lambda: d(x)),
        "switch": lambda d, x: ops.switch(ops.sum(ops.cast(x > 9, "int32")), [d, d], x),
        "scan": lambda d, x: ops.scan(lambda c, _: (d(c), None), x, length=2)[0],
        "while_loop": lambda d, x: ops.while_loop(
            lambda i, _: i < 2, lambda i, v: (i + 1, d(v)), (0, x)
        )[1],
    }[body]

    class Bodied(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.dense = keras.layers.Dense(4, name="dense")
            self.dense.build((None, 4))
            self.last = keras.layers.ReLU(name="last")

        def call(self, x: Any) -> Any:
            return self.last(run(self.dense, x))

    shape = (None, 4) if body in ("cond", "scan", "while_loop", "switch") else (None, 1, 4)
    net = Bodied()
    model = K.subclassed(net, keras.Input(shape[1:]))
    with pytest.raises(BackendError, match=f"it runs in the body of {body}"):
        model["dense"]
    rows = numbers(2, *shape[1:])
    assert_same(K.function(model.inputs, ["last"])([rows])[0], net(rows))


def test_rematerialized_layers_are_refused() -> None:
    """What runs once more in the backward pass is refused."""

    class Again(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.block = keras.layers.Dense(4, name="dense")

        def call(self, x: Any) -> Any:
            return keras.remat(self.block.call)(x) + 1.0

    net = Again()
    net.block.build((None, 4))
    model = K.subclassed(net, numbers(2, 4))
    with pytest.raises(BackendError, match="it runs in the body of remat"):
        model["block"]


def test_what_is_never_executed_is_an_error() -> None:
    """A layer that nobody calls, a call that does not happen, one that happens in training only."""
    model = K.subclassed(Net(), numbers(2, 5, 4))
    for address, said in {
        "never": "called never",
        "mha/_softmax": "called never",
        "block/dense@2": "called 2 times",
    }.items():
        with pytest.raises(BackendError, match=said):
            model[address]


def test_wrong_addresses_name_the_nearest() -> None:
    """No such layer, several calls, no such output: the message says what there is."""
    model = K.subclassed(Net(), numbers(2, 5, 4))
    with pytest.raises(LayerNotFound, match=r"Near it: .*block/dense@0"):
        model["block/dens@0"]
    with pytest.raises(LayerNotFound, match=r"called 2 times.*\n.*block/dense@0, block/dense@1"):
        model["block/dense"]
    with pytest.raises(LayerNotFound, match="the call has 3 outputs"):
        model["block/lstm:3"]
    with pytest.raises(LayerNotFound, match="is no address"):
        model["block@1/dense"]
    graph = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)], name="graph")
    with pytest.raises(BackendError, match="graph of its own"):
        K.probe(graph(keras.Input((2,))), "dense")
    with pytest.raises(BackendError, match="is no layer"):
        K.probe(keras.Input((2,)) + 1.0, "dense")

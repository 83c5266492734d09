"""States and gates against NumPy by hand, and Keras layers with the same weights."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pytest
from insides_by_hand import by_hand, check, drawn, gru_step, hard, lstm_step, numbers, sigmoid

from layerprobe import backend as K  # noqa: N812 - the name that users of Keras 2 gave it
from layerprobe.backend.suite import wrapped
from layerprobe.errors import BackendError, LayerNotFound

pytestmark = pytest.mark.engine
Array = npt.NDArray[Any]

KEPT = np.array([[1, 1, 1, 0, 0], [0, 1, 0, 1, 1], [0, 0, 0, 0, 0]], bool)
CLASSES = {"LSTM": keras.layers.LSTM, "GRU": keras.layers.GRU, "SimpleRNN": keras.layers.SimpleRNN}


def model_of(layer: Any, *, masked: bool = False, initial: int = 0) -> Any:
    """Return a model of one layer on (5, 4) sequences, maybe masked, maybe with initial states."""
    x, mask = keras.Input((5, 4), name="x"), keras.Input((5,), dtype="bool", name="mask")
    starts = [keras.Input((3,), name=f"start{i}") for i in range(initial)]
    given = {"mask": mask} if masked else {}
    given |= {"initial_state": starts} if initial else {}
    outputs = layer(x, **given)
    inputs = [x, *([mask] if masked else []), *starts]
    model = wrapped(keras.Model(inputs, outputs))
    drawn(layer)
    return model


@pytest.mark.parametrize("gate", ["sigmoid", "hard_sigmoid"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("masked", [True, False])
def test_an_lstm_shows_what_numpy_computes(gate, bias, masked) -> None:
    """States, cells and gates of every step, from given initial states, are those done by hand."""
    layer = keras.layers.LSTM(3, recurrent_activation=gate, use_bias=bias, name="lstm")
    model = model_of(layer, masked=masked, initial=2)
    x, starts = numbers(3, 5, 4), [numbers(3, 3), numbers(3, 3) * 2]
    function = K.function(model.inputs, ["lstm:states", "lstm:cells", "lstm:gates"])
    found = function([x, *([KEPT] if masked else []), *starts])

    def step(x: Array, h: Array, c: Array) -> list[Array]:
        return lstm_step(x, h, c, layer.get_weights(), hard if gate != "sigmoid" else sigmoid)

    check(found, by_hand(step, starts, x, KEPT if masked else None))


@pytest.mark.parametrize("after", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("masked", [True, False])
def test_a_gru_shows_what_numpy_computes(after, bias, masked) -> None:
    """States and gates of every step are those done by hand, the reset before or after."""
    layer = keras.layers.GRU(3, reset_after=after, use_bias=bias, name="gru")
    model = model_of(layer, masked=masked, initial=1)
    x, start = numbers(3, 5, 4), numbers(3, 3)
    function = K.function(model.inputs, ["gru:states", "gru:gates"])
    found = function([x, *([KEPT] if masked else []), start])

    def step(x: Array, h: Array) -> list[Array]:
        return gru_step(x, h, layer.get_weights(), sigmoid, after=after)

    check(found, by_hand(step, [start], x, KEPT if masked else None))


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("backwards", [True, False])
@pytest.mark.parametrize("unroll", [True, False])
def test_states_are_the_sequence_of_a_layer_with_the_same_weights(name, backwards, unroll) -> None:
    """The states equal return_sequences=True, masks included; the last is the layer's output."""
    # Keras on PyTorch fails on a mask where these two meet.
    masked = not (backwards and unroll)
    options = {"go_backwards": backwards, "unroll": unroll}
    layer = CLASSES[name](3, **options, name="rnn")
    model = model_of(layer, masked=masked)
    x = numbers(3, 5, 4)
    given = [x, KEPT] if masked else [x]
    states, last = K.function(model.inputs, ["rnn:states", "rnn"])(given)
    twin = CLASSES[name](3, return_sequences=True, **options)
    twin.build(x.shape)
    twin.set_weights(layer.get_weights())
    mask = keras.ops.convert_to_tensor(KEPT) if masked else None
    check([states], [keras.ops.convert_to_numpy(twin(keras.ops.convert_to_tensor(x), mask=mask))])
    check([states[:, -1]], [last])


@pytest.mark.parametrize("masked", [True, False])
def test_both_directions_stand_in_the_order_of_the_input(masked) -> None:
    """Forward and backward states side by side are the wrapper's own sequence at kept steps."""
    layer = keras.layers.Bidirectional(keras.layers.GRU(3, return_sequences=True), name="bi")
    model = model_of(layer, masked=masked)
    names = ["bi:forward_states", "bi:backward_states", "bi:backward_gates", "bi"]
    x = numbers(3, 5, 4)
    forward, backward, gates, whole = K.function(model.inputs, names)([x, KEPT] if masked else x)
    kept = KEPT[..., None] if masked else np.ones((3, 5, 1), bool)
    check([np.concatenate([forward, backward], -1) * kept], [whole * kept])
    weights = layer.backward_layer.get_weights()

    def step(x: Array, h: Array) -> list[Array]:
        return gru_step(x, h, weights, sigmoid, after=True)

    turned = by_hand(step, [np.zeros((3, 3))], x[:, ::-1], KEPT[:, ::-1] if masked else None)
    check([backward, gates], [part[:, ::-1] for part in turned])


def test_a_cell_of_its_own_shows_the_same() -> None:
    """RNN(LSTMCell) has the insides of an LSTM with the same weights."""
    whole = keras.layers.RNN(keras.layers.LSTMCell(3), return_sequences=True, name="rnn")
    model = model_of(whole)
    x = numbers(3, 5, 4)
    states, gates, out = K.function(model.inputs, ["rnn:states", "rnn:gates", "rnn"])(x)
    check([states], [out])

    def step(x: Array, h: Array, c: Array) -> list[Array]:
        return lstm_step(x, h, c, whole.get_weights(), sigmoid)

    check([gates], by_hand(step, [np.zeros((3, 3))] * 2, x)[2:])


def test_a_stateful_layer_starts_where_it_stands() -> None:
    """Insides start from the state at the call, though the layer itself runs in the same pass."""
    x = keras.Input(batch_shape=(3, 5, 4), name="x")
    layer = keras.layers.GRU(3, stateful=True, return_sequences=True, name="gru")
    model = wrapped(keras.Model(x, layer(x)))
    drawn(layer)
    layer.states[0].assign(numbers(3, 3))
    rows = numbers(3, 5, 4)
    for order in (["gru", "gru:states"], ["gru:states", "gru"]):
        one, other = K.function(model.inputs, order)([rows])
        check([one], [other])
    alone = K.function(model.inputs, "gru:states")([rows])
    check([alone], [one])
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(layer.states[0].value), numbers(3, 3))


def everything() -> Any:
    """Return a model with masks handed on from an embedding, recurrence, attention, a nest."""
    keras.utils.set_random_seed(1)
    words = keras.Input((5,), dtype="int32", name="words")
    inner_in = keras.Input((5, 6))
    inner = keras.Model(inner_in, keras.layers.LSTM(3, name="deep")(inner_in), name="nest")
    x = keras.layers.Embedding(9, 6, mask_zero=True, name="embedding")(words)
    both = keras.layers.Bidirectional(keras.layers.LSTM(3, return_sequences=True), name="bi")(x)
    seen = keras.layers.MultiHeadAttention(2, 3, name="mha")(both, both)
    shared = keras.layers.GRU(3, name="shared")
    ends = [inner(x), shared(both), shared(seen)]
    joined = keras.layers.Concatenate(name="joined")(ends)
    return wrapped(keras.Model(words, keras.layers.Dense(2, name="head")(joined)))


def test_outputs_of_the_model_do_not_change() -> None:
    """With all insides asked for besides, every output is the same to the last bit."""
    model = everything()
    words = np.array([[1, 2, 3, 0, 0], [4, 5, 6, 7, 8], [0, 0, 1, 0, 2]])
    outputs = ["head", "bi", "mha", "nest", "shared@0", "shared@1"]
    insides = [row.address for row in model.table.insides]
    assert {"nest/deep:states", "shared@1:gates", "mha:scores"} <= set(insides)
    plain = K.function(model.inputs, outputs)([words])
    for order in ([*outputs, *insides], [*insides, *outputs]):
        found = dict(zip(order, K.function(model.inputs, order)([words]), strict=True))
        for name, value in zip(outputs, plain, strict=True):
            np.testing.assert_array_equal(found[name], value, err_msg=name)
        check([found["nest/deep:states"][:, -1]], [found["nest"]])
        check([found["shared@1:states"][:, -1]], [found["shared@1"]])
    for row in model.table.insides:
        shape = found[row.address].shape
        assert (row.output_shape, row.dtype) == ((None, *shape[1:]), str(found[row.address].dtype))
        assert model[row.address].shape == (None, *shape[1:])
        assert K.function(model.inputs, model[row.address]).plan.outputs[0].address == row.address


def test_a_start_in_the_middle_asks_for_the_mask() -> None:
    """Insides need what their layer needs: the mask as well, when the start lies behind it."""
    model = everything()
    with pytest.raises(BackendError, match="not_equal") as raised:
        K.function([model["embedding"]], "bi:forward_states")
    assert "bi:forward_states cannot be computed from embedding alone" in str(raised.value)


def test_gradients_pass_through_insides() -> None:
    """The gradient d sum(h_T) / dx through the states is that through the layer."""
    model = model_of(keras.layers.LSTM(3, name="lstm"))
    x = model.inputs[0]
    ends = [model["lstm:states"][:, -1], model["lstm"]]
    slopes = [K.gradients(keras.ops.sum(end), x)[0] for end in ends]
    one, other = K.function([x], slopes)([numbers(3, 5, 4)])
    check([one], [other])
    assert np.abs(one).max() > 0.01


def test_low_precision_stays() -> None:
    """A layer in bfloat16 shows bfloat16, near the float32 numbers."""
    layer = keras.layers.LSTM(3, dtype="mixed_bfloat16", name="lstm")
    model = model_of(layer)
    states, last = K.function(model.inputs, ["lstm:states", "lstm"])([numbers(3, 5, 4)])
    assert str(states.dtype) == "bfloat16" == model.table.find("lstm:states").dtype
    np.testing.assert_allclose(
        states[:, -1].astype("float32"), last.astype("float32"), rtol=0.05, atol=0.02
    )


def test_what_cannot_be_seen_is_refused_with_the_reason() -> None:
    """Loops of their own and dropout in training say why; other layers say what they have."""
    x = keras.Input((2, 5, 4), name="x")
    one = keras.Input((5, 4), name="one")
    pile = keras.layers.StackedRNNCells([keras.layers.LSTMCell(3), keras.layers.GRUCell(3)])
    ends = [
        keras.layers.TimeDistributed(keras.layers.LSTM(3, name="lstm"), name="each")(x),
        keras.layers.RNN(pile, return_sequences=True, name="pile")(one),
        keras.layers.GRU(3, dropout=0.5, name="gru")(one),
        keras.layers.Dense(3, name="dense")(one),
    ]
    model = wrapped(keras.Model([x, one], ends))
    reasons = {
        "each:states": "anew at every time step",
        "each/lstm:states": "anew at every time step",
        "pile:states": "its cell is StackedRNNCells",
        "gru:cells": "one of gru:states, gru:gates",
        "dense:states": "nothing that a layer of class Dense computes",
    }
    for address, reason in reasons.items():
        with pytest.raises(LayerNotFound, match=reason):
            model[address]
    states = K.function(model.inputs[1:], "gru:states")([numbers(3, 5, 4)])
    assert states.shape == (3, 5, 3)
    with pytest.raises(BackendError, match="drops other units"):
        K.function(model.inputs[1:], "gru:states", training=True)([numbers(3, 5, 4)])

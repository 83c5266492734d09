"""The conformance suite of engines; see `layerprobe.testing`.

Every expected value comes from calling the Keras layers one by one, eagerly, outside of the code
under test.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pytest

from layerprobe.backend.calls import Symbol
from layerprobe.backend.compiled import Function, make_function
from layerprobe.backend.engine import Engine
from layerprobe.backend.model import Model
from layerprobe.errors import BackendError, DataError
from layerprobe.modelfile.configs import parse
from layerprobe.modelfile.table import listing

Array = npt.NDArray[Any]
_TOLERANCE = 1e-6  # of the largest value: other batch sizes may take other kernels


def wrapped(keras_model: Any) -> Model:
    """Return a live Keras model with addresses."""
    graph = parse(keras.saving.serialize_keras_object(keras_model))
    return Model(keras_model, listing(graph, {}).table)


def numbers(*shape: int) -> Array:
    """Return rows of made-up numbers, the same for the same shape."""
    return np.random.default_rng(len(shape)).random(shape, np.float32)


def assert_same(result: Array, expected: Any, tolerance: float = _TOLERANCE) -> None:
    """Check that two arrays agree to rounding, in shape and in dtype."""
    wanted = keras.ops.convert_to_numpy(expected)
    assert (result.shape, result.dtype) == (wanted.shape, wanted.dtype)
    scale = max(1.0, float(np.abs(wanted).max(initial=0.0)))
    np.testing.assert_allclose(result, wanted, rtol=0, atol=tolerance * scale)


class Counting(keras.layers.Layer):  # type: ignore[misc]
    """Passes its input on, counting how often it is asked to."""

    runs = 0

    def call(self, x: Any) -> Any:
        """Count a run."""
        self.runs += 1
        return x + 0


class BackendSuite:
    """The contract of an engine: `function(inputs, outputs)` on graphs of every kind.

    A subclass gives the fixture `engine`: the engine's module, after `select` chose it.

    Attributes:
        refuses_masked_attention: What an engine says that refuses attention with a mask; one that
            computes it leaves this empty.
        low_precision: How far 16-bit results may be off; an engine that computes them in 32 bits
            rounds less often than Keras' layers called one by one.
    """

    refuses_masked_attention: str = ""
    low_precision: float = _TOLERANCE

    def function(self, engine: Engine, inputs: Any, outputs: Any) -> Function:
        """Return the compiled function on the engine under test."""
        return make_function(inputs, outputs, engine)

    def test_gives_every_layer_of_a_chain(self, engine: Engine) -> None:
        """All layer outputs come out of one pass, each as its layer computes it when called."""
        keras.utils.set_random_seed(0)
        layers = [
            keras.layers.Conv2D(4, 3, padding="same", activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.MaxPooling2D(),
            keras.layers.Dropout(0.5),
            keras.layers.Flatten(),
            keras.layers.Dense(3, activation="softmax"),
        ]
        model = wrapped(keras.Sequential([keras.Input((6, 6, 2)), *layers]))
        rows = numbers(5, 6, 6, 2)
        results = self.function(engine, model.inputs, [layer.name for layer in layers])([rows])
        value = rows
        for layer, result in zip(layers, results, strict=True):
            value = layer(value, training=False)
            assert_same(result, value)

    def test_tells_the_calls_of_a_shared_layer_apart(self, engine: Engine) -> None:
        """Each call of a shared layer has its own values."""
        shared = keras.layers.Dense(3, name="shared")
        left, right = keras.Input((4,), name="left"), keras.Input((4,), name="right")
        model = wrapped(
            keras.Model([left, right], keras.layers.Add(name="sum")([shared(left), shared(right)]))
        )
        a, b = numbers(5, 4), numbers(5, 4) + 1
        results = self.function(engine, model.inputs, ["shared@1", "shared@0", "sum"])([a, b])
        for result, expected in zip(
            results, [shared(b), shared(a), shared(a) + shared(b)], strict=True
        ):
            assert_same(result, expected)

    def test_reaches_into_nested_models_by_call(self, engine: Engine) -> None:
        """A layer inside a model that is called twice is addressed by the outer call."""
        first, second = keras.layers.Dense(3, name="first"), keras.layers.Dense(2, name="second")
        inner = keras.Sequential([keras.Input((4,)), first, second], name="inner")
        outer = keras.Sequential([keras.Input((4,)), inner], name="outer")
        left, right = keras.Input((4,), name="left"), keras.Input((4,), name="right")
        total = keras.layers.Concatenate(name="total")([outer(left), outer(right)])
        model = wrapped(keras.Model([left, right], total))
        a, b = numbers(5, 4), numbers(5, 4) + 1
        wanted = ["outer@1/inner/first", "outer@0/inner/second", "total"]
        results = self.function(engine, model.inputs, wanted)([a, b])
        assert_same(results[0], first(b))
        assert_same(results[1], second(first(a)))
        both = [keras.ops.convert_to_numpy(second(first(v))) for v in (a, b)]
        assert_same(results[2], np.concatenate(both, axis=1))

    def test_gives_every_output_of_a_layer(self, engine: Engine) -> None:
        """Sequences, states and attention scores are outputs of their own."""
        lstm = keras.layers.LSTM(3, return_sequences=True, return_state=True, name="lstm")
        attention = keras.layers.MultiHeadAttention(2, 3, name="mha")
        x = keras.Input((None, 4))
        y, _, _ = lstm(x)
        model = wrapped(keras.Model(x, attention(y, y, return_attention_scores=True)))
        rows = numbers(5, 7, 4)
        wanted = ["lstm:2", "lstm", "lstm:1", "mha:1"]
        cell, sequence, hidden, scores = self.function(engine, model.inputs, wanted)([rows])
        expected = lstm(rows)
        for result, value in zip((sequence, hidden, cell), expected, strict=True):
            assert_same(result, value)
        assert_same(scores, attention(expected[0], expected[0], return_attention_scores=True)[1])

    def test_starts_in_the_middle_and_names_what_is_missing(self, engine: Engine) -> None:
        """From a tensor in the middle on; a skip connection around it has to be fed as well."""
        early, late = keras.layers.Dense(4, name="early"), keras.layers.Dense(4, name="late")
        x = keras.Input((4,), name="x")
        skip = keras.layers.Add(name="skip")([late(early(x)), x])
        model = wrapped(keras.Model(x, skip))
        rows, between = numbers(5, 4), numbers(5, 4) + 1
        result = self.function(engine, [model["early"]], ["late"])([between])[0]
        assert_same(result, late(between))
        with pytest.raises(BackendError, match="fed as well: x"):
            self.function(engine, [model["early"]], ["skip"])
        result = self.function(engine, [model["early"], model["x"]], "skip")([between, rows])
        assert_same(result, keras.ops.convert_to_numpy(late(between)) + rows)

    def test_never_loses_a_mask(self, engine: Engine) -> None:
        """Behind an Embedding with masks a start in the middle needs the mask, recorded or not."""
        x = keras.Input((None,), dtype="int32", name="x")
        embedding = keras.layers.Embedding(9, 4, mask_zero=True, name="embedding")
        attention = keras.layers.MultiHeadAttention(2, 3, name="mha")
        y = embedding(x)
        model = wrapped(keras.Model(x, [attention(y, y), keras.layers.LSTM(3, name="lstm")(y)]))
        tokens = np.array([[1, 2, 0, 0], [3, 4, 5, 6]], "int32")
        expected = model.keras(tokens)
        for address, value in zip(("mha", "lstm"), expected, strict=True):
            with pytest.raises(BackendError, match="fed as well: not_equal"):
                self.function(engine, [model["embedding"]], address)
            mask = next(row for row in model.table if row.class_name == "NotEqual")
            start = [model["embedding"], model[mask.address]]
            if address == "mha" and self.refuses_masked_attention:
                with pytest.raises(BackendError, match=self.refuses_masked_attention):
                    self.function(engine, start, address)
                continue
            given = [keras.ops.convert_to_numpy(embedding(tokens)), tokens != 0]
            assert_same(self.function(engine, start, address)(given), value)

    def test_runs_only_what_is_needed(self, engine: Engine) -> None:
        """A layer that no wanted output depends on is never called; one that many want, once."""
        keras_model = keras.Sequential(
            [
                keras.Input((4,)),
                Counting(name="before"),
                keras.layers.Dense(3, name="wanted"),
                Counting(name="after"),
            ]
        )
        model = wrapped(keras_model)
        before, after = keras_model.get_layer("before"), keras_model.get_layer("after")
        built = before.runs, after.runs
        function = self.function(engine, model.inputs, ["before", "wanted"])
        assert len(function.plan.steps) == 2
        function([numbers(5, 4)])
        assert before.runs > built[0]
        assert after.runs == built[1]

    def test_changes_no_state(self, engine: Engine) -> None:
        """Statistics, random seeds and the states of stateful layers stay as they are."""
        x = keras.Input(batch_shape=(2, 3, 4))
        y = keras.layers.BatchNormalization(name="norm")(x)
        y = keras.layers.GRU(3, stateful=True, name="gru")(keras.layers.Dropout(0.5)(y))
        model = wrapped(keras.Model(x, y))
        function = self.function(engine, model.inputs, ["norm", "gru"])
        rows = numbers(2, 3, 4)
        variables = [*model.keras.variables, *model.keras.get_layer("gru").states]
        before = [keras.ops.convert_to_numpy(v.value).copy() for v in variables]
        first, second = function([rows]), function([rows])
        for variable, value in zip(variables, before, strict=True):
            np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable.value), value)
        for one, other in zip(first, second, strict=True):
            np.testing.assert_array_equal(one, other)

    def test_sees_weights_assigned_later(self, engine: Engine) -> None:
        """The function reads the weights at every call."""
        dense = keras.layers.Dense(2, use_bias=False, name="dense")
        model = wrapped(keras.Sequential([keras.Input((2,)), dense]))
        function = self.function(engine, model.inputs, "dense")
        function([numbers(3, 2)])
        dense.kernel.assign(np.eye(2, dtype="float32") * 2)
        assert_same(function([numbers(3, 2)]), numbers(3, 2) * 2)

    @pytest.mark.parametrize("size", [1, 2, 7, 11])
    def test_rows_do_not_depend_on_the_batch(self, engine: Engine, size: int) -> None:
        """Batches of any size, the last one smaller, give the same rows as the whole."""
        dense = keras.layers.Dense(3, activation="tanh", name="dense")
        model = wrapped(keras.Sequential([keras.Input((4,)), dense]))
        function = self.function(engine, model.inputs, "dense")
        rows = numbers(11, 4)
        parts = [function([rows[at : at + size]]) for at in range(0, 11, size)]
        assert_same(np.concatenate(parts), dense(rows))

    def test_follows_tensors_of_a_growing_sequential(self, engine: Engine) -> None:
        """Tensors left over from earlier states of a Sequential mean the layers they came from."""
        keras_model = keras.Sequential([keras.Input((4,))])
        layers = [keras.layers.Dense(3), keras.layers.Dense(2), keras.layers.Dense(5)]
        for layer in layers:
            keras_model.add(layer)
        function = self.function(engine, [layers[0].output], [layers[2].output])
        given = numbers(5, 3)
        assert_same(function([given])[0], layers[2](layers[1](given)))

    def test_links_models_that_share_names(self, engine: Engine) -> None:
        """One model called on another's output is one graph, though their layers share names."""
        nets = [
            keras.Sequential([keras.Input((4,)), keras.layers.Dense(4, name="dense")], name="net")
            for _ in range(2)
        ]
        x = keras.Input((4,))
        linked = nets[1](nets[0](x))
        rows = numbers(5, 4)
        assert_same(self.function(engine, [x], [linked])([rows])[0], nets[1](nets[0](rows)))

    def test_keeps_low_precision(self, engine: Engine) -> None:
        """A mixed-precision layer's output has the layer's own dtype and values."""
        dense = keras.layers.Dense(3, dtype="mixed_bfloat16", name="dense")
        model = wrapped(keras.Sequential([keras.Input((4,)), dense]))
        result = self.function(engine, model.inputs, "dense")([numbers(5, 4)])
        assert str(result.dtype) == "bfloat16"
        expected = keras.ops.cast(dense(numbers(5, 4)), "float32")
        assert_same(result.astype("float32"), expected, self.low_precision)

    def test_gives_arrays_of_the_callers_own(self, engine: Engine) -> None:
        """An input that is also an output does not share its memory."""
        layers = [keras.Input((4,), name="x"), keras.layers.Flatten(name="flat")]
        model = wrapped(keras.Sequential(layers))
        rows = numbers(5, 4)
        for result in self.function(engine, model.inputs, ["x", "flat"])([rows]):
            np.testing.assert_array_equal(result, rows)
            assert not np.may_share_memory(result, rows)

    def test_refuses_what_does_not_fit(self, engine: Engine) -> None:
        """Wrong count, rank, size or kind of arrays: the same words on every engine."""
        x = keras.Input(batch_shape=(2, 4), name="x")
        model = wrapped(keras.Model(x, keras.layers.Dense(3, name="dense")(x)))
        function = self.function(engine, model.inputs, "dense")
        for given in ([], [numbers(2, 4)] * 2, numbers(2, 5), numbers(2, 4, 1), numbers(3, 4)):
            with pytest.raises(DataError, match="Expected"):
                function(given)
        with pytest.raises(DataError, match="dtype <U1"):
            function(np.full((2, 4), "a"))
        with pytest.raises(BackendError, match="twice"):
            self.function(engine, [model["x"], model["x"]], "dense")
        with pytest.raises(BackendError, match=r"use model\.inputs"):
            self.function(engine, [[]], [model["dense"]])

    def test_symbols_know_their_shape(self, engine: Engine) -> None:
        """A symbolic tensor says its address, shape and dtype."""
        model = wrapped(keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="d")]))
        symbol = model["d"]
        assert isinstance(symbol, Symbol)
        assert (symbol.address, symbol.shape, symbol.dtype) == ("d", (None, 3), "float32")
        assert self.function(engine, model.inputs, symbol)([numbers(5, 4)]).shape == (5, 3)

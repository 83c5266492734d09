"""Batches of many sizes where each costs a compilation: rows are added only where none is mixed."""

# ruff: noqa: PLW0108 - a lambda makes a new layer each time

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from layerprobe import backend as K  # noqa: N812 - the name that users of Keras 2 gave it
from layerprobe.backend.rows import keeps_rows_apart, of_few_sizes

APART: dict[str, Callable[[Any], Any]] = {
    "dense": lambda x: keras.layers.Dense(2, activation="gelu")(x),
    "convolution": lambda x: keras.layers.Conv1D(3, 2, padding="same")(x),
    "normalization": lambda x: keras.layers.BatchNormalization()(x),
    "recurrent": lambda x: keras.layers.Bidirectional(keras.layers.GRU(2))(x),
    "masked": lambda x: keras.layers.LSTM(2)(keras.layers.Masking()(x)),
    "attention": lambda x: keras.layers.MultiHeadAttention(2, 3)(x, x),
    "in time": lambda x: keras.layers.TimeDistributed(keras.layers.Dense(2))(x),
    "merged": lambda x: keras.layers.Concatenate(axis=1)([x, keras.layers.ReLU()(x)]),
    "sum": lambda x: x + keras.layers.ReLU()(x),
    "dropout that does nothing": lambda x: keras.layers.Dropout(0.5)(x),
}
MIXED: dict[str, Callable[[Any], Any]] = {
    "softmax over rows": lambda x: keras.layers.Softmax(axis=0)(x),
    "softmax over rows, from the end": lambda x: keras.layers.Softmax(axis=-3)(x),
    "softmax over rows in a wrapper": lambda x: keras.layers.TimeDistributed(
        keras.layers.Softmax(axis=-2)
    )(x),
    "normalization over rows": lambda x: keras.layers.UnitNormalization(axis=[0, 2])(x),
    "attention over rows": lambda x: keras.layers.MultiHeadAttention(2, 3, attention_axes=(0,))(
        x, x
    ),
    "joined rows": lambda x: keras.layers.Concatenate(axis=0)([x, x]),
    "what an operation does": lambda x: keras.ops.cumsum(x, axis=0),
    "a mean": lambda x: keras.ops.mean(x, axis=0),
    "rows against time": lambda x: keras.layers.Dense(4)(x) + keras.layers.Dense(4)(x[:, 0]),
    "a user's function": lambda x: keras.layers.Activation(lambda t: t - t[0])(x),
    "a state": lambda x: keras.layers.SimpleRNN(2, stateful=True)(x),
}


def _function(build: Callable[[Any], Any], rows: int | None = None) -> Any:
    x = keras.Input(batch_shape=(rows, 5, 4))
    return K.function([x], [build(x)])


@pytest.mark.parametrize("name", APART)
def test_layers_known_to_keep_rows_apart_do(name: str) -> None:
    """Told so, and so it is: a row's values stay when the other rows change."""
    function = _function(APART[name])
    assert keeps_rows_apart(function._program, training=False)
    rows = np.random.default_rng(0).normal(size=(6, 5, 4)).astype("float32")
    others = np.concatenate([rows[:3], 100 * rows[3:]])
    np.testing.assert_allclose(function([rows])[0][:3], function([others])[0][:3], atol=1e-6)


@pytest.mark.parametrize("name", [name for name in MIXED if name != "a state"])
def test_what_mixes_rows_or_may_is_left_alone(name: str) -> None:
    """Over rows, by an operation that is not known, or in code of the user's."""
    assert not keeps_rows_apart(_function(MIXED[name])._program, training=False)


def test_a_state_and_a_phase_and_a_fixed_size_are_left_alone() -> None:
    """Recurrent states belong to rows; in training, batches have statistics."""
    assert not keeps_rows_apart(_function(MIXED["a state"], rows=3)._program, training=False)
    assert not keeps_rows_apart(_function(APART["dense"], rows=3)._program, training=False)
    assert not keeps_rows_apart(_function(APART["normalization"])._program, training=True)


def test_updates_and_gradients_are_left_alone() -> None:
    """A loss is of all rows."""
    x = keras.Input((4,))
    dense = keras.layers.Dense(1)
    loss = keras.ops.mean(dense(x))
    step = K.function([x], [dense.output], K.get_updates(keras.optimizers.SGD(), loss, [dense]))
    assert not keeps_rows_apart(step._program, training=False)
    slopes = K.function([x], K.gradients(loss, [x]))
    assert not keeps_rows_apart(slopes._program, training=False)


def test_few_sizes_are_computed_and_the_rows_asked_for_returned() -> None:
    """Four sizes as they are, then powers of two and the middles between them."""
    seen: list[int] = []

    def compiled(values: Any, states: Any) -> Any:
        seen.append(len(values[0]))
        return [values[0] * 2, values[1] + 1], states

    few = of_few_sizes(compiled)
    for rows in [100, 28, 7, 1, *range(1, 34), 100]:
        one, other = np.random.default_rng(rows).random((2, rows, 3))
        (double, more), _ = few([one, other], [])
        np.testing.assert_array_equal(double, one * 2)
        np.testing.assert_array_equal(more, other + 1)
    assert set(seen) == {100, 28, 7, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48}


@pytest.mark.engine("jax")
def test_jax_traces_few_sizes_and_gives_each_row_its_values() -> None:
    """1,000 calls with 1 to 64 rows trace a layer's code 17 times at most."""
    x = keras.Input((3,))
    dense = keras.layers.Dense(2, activation="tanh")
    function = K.function([x], dense(x))
    runs = 0
    call = dense.call

    def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal runs
        runs += 1
        return call(*args, **kwargs)

    object.__setattr__(dense, "call", counted)
    draw = np.random.default_rng(0)
    kernel, bias = map(np.asarray, (dense.kernel, dense.bias))
    for _ in range(1000):
        rows = draw.normal(size=(draw.integers(1, 65), 3)).astype("float32")
        np.testing.assert_allclose(function([rows]), np.tanh(rows @ kernel + bias), atol=1e-6)
    assert runs <= 17  # once for shapes alone, 4 sizes as they are, 12 rounded

"""What goes wrong in an update without a word, engine by engine: each is a test here."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pytest
from by_hand import assert_unmoved, held, rows

from layerprobe import backend as K  # noqa: N812 - the name that users of Keras 2 gave it
from layerprobe.errors import BackendError, DataError

pytestmark = pytest.mark.engine
Array = npt.NDArray[Any]


def network() -> Any:
    """Return a network of two layers."""
    return keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(4, activation="tanh"), keras.layers.Dense(1)]
    )


def trained(model: Any, optimizer: Any) -> Any:
    """Return the function of a training step, and its loss."""
    y = K.placeholder((None, 1))
    loss = K.lazy(keras.losses.MeanSquaredError(), y, model.outputs[0])
    return K.function([*model.inputs, y], loss, K.get_updates(optimizer, loss, model))


def test_outputs_show_what_was_before() -> None:
    """A variable itself, a view of it and what is computed with it are of before the update."""
    v = keras.Variable(rows(4, 2))
    (old,) = held(v)
    read = K.symbolic(v)
    views = [read, keras.ops.reshape(read, (8,)), keras.ops.transpose(read), read + 0]
    function = K.function([], views, [(v, read * 0 + 5)])
    found = function([])
    for out, wanted in zip(found, [old, old.reshape(8), old.T, old], strict=True):
        np.testing.assert_array_equal(out, wanted)
    assert (held(v)[0] == 5).all()
    # They are still so after a later call, and writing to those that can be written to is harmless.
    function([])
    np.testing.assert_array_equal(found[0], old)
    for out in found:
        if out.flags.writeable:
            out[...] = 9
    assert (held(v)[0] == 5).all()


def test_outputs_of_layers_never_alias_weights() -> None:
    """Neither what a layer returns of its weights, nor what passes through, changes afterwards."""

    class Bare(keras.layers.Layer):  # type: ignore[misc]
        def build(self, shape: Any) -> None:
            self.kernel = self.add_weight(shape=(2, shape[-1]), initializer="ones")

        def call(self, x: Any) -> Any:
            return keras.ops.reshape(self.kernel, (-1,)), x

    layer, x = Bare(), K.placeholder((None, 3))
    outputs = layer(x)
    function = K.function([x], list(outputs), [K.update_add(layer.kernel, 1.0)])
    given = rows(2, 3)
    flat, passed = function([given])
    function([given])
    assert (flat == 1).all()
    assert (held(layer.kernel)[0] == 3).all()
    assert not np.may_share_memory(passed, given)


@pytest.mark.parametrize("wrong", ["shape", "count", "phase", "layer"])
def test_a_failed_call_assigns_nothing(wrong: str) -> None:
    """Arrays that do not fit, and a failure in the middle, leave every variable as it was."""
    mood = []

    class Moody(keras.layers.Layer):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            if mood:
                raise ValueError(mood[0])
            return x

    model, v = network(), keras.Variable(np.float32(0))
    optimizer = keras.optimizers.Adam(0.1)
    y = K.placeholder((None, 1))
    out = model.layers[1](Moody()(model.layers[0].output))
    loss = keras.ops.mean(keras.ops.square(out - y))
    function = K.function(
        [*model.inputs, y, K.learning_phase()],
        loss,
        [*K.get_updates(optimizer, loss, model), (v, loss)],
    )
    everything = [*model.variables, v, *optimizer.variables]
    before = held(*everything)
    given = [rows(2, 3), rows(2, 1), 1]
    bad = {"shape": [rows(2, 4), *given[1:]], "count": given[:2], "phase": [*given[:2], 2]}
    mood += ["not today"] if wrong == "layer" else []
    with pytest.raises((BackendError, DataError)):
        function(bad.get(wrong, given))
    assert_unmoved(everything, before)
    mood.clear()
    function(given)
    assert held(v)[0] > 0


@pytest.mark.engine("tensorflow", "torch")
def test_a_failure_in_the_graph_assigns_nothing() -> None:
    """A row number out of range shows while computing: no variable moves, and the next call works.

    JAX has no failure here: it answers NaN, as it is documented to.
    """
    v, w = keras.Variable(rows(3, 2)), keras.Variable(rows(2, 2))
    i, x = K.placeholder((None,), dtype="int32"), K.placeholder((2, 2))
    taken = keras.ops.take(K.symbolic(v), i, axis=0)
    function = K.function([i, x], taken, [(w, x), K.update_add(v, keras.ops.sum(taken))])
    before = held(v, w)
    with pytest.raises(BackendError, match=r"computing take.*: ind[^\n]{10,50}\n"):
        function([[7], rows(2, 2)])
    assert_unmoved([v, w], before)
    np.testing.assert_array_equal(function([[2], rows(2, 2)]), before[0][2:])


def test_only_params_move() -> None:
    """Other layers, statistics and seeds stay, though they run in the training phase."""
    x = keras.Input((3,))
    first, norm = keras.layers.Dense(4), keras.layers.BatchNormalization()
    drop, last = keras.layers.Dropout(0.5, seed=1), keras.layers.Dense(1)
    out = last(drop(norm(first(x))))
    loss = keras.ops.mean(out * out)
    updates = K.get_updates(keras.optimizers.Adam(0.1), loss, [last.kernel])
    others = [*first.variables, *norm.variables, last.bias]
    before = held(*others, last.kernel)
    K.function([x], loss, updates, training=True)([rows(8, 3)])
    assert_unmoved(others, before[:-1])
    assert (held(last.kernel)[0] != before[-1]).all()


def test_what_others_assign_is_seen() -> None:
    """assign, set_weights, fit and predict in between; nothing is lost and no array is deleted."""
    model, twin = network(), network()
    twin.set_weights(model.get_weights())
    step = trained(model, keras.optimizers.SGD(0.1))
    same = trained(twin, keras.optimizers.SGD(0.1))
    look = K.function(model.inputs, model.outputs)
    x, y = rows(8, 3), rows(8, 1)
    for net in (model, twin):
        net.compile(keras.optimizers.SGD(0.05), "mse")
    for _ in range(3):
        step([x, y])
        model.fit(x, y, batch_size=8, epochs=1, verbose=0, shuffle=False)
        model.predict(x, verbose=0)
        # The same with one thing after the other through set_weights.
        same([x, y])
        twin.train_on_batch(x, y)
        twin.set_weights([w * 1.0 for w in twin.get_weights()])
        for mine, other in zip(model.get_weights(), twin.get_weights(), strict=True):
            np.testing.assert_array_equal(mine, other)
        np.testing.assert_allclose(look([x])[0], model.predict(x, verbose=0), atol=1e-6)
    model.layers[1].kernel.assign(model.layers[1].kernel * 0)
    model.layers[1].bias.assign([7.0])
    assert (look([x])[0] == 7).all()
    np.testing.assert_allclose(step([x, y]), ((7 - y) ** 2).mean(), rtol=1e-6)


def test_threads_get_their_own_results() -> None:
    """Four threads, two hundred calls each of one function, from the first call on."""
    dense, x = keras.layers.Dense(3), keras.Input((4,))
    function = K.function([x], dense(x) * 2)
    kernel = held(dense.kernel)[0]

    def work(number: int) -> int:
        given = rows(2, 4) + number
        wanted = given @ kernel * 2
        return sum(np.allclose(function([given]), wanted, atol=1e-4) for _ in range(200))

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, range(4))) == [200] * 4


def test_threads_take_turns_to_update() -> None:
    """No update is lost: two functions, four threads, each sees a number of its own."""
    v = keras.Variable(np.float32(0))
    one, two = (K.function([], K.symbolic(v), [K.update_add(v, 1.0)]) for _ in range(2))
    with ThreadPoolExecutor(4) as pool:
        seen = list(pool.map(lambda f: float(f([])), [one, two] * 400))
    assert sorted(seen) == list(range(800))
    assert held(v)[0] == 800


def test_a_variable_is_no_symbol() -> None:
    """`variable * 2` is a number by now and refused; `symbolic(variable) * 2` is what was meant."""
    v = keras.Variable(np.float32(3))
    with pytest.raises(BackendError, match=r"symbolic\(variable\)"):
        K.update(v, v * 2)
    double = K.function([], [], [(v, K.symbolic(v) * 2)])
    double([])
    double([])
    assert held(v)[0] == 12


@pytest.mark.parametrize(
    ("loss", "dtype", "target"),
    [
        ("Huber", "float32", [[0.5], [3.0], [-4.0]]),
        ("SparseCategoricalCrossentropy", "int32", [[0], [3], [1]]),
    ],
)
def test_loss_objects_and_whole_targets(loss: str, dtype: str, target: Any) -> None:
    """Keras' loss objects take symbolic tensors through lazy; class numbers are fed as integers."""
    object_ = getattr(keras.losses, loss)()
    outputs = 1 if loss == "Huber" else 4
    activation = None if loss == "Huber" else "softmax"
    x, y = keras.Input((2,)), K.placeholder((None, 1), dtype=dtype)
    dense = keras.layers.Dense(outputs, activation=activation)
    symbol = K.lazy(object_, y, dense(x))
    step = K.function([x, y], symbol, K.get_updates(keras.optimizers.SGD(0.1), symbol, dense))
    given, wanted = rows(3, 2), np.array(target, dtype)
    twin = keras.Sequential([keras.Input((2,)), keras.layers.Dense(outputs, activation=activation)])
    twin.set_weights(held(*dense.weights))
    twin.compile(keras.optimizers.SGD(0.1), object_)
    for _ in range(3):
        expected = twin.train_on_batch(given, wanted)
        np.testing.assert_allclose(step([given, wanted]), np.asarray(expected), rtol=1e-6)
    for mine, other in zip(held(*dense.weights), twin.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, other)

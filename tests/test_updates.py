"""Updates, gradients and the phase, against Keras' own training step and sums done by hand."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pytest

from layerprobe import backend as K  # noqa: N812 - the name that users of Keras 2 gave it
from layerprobe.errors import BackendError

pytestmark = pytest.mark.engine
Array = npt.NDArray[Any]


def rows(*shape: int) -> Array:
    """Return made-up numbers of both signs."""
    return np.random.default_rng(sum(shape)).normal(size=shape).astype("float32")


def value(variable: Any) -> Array:
    """Return what a variable holds."""
    return np.array(keras.ops.convert_to_numpy(variable.value))


def regularized() -> Any:
    """Return a model whose loss has parts of its own: of weights and of an output."""
    model = keras.Sequential(
        [
            keras.Input((5,)),
            keras.layers.Dense(
                8, activation="tanh", kernel_regularizer="l2", activity_regularizer="l2"
            ),
            keras.layers.Dense(1),
        ]
    )
    model.set_weights([rows(*w.shape) / 3 for w in model.weights])
    return model


def test_a_step_is_keras_own_step() -> None:
    """Twenty steps move the weights as train_on_batch does, regularizers and clipping included."""
    ours, theirs = regularized(), regularized()
    x, y = rows(16, 5), rows(16, 1)
    theirs.compile(keras.optimizers.Adam(0.01, clipnorm=1.0, use_ema=True), "mse")
    target = K.placeholder((None, 1))
    errors = keras.losses.mean_squared_error(target, ours.outputs[0])
    loss = keras.ops.mean(errors) + K.model_losses(ours)
    optimizer = keras.optimizers.Adam(0.01, clipnorm=1.0, use_ema=True)
    step = K.function([*ours.inputs, target], loss, K.get_updates(optimizer, loss, ours))
    for _ in range(20):
        found, expected = step([x, y]), theirs.train_on_batch(x, y)
        np.testing.assert_allclose(found, np.asarray(expected), rtol=1e-6)
    for mine, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, other)


def test_new_values_come_from_the_old_state() -> None:
    """Two variables swap; the outputs show what was before."""
    a, b = keras.Variable(np.ones(2, "float32")), keras.Variable(np.zeros(2, "float32"))
    swap = K.function([], [K.symbolic(a)], [(a, K.symbolic(b)), (b, K.symbolic(a))])
    (before,) = swap([])
    assert before.tolist() == [1, 1]
    assert (value(a).tolist(), value(b).tolist()) == ([0, 0], [1, 1])


def test_updates_add_subtract_and_average() -> None:
    """Each does what its name says, at every call."""
    a, b, c = (keras.Variable(np.float32(n)) for n in (1, 2, 3))
    x = K.placeholder(())
    changes = [K.update_add(a, x), K.update_sub(b, x), K.moving_average_update(c, x, 0.75)]
    change = K.function([x], [], changes)
    change([8.0])
    change([8.0])
    assert [float(value(v)) for v in (a, b, c)] == [17.0, -14.0, 0.75 * (0.75 * 3 + 2) + 2]


def test_gradients_of_every_kind_of_tensor() -> None:
    """By an input, by a tensor in the middle, by a variable; and gradients of gradients."""
    x, dense = K.placeholder((2,)), keras.layers.Dense(1, use_bias=False)
    middle = x**3
    out = keras.ops.sum(dense(keras.ops.expand_dims(middle, 0)))
    dense.set_weights([np.array([[2.0], [3.0]])])
    by_x, by_middle, by_kernel = K.gradients(out, [x, middle, dense.kernel])
    (again,) = K.gradients(keras.ops.sum(by_x * by_x), x)
    results = K.function([x], [by_x, by_middle, by_kernel, again])([[1.0, 2.0]])
    expected = [[6, 36], [2, 3], [[1], [8]], [2 * 6 * 12, 2 * 36 * 36]]
    for found, wanted in zip(results, expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_the_phase_is_chosen_at_each_call() -> None:
    """Phase 0 changes nothing; phase 1 drops values, differently each time, and no state moves."""
    x = keras.Input((500,))
    norm = keras.layers.BatchNormalization()
    drop = keras.layers.Dropout(0.5, seed=4)
    noisy = K.function([x, K.learning_phase()], drop(norm(x)))
    given = rows(4, 500)
    seed = value(drop.seed_generator.state)
    np.testing.assert_allclose(noisy([given, 0]), given / np.sqrt(1.001), rtol=1e-5)
    first, second = noisy([given, 1]), noisy([given, 1])
    assert 800 < (first == 0).sum() < 1200
    assert ((first == 0) != (second == 0)).any()
    assert not value(norm.moving_mean).any()
    assert (value(drop.seed_generator.state) == seed).all()
    noisy.seed(5)
    third = noisy([given, 1])
    noisy.seed(5)
    np.testing.assert_array_equal(noisy([given, 1]), third)


def test_the_phase_can_be_set_and_computed_with() -> None:
    """set_learning_phase holds for functions built later; in_train_phase chooses by the phase."""
    x = keras.Input((500,))
    drop = keras.layers.Dropout(0.5)(x)
    ones = np.ones((1, 500), "float32")
    with K.learning_phase_scope(1):
        noisy = K.function([x], drop)
    assert (noisy([ones]) == 0).any()
    assert (K.function([x], drop)([ones]) == 1).all()
    chosen = K.function([x, K.learning_phase()], K.in_train_phase(x * 2, lambda: x * 3))
    other = K.function([x, K.learning_phase()], K.in_test_phase(x * 2, x * 3))
    assert [float(chosen([ones, phase])[0, 0]) for phase in (0, 1)] == [3, 2]
    assert [float(other([ones, phase])[0, 0]) for phase in (0, 1)] == [2, 3]
    K.set_learning_phase(1)
    K.clear_session()
    assert (K.function([x], drop)([ones]) == 1).all()
    with pytest.raises(BackendError, match="0 or 1"):
        K.set_learning_phase(2)


def test_outputs_come_in_the_structure_asked_for() -> None:
    """A dict gives each array under its own key, whatever the order; lists may be nested."""
    x = K.placeholder((None, 1))
    function = K.function([x], {"z": x + 1, "a": [x + 2, {"d": x + 3, "b": x + 4}]})
    found = function([[[0.0]]])
    assert list(found) == ["z", "a"]
    assert found["z"] == 1
    first, inner = found["a"]
    assert (first, inner["d"], inner["b"]) == (2, 3, 4)


def test_a_variable_is_read_before_a_layer_writes_to_it() -> None:
    """The statistics shown beside a training pass are those from before it."""
    x = keras.Input((3,))
    norm = keras.layers.BatchNormalization()
    out = norm(x)
    shown = [out, K.symbolic(norm.moving_mean)]
    function = K.function([x], shown, K.state_updates(norm), training=True)
    assert not function([rows(8, 3)])[1].any()
    assert function([rows(8, 3)])[1].any()


def test_random_operations_draw_anew_at_each_call() -> None:
    """Noise that no layer makes differs from call to call too, and follows the seed."""
    x = K.placeholder((None, 200))
    noisy = K.function([x], K.dropout(x, 0.5))
    ones = np.ones((1, 200), "float32")
    first, second = noisy([ones]), noisy([ones])
    assert (first == 0).any()
    assert (first != second).any()
    noisy.seed(1)
    third = noisy([ones])
    noisy.seed(1)
    np.testing.assert_array_equal(noisy([ones]), third)


def test_states_move_where_asked() -> None:
    """BatchNormalization keeps its statistics through state_updates alone."""
    x = keras.Input((3,))
    norm = keras.layers.BatchNormalization()
    out = norm(x)
    given = rows(8, 3)
    K.function([x], [out], training=True)([given])
    assert not value(norm.moving_mean).any()
    K.function([x], [out], K.state_updates(norm), training=True)([given])
    np.testing.assert_allclose(value(norm.moving_mean), given.mean(0) * 0.01, rtol=1e-4)


@pytest.mark.engine("tensorflow")
def test_a_name_that_tensorflow_takes_for_no_scope_runs_and_spoils_nothing_else() -> None:
    """The next layer and its variables have the names they would have had."""
    x, given = keras.Input((2,)), rows(1, 2)
    named = keras.layers.Dense(2, name="a@1")
    (found,) = K.function([x], [named(x)])([given])
    np.testing.assert_allclose(found, given @ value(named.kernel), rtol=1e-5)
    assert keras.layers.Dense(1, name="b")(x).shape == (None, 1)
    layer = keras.layers.Dense(1, name="c")
    layer.build((None, 2))
    assert layer.kernel.path == "c/kernel"


def test_what_cannot_be_right_is_refused_at_build() -> None:
    """Each mistake is told when the function is built, before anything moves."""
    x = keras.Input((3,))
    dense, other = keras.layers.Dense(1), keras.layers.Dense(1)
    loss = keras.ops.mean(dense(x))
    other.build((None, 3))
    variable = dense.bias
    stopped = keras.ops.mean(keras.ops.stop_gradient(dense(x)))
    sgd = keras.optimizers.SGD
    for mistake, message in [
        (lambda: K.get_updates(sgd(), dense(x), dense), "scalar"),
        (lambda: K.function([x], loss, K.get_updates(sgd(), loss, other)), "does not depend"),
        (lambda: K.function([x], loss, K.get_updates(sgd(), stopped, dense)), "does not depend"),
        (lambda: K.function([x], loss, [(variable, [0.0]), (variable, [1.0])]), "twice"),
        (lambda: K.function([x], loss, [(variable, variable.value * 2)]), "symbolic"),
        (lambda: K.update(variable, [[0.0]]), "shape"),
        (lambda: K.function([x], loss, [3]), "not an update"),
    ]:
        with pytest.raises(BackendError, match=message):
            mistake()

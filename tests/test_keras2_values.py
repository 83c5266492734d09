"""Variables, sizes, random numbers and printing under the names of Keras 2, on every engine."""

from __future__ import annotations

import numpy as np
import pytest

from layerprobe import backend as K  # noqa: N812 - the name users give it
from layerprobe.errors import BackendError

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module", autouse=True)
def keras(engine):
    """Return Keras on the engine of this run."""
    assert engine
    import keras

    return keras


def test_a_variable_keeps_a_copy_and_gives_copies():
    """Neither the array it began with, nor one it gave or was set to, is its memory."""
    begun, later = np.zeros(3, "float32"), np.full(3, 5.0, "float32")
    variable = K.variable(begun)
    begun += 1
    given = K.get_value(variable)
    K.set_value(variable, later)
    later += 1
    assert given.tolist() == [0, 0, 0]
    assert K.get_value(variable).tolist() == [5, 5, 5]
    twin = K.variable(variable)
    K.batch_set_value([(variable, [1, 2, 3]), (twin, variable)])
    assert [v.tolist() for v in K.batch_get_value([variable, twin])] == [[1, 2, 3], [1, 2, 3]]
    K.set_value(variable, [7, 7, 7])
    assert K.eval(twin).tolist() == [1, 2, 3]


def test_variables_are_floats_unless_told_and_keep_their_constraint(keras):
    """Whole numbers become floats; a dtype, a name and a constraint are kept."""
    assert K.dtype(K.variable([1, 2])) == "float32"
    whole = K.variable([1, 2], dtype="int32", name="steps")
    assert (K.dtype(whole), whole.name) == ("int32", "steps")
    limit = keras.constraints.NonNeg()
    assert K.variable([1.0], constraint=limit).constraint is limit
    import scipy.sparse

    assert K.eval(K.variable(scipy.sparse.eye(2, format="csr"))).tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize(("name", "value"), [("zeros", 0), ("ones", 1)])
def test_zeros_and_ones_are_variables_where_they_can_be(keras, name, value):
    """They can be updated; in a layer, and with an open or empty shape, they are tensors."""
    make = getattr(K, name)
    made = make((2, 3), dtype="int32", name="counts")
    assert K.is_variable(made)
    assert K.eval(made).tolist() == [[value] * 3] * 2
    assert not K.is_variable(make((0, 3)))
    x = keras.Input((3,))
    (rows,) = K.function(x, [make((K.shape(x)[0], 2))])([np.zeros((5, 3), "float32")])
    assert rows.tolist() == [[value] * 2] * 5
    layer = keras.layers.Lambda(lambda t: t + make((3,)), output_shape=(3,))
    model = keras.Model(x, layer(x))
    model.compile("sgd", "mse")
    rows = np.ones((4, 3), "float32")
    assert model.predict(rows, verbose=0).tolist() == [[1 + value] * 3] * 4
    model.fit(rows, rows, epochs=2, verbose=0)


def test_constants_fill_a_shape_or_are_put_into_it():
    """One number fills the shape; several stand in it in their order."""
    assert K.eval(K.constant(2, shape=(2, 2))).tolist() == [[2, 2], [2, 2]]
    assert K.eval(K.constant([1, 2, 3, 4], shape=(2, 2))).tolist() == [[1, 2], [3, 4]]
    assert K.dtype(K.constant([1])) == "float32"
    assert K.eval(K.eye(2)).tolist() == [[1, 0], [0, 1]]
    assert K.int_shape(K.eye((2, 3))) == (2, 3)


def test_values_that_are_none_of_tensors_pass(keras):
    """`get_value` leaves numbers alone and refuses symbolic tensors, saying how to compute them."""
    assert K.get_value(3) == 3
    with pytest.raises(BackendError, match=r"K\.function"):
        K.get_value(keras.Input((2,)))


def test_kinds_of_tensors_are_told_apart(keras):
    """Variables, tensors, symbolic tensors, inputs and sparse inputs."""
    things = {
        "variable": K.variable([1.0]),
        "constant": K.constant([1.0]),
        "input": keras.Input((2,)),
        "computed": keras.Input((2,)) + 1,
        "array": np.zeros(2),
    }
    for ask, yes in {
        "is_variable": {"variable"},
        "is_tensor": {"variable", "constant", "input", "computed"},
        "is_keras_tensor": {"input", "computed"},
        "is_placeholder": {"input"},
        "is_sparse": set(),
    }.items():
        assert {name for name, thing in things.items() if getattr(K, ask)(thing)} == yes
    assert K.to_dense(things["constant"]) is things["constant"]


@pytest.mark.engine("tensorflow", "jax")
def test_sparse_tensors_become_dense(keras):
    """A sparse input is known as one, and `to_dense` computes its dense values."""
    x = keras.Input((3,), sparse=True)
    assert K.is_sparse(x)
    assert not K.is_sparse(K.to_dense(x))
    one_hot = keras.ops.one_hot(np.array([2, 0]), 3, sparse=True)
    assert K.is_sparse(one_hot)
    assert K.eval(one_hot).tolist() == [[0, 0, 1], [1, 0, 0]]


def test_shapes_are_told_as_far_as_they_are_known(keras):
    """Numbers where known, None where not; counting needs all of them."""
    x = keras.Input((None, 4))
    assert (K.int_shape(x), K.ndim(x)) == ((None, None, 4), 3)
    assert (K.int_shape(3.5), K.ndim([[1], [2]])) == ((), 2)
    assert K.count_params(K.ones((3, 4))) == 12
    with pytest.raises(BackendError, match="varies"):
        K.count_params(x)
    assert K.eval(K.size(K.ones((3, 4)))) == 12
    assert K.function(x, [K.size(x)])([np.zeros((2, 5, 4), "float32")])[0] == 40


def test_symbolic_sizes_carry_over(keras):
    """Sizes of a symbolic tensor shape others when the graph runs, and are known where given."""
    x, y = keras.Input((None, 4)), keras.Input((None, None))
    batch, steps, width = K.shape(x)
    flat = K.reshape(x, (batch, steps * width))
    like = K.reshape(y, K.shape(x))
    spread = K.random_uniform((batch, width), seed=3)
    assert (flat.shape, like.shape, spread.shape) == ((None, None), (None, None, 4), (None, 4))
    outputs = [flat, like, spread, K.arange(steps), batch, K.batch_flatten(x)]
    rows = np.arange(24, dtype="float32").reshape(2, 3, 4)
    results = K.function([x, y], outputs)([rows, rows.reshape(4, 3, 2)])
    assert [r.shape for r in results] == [(2, 12), (2, 3, 4), (2, 4), (3,), (), (2, 12)]
    assert results[3].tolist() == [0, 1, 2]
    assert results[4] == 2
    np.testing.assert_array_equal(results[1], rows)
    np.testing.assert_array_equal(results[5], rows.reshape(2, 12))
    assert [int(n) for n in K.shape(rows)] == [2, 3, 4]
    np.testing.assert_array_equal(
        K.eval(K.reshape(rows, K.constant([6, 4], "int32"))), rows.reshape(6, 4)
    )


def test_names_are_counted_anew():
    """Numbers of names go up, and begin anew after `reset_uids`."""
    K.reset_uids()
    assert [K.get_uid("thing"), K.get_uid("thing"), K.get_uid("other")] == [1, 2, 1]
    K.reset_uids()
    assert K.get_uid("thing") == 1
    with K.name_scope("scope"):
        assert K.eval(K.constant(1.0)) == 1


def test_settings_are_keras_settings(keras, request):
    """Reading and writing the settings reads and writes Keras' own."""
    assert K.backend() == request.config.getoption("--engine") == keras.config.backend()
    kept = K.epsilon(), K.floatx(), K.image_data_format()
    try:
        K.set_epsilon(1e-3)
        K.set_floatx("float16")
        K.set_image_data_format("channels_first")
        now = keras.config.epsilon(), keras.config.floatx(), keras.config.image_data_format()
        assert now == (1e-3, "float16", "channels_first")
        assert K.dtype(K.constant([1])) == "float16"
        assert K.normalize_data_format(None) == "channels_first"
        assert K.cast_to_floatx([1, 2]).dtype == np.float16
        assert K.dtype(K.cast_to_floatx(K.constant([1], "int32"))) == "float16"
    finally:
        K.set_epsilon(kept[0])
        K.set_floatx(kept[1])
        K.set_image_data_format(kept[2])
    assert K.normalize_data_format("Channels_Last") == "channels_last"
    with pytest.raises(BackendError, match="sideways"):
        K.normalize_data_format("sideways")


def test_random_numbers_have_their_distributions():
    """Means, deviations, bounds and kinds are those asked for; a seed repeats them."""
    normal = K.eval(K.random_normal((20000,), mean=3.0, stddev=2.0, seed=1))
    assert abs(normal.mean() - 3) < 0.1
    assert abs(normal.std() - 2) < 0.1
    np.testing.assert_array_equal(
        normal, K.eval(K.random_normal((20000,), mean=3.0, stddev=2.0, seed=1))
    )
    cut = K.eval(K.truncated_normal((20000,), mean=3.0, stddev=2.0, seed=1))
    assert np.abs(cut - 3).max() <= 4
    assert abs(cut.mean() - 3) < 0.1
    even = K.eval(K.random_uniform((20000,), -1.0, 3.0, seed=1))
    assert (even.min() >= -1, even.max() < 3, abs(even.mean() - 1) < 0.1) == (True, True, True)
    whole = K.eval(K.random_uniform((2000,), 2, 5, dtype="int32", seed=1))
    assert (whole.dtype, set(whole.tolist())) == (np.dtype("int32"), {2, 3, 4})
    for draw in (K.random_bernoulli, K.random_binomial):
        ones = K.eval(draw((20000,), p=0.3, seed=1))
        assert set(ones.tolist()) == {0.0, 1.0}
        assert abs(ones.mean() - 0.3) < 0.02
        assert K.eval(draw((50,), p=0.0)).sum() == 0
        assert K.eval(draw((50,), p=1.0)).sum() == 50
    variable = K.random_uniform_variable((1000,), 2.0, 4.0, seed=1)
    assert K.is_variable(variable)
    assert abs(K.eval(variable).mean() - 3) < 0.1
    assert abs(K.eval(K.random_normal_variable((1000,), 5.0, 0.1, seed=1)).mean() - 5) < 0.1


@pytest.mark.parametrize("symbolic", [False, True])
def test_dropout_drops_and_scales_in_every_phase(keras, symbolic):
    """The part asked for is 0, the rest is scaled; a noise shape drops places together."""
    x = np.ones((200, 50, 2), "float32")

    def run(**kwargs):
        if not symbolic:
            return K.eval(K.dropout(x, 0.25, seed=3, **kwargs))
        kx = keras.Input(x.shape[1:])
        return K.function(kx, [K.dropout(kx, 0.25, seed=3, **kwargs)])([x])[0]

    result = run()
    assert np.allclose(np.unique(result), [0, 4 / 3])
    assert abs((result == 0).mean() - 0.25) < 0.02
    together = run(noise_shape=(200, 1, 2))
    assert (together == together[:, :1]).all()
    assert len(np.unique(together)) == 2


def test_random_numbers_in_a_graph_have_a_generator_there(keras):
    """The node keeps its generator, so that whoever keeps its state draws anew at each run."""
    x = keras.Input((3,))
    noise = K.random_normal(K.shape(x), seed=5)
    function = keras.Function([x], [noise])
    first, second = (np.asarray(K.eval(function([np.zeros((2, 3), "float32")])[0])) for _ in "ab")
    assert first.shape == second.shape == (2, 3)
    assert not np.allclose(first, second)


def test_printing_happens_when_the_function_runs(keras, capfd):
    """The values stand on stdout at each run, not when the graph is built."""
    x = keras.Input((2,))
    function = K.function(x, [K.print_tensor(x * 2.0, "twice:") + 1.0])
    capfd.readouterr()
    for row in ([[1.0, 2.5]], [[3.0, 4.5]]):
        (result,) = function([np.array(row, "float32")])
        assert result.tolist() == (np.array(row) * 2 + 1).tolist()
        printed = capfd.readouterr().out
        assert "twice:" in printed
        assert all(f"{2 * value:g}" in printed for value in row[0])

"""Sparse matrices and texts as inputs, against dense products and tables written by hand."""

from __future__ import annotations

import warnings
from typing import Any

import keras
import numpy as np
import pytest
from scipy import sparse

from layerprobe import backend as K  # noqa: N812 - the name that users of Keras 2 gave it
from layerprobe.backend import hosted
from layerprobe.errors import BackendError, DataError

pytestmark = pytest.mark.engine
WORDS = ["sun", "moon", "star"]


def matrix() -> Any:
    """Return a sparse matrix whose places are out of order, one of them twice."""
    rows, columns = [2, 0, 1, 0, 0], [0, 3, 1, 3, 1]
    return sparse.coo_matrix(([1.0, 2.0, 3.0, 4.0, 5.0], (rows, columns)), shape=(3, 4))


def product() -> tuple[Any, Any]:
    """Return a function of a sparse input, and its weights."""
    dense = keras.layers.Dense(2, use_bias=False, name="dense")
    x = K.placeholder((None, 4), sparse=True, name="x")
    function = K.function([x], [dense(x)])
    return function, np.array(keras.ops.convert_to_numpy(dense.kernel))


@pytest.mark.filterwarnings("ignore:.*are made arrays")
@pytest.mark.parametrize("form", ["coo_matrix", "csr_matrix", "csc_matrix", "coo_array"])
def test_sparse_matrices_are_what_their_arrays_are(form: str) -> None:
    """Of every form, in any order, with values of one place added up."""
    function, kernel = product()
    for given in (getattr(sparse, form)(matrix()), matrix().toarray()):
        result = function([given])[0]
        np.testing.assert_allclose(result, matrix().toarray() @ kernel, rtol=0, atol=1e-6)


@pytest.mark.filterwarnings("ignore:.*are made arrays")
def test_sparse_inputs_come_out_as_arrays() -> None:
    """An input that is an output too is returned dense; all its rows may be empty."""
    x = K.placeholder((None, 4), sparse=True, name="x")
    function = K.function([x], [x])
    np.testing.assert_array_equal(function([matrix()])[0], matrix().toarray())
    np.testing.assert_array_equal(function([sparse.csr_matrix((2, 4))])[0], np.zeros((2, 4)))


def test_where_no_sparse_tensors_are_it_is_said() -> None:
    """A matrix for an input that takes arrays becomes one, with a warning that names the input."""
    x = K.placeholder((None, 4), name="plain")
    function = K.function([x], [x * 2.0])
    with pytest.warns(UserWarning, match="'plain' takes no sparse matrices here"):
        result = function([matrix()])[0]
    np.testing.assert_array_equal(result, matrix().toarray() * 2)


@pytest.mark.engine("tensorflow", "jax")
def test_where_sparse_tensors_are_nothing_is_densified() -> None:
    """TensorFlow and JAX take matrices as they are."""
    function, _ = product()
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        function([matrix()])


@pytest.mark.filterwarnings("ignore:.*are made arrays")
def test_wrong_matrices_are_refused_by_name() -> None:
    """A wrong shape is said without the numbers."""
    function, _ = product()
    with pytest.raises(DataError, match=r"array for 'x' has shape \(3, 5\)"):
        function([sparse.csr_matrix((3, 5))])


def texts() -> tuple[Any, Any, Any]:
    """Return a model from texts to numbers, what vectorizes them, and its weights."""
    vectorize = keras.layers.TextVectorization(vocabulary=WORDS, output_sequence_length=3)
    embed = keras.layers.Embedding(5, 2, name="embed")
    x = keras.Input((1,), dtype="string", name="x")
    tokens = vectorize(x)
    model = keras.Model(x, keras.layers.Flatten()(embed(tokens)))
    return model, tokens, np.array(keras.ops.convert_to_numpy(embed.embeddings))


@pytest.mark.parametrize("kind", [str, object, bytes])
def test_texts_go_through_the_model(kind: type) -> None:
    """Texts are looked up (2 is the first word, 1 any unknown, 0 none) and computed with."""
    model, tokens, table = texts()
    given = np.array([["moon sun"], ["Star night moon sun"]]).astype("S" if kind is bytes else kind)
    numbers = np.array([[3, 2, 0], [4, 1, 3]])
    result = K.function(model.inputs, [tokens, *model.outputs])([given])
    np.testing.assert_array_equal(result[0], numbers)
    np.testing.assert_allclose(result[1], table[numbers].reshape(2, 6), rtol=1e-6)


def test_texts_and_numbers_side_by_side() -> None:
    """Lookups of texts and of integers beside numbers, with a gradient by the numbers."""
    words = keras.Input((1,), dtype="string", name="words")
    whole = keras.Input((1,), dtype="int64", name="whole")
    x = keras.Input((1,), name="x")
    first = keras.layers.StringLookup(vocabulary=WORDS)(words)
    second = keras.layers.IntegerLookup(vocabulary=[10, 20])(whole + 0)
    total = keras.ops.cast(first, "float32") * x + keras.ops.cast(second, "float32")
    by_x = K.gradients(keras.ops.sum(total), x)
    function = K.function([words, x, whole], [total, *by_x])
    given = [np.array([["star"], ["none"]]), np.array([[2.0], [3.0]]), np.array([[20], [5]])]
    result, slope = function(given)
    np.testing.assert_array_equal(result, [[3 * 2 + 2], [0 * 3 + 0]])
    np.testing.assert_array_equal(slope, [[3], [0]])


def test_numbers_for_texts_are_refused() -> None:
    """And texts for numbers."""
    model, _, _ = texts()
    with pytest.raises(DataError, match="the model takes string"):
        K.function(model.inputs, model.outputs)([np.zeros((2, 1))])


@pytest.mark.engine("jax", "torch")
def test_texts_need_tensorflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is missing, that is what the error says; and texts do not come out."""
    model, _, _ = texts()
    with pytest.raises(BackendError, match="is text, which only TensorFlow returns"):
        K.function(model.inputs, model.inputs)
    monkeypatch.setattr(hosted.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(BackendError, match="need TensorFlow"):
        K.function(model.inputs, model.outputs)


def test_results_are_the_callers_own() -> None:
    """He may write to them, whatever comes next; so he may to an input that passes through."""
    x = keras.Input((3,), name="x")
    scaled = keras.layers.Rescaling(2.0)(x)
    function = K.function([x], [scaled, x, keras.ops.sum(scaled)])
    given = np.arange(6, dtype="float32").reshape(2, 3)
    for result in function([given]):
        result[...] = -1
    np.testing.assert_array_equal(given, np.arange(6).reshape(2, 3))
    first = function([given])
    second = function([given + 1])
    np.testing.assert_array_equal(first[0], 2 * given)
    np.testing.assert_array_equal(second[0], 2 * given + 2)
    assert (first[2], second[2]) == (30, 42)


def test_views_are_the_same_numbers() -> None:
    """For somebody who only reads them."""
    function, kernel = product()
    given = np.eye(4, dtype="float32")
    np.testing.assert_allclose(function.views([given])[0], kernel, rtol=0, atol=1e-6)

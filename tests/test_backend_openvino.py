"""OpenVINO passes the engines' suite, and refuses by name what it cannot do or does wrongly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from command import shell

import layerprobe
from layerprobe import backend as K  # noqa: N812 - as Keras 2 named it
from layerprobe.backend.suite import BackendSuite, assert_same, numbers
from layerprobe.errors import BackendError, DataError

pytestmark = pytest.mark.engine("openvino")


class TestOpenVINO(BackendSuite):
    """The suite on OpenVINO; the fixture `engine` is in conftest.py."""

    refuses_masked_attention = "cannot run mha: OpenVINO gives NaN where a mask hides all"
    low_precision = 2.0**-7  # two roundings to the 8 bits of a bfloat16


def test_the_command_gives_the_numbers_of_tensorflow(samples: Path, tmp_path: Path) -> None:
    """`extract --backend openvino` writes what the same command writes with TensorFlow."""
    found = []
    for engine in ("openvino", "tensorflow"):
        done = shell(
            "extract", samples / "digits_cnn.keras", "--layer", "conv1", "--backend", engine,
            "--input", samples / "data/digits.npy", "-o", f"{engine}.h5", cwd=tmp_path,
        )  # fmt: skip
        assert done.code == 0, done
        assert f"{engine} on cpu" in done.stdout
        found.append(layerprobe.open_dump(tmp_path / f"{engine}.h5")["conv1"][:])
    np.testing.assert_allclose(*found, rtol=0, atol=1e-5)


def test_numbers_are_computed_in_32_bits() -> None:
    """The precision is not the 16 bits that OpenVINO takes where the processor has them."""
    dense = keras.layers.Dense(64)
    x = keras.Input((512,))
    rows = numbers(4, 512)
    result = K.function(x, dense(x))(rows)
    weights = [np.asarray(keras.ops.convert_to_numpy(w), "float64") for w in dense.weights]
    np.testing.assert_allclose(result, rows.astype("float64") @ weights[0] + weights[1], atol=1e-5)


def test_a_weight_read_by_an_expression_is_seen_when_assigned() -> None:
    """Also a variable that no layer lists is looked at before every call."""
    variable = keras.Variable(np.ones(2, "float32"))
    x = keras.Input((2,))
    function = K.function([x], [x * K.symbolic(variable)])
    assert function([np.ones((1, 2))])[0].tolist() == [[1, 1]]
    variable.assign([3.0, 5.0])
    assert function([np.ones((1, 2))])[0].tolist() == [[3, 5]]


def test_what_is_compiled_once_serves_until_a_weight_changes(monkeypatch: Any) -> None:
    """Batches of any size use one compiled model; an assignment makes a second one."""
    import openvino

    made = []
    compile_model = openvino.compile_model

    def counted(*arguments: Any) -> Any:
        made.append(arguments)
        return compile_model(*arguments)

    monkeypatch.setattr(openvino, "compile_model", counted)
    dense = keras.layers.Dense(2)
    x = keras.Input((3,))
    function = K.function(x, dense(x))
    for size in (1, 5, 3, 8):
        function(numbers(size, 3))
    assert len(made) == 1
    dense.bias.assign([1.0, 2.0])
    assert_same(function(numbers(4, 3)), dense(numbers(4, 3)))
    assert len(made) > 1


def test_training_is_refused_when_the_function_is_built() -> None:
    """Updates and gradients name the engines that compute them."""
    variable = keras.Variable(1.0)
    x = keras.Input((2,))
    loss = keras.ops.sum(x * x)
    with pytest.raises(BackendError, match="no updates") as refused:
        K.function([x], [loss], [K.update_add(variable, 1.0)])
    assert "tensorflow, jax or torch" in str(refused.value)
    with pytest.raises(BackendError, match="no gradients"):
        K.function([x], K.gradients(loss, x))


def test_random_numbers_are_refused_where_they_would_matter() -> None:
    """Dropout is refused in the training phase alone, and statistics of the batch never."""
    x = keras.Input((3,))
    dropped = keras.layers.Dropout(0.5)(x)
    assert_same(K.function(x, dropped)(numbers(4, 3)), numbers(4, 3))
    with pytest.raises(BackendError, match="random numbers"):
        K.function(x, dropped, training=True)
    rows = numbers(4, 3)
    norm = keras.layers.BatchNormalization(epsilon=0.0)
    wanted = (rows - rows.mean(0)) / rows.std(0)
    np.testing.assert_allclose(K.function(x, norm(x), training=True)(rows), wanted, atol=1e-4)


def test_attention_with_a_mask_is_refused_inside_a_nested_model_too() -> None:
    """What a mask may hide all of is refused wherever it runs; with scores, or causal, it runs."""
    tokens = keras.Input((None,), dtype="int32")
    y = keras.layers.Embedding(9, 4, mask_zero=True)(tokens)
    z = keras.Input((None, 4))
    inner = keras.Model(z, keras.layers.MultiHeadAttention(2, 3, name="inside")(z, z))
    with pytest.raises(BackendError, match=r"cannot run inside: .* hides all"):
        K.function(tokens, inner(y))
    scored = keras.layers.MultiHeadAttention(2, 3)(y, y, return_attention_scores=True)
    given = np.array([[1, 2, 0, 0], [3, 4, 5, 6]])
    assert np.isfinite(K.function(tokens, scored[0])(given)).all()
    causal = keras.layers.MultiHeadAttention(2, 3)
    rows = numbers(2, 4, 4)
    result = K.function(z, causal(z, z, use_causal_mask=True))(rows)
    assert_same(result, causal(rows, rows, use_causal_mask=True))


def test_nan_is_refused_unless_it_was_fed() -> None:
    """NaN that neither the inputs nor the weights explain is an error."""
    x = keras.Input((2,))
    root = K.function(x, keras.ops.sqrt(x))
    with pytest.raises(BackendError, match="gave NaN"):
        root([[[1.0, -1.0]]])
    assert np.isnan(root([[[1.0, np.nan]]])).tolist() == [[False, True]]


def test_what_has_more_than_32_bits_is_refused() -> None:
    """OpenVINO would cut float64 and large integers without a word."""
    wide = keras.Input((2,), dtype="float64")
    with pytest.raises(BackendError, match="float64"):
        K.function(wide, wide + 1)
    whole = keras.Input((2,), dtype="int64")
    function = K.function(whole, whole + 1)
    assert function([[[1, -(2**31)]]]).tolist() == [[2, 1 - 2**31]]
    with pytest.raises(DataError, match="32 bits"):
        function([[[1, 2**31]]])


def test_bfloat16_goes_in_and_comes_out() -> None:
    """Inputs and outputs of 16 bits keep their dtype and values."""
    x = keras.Input((2,), dtype="bfloat16")
    result = K.function(x, x * 2)([[[1.5, 2.25]]])
    assert (str(result.dtype), result.tolist()) == ("bfloat16", [[3.0, 4.5]])


def test_a_layer_that_cannot_run_is_named() -> None:
    """The message says which layer it is, why, and which engines run it."""
    x = keras.Input((4,))
    layer = keras.layers.Lambda(keras.ops.convert_to_numpy, output_shape=(4,), name="out")
    with pytest.raises(BackendError, match=r"cannot run out \(Lambda\)") as refused:
        K.function(x, layer(x))
    assert len(str(refused.value)) < 500


def test_inputs_among_the_layers_are_extracted(samples: Path, tmp_path: Path) -> None:
    """In a process of its own: OpenVINO crashed on the second batch, whose memory is another."""
    path = tmp_path / "all.h5"
    data = samples / "data" / "digits.npy"
    options = ("--rows", "0:300", "--backend", "openvino", "-o", path)
    model = samples / "digits_cnn.h5"
    done = shell("extract", model, "-l", "all", "--input", data, *options, cwd=tmp_path)
    assert done.code == 0, done
    with layerprobe.open_dump(path) as dump:
        np.testing.assert_array_equal(dump["images"][:].ravel(), np.load(data)[:300].ravel())


def test_there_is_no_gpu() -> None:
    """Keras runs OpenVINO on the CPU alone, so a GPU is refused."""
    with pytest.raises(BackendError, match="openvino sees 0 GPUs"):
        K.select("openvino").engine.prepare("gpu")

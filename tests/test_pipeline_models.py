"""What a model itself brings along: fixed batches, outputs without rows, dtypes NumPy has not."""

from __future__ import annotations

import h5py
import keras
import numpy as np
import pytest
from command import files

import layerprobe
from layerprobe.errors import BackendError, ModelError


def saved(path, inputs, outputs):
    """Save a Functional model and return its path."""
    keras.Model(inputs, outputs).save(path)
    return path


def read(path):
    """Return all datasets of an HDF5 dump, by h5py alone."""
    with h5py.File(path) as file:
        return {file[name].attrs["address"]: file[name][:] for name in file}


@pytest.mark.engine
@pytest.mark.parametrize("rows", [1, 4, 9])
def test_a_model_with_a_fixed_batch_size_takes_any_number_of_rows(tmp_path, rows):
    """The model's batch size wins over what was asked for; the last batch is filled up."""
    inputs = keras.Input(batch_shape=(4, 3), name="x")
    dense = keras.layers.Dense(2, name="dense")
    path = saved(tmp_path / "fixed.keras", inputs, dense(inputs))
    x = np.random.default_rng(rows).random((rows, 3)).astype("float32")
    layerprobe.extract(path, "dense", x, tmp_path / "o.h5", batch_size=32)
    kernel, bias = (keras.ops.convert_to_numpy(v) for v in dense.weights)
    found = read(tmp_path / "o.h5")["dense"]
    assert found.shape == (rows, 2)
    np.testing.assert_allclose(found, x @ kernel + bias, rtol=1e-5, atol=1e-6)


UNALIGNED = {
    "a sum over the rows": lambda x: keras.ops.sum(x, axis=0),
    "a sum that keeps its axis": lambda x: keras.ops.sum(x, axis=0, keepdims=True),
    "a transposition": keras.ops.transpose,
    "rows cut in pieces": lambda x: keras.ops.reshape(x, (-1, 1)),
}


@pytest.mark.parametrize("rows", [1, 3, 7])
@pytest.mark.parametrize("kind", UNALIGNED)
def test_outputs_without_a_row_for_each_row_are_refused(tmp_path, kind, rows):
    """Also where the first axis happens to be as long as the batch."""
    inputs = keras.Input((3,), name="x")
    path = saved(tmp_path / "model.keras", inputs, UNALIGNED[kind](inputs))
    output = layerprobe.list_layers(path).outputs[0].name
    with pytest.raises(BackendError, match="one row for each row of the input") as refused:
        layerprobe.extract(path, output, np.ones((rows, 3), "float32"), tmp_path / "o.h5")
    assert refused.value.fields["address"] == output
    assert files(tmp_path) == ["model.keras"]


def test_bfloat16_is_stored_as_float32(tmp_path):
    """NumPy has no bfloat16: the values are stored exactly, as float32, and the report says so."""
    inputs = keras.Input((3,), name="x")
    dense = keras.layers.Dense(2, name="dense", dtype="mixed_bfloat16")
    path = saved(tmp_path / "model.keras", inputs, dense(inputs))
    x = np.random.default_rng(0).random((5, 3)).astype("float32")
    report = layerprobe.extract(path, "all", x, tmp_path / "o.h5")
    assert report.notes == ("bfloat16 stored as float32: dense",)
    found = read(tmp_path / "o.h5")["dense"]
    assert found.dtype == np.float32
    assert not (found.view("uint32") & 0xFFFF).any()  # the bits that bfloat16 does not have
    np.testing.assert_allclose(found, x @ dense.kernel.numpy(), rtol=0.02, atol=0.02)


def test_what_float16_cannot_hold_is_counted_as_inf(tmp_path):
    """An overflow by --dtype is no error, but in the report and in the manifest."""
    inputs = keras.Input((2,), name="x")
    path = saved(tmp_path / "model.keras", inputs, keras.layers.Rescaling(1e4, name="big")(inputs))
    x = np.array([[1, 2], [3, 7], [8, -9]], "float32")
    report = layerprobe.extract(path, "big", x, tmp_path / "o.h5", dtype="float16", batch_size=2)
    found = read(tmp_path / "o.h5")["big"]
    assert np.isinf(found).tolist() == [[False, False], [False, True], [True, True]]
    assert (report.nonfinite["big"].nan, report.nonfinite["big"].inf) == (0, 3)
    assert layerprobe.open_dump(tmp_path / "o.h5").manifest["datasets"][0]["inf"] == 3


@pytest.mark.engine("tensorflow")
@pytest.mark.parametrize("kind", ["keras", "h5"])
def test_channels_first_is_computed_channels_last(tmp_path, kind):
    """Keras on TensorFlow miscomputes such convolutions, so it is not asked to compute them."""
    inputs = keras.Input((3, 8, 8), name="x")
    conv = keras.layers.Conv2D(6, 3, data_format="channels_first", name="conv")
    pool = keras.layers.MaxPooling2D(data_format="channels_first", name="pool")
    path = saved(tmp_path / f"model.{kind}", inputs, pool(conv(inputs)))
    rows = np.random.default_rng(1).normal(size=(2, 3, 8, 8)).astype("float32")
    report = layerprobe.extract(path, ["conv", "pool"], rows, tmp_path / "o.h5")
    assert report.notes == ("channels_first computed with the channels last inside: conv, pool",)
    kernel, bias = (weight.numpy() for weight in conv.weights)
    places = np.lib.stride_tricks.sliding_window_view(rows, (3, 3), axis=(2, 3))
    expected = np.einsum("nchwij,ijco->nohw", places, kernel) + bias[:, None, None]
    with layerprobe.open_dump(tmp_path / "o.h5") as dump:
        np.testing.assert_allclose(dump["conv"][:], expected, rtol=0, atol=1e-5)
        pooled = expected.reshape(2, 6, 3, 2, 3, 2).max(axis=(3, 5))
        np.testing.assert_allclose(dump["pool"][:], pooled, rtol=0, atol=1e-5)


@pytest.mark.engine("tensorflow")
def test_channels_first_settings_that_are_not_known_are_refused(tmp_path):
    """The message names the layer."""
    inputs = keras.Input((3, 8, 8), name="x")
    conv = keras.layers.Conv2DTranspose(
        2, 3, strides=2, output_padding=1, data_format="channels_first", name="conv"
    )
    path = saved(tmp_path / "model.keras", inputs, conv(inputs))
    with pytest.raises(ModelError, match="Conv2DTranspose with dilation or output_padding"):
        layerprobe.extract(path, "conv", None, tmp_path / "o.h5")
    assert files(tmp_path) == ["model.keras"]


@pytest.mark.engine
def test_nan_is_counted_in_every_piece_of_wide_rows(tmp_path):
    """A batch of many MiB is looked at a piece at a time."""
    x = keras.Input((70_000,))
    keras.Model(x, keras.layers.Rescaling(2.0, name="twice")(x)).save(tmp_path / "m.keras")
    rows = np.zeros((41, 70_000), "float32")
    rows[[3, 40], [5, 69_999]] = np.nan
    rows[[0, 20], [0, 7]] = np.inf, -np.inf
    report = layerprobe.extract(tmp_path / "m.keras", "twice", rows, tmp_path / "o.h5")
    counted = report.nonfinite["twice"]
    assert (counted.nan, counted.inf, counted.overflow) == (2, 2, 0)
    np.testing.assert_array_equal(layerprobe.open_dump(tmp_path / "o.h5")["twice"][:], 2 * rows)

"""Configs of Keras 1 in the words of Keras 2, and weights as Keras 1 and cuDNN's layers kept them.

What Keras 1 computed on Theano is in tests/test_golden.py. Here the truth for TensorFlow's files
and for cuDNN's layers is NumPy by hand.
"""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
from test_upgrade import contents, layer

import layerprobe
from layerprobe.errors import ModelError
from layerprobe.modelfile.contents import Contents
from layerprobe.modelfile.upgrade import upgrade
from layerprobe.modelfile.upgrade.keras1 import translated
from layerprobe.modelfile.weights import LegacySizes


def keras1(*layers, **settings):
    """Return a Sequential of Keras 1 taken apart and translated."""
    config = {"class_name": "Sequential", "config": list(layers)}
    return translated(contents(config, settings.get("version", "1.2.2"), backend=None))


def only(*layers, **settings):
    """Return class, config and notes of the last layer of a translated Sequential."""
    found = keras1(*layers, **settings)
    last = found.config["config"][-1]
    return last["class_name"], last["config"], found.notes


@pytest.mark.parametrize(
    ("given", "class_name", "expected"),
    [
        (
            layer("Convolution2D", nb_filter=4, nb_row=3, nb_col=2, border_mode="same",
                  subsample=[2, 1], dim_ordering="th", bias=True, init="he_normal"),
            "Conv2D",
            {"filters": 4, "kernel_size": [3, 2], "padding": "same", "strides": [2, 1],
             "data_format": "channels_first", "use_bias": True},
        ),
        (
            layer("AtrousConvolution1D", nb_filter=4, filter_length=3, subsample_length=1,
                  atrous_rate=2, input_dim=None, input_length=None),
            "Conv1D",
            {"filters": 4, "kernel_size": 3, "strides": 1, "dilation_rate": 2},
        ),
        (
            layer("Convolution3D", nb_filter=4, kernel_dim1=3, kernel_dim2=2, kernel_dim3=1),
            "Conv3D",
            {"filters": 4, "kernel_size": [3, 2, 1]},
        ),
        (
            layer("LSTM", output_dim=5, inner_activation="hard_sigmoid", consume_less="gpu",
                  dropout_W=0.1, dropout_U=0.2, inner_init="orthogonal"),
            "LSTM",
            {"units": 5, "recurrent_activation": "hard_sigmoid", "dropout": 0.1,
             "recurrent_dropout": 0.2},
        ),
        (layer("TimeDistributedDense", output_dim=5, input_dim=3), "Dense", {"units": 5}),
        (layer("Embedding", input_dim=9, output_dim=5), "Embedding",
         {"input_dim": 9, "output_dim": 5}),
        (layer("Dropout", p=0.5), "Dropout", {"rate": 0.5}),
        (layer("GaussianNoise", sigma=0.5), "GaussianNoise", {"stddev": 0.5}),
        (layer("MaxPooling1D", pool_length=3, stride=2, border_mode="valid"), "MaxPooling1D",
         {"pool_size": 3, "strides": 2, "padding": "valid"}),
        (layer("UpSampling1D", length=3), "UpSampling1D", {"size": 3}),
        (layer("ZeroPadding1D", padding={"left_pad": 1, "right_pad": 2}), "ZeroPadding1D",
         {"padding": [1, 2]}),
        (layer("ZeroPadding2D", padding={"top_pad": 1, "right_pad": 2}), "ZeroPadding2D",
         {"padding": [[1, 0], [0, 2]], "data_format": "undecided"}),
        (layer("ZeroPadding2D", padding=[1, 2, 3, 4]), "ZeroPadding2D",
         {"padding": [[1, 2], [3, 4]], "data_format": "undecided"}),
        (layer("BatchNormalization", mode=0, axis=1), "BatchNormalization", {"axis": 1}),
        (layer("BatchNormalization", mode=2), "BatchNormalization", {"mode": 2}),
    ],
)  # fmt: skip
def test_words_of_keras_1(given, class_name, expected):
    """Each argument gets the name and the form that Keras 2 had for it."""
    found, config, _ = only(given)
    assert (found, config) == (class_name, {"name": "x", **expected})


@pytest.mark.parametrize(
    ("mode", "class_name", "expected"),
    [
        ("sum", "Add", {}),
        ("ave", "Average", {}),
        ("concat", "Concatenate", {"axis": 2}),
        ("dot", "Dot", {"axes": [1, 1]}),
        ("cos", "Merge", {"mode": "cos", "dot_axes": [1, 1]}),
    ],
)
def test_merges(mode, class_name, expected):
    """A Merge is the layer of its mode; what is left is the cosine, a layer of our own."""
    merge = layer("Merge", mode=mode, mode_type="raw", concat_axis=2, dot_axes=[1, 1], arguments={})
    assert only(merge)[:2] == (class_name, {"name": "x", **expected})


def test_successors_are_told_and_the_listing_keeps_the_names_of_the_file():
    """The notes name both; the class that the file names stays beside the layer."""
    found = keras1(layer("Convolution2D"), layer("Deconvolution2D"))
    said = "layers of Keras 1 read as their successors: Convolution2D as Conv2D, Deconvolution2D"
    assert found.notes[0].startswith(said)
    assert [entry["saved_as"] for entry in found.config["config"]] == [
        "Convolution2D",
        "Deconvolution2D",
    ]


def test_what_matters_to_training_is_left_out_and_told():
    """Regularizers and constraints of Keras 1, and dropped words, are named with their layers."""
    dense = layer("Dense", "d", output_dim=2, W_regularizer={"l2": 0.1}, b_constraint=None)
    words = layer("Embedding", "e", input_dim=3, output_dim=2, dropout=0.5)
    notes = keras1(words, dense).notes
    said = "left out, since it matters to training alone: e (dropout of words), d (W_regularizer)"
    assert said in notes


def test_channels_are_where_the_other_layers_have_them():
    """Layers that do not say it follow the others; where these differ nobody knows."""
    pad, first = layer("ZeroPadding2D", "pad"), layer("Convolution2D", "a", dim_ordering="th")
    last = layer("Convolution2D", "b", dim_ordering="tf")
    assert keras1(first, pad).config["config"][1]["config"]["data_format"] == "channels_first"
    assert "pad taken as channels_first" in keras1(first, pad).notes[1]
    assert keras1(first, last, pad).config["config"][2]["config"]["data_format"] == "undecided"


def test_where_nobody_says_where_the_channels_are_the_caller_has_to():
    """The message gives the option; the listing claims no shape."""
    file = keras1(layer("ZeroPadding2D", "pad", batch_input_shape=[None, 3, 4, 5], padding=[1, 1]))
    with pytest.raises(ModelError, match="where the channels are in pad") as caught:
        upgrade(file)
    assert "--source-data-format channels_first" in str(caught.value)
    reading = layerprobe.modelfile.reading.Reading(source_data_format="channels_first")
    assert "pad taken as channels_first, as declared" in upgrade(file, reading).notes
    table = layerprobe.modelfile.ModelFile(file).table
    assert table.find("pad").output_shape is None


def file_with(names, *layers, version="1.2.2"):
    """Return a file of Keras 1 with weights of such names."""
    config = {"class_name": "Sequential", "config": list(layers)}
    sizes = LegacySizes({"x": tuple((name, 1) for name in names)})
    return translated(Contents(layerprobe.modelfile.Path("m.h5"), "hdf5", config, version, None,
                               sizes))  # fmt: skip


POOL = layer("MaxPooling2D", border_mode="same", dim_ordering="tf",
             batch_input_shape=[None, 4, 4, 1])  # fmt: skip


def test_the_engine_is_inferred_from_the_names_of_weights():
    """A ":0" means TensorFlow, none Theano; the note says so and how to overrule it."""
    theano, tensorflow = upgrade(file_with(["x_W"], POOL)), upgrade(file_with(["x_W:0"], POOL))
    assert (theano.flips, tensorflow.flips) == (True, False)
    assert any(n.startswith("made on theano: inferred") for n in theano.notes)
    assert any(n.startswith("made on tensorflow: inferred") for n in tensorflow.notes)


@pytest.mark.parametrize("names", [[], ["x_W", "x_b:0"]])
def test_where_names_do_not_tell_the_engine_it_has_to_be_declared(names):
    """The message gives the option."""
    with pytest.raises(ModelError, match="--source-backend theano"):
        upgrade(file_with(names, POOL))


def test_where_the_engine_does_not_matter_nobody_is_asked():
    """Without weights, and with nothing that engines placed in their own way, all agree."""
    assert upgrade(file_with([], layer("Dropout", p=0.5, batch_input_shape=[None, 4]))).notes == ()


def test_a_file_without_a_version_is_known_by_its_words():
    """The first Kerases named no version; any word of Keras 1 will do."""
    assert upgrade(file_with(["x_W"], POOL, version=None)).keras1


def saved(path, version, layers, weights, backend=None):
    """Write an .h5 model with these weights, by layer and name, as that Keras would have."""
    with h5py.File(path, "w") as file:
        config = {"class_name": "Sequential", "config": layers}
        file.attrs["model_config"] = json.dumps(config).encode()
        file.attrs["keras_version"] = version
        if backend:
            file.attrs["backend"] = backend
        root = file.create_group("model_weights")
        root.attrs["layer_names"] = [entry["config"]["name"].encode() for entry in layers]
        for entry in layers:
            name = entry["config"]["name"]
            group, arrays = root.create_group(name), weights.get(name, {})
            group.attrs["weight_names"] = [key.encode() for key in arrays]
            for key, array in arrays.items():
                group[key] = array
    return path


def run(path, rows):
    """Return what the last layer gives."""
    model = layerprobe.load(path)
    return layerprobe.backend.function(model.inputs, model.outputs)([rows])[0]


@pytest.mark.parametrize("ordering", ["tf", "th"])
def test_convolutions_of_keras_1_on_tensorflow(tmp_path, ordering):
    """Kernels are (rows, columns, in, out) or (out, in, rows, columns), and correlated with."""
    at = np.random.default_rng(1)
    kernel, bias = at.normal(size=(3, 2, 2, 4)), at.normal(size=4)
    rows = at.normal(size=(2, 5, 4, 2)).astype("float32")
    places = np.lib.stride_tricks.sliding_window_view(rows, (3, 2), axis=(1, 2))
    expected = np.einsum("nhwcij,ijco->nhwo", places, kernel) + bias
    first = ordering == "th"
    conv = layer("Convolution2D", "c", nb_filter=4, nb_row=3, nb_col=2, border_mode="valid",
                 subsample=[1, 1], dim_ordering=ordering, bias=True, activation="linear",
                 batch_input_shape=[None, 2, 5, 4] if first else [None, 5, 4, 2])  # fmt: skip
    stored = kernel.transpose(3, 2, 0, 1) if first else kernel
    path = saved(tmp_path / "m.h5", "1.1.0", [conv], {"c": {"c_W:0": stored, "c_b:0": bias}})
    found = run(path, rows.transpose(0, 3, 1, 2) if first else rows)
    found = found.transpose(0, 2, 3, 1) if first else found
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("old", [False, True])
def test_kernels_along_one_axis(tmp_path, old):
    """They had an axis more, and before Keras 1.2 another order."""
    at = np.random.default_rng(2)
    kernel, rows = at.normal(size=(3, 2, 4)), at.normal(size=(2, 6, 2)).astype("float32")
    places = np.lib.stride_tricks.sliding_window_view(rows, 3, axis=1)
    expected = np.einsum("ntci,ico->nto", places, kernel)
    stored = kernel.transpose(2, 1, 0)[..., None] if old else kernel[:, None]
    conv = layer("Convolution1D", "c", nb_filter=4, filter_length=3, border_mode="valid",
                 subsample_length=1, bias=False, activation="linear",
                 batch_input_shape=[None, 6, 2])  # fmt: skip
    path = saved(tmp_path / "m.h5", "1.0.5", [conv], {"c": {"c_W:0": stored}})
    np.testing.assert_allclose(run(path, rows), expected, rtol=0, atol=1e-5)


def sigmoid(x):
    """Return the logistic function."""
    return 1 / (1 + np.exp(-x))


def test_cudnn_lstm_against_its_equations(tmp_path):
    """CuDNN keeps a gate's kernel as (units, inputs), row after row, and two biases a gate."""
    at, units, size = np.random.default_rng(3), 3, 2
    kernel, recurrent = at.normal(size=(size, 4 * units)), at.normal(size=(units, 4 * units))
    bias, rows = at.normal(size=8 * units), at.normal(size=(2, 5, size)).astype("float32")

    def matrix(stored, gate, width):
        memory = np.ascontiguousarray(stored[:, gate * units : (gate + 1) * units])
        return memory.reshape(units, width)

    given, kept = bias.reshape(2, 4, units)
    hidden = cell = np.zeros((2, units))
    for step in range(5):
        i, f, c, o = (
            rows[:, step] @ matrix(kernel, gate, size).T
            + hidden @ matrix(recurrent, gate, units).T
            + given[gate]
            + kept[gate]
            for gate in range(4)
        )
        cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(c)
        hidden = sigmoid(o) * np.tanh(cell)
    lstm = layer("CuDNNLSTM", "r", units=units, batch_input_shape=[None, 5, size])
    weights = {"r/kernel:0": kernel, "r/recurrent_kernel:0": recurrent, "r/bias:0": bias}
    path = saved(tmp_path / "m.h5", "2.2.2", [lstm], {"r": weights}, "tensorflow")
    np.testing.assert_allclose(run(path, rows), hidden, rtol=0, atol=1e-5)


def test_cudnn_gru_against_its_equations(tmp_path):
    """The GRU resets after the product, with a bias of its own there."""
    at, units, size = np.random.default_rng(4), 3, 2
    kernel, recurrent = at.normal(size=(size, 3 * units)), at.normal(size=(units, 3 * units))
    bias, rows = at.normal(size=6 * units), at.normal(size=(2, 5, size)).astype("float32")
    given, kept = bias.reshape(2, 3, units)
    inner = [k.reshape(units, size) for k in np.hsplit(kernel, 3)]
    loop = [k.reshape(units, units) for k in np.hsplit(recurrent, 3)]
    hidden = np.zeros((2, units))
    for step in range(5):
        z, r, h = (rows[:, step] @ inner[gate].T + given[gate] for gate in range(3))
        kz, kr, kh = (hidden @ loop[gate].T + kept[gate] for gate in range(3))
        z, r = sigmoid(z + kz), sigmoid(r + kr)
        hidden = z * hidden + (1 - z) * np.tanh(h + r * kh)
    gru = layer("CuDNNGRU", "r", units=units, batch_input_shape=[None, 5, size])
    weights = {"r/kernel:0": kernel, "r/recurrent_kernel:0": recurrent, "r/bias:0": bias}
    path = saved(tmp_path / "m.h5", "2.2.2", [gru], {"r": weights}, "tensorflow")
    assert layerprobe.list_layers(path).table.find("r").class_name == "CuDNNGRU"
    np.testing.assert_allclose(run(path, rows), hidden, rtol=0, atol=1e-5)

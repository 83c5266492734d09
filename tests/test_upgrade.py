"""Each step from a config of Keras 2 to one of Keras 3, alone, and what the steps leave alone."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
from model_files import dense, functional, old, old_model, sequential

from layerprobe.modelfile.contents import Contents
from layerprobe.modelfile.upgrade import keras2 as steps
from layerprobe.modelfile.upgrade import upgrade
from layerprobe.modelfile.upgrade.walk import layers_in


def contents(config, version="2.3.1", backend="tensorflow", kind="hdf5"):
    """Return a model file taken apart, as Keras 2 on TensorFlow would have written it."""
    return Contents(Path("m.h5"), kind, config, version, backend, None)


def layer(class_name, name="x", **config):
    """Return a layer as a list of a Sequential holds it."""
    return {"class_name": class_name, "config": {"name": name} | config}


def chain(*layers):
    """Return a Sequential of Keras 2.3."""
    return {"class_name": "Sequential", "config": {"name": "chain", "layers": list(layers)}}


def wrapped(inner):
    """Return layers that hold another one, in each of the places where Keras keeps them."""
    return [
        layer("TimeDistributed", layer=inner),
        layer("Bidirectional", layer=inner, backward_layer=inner),
        layer("Bidirectional", forward_layer=inner),
        layer("RNN", cell=inner),
        layer("RNN", cell=layer("StackedRNNCells", cells=[inner, inner])),
        {"class_name": "Sequential", "config": [inner]},
        chain(inner),
        old_model(old(inner, [["rows", 0, 0, {}]]), outputs=[[inner["config"]["name"], 0, 0]]),
    ]


def test_bare_lists_become_chains():
    """A Sequential whose config is a bare list gets a dict around it, at every depth."""
    first, second = dense("a"), dense("b")
    config = {"class_name": "Sequential", "config": [first, {"class_name": "Sequential",
              "config": [second], "name": "net"}]}  # fmt: skip
    steps._sequential_as_dict(config)
    assert config["config"] == {
        "name": "sequential",
        "layers": [
            first,
            {"class_name": "Sequential", "name": "net",
             "config": {"name": "net", "layers": [second]}},
        ],
    }  # fmt: skip


def test_chains_with_a_dict_stay():
    """A Sequential of a later Keras 2 is not changed by that step."""
    config = chain(dense())
    before = copy.deepcopy(config)
    steps._sequential_as_dict(config)
    assert config == before


def test_models_become_functional():
    """The class Model is Functional in Keras 3, at every depth, and nothing else is renamed."""
    inner = old_model(old(dense(), [["rows", 0, 0, {}]]), outputs=[["dense", 0, 0]], name="net")
    config = old_model(old(inner, [["rows", 0, 0, {}]]), outputs=[["net", 1, 0]])
    steps._functional_by_name(config)
    names = [config["class_name"], *(found["class_name"] for found in layers_in(config))]
    assert names == ["Functional", "InputLayer", "Functional", "InputLayer", "Dense"]


def test_a_chain_gets_its_input_layer():
    """`batch_input_shape` of the first layer becomes an InputLayer before it."""
    config = chain(dense(batch_input_shape=[None, 3], dtype="float32"), dense("b"))
    steps._explicit_input(config)
    head, first, second = config["config"]["layers"]
    assert head == {
        "class_name": "InputLayer",
        "config": {"name": "dense_input", "batch_shape": [None, 3], "dtype": "float32"},
    }
    assert first["config"] == {"name": "dense", "units": 2, "trainable": True, "dtype": "float32"}
    assert second == dense("b")


def test_tokens_stay_whole_numbers():
    """The InputLayer made for an Embedding takes int32, whatever the Embedding computes in."""
    config = chain(layer("Embedding", batch_input_shape=[None, 7], dtype="float32", input_dim=5))
    steps._explicit_input(config)
    assert config["config"]["layers"][0]["config"]["dtype"] == "int32"


def test_input_layers_keep_their_shape():
    """`batch_input_shape` of an InputLayer is called `batch_shape` now, in any kind of model."""
    config = old_model(old(dense(), [["rows", 0, 0, {}]]), outputs=[["dense", 0, 0]])
    steps._explicit_input(config)
    assert config["config"]["layers"][0]["config"] == {
        "name": "rows",
        "dtype": "float32",
        "batch_shape": [None, 3],
    }


def test_without_a_shape_there_is_no_input_layer():
    """A chain that never knew its input's shape is left to be built by its first rows."""
    config = chain(dense())
    steps._explicit_input(config)
    assert config == chain(dense())


@pytest.mark.parametrize("key", ["activation", "recurrent_activation"])
@pytest.mark.parametrize("place", range(8))
def test_hard_sigmoid_is_that_of_keras_2(key, place):
    """In every layer, however deep, hard_sigmoid is replaced, and the note names the layer."""
    config = chain(wrapped(layer("LSTM", "inner", **{key: "hard_sigmoid"}))[place])
    if place == 5:
        steps._sequential_as_dict(config)
    note = steps._hard_sigmoid(config)
    found = [x["config"] for x in layers_in(config) if x["config"].get("name") == "inner"]
    assert found
    for inner in found:
        assert inner[key]["config"] == "hard_sigmoid_keras2"
        assert inner[key]["registered_name"] == "layerprobe>hard_sigmoid_keras2"
    assert note == "hard_sigmoid of inner computed as Keras 2 did: clip(0.2 x + 0.5, 0, 1)"


def test_other_activations_stay():
    """Only hard_sigmoid is replaced, and without one there is no note."""
    config = chain(dense(activation="sigmoid"), layer("LSTM", recurrent_activation="sigmoid"))
    before = copy.deepcopy(config)
    assert steps._hard_sigmoid(config) == ""
    assert config == before


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (layer("BatchNormalization", axis=[3]), layer("BatchNormalization", axis=3)),
        (layer("LayerNormalization", axis=[1, 2]), layer("LayerNormalization", axis=[1, 2])),
        (
            dense(kernel_initializer={"class_name": "Zeros", "config": {"dtype": "float32"}}),
            dense(kernel_initializer={"class_name": "Zeros", "config": {}}),
        ),
        (dense(bias_initializer="zeros"), dense(bias_initializer="zeros")),
        (dense(bias_initializer={"config": None}), dense(bias_initializer={"config": None})),
        (layer("LSTM", time_major=False), layer("LSTM")),
        (layer("LSTM", time_major=True), layer("LSTM", time_major=True)),
        (layer("Embedding", input_length=7), layer("Embedding")),
        (layer("Embedding", input_length=None), layer("Embedding")),
        (dense(dtype=None), dense()),
        (dense(dtype="float64"), dense(dtype="float64")),
        (layer("GRU"), layer("GRU", reset_after=False)),
        (layer("GRU", reset_after=True), layer("GRU", reset_after=True)),
    ],
)
def test_spellings_that_changed_no_number(before, after):
    """Arguments that only changed their spelling are put into today's; others are kept."""
    config = chain(copy.deepcopy(before))
    assert steps._plain_arguments(config) == steps._without_no_ops(config) == ""
    assert config == chain(after)


def test_all_steps_reach_wrapped_layers():
    """Layers are found in wrappers, cells and models, each as often as it stands there."""
    counts = [
        sum(found["class_name"] == "Dense" for found in layers_in(chain(config)))
        for config in wrapped(dense("inner"))
    ]
    assert counts == [1, 2, 1, 1, 2, 1, 1, 1]


def test_the_given_config_is_left_as_it_was():
    """An upgrade works on a copy: what the listing shows stays what the file says."""
    first = layer("GRU", activation="hard_sigmoid", time_major=False)
    first["config"]["batch_input_shape"] = [None, 3, 2]
    second = layer("BatchNormalization", "norm", axis=[-1])
    config = {"class_name": "Sequential", "config": [first, second]}
    before = copy.deepcopy(config)
    upgraded = upgrade(contents(config))
    assert config == before
    assert upgraded.config != before
    assert [x["class_name"] for x in upgraded.config["config"]["layers"]] == [
        "InputLayer",
        "GRU",
        "BatchNormalization",
    ]
    assert len(upgraded.notes) == 1


@pytest.mark.parametrize("version", ["3.0.0", "3.15.1", "4.0.0"])
def test_configs_of_keras_3_are_not_touched(version):
    """A file of Keras 3 or later is handed on as it is, hard_sigmoid and all."""
    config = sequential(dense(activation="hard_sigmoid", dtype=None))
    upgraded = upgrade(contents(config, version, backend="torch", kind="keras"))
    assert upgraded.config is config
    assert upgraded.notes == ()
    assert upgrade(contents(functional(outputs=[["rows", 0, 0]]), version)).notes == ()

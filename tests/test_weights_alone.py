"""Files of weights with an architecture from elsewhere, and architectures with no weights."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from golden import TOLERANCE, errors_of
from test_keras1 import saved
from test_upgrade import layer

import layerprobe
from layerprobe.cli import main
from layerprobe.errors import ModelError, TrustError

FOLDER = Path(__file__).parent / "tf_keras"


@pytest.fixture
def apart(tmp_path):
    """Split a model of the last Keras 2 in two: its weights, and its config as JSON."""
    with h5py.File(FOLDER / "nested.h5") as whole, h5py.File(tmp_path / "w.h5", "w") as weights:
        for name, value in whole["model_weights"].attrs.items():
            weights.attrs[name] = value
        for name in whole["model_weights"]:
            whole.copy(f"model_weights/{name}", weights)
        config = json.loads(whole.attrs["model_config"])
    (tmp_path / "m.json").write_text(json.dumps(config))
    (tmp_path / "w.npz").write_bytes((FOLDER / "nested.npz").read_bytes())
    return tmp_path


def test_weights_alone_with_json_give_what_was_recorded(apart):
    """The numbers are those of the whole file."""
    found = dict(errors_of(apart / "w.h5", architecture=apart / "m.json"))
    assert len(found) == 7
    assert max(found.values()) < TOLERANCE


def test_another_model_may_describe_the_layers(apart):
    """Its own weights are not looked at."""
    found = dict(errors_of(apart / "w.h5", architecture=FOLDER / "nested.h5"))
    assert max(found.values()) < TOLERANCE


def test_layers_of_other_names_are_found_by_their_order(tmp_path):
    """As Keras itself does it: an architecture that was made anew may count its layers anew."""
    kernel = np.random.default_rng(1).normal(size=(3, 2)).astype("float32")
    weights = {"dense_7": {"dense_7/kernel:0": kernel}}
    old = layer("Dense", "dense_7", units=2, use_bias=False, batch_input_shape=[None, 3])
    path = saved(tmp_path / "w.h5", "2.4.0", [old], weights, "tensorflow")
    with h5py.File(path, "r+") as file:
        for name in file["model_weights"].attrs:
            file.attrs[name] = file["model_weights"].attrs[name]
        file.move("model_weights/dense_7", "dense_7")
        del file["model_weights"], file.attrs["model_config"]
    new = {**old, "config": {**old["config"], "name": "dense_1"}}
    (tmp_path / "m.json").write_text(json.dumps({"class_name": "Sequential", "config": [new]}))
    model = layerprobe.load(path, architecture=tmp_path / "m.json")
    rows = np.eye(3, dtype="float32")
    (found,) = layerprobe.backend.function(model.inputs, ["dense_1"])([rows])
    np.testing.assert_allclose(found, kernel, rtol=0, atol=1e-6)


def test_weights_of_keras_3(tmp_path):
    """The layout of model.save_weights in Keras 3 is that of its archives."""
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2), keras.layers.Dense(4)])
    model.save_weights(tmp_path / "m.weights.h5")
    (tmp_path / "m.json").write_text(model.to_json())
    read = layerprobe.load(tmp_path / "m.weights.h5", architecture=tmp_path / "m.json")
    rows = np.random.default_rng(2).normal(size=(5, 3)).astype("float32")
    (found,) = layerprobe.backend.function(read.inputs, read.outputs)([rows])
    np.testing.assert_allclose(found, model(rows), rtol=0, atol=1e-6)


def test_without_an_architecture_the_tensors_are_listed(apart):
    """The message names them with their shapes, and the option."""
    with pytest.raises(ModelError, match="holds weights but no architecture") as caught:
        layerprobe.list_layers(apart / "w.h5")
    assert "joined/joined/bias:0 (4,)" in str(caught.value)
    assert "--architecture model.json" in str(caught.value)


def test_an_architecture_in_yaml(apart):
    """With the tuples that Keras wrote; the listing is that of the JSON."""
    config = json.loads((apart / "m.json").read_text())
    config["config"]["layers"][0]["config"]["batch_input_shape"] = (None, 6)
    (apart / "m.yaml").write_text(yaml.dump(config))
    assert "!!python/tuple" in (apart / "m.yaml").read_text()
    listed = [row.to_json() for row in layerprobe.list_layers(apart / "m.yaml").table]
    assert listed == [row.to_json() for row in layerprobe.list_layers(apart / "m.json").table]


def test_yaml_makes_no_objects(tmp_path):
    """A tag for any object of Python is an error, and nothing is made."""
    text = "class_name: Sequential\nconfig: !!python/object/apply:os.mkdir [made]\n"
    (tmp_path / "m.yaml").write_text(text)
    with pytest.raises(TrustError, match="asks for Python objects to be made"):
        layerprobe.list_layers(tmp_path / "m.yaml")
    assert not Path("made").exists()


def test_an_architecture_alone_is_not_computed(apart):
    """It is listed; numbers need weights."""
    assert layerprobe.list_layers(apart / "m.json").params is None
    with pytest.raises(ModelError, match="holds no weights, only an architecture"):
        layerprobe.load(apart / "m.json")


def test_doctor_in_plain_words(apart):
    """Origin, changes, what is missing: of a whole model, and of weights with an architecture."""
    told = CliRunner().invoke(main, ["doctor", str(FOLDER / "operations.h5")]).output
    assert "made by Keras 2 (2017 to 2023), version 2.21.0, on tensorflow; hdf5 file" in told
    assert "layer outputs: 15, of which 15 can be computed" in told
    assert "changed: TensorFlow's operations computed by those of Keras" in told
    given = ["doctor", str(apart / "w.h5"), "--architecture", str(apart / "m.json"), "--json"]
    found = json.loads(CliRunner().invoke(main, given).output)
    assert (found["computed"], found["refused"]) == (found["layer_outputs"], None)
    alone = CliRunner().invoke(main, ["doctor", str(apart / "m.json")]).output
    assert "refused:" in alone
    assert "holds no weights" in alone


def test_the_listing_with_notes():
    """The table, then the words of doctor; in JSON under a key of its own."""
    path = str(FOLDER / "operations.h5")
    told = CliRunner().invoke(main, ["list-layers", path, "--notes"]).output
    assert "changed: TensorFlow's operations" in told
    found = json.loads(CliRunner().invoke(main, ["list-layers", path, "--notes", "--json"]).output)
    assert any("TensorFlow's operations" in note for note in found["notes"]["notes"])

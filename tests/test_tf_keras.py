"""Models of the last Keras 2 give what it computed, from .h5 files, archives and folders.

tests/tf_keras/make.py made the files with tf_keras 2.21, and recorded the numbers.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import golden
import h5py
import keras
import numpy as np
import pytest

import layerprobe
from layerprobe.modelfile.upgrade import operations

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("engine")]

FOLDER = Path(__file__).parent / "tf_keras"
MODELS = sorted(p for p in FOLDER.iterdir() if p.suffix in {".h5", ".keras", ".saved_model"})


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.name)
def test_every_layer_is_as_recorded(path):
    """To 2e-5 of the largest value, or of 1."""
    found = dict(golden.errors_of(path))
    assert {at: error for at, error in found.items() if not error < golden.TOLERANCE} == {}


def test_all_kinds_of_files_are_there():
    """Twelve models, six of them as archives too, two as folders."""
    assert [path.suffix for path in MODELS].count(".h5") == 12
    assert [path.suffix for path in MODELS].count(".keras") == 6
    assert [path.suffix for path in MODELS].count(".saved_model") == 2


def test_operations_that_are_let_in_can_be_computed():
    """The list that a file is checked against names what our layer has."""
    from layerprobe.backend.legacy import operations as computed

    assert computed.NAMES == (operations.FUNCTIONS, operations.NODES)


def test_notes_name_the_operations():
    """The user learns which operations were computed by another library's."""
    notes = layerprobe.load(FOLDER / "operations.h5").notes
    assert any(note.startswith("TensorFlow's operations computed by those of") for note in notes)


def declared(tmp_path, version, **inner):
    """Return the path of the masked model as if another Keras had made it."""
    path = shutil.copy(FOLDER / "masked.h5", tmp_path)
    with h5py.File(path, "r+") as file:
        file.attrs["keras_version"] = version
        config = json.loads(file.attrs["model_config"])
        for layer in config["config"]["layers"]:
            if layer["class_name"] == "Bidirectional":
                layer["config"]["layer"]["config"].update(inner)
        file.attrs["model_config"] = json.dumps(config)
    return path


def repeated(zeroed):
    """Return outputs of steps with those that are zeros replaced by the one before."""
    found = zeroed.copy()
    for step in range(1, found.shape[1]):
        masked = (zeroed[:, step] == 0).all(axis=-1)
        found[masked, step] = found[masked, step - 1]
    return found


@pytest.mark.parametrize(
    ("version", "repeats"),
    [("2.1.6-tf", True), ("2.2.4", True), ("2.3.1", True), ("2.2.4-tf", False), ("2.4.0", False)],
)
def test_masked_steps_of_bidirectional_are_those_of_the_version(tmp_path, version, repeats):
    """Standalone Keras repeated the output before; TensorFlow's gives zeros since 1.13."""
    with np.load(FOLDER / "masked.npz") as recorded:
        rows, expected = recorded["IN|0"], recorded["both|0|0"]
    if repeats:
        forth, back = expected[..., :2], expected[:, ::-1, 2:]
        expected = np.concatenate([repeated(forth), repeated(back)[:, ::-1]], axis=-1)
    model = layerprobe.load(declared(tmp_path, version, zero_output_for_mask=False))
    (found,) = layerprobe.backend.function(model.inputs, ["both"])([rows])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    assert repeats == any("the output before is repeated" in note for note in model.notes)


def test_what_two_versions_of_one_name_computed_otherwise_is_refused(tmp_path):
    """TensorFlow 1.13 and 1.14 both call their Keras 2.2.4-tf."""
    path = declared(tmp_path, "2.2.4-tf", zero_output_for_mask=True, return_sequences=False)
    with pytest.raises(layerprobe.ModelError, match="over masked steps"):
        layerprobe.load(path)


@pytest.mark.parametrize("name", ["m.h5", "m.keras"])
def test_normalization_computes_with_the_weights_of_the_file(tmp_path, name):
    """It makes a mean and a deviation of its weights when they are loaded."""
    rows = np.random.default_rng(1).normal(3, 2, (50, 4)).astype("float32")
    normal = keras.layers.Normalization(name="normal")
    normal.adapt(rows)
    keras.Sequential([keras.Input((4,)), normal]).save(tmp_path / name)
    model = layerprobe.load(tmp_path / name)
    (found,) = layerprobe.backend.function(model.inputs, ["normal"])([rows])
    expected = (rows - rows.mean(axis=0)) / rows.std(axis=0)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)

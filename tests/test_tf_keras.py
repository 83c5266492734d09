"""Models of the last Keras 2 give what it computed, from .h5 files, archives and folders.

tests/tf_keras/make.py made the files with tf_keras 2.21, and recorded the numbers.
"""

from __future__ import annotations

import io
import json
import re
import shutil
import zipfile
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
    """Thirteen models, six of them as archives too, three as folders."""
    assert [path.suffix for path in MODELS].count(".h5") == 13
    assert [path.suffix for path in MODELS].count(".keras") == 6
    assert [path.suffix for path in MODELS].count(".saved_model") == 3


def test_operations_that_are_let_in_can_be_computed():
    """The list that a file is checked against names what our layer has."""
    from layerprobe.backend.legacy import operations as computed

    assert computed.NAMES == (operations.FUNCTIONS, operations.NODES)


def test_notes_name_the_operations():
    """The user learns which operations were computed by another library's."""
    notes = layerprobe.load(FOLDER / "operations.h5").notes
    assert any(note.startswith("TensorFlow's operations computed by those of") for note in notes)


def as_keras_2_13(source, target):
    """Copy groups of weights as Keras 2.13 named them: who has weights was counted twice."""
    for name in source:
        if isinstance(source[name], h5py.Dataset):
            source.copy(name, target)
        elif name != "layers":
            as_keras_2_13(source[name], target.create_group(name))
        else:
            into, counts = target.create_group("_layer_checkpoint_dependencies"), {}
            for group in sorted(source[name], key=number_of):
                kind = re.sub(r"_\d+$", "", group)
                number = number_of(group) + counts.get(kind, 0)
                as_keras_2_13(
                    source[name][group], into.create_group(f"{kind}_{number}" if number else kind)
                )
                counts[kind] = counts.get(kind, 0) + has_weights(source[name][group])


def number_of(group):
    """Return the number at the end of a group's name, 0 where there is none."""
    return int((re.findall(r"_(\d+)$", group) or [0])[0])


def has_weights(group):
    """Tell whether there is data anywhere below a group."""
    found = []
    group.visititems(lambda _, item: found.append(isinstance(item, h5py.Dataset)))
    return any(found)


@pytest.mark.parametrize("name", [p.name for p in MODELS if p.suffix == ".keras"])
def test_archives_that_count_layers_twice(tmp_path, name):
    """Weights of Keras 2.12 and 2.13 come to the layers they belong to, also in the listing."""
    made = tmp_path / name
    with zipfile.ZipFile(FOLDER / name) as archive, zipfile.ZipFile(made, "w") as twice:
        with (
            h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as source,
            h5py.File(tmp_path / "w.h5", "w") as target,
        ):
            as_keras_2_13(source, target)
        for member in archive.namelist():
            data = archive.read(member)
            whole = (tmp_path / "w.h5").read_bytes() if member == "model.weights.h5" else data
            twice.writestr(member, whole)
    shutil.copy((FOLDER / name).with_suffix(".npz"), tmp_path)
    assert max(error for _, error in golden.errors_of(made)) < golden.TOLERANCE
    listed, expected = (layerprobe.list_layers(path).table for path in (made, FOLDER / name))
    assert [row.params for row in listed] == [row.params for row in expected]


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


def test_masks_that_a_version_did_not_look_at_or_hand_on(tmp_path):
    """Attention until 2.9 and ReLU until TensorFlow 2.4, against plain layers without a mask."""
    path = shutil.copy(FOLDER / "meeting.h5", tmp_path)
    with h5py.File(path, "r+") as file:
        file.attrs["keras_version"] = "2.4.0"
    model = layerprobe.load(path)
    with np.load(FOLDER / "meeting.npz") as recorded:
        rows = [recorded["IN|0"], recorded["IN|1"]]
        old, once = recorded["seen|0|0"], recorded["after_rectified|0|0"]
    one, other = (np.maximum(x, 0) for x in rows)
    seen, after = layerprobe.backend.function(model.inputs, ["seen", "after_rectified"])(rows)
    plain = keras.layers.MultiHeadAttention(1, 2)
    plain.build(one.shape, other.shape)
    plain.set_weights(model.keras.get_layer("seen").get_weights())
    np.testing.assert_allclose(seen, numbers(plain(one, other)), rtol=0, atol=1e-6)
    found = numbers(model.keras.get_layer("after_rectified")(other))
    np.testing.assert_allclose(after, found, rtol=0, atol=1e-6)
    assert np.abs(seen - old).max() > 1e-3
    assert np.abs(after - once).max() > 1e-3


def numbers(tensor):
    """Return what an eager call gave."""
    return keras.ops.convert_to_numpy(tensor)


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

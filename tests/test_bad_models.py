"""Every file that cannot be run, and every address that names no layer, gets a message that helps.

It says what happened, what was expected and what to do, in at most five lines and without a
traceback; the exit code is right and the folder is as it was. Each case is the command as somebody
might type it, in the folder that `command.sample_folder` makes.
"""

from __future__ import annotations

import io
import shutil
import zipfile

import h5py
import numpy as np
import pytest
from command import refused, sample_folder, typed

OUT = ["-o", "out.h5"]


@pytest.fixture(autouse=True)
def _folder(samples, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sample_folder(samples)


def cut(path, size):
    """Cut a file short."""
    with path.open("r+b") as file:
        file.truncate(size)


MODELS = [
    ("missing.keras", 66, "There is no file missing.keras.", "Did you mean"),
    ("cnn.kera", 66, "There is no file cnn.kera.", "Did you mean cnn.keras"),
    ("digits.npy", 65, "digits.npy is a NumPy array, not a model.", "Rows of data go to --input."),
    ("digits.h5", 65, "not a Keras model; it holds images, labels.", "Rows of data go to --input."),
    ("pairs.npz", 65, "pairs.npz is a zip archive without config.json.", "Expected: a .keras file"),
    ("empty.h5", 65, "empty.h5 is empty.", "Expected: a model file"),
    ("text.h5", 65, "is neither an HDF5 file nor a .keras archive.", "Expected: a model file"),
    (
        "weights.h5",
        65,
        "weights.h5 holds weights but no architecture.",
        "model.save('model.keras')",
    ),
    ("short.h5", 65, "short.h5 is a damaged HDF5 file", "get it again from where it came from"),
    ("short.keras", 65, "short.keras is a damaged .keras", "get it again from where it came from"),
    (".", 65, ". is a folder.", "save the model with model.save('model.keras')"),
]


@pytest.mark.parametrize("command", ["list-layers", "extract"])
@pytest.mark.parametrize(("file", "code", "what", "fix"), MODELS)
def test_what_is_no_model(capfd, tmp_path, command, file, code, what, fix):
    """A missing, foreign, weights-only or cut file says what it is; both commands say the same."""
    (tmp_path / "empty.h5").touch()
    (tmp_path / "text.h5").write_text("not a model")
    cut(shutil.copy("cnn.h5", tmp_path / "short.h5"), 30_000)
    cut(shutil.copy("cnn.keras", tmp_path / "short.keras"), 30_000)
    with h5py.File("cnn.h5") as model, h5py.File("weights.h5", "w") as weights:
        model.copy("model_weights/conv1", weights)
        weights.attrs["layer_names"] = np.array([b"conv1"])
    if file == "missing.keras":
        (tmp_path / "mising.keras").touch()
    arguments = ["-l", "all", *OUT] if command == "extract" else []
    message = refused(capfd, command, file, *arguments, code=code)
    assert what in message
    assert fix in message


LAYERS = [
    (["cnn.h5"], "No layer was asked for.", "list-layers cnn.h5"),
    (["cnn.h5", "-l", "conv"], "No layer matches 'conv'.", "closest: conv2, conv1"),
    (["cnn.h5", "-l", "features", "-l", "Logits"], "No layer matches 'Logits'.", "closest: logits"),
    (["cnn.h5", "-l", "13"], "No layer matches '13'.", "a number from -13 to 12"),
    (["cnn.h5", "-l", "-14"], "No layer matches '-14'.", "a number from -13 to 12"),
    (["cnn.h5", "-l", "class:Conv1D"], "No layer matches 'class:Conv1D'.", "closest: Conv2D"),
    (["cnn.h5", "-l", "block*"], "No layer matches 'block*'.", "list-layers"),
    (["cnn.h5", "-l", "re:("], "'re:(' cannot be understood", "regular expression"),
    (["cnn.h5", "-l", "conv1:1"], "No layer matches 'conv1:1'.", "closest: conv1"),
    (["pairs.keras", "-l", "encoder"], "called 2 times", "encoder@0, encoder@1"),
    (["pairs.keras", "-l", "encoder/pool1"], "", "encoder@0/pool1, encoder@1/pool1"),
    (["pairs.keras", "-l", "encoder@2"], "No layer matches 'encoder@2'.", "encoder@1"),
    (["cnn.h5", "-l", "logits", "--from", "flatt"], "No layer matches 'flatt'.", "closest: flat"),
    (["cnn.h5", "-l", "conv1", "--from", "flat"], "conv1 cannot be computed from flat", "images"),
]


@pytest.mark.parametrize(("arguments", "what", "near"), LAYERS)
def test_an_address_of_none_or_of_several(capfd, arguments, what, near):
    """An unknown or ambiguous layer is a usage error that names the nearest addresses."""
    message = refused(capfd, "extract", *arguments, *OUT, code=2)
    assert what in message
    assert near in message


def custom_models():
    """Save three models that need code: a Lambda, a registered class, an unregistered one."""
    import keras

    class Odd(keras.layers.Layer):
        def call(self, x):
            return x + 1

    def saved(layer, path):
        rows = keras.Input((3,), name="rows")
        keras.Model(rows, layer(rows)).save(path)

    saved(keras.layers.Lambda(lambda x: x + 1, name="own"), "lambda.keras")
    saved(Odd(name="own"), "unregistered.keras")
    registered = keras.saving.register_keras_serializable("theirs")(type("Even", (Odd,), {}))
    saved(registered(name="own"), "registered.keras")


@pytest.mark.parametrize("kind", ["lambda", "unregistered", "registered"])
def test_a_model_that_needs_code_of_its_own(capfd, kind):
    """Such a model is listed but not run (exit code 77), even if its code is at hand."""
    custom_models()
    message = refused(capfd, "extract", f"{kind}.keras", "-l", "own", *OUT, code=77)
    assert "layer 'own' is" in message
    assert "no code that a file brings along is run" in message
    done = typed(capfd, "list-layers", f"{kind}.keras")
    assert done.code == 0
    assert "own" in done.stdout


def damage_weights(path, change):
    """Apply a change to the group of the Dense layer `features` in a model file."""
    if path.endswith(".h5"):
        with h5py.File(path, "r+") as file:
            change(file["model_weights/features/features"], "kernel")
        return
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    weights = io.BytesIO(members["model.weights.h5"])
    with h5py.File(weights, "r+") as file:
        change(file["layers/dense/vars"], "0")
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in (members | {"model.weights.h5": weights.getvalue()}).items():
            archive.writestr(name, content)


def _misshape(group, name):
    kernel = group[name][:]
    del group[name]
    group[name] = kernel[:, :-1]


def _drop(group, name):
    del group[name]


def _turn_into_text(group, name):
    del group[name]
    group[name] = np.array([b"no number"])


def _empty(group, _):
    group.clear()


@pytest.mark.parametrize("file", ["cnn.h5", "cnn.keras"])
@pytest.mark.parametrize("change", [_misshape, _drop, _turn_into_text, _empty])
def test_weights_that_do_not_fit_their_layer(capfd, file, change):
    """A weight of another shape or kind, or none at all, is never left at its random start."""
    damage_weights(file, change)
    message = refused(capfd, "extract", file, "-l", "logits", *OUT, code=65)
    assert f"Keras cannot build the model of {file}: " in message
    assert "list-layers still lists its layers." in message


@pytest.mark.parametrize("file", ["cnn.h5", "cnn.keras"])
def test_a_model_without_weights(capfd, file):
    """A file whose weights are gone is refused, not run with random ones."""
    if file.endswith(".h5"):
        with h5py.File(file, "r+") as model:
            del model["model_weights"]
    else:
        with zipfile.ZipFile(file) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        with zipfile.ZipFile(file, "w") as archive:
            for name in ("config.json", "metadata.json"):
                archive.writestr(name, members[name])
    message = refused(capfd, "extract", file, "-l", "logits", *OUT, code=65)
    assert f"{file} holds no weights, only an architecture." in message

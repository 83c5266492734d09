"""Hostile models given to `extract` as somebody might type it: rows 6 to 17 of the table.

The files are those of the package `hostile`. Each ends with its exit code and a message of at most
five lines; its payload writes no marker, and the folder is as it was.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest
from command import ROOT, refused, sample_folder, typed
from hostile import Place, cases
from hostile.graphs import holding

# Row -> the exit code, the rules of its cases, and what a message says of the reason.
ROWS = {
    6: (77, {"lambda-bytecode"}, ""),
    7: (77, {"lambda-function", "keras-function", "foreign-module"}, ""),
    8: (77, {"custom-class", "custom-function"}, ""),
    9: (77, {"external-model"}, ""),
    10: (77, {"vocabulary-path"}, "vocabulary"),
    11: (77, {"hdf5-link", "hdf5-storage", "hdf5-twice", "hdf5-filter"}, "hdf5-"),
    12: (77, {"folder-link"}, "folder-link"),
    13: (77, {"zip-path", "zip-link", "zip-duplicate", "zip-contradiction"}, "zip-"),
    14: (77, {"zip-bomb", "hdf5-bomb", "weights-bomb", "activation-bomb"}, "-bomb"),
    15: (65, {"config-depth", "config-size", "duplicate-keys", "not-a-number"}, " config in "),
    16: (65, {"graph-io", "graph-python", "graph-operation"}, ""),
    17: (77, {"graph-asset"}, "graph-asset"),
}
# What is no model of Keras for another reason that is told first, and so is not opened either.
NO_MODEL = {
    *("lambda in json", "lambda in a folder", "vocabulary is a link", "config is a link"),
    "array of petabytes in npz",
}
# Its code is in the loss, which is never built.
HARMLESS = {"loss with bytecode"}
FOLDER = ROOT / "tests" / "tf_keras" / "recurrent_folder.saved_model"


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("row", ROWS)
def test_hostile_models(capfd, tmp_path, row):
    """The exit code and the reason are right; nothing is run, written or left."""
    code, rules, reason = ROWS[row]
    chosen = [c for c in cases() if c.rule in rules and c.name not in HARMLESS]
    assert chosen
    for number, case in enumerate(chosen):
        path, place = case.made_in(tmp_path / str(number))
        model = path.relative_to(tmp_path)
        expected = 65 if case.name in NO_MODEL else code
        message = refused(capfd, "extract", model, "-l", "all", "-o", "out.h5", code=expected)
        assert expected != code or reason in message, (case.name, message)
        assert str(place.secret) in message or "a secret" not in message
        assert not place.marker.exists(), case.name
        shutil.rmtree(tmp_path / str(number))


def test_what_to_do_about_code(capfd, tmp_path, samples):
    """6 to 8: code of the file names its layer and the hash to trust; a class, what brings it."""
    sample_folder(samples)
    by_name = {case.name: case for case in cases()}
    for number, name in enumerate(["lambda in keras", "lambda calling the author", "custom class"]):
        path, _ = by_name[name].made_in(tmp_path / str(number))
        message = refused(capfd, "extract", path, "-l", "all", "-o", "out.h5", code=77)
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        trust = "--custom-objects FILE.py" if name == "custom class" else f"--trust {sha256}"
        assert trust in message, message
        assert "layer '" in message


@pytest.mark.parametrize("part", ["saved_model.pb", "keras_metadata.pb", "variables.index"])
@pytest.mark.parametrize("how", ["half", "noise"])
def test_a_part_of_a_folder_that_is_cut(capfd, tmp_path, part, how):
    """17: a cut graph, config or index is damage, and told with the folder's name."""
    shutil.copytree(FOLDER, "model")
    graph = holding("Conv2D")(Place(tmp_path / "sound", tmp_path / "m", tmp_path / "s"))
    shutil.copy(graph / "saved_model.pb", "model/saved_model.pb")
    given = ("extract", "model", "-l", "all", "-o", "out.h5")
    assert typed(capfd, *given, "--dry-run").code == 0
    file = next(Path("model").rglob(part))
    held = file.read_bytes()
    file.write_bytes(held[: len(held) // 2] if how == "half" else b"\xff" * 99)
    message = refused(capfd, *given, code=65)
    assert "is damaged or incomplete" in message or "model is a damaged SavedModel" in message
    assert "Get the whole folder again" in message


def test_a_folder_without_variables(capfd):
    """17: listed, and refused with what is missing."""
    shutil.copytree(FOLDER, "model")
    for file in Path("model", "variables").iterdir():
        file.unlink()
    message = refused(capfd, "extract", "model", "-l", "all", "-o", "out.h5", code=65)
    assert "model holds no weights" in message

"""Models of the last Keras 2 give what it computed, from .h5 files, archives and folders.

tests/tf_keras/make.py made the files with tf_keras 2.21, and recorded the numbers.
"""

from __future__ import annotations

from pathlib import Path

import golden
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
    """Eight models, six of them as archives too, two as folders."""
    assert [path.suffix for path in MODELS].count(".h5") == 8
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

"""Cropping of Keras 2, which may leave nothing; Keras 3 refuses to build such a layer."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from test_keras1 import saved
from test_upgrade import layer

import layerprobe
from layerprobe.errors import ModelError

LAST, FIRST = {"data_format": "channels_last"}, {"data_format": "channels_first"}
CASES = [
    ("Cropping1D", [5, 2], [1, 2], {}, [1, 1]),
    ("Cropping2D", [4, 3, 2], [[1, 0], [0, 1]], LAST, [[2, 2], [0, 0]]),
    (
        "Cropping2D",
        [2, 4, 3],
        [[0, 2], [1, 1]],
        FIRST,
        [[0, 3], [0, 0]],
    ),
    ("Cropping3D", [4, 4, 3, 2], [[1, 1], [0, 1], [1, 0]], LAST, [[1, 1], [2, 2], [0, 0]]),
]


def cropped(rows, pairs, *, first):
    """Return rows cropped by hand."""
    pairs = pairs if isinstance(pairs[0], list) else [pairs]
    for axis, (before, after) in enumerate(pairs, 2 if first else 1):
        rows = np.take(rows, range(before, max(rows.shape[axis] - after, before)), axis=axis)
    return rows


@pytest.mark.parametrize(("class_name", "shape", "part", "settings", "rest"), CASES)
def test_what_is_left_is_computed(tmp_path, class_name, shape, part, settings, rest):
    """What a first layer leaves, and the nothing that a second one does."""
    layers = [
        layer(class_name, "some", cropping=part, batch_input_shape=[None, *shape], **settings),
        layer(class_name, "none", cropping=rest, **settings),
    ]
    path = saved(tmp_path / "m.h5", "2.2.4", layers, {}, "tensorflow")
    model = layerprobe.load(path)
    rows = np.random.default_rng(1).random((3, *shape)).astype("float32")
    some, none = layerprobe.backend.function(model.inputs, ["some", "none"])([rows])
    first = settings.get("data_format") == "channels_first"
    expected = cropped(rows, part, first=first)
    assert some.size
    np.testing.assert_array_equal(some, expected)
    assert none.size == 0
    assert none.shape == cropped(expected, rest, first=first).shape
    with pytest.raises(ModelError, match="that leaves nothing"):
        layerprobe.convert(path, tmp_path / "new.keras")


def test_cropping_that_leaves_something_becomes_a_plain_layer(tmp_path):
    """Plain Keras loads the new file, without layers of ours."""
    crop = layer("Cropping1D", "some", cropping=[1, 2], batch_input_shape=[None, 5, 2])
    path = saved(tmp_path / "m.h5", "2.2.4", [crop], {}, "tensorflow")
    layerprobe.convert(path, tmp_path / "new.keras")
    made = keras.saving.load_model(tmp_path / "new.keras")
    rows = np.random.default_rng(1).random((3, 5, 2)).astype("float32")
    np.testing.assert_array_equal(made.predict(rows, verbose=0), rows[:, 1:-2])

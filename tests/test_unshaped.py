"""Sequential models without an input shape: it follows from the first layer's weights."""

from __future__ import annotations

import numpy as np
import pytest
from test_keras1 import saved
from test_upgrade import layer

import layerprobe


@pytest.mark.parametrize(
    ("first", "kernel", "expected"),
    [
        (layer("Dense", "a", units=4), (6, 4), (None, 6)),
        (layer("LSTM", "a", units=4), (3, 16), (None, None, 3)),
        (layer("Conv2D", "a", filters=4, kernel_size=[3, 2]), (3, 2, 5, 4), (None, None, None, 5)),
    ],
)
def test_the_shape_follows_from_the_kernel(tmp_path, first, kernel, expected):
    """What the file does not say is in the sizes of its weights; a note tells it."""
    weights = {"a/kernel:0": np.zeros(kernel), "a/bias:0": np.zeros(4)}
    path = saved(tmp_path / "m.h5", "2.4.0", [first], {"a": weights}, "tensorflow")
    file = layerprobe.list_layers(path)
    assert file.inputs[0].shape == expected
    assert any("follows from the first layer's weights" in note for note in file.contents.notes)


def test_where_weights_do_not_tell_the_shape_stays_unknown(tmp_path):
    """A layer without weights first, or a kernel that does not fit its layer."""
    flat = saved(tmp_path / "a.h5", "2.4.0", [layer("Flatten", "a")], {}, "tensorflow")
    assert layerprobe.list_layers(flat).inputs[0].shape is None
    odd = saved(tmp_path / "b.h5", "2.4.0", [layer("Dense", "a", units=4)],
                {"a": {"a/kernel:0": np.zeros((5, 3))}}, "tensorflow")  # fmt: skip
    assert layerprobe.list_layers(odd).inputs[0].shape is None

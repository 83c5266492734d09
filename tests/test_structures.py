"""Inputs and outputs in lists and dicts, inputs that may be missing, rows of different lengths."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from layerprobe import backend as K  # noqa: N812 - the name that users of Keras 2 gave it

pytestmark = pytest.mark.engine
ONES = np.ones((2, 3), "float32")


def test_outputs_in_a_dict_keep_their_names() -> None:
    """Whatever the order of the keys, and one in another."""
    x = keras.Input((3,))
    outputs = {"b": x * 2.0, "a": [x * 3.0, {"d": x * 4.0, "c": x * 5.0}]}
    result = K.function([x], outputs)([ONES])
    found = {"b": result["b"], "a": result["a"][0], **result["a"][1]}
    expected = {"b": 2, "a": 3, "d": 4, "c": 5}
    assert {name: float(value[0, 0]) for name, value in found.items()} == expected

"""Inputs and outputs in lists and dicts, inputs that may be missing, rows of different lengths."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from layerprobe import backend as K  # noqa: N812 - the name that users of Keras 2 gave it
from layerprobe.errors import DataError

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


class Shifted(keras.layers.Layer):
    """Adds a second tensor, if it is given."""

    def call(self, x: Any, shift: Any = None) -> Any:
        return x if shift is None else x + shift


@pytest.mark.parametrize("nested", [False, True])
def test_optional_inputs_may_be_missing(nested: bool) -> None:
    """None for an input that may be None, in a nested model too; for any other it is refused."""
    x, shift = keras.Input((3,), name="x"), keras.Input((3,), name="shift", optional=True)
    model = keras.Model([x, shift], Shifted()(x, shift))
    if nested:
        a, b = keras.Input((3,), name="x"), keras.Input((3,), name="shift", optional=True)
        model = keras.Model([a, b], model([a, b]))
    function = K.function(model.inputs, model.outputs)
    for given, expected in (([ONES, ONES], 2.0), ([ONES, None], 1.0), ([ONES, 3 * ONES], 4.0)):
        np.testing.assert_array_equal(function(given)[0], ONES * expected)
    with pytest.raises(DataError, match="'x'"):
        function([None, ONES])


def test_rows_of_different_lengths_are_refused() -> None:
    """Ragged rows are refused by the name of the input."""
    x = keras.Input((None,), name="x")
    with pytest.raises(DataError, match="'x' is no array: its rows differ in length"):
        K.function([x], [x * 2.0])([[[1.0], [1.0, 2.0]]])

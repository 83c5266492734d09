"""Rows made up without data are the same at every call and fit what the model takes."""

from __future__ import annotations

import numpy as np
import pytest

from layerprobe.errors import DataError
from layerprobe.layers import TensorSpec
from layerprobe.synthetic import ROWS, UNKNOWN_SIZE, synthetic_rows

SPECS = [
    TensorSpec("image", (None, 8, 8, 3), "float32"),
    TensorSpec("tokens", (None, None), "int32"),
    TensorSpec("flag", (None, 4), "bool"),
    TensorSpec("pixels", (4, 50), "uint8"),
    TensorSpec("half", (None, 2), "bfloat16"),
    TensorSpec("number", (None,), "float16"),
    TensorSpec("count", (None, 30), "int64"),
]


def test_they_are_the_same_at_every_call():
    """Two calls give the same bytes, whatever NumPy's own generator did in between."""
    first = synthetic_rows(SPECS, {"tokens": 50})
    np.random.default_rng().random(100)
    second = synthetic_rows(SPECS, {"tokens": 50})
    assert {n: a.tobytes() for n, a in first.items()} == {n: a.tobytes() for n, a in second.items()}


def test_they_have_the_shape_and_dtype_of_the_input():
    """Rows come first, sizes left open are 32, bfloat16 is made as float32."""
    made = synthetic_rows(SPECS, {"tokens": 50})
    assert {name: (rows.shape, str(rows.dtype)) for name, rows in made.items()} == {
        "image": ((ROWS, 8, 8, 3), "float32"),
        "tokens": ((ROWS, UNKNOWN_SIZE), "int32"),
        "flag": ((ROWS, 4), "bool"),
        "pixels": ((ROWS, 50), "uint8"),
        "half": ((ROWS, 2), "float32"),
        "number": ((ROWS,), "float16"),
        "count": ((ROWS, 30), "int64"),
    }
    assert synthetic_rows(SPECS[:1], {}, rows=3)["image"].shape == (3, 8, 8, 3)


def test_their_values_are_those_the_model_can_take():
    """Floats in [0, 1), tokens from 1 to below the limit, bytes to 255, other integers 0 or 1."""
    made = synthetic_rows(SPECS, {"tokens": 50})
    assert 0 <= made["image"].min() < made["image"].max() < 1
    assert set(np.unique(made["tokens"])) == set(range(1, 50))
    assert set(np.unique(made["flag"])) == {False, True}
    assert made["pixels"].max() > 200
    assert set(np.unique(made["count"])) == {0, 1}


@pytest.mark.parametrize(("limit", "wanted"), [(1, {0}), (2, {1}), (3, {1, 2})])
def test_a_small_vocabulary_is_not_exceeded(limit, wanted):
    """Token 0, which many models take for padding, appears only where there is no other."""
    made = synthetic_rows([TensorSpec("tokens", (None, 20), "int32")], {"tokens": limit})
    assert set(np.unique(made["tokens"])) == wanted


def test_two_inputs_do_not_get_the_same_rows():
    """Inputs alike in shape get different rows, so that their difference is not zero."""
    twins = [TensorSpec(name, (None, 5), "float32") for name in ("left", "right")]
    made = synthetic_rows(twins, {})
    assert not np.array_equal(made["left"], made["right"])


@pytest.mark.parametrize(
    ("shape", "dtype"), [(None, "float32"), ((None,), None), ((None,), "string")]
)
def test_what_cannot_be_made_up_asks_for_data(shape, dtype):
    """An input of unknown shape or kind, or of text, is an error that says to give --input."""
    with pytest.raises(DataError, match=r"input 'x' cannot be made up.*\n?Give data with --input"):
        synthetic_rows([TensorSpec("x", shape, dtype)], {})

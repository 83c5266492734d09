"""Numbers that an embedding has no row for: refused by every engine; not NaN, not zeros."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from layerprobe import backend as K  # noqa: N812 - the name that users of Keras 2 gave it
from layerprobe.errors import BackendError, DataError

pytestmark = pytest.mark.engine("tensorflow", "jax", "torch", "openvino")


@pytest.mark.parametrize(
    ("dtype", "bad"), [("int32", 4), ("int32", -1), ("float32", 1.5), ("float32", np.nan)]
)
def test_a_number_without_a_row_is_refused(dtype: str, bad: float) -> None:
    """Named, with those that are taken; the rows of the others are NumPy's."""
    numbers = keras.Input((2,), dtype=dtype, name="numbers")
    embedding = keras.layers.Embedding(4, 3, name="words")
    function = K.function([numbers], embedding(numbers))
    good = np.array([[0, 3], [2, 2]], dtype)
    table = keras.ops.convert_to_numpy(embedding.embeddings)
    np.testing.assert_array_equal(function([good]), table[good.astype(int)])
    with pytest.raises(DataError, match=f"'numbers' holds {bad}\\.") as caught:
        function([np.array([[0, bad], [2, 2]], dtype)])
    assert "from 0 to 3, as words takes them" in str(caught.value)


def test_an_empty_batch_and_other_layers_are_left_alone() -> None:
    """Only what is looked up has a limit."""
    numbers = keras.Input((2,), dtype="int32")
    looked_up = keras.layers.Embedding(4, 3)(numbers)
    function = K.function([numbers], [looked_up, numbers * 2])
    assert function([np.zeros((0, 2))])[0].shape == (0, 2, 3)
    assert K.function([numbers], numbers * 2)([[[9, -9]]]).tolist() == [[18, -18]]


def test_nothing_to_compute_is_refused() -> None:
    """Neither outputs nor updates."""
    x: Any = keras.Input((2,))
    with pytest.raises(BackendError, match="nothing to compute"):
        K.function([x], [])

"""Which inputs are token numbers, told from the graph alone."""

from __future__ import annotations

from pathlib import Path

import keras
import pytest

import layerprobe

pytestmark = pytest.mark.engine("tensorflow")


def test_the_smallest_table_behind_an_input_counts(tmp_path: Path) -> None:
    """Token numbers are followed through layers that pass them on, into nested models too."""
    words = keras.Input((6,), dtype="int32", name="words")
    numbers = keras.Input((2,), name="numbers")
    inner_input = keras.Input((6,), dtype="int32")
    inner = keras.Model(inner_input, keras.layers.Embedding(7, 2)(inner_input), name="inner")
    shaped = keras.layers.Reshape((6,))(words)
    outputs = [inner(shaped), keras.layers.Embedding(9, 2)(words), keras.layers.Dense(2)(numbers)]
    keras.Model([words, numbers], outputs).save(tmp_path / "m.keras")
    file = layerprobe.list_layers(tmp_path / "m.keras")
    assert file.token_limit("words") == 7
    assert file.token_limit("numbers") is None

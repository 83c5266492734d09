"""Extraction in the training phase: what Keras' own layers do there, and reproducible."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pytest

import layerprobe
from layerprobe.errors import DataError

pytestmark = pytest.mark.engine
Array = npt.NDArray[Any]


def saved(folder: Path, *layers: Any) -> tuple[Path, Any]:
    """Return the file of a chain of layers on rows of four numbers, and the live model."""
    model = keras.Sequential([keras.Input((4,)), *layers])
    path = folder / "model.keras"
    model.save(path)
    return path, model


def extracted(path: Path, given: Array, **options: Any) -> dict[str, Array]:
    """Return what extraction of the last layer writes, by address."""
    out = path.parent / "out.h5"
    layerprobe.extract(path, ["-1"], given, out, overwrite=True, **options)
    with layerprobe.open_dump(out) as dump:
        return {address: np.asarray(dump[address]) for address in dump}


def test_batches_normalise_themselves_and_the_last_one_is_not_filled_up(tmp_path: Path) -> None:
    """Seven rows in batches of four are what the layer gives for rows 0 to 3 and 4 to 6."""
    path, model = saved(tmp_path, keras.layers.BatchNormalization(name="norm"))
    rows = np.random.default_rng(0).normal(3, 2, (7, 4)).astype("float32")
    found = extracted(path, rows, phase="train", batch_size=4)["norm"]
    parts = [model(part, training=True) for part in np.split(rows, [4])]
    parts = [keras.ops.convert_to_numpy(part) for part in parts]
    np.testing.assert_allclose(found, np.concatenate(parts), atol=1e-6)
    at_test = extracted(path, rows)["norm"]
    np.testing.assert_allclose(at_test, rows / np.sqrt(1.001), rtol=1e-5)


def test_the_seed_fixes_the_random_numbers(tmp_path: Path) -> None:
    """The same seed gives the same rows, also from a later start; another seed gives others."""
    path, _ = saved(tmp_path, keras.layers.Dropout(0.5, name="drop"))
    ones = np.ones((64, 4), "float32")
    first = extracted(path, ones, phase="train", seed=3, batch_size=16)["drop"]
    again = extracted(path, ones, phase="train", seed=3, batch_size=16)["drop"]
    later = extracted(path, ones, phase="train", seed=3, batch_size=16, rows=(32, 64))["drop"]
    other = extracted(path, ones, phase="train", seed=4, batch_size=16)["drop"]
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first[32:], later)
    assert (first != other).any()
    assert set(np.unique(first)) == {0, 2}
    assert (first[:16] != first[16:32]).any()


def test_samples_have_the_mean_and_variance_of_dropout(tmp_path: Path) -> None:
    """Dropout of one half gives 0 or 2 with equal chance: mean 1, variance 1."""
    path, _ = saved(tmp_path, keras.layers.Dropout(0.5, name="drop"))
    found = extracted(path, np.ones((50, 4), "float32"), mc_samples=100)
    assert list(found) == ["drop:mean", "drop:variance"]
    mean, variance = found["drop:mean"], found["drop:variance"]
    assert abs(mean.mean() - 1) < 0.05
    # Of n draws of 0 or 2 with mean m, the variance is m * (2 - m) exactly.
    np.testing.assert_allclose(variance, mean * (2 - mean), atol=1e-5)
    assert mean.std() > 0.05


def test_what_makes_no_sense_is_refused_and_what_does_little_is_said(tmp_path: Path) -> None:
    """Samples of the test phase are an error; samples without randomness get a note."""
    path, _ = saved(tmp_path, keras.layers.Dense(2, name="dense"))
    rows = np.ones((3, 4), "float32")
    for options in ({"phase": "test", "mc_samples": 3}, {"phase": "both"}, {"seed": -1}):
        with pytest.raises(DataError) as caught:
            layerprobe.extract(path, ["dense"], rows, tmp_path / "o.h5", **options)
        assert caught.value.exit_code == 2
    report = layerprobe.extract(path, ["dense"], rows, tmp_path / "o.h5", mc_samples=3)
    assert any("every pass gives the same" in note for note in report.notes)

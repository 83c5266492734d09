"""Activations stored in fewer bits: against casts by NumPy and ml_dtypes, read by plain h5py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import keras
import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
from command import typed

import layerprobe
from layerprobe.errors import DataError, OutputError

pytestmark = pytest.mark.engine("tensorflow", "jax", "torch", "openvino")
Array = npt.NDArray[Any]
KINDS = {"float16": np.dtype("float16"), "bfloat16": np.dtype(ml_dtypes.bfloat16)}
# The last number that is rounded to the largest one, and the first that is not.
ENDS = {"float16": (65519.996, 65520.0), "bfloat16": (3.3961774e38, 3.3961775e38)}


@pytest.fixture
def same(tmp_path: Path) -> Path:
    """Save a model that gives back its input, of two numbers a row."""
    x = keras.Input((2,))
    keras.Model(x, keras.layers.Activation("linear", name="same")(x)).save(tmp_path / "m.keras")
    return tmp_path / "m.keras"


def by_h5py(path: Path, name: str) -> Array:
    """Return a dataset as plain h5py reads it."""
    with h5py.File(path) as file:
        return np.asarray(file[name])


@pytest.mark.parametrize("kind", KINDS)
def test_values_are_rounded_as_numpy_rounds_them(samples: Path, tmp_path: Path, kind: str) -> None:
    """Of a sample model, with a last batch that is filled up; verified and computed anew."""
    model, data, layers = samples / "digits_cnn.h5", samples / "data/digits.npy", ["conv1", "flat"]
    layerprobe.extract(model, layers, data, tmp_path / "o.h5", dtype=kind, rows=(0, 83))
    layerprobe.extract(model, layers, data, tmp_path / "p.h5", rows=(0, 83))
    for name in layers:
        expected = by_h5py(tmp_path / "p.h5", name).astype(KINDS[kind])
        # Who does not know bfloat16 reads float32, and never opaque bytes.
        plain = np.float16 if kind == "float16" else np.float32
        np.testing.assert_array_equal(
            by_h5py(tmp_path / "o.h5", name), expected.astype(plain), strict=True
        )
        with layerprobe.open_dump(tmp_path / "o.h5") as dump:
            np.testing.assert_array_equal(dump[name][:], expected, strict=True)
            np.testing.assert_array_equal(dump[name][80:-1], expected[80:-1], strict=True)
    assert layerprobe.verify(tmp_path / "o.h5").faults == ()
    assert layerprobe.recompute(tmp_path / "o.h5", 7).worst[1] == 0


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_too_large_is_counted_apart_from_inf(tmp_path: Path, same: Path, kind: str) -> None:
    """Finite numbers that become Inf; not NaN and Inf that were there, nor copies of a last row."""
    fits, not_quite = ENDS[kind]
    rows = np.array([[fits, -not_quite], [np.inf, 1], [np.nan, -fits], [not_quite, 1]], "float32")
    given = [same, "same", rows, tmp_path / "o.h5"]
    report = layerprobe.extract(*given, dtype=kind, batch_size=3)
    found = report.nonfinite["same"]
    assert (found.nan, found.inf, found.overflow) == (1, 3, 2)
    with np.errstate(over="ignore"):
        expected = rows.astype(KINDS[kind]).astype("float32")
    assert np.isinf(expected).sum() == 3
    np.testing.assert_array_equal(by_h5py(tmp_path / "o.h5", "same").astype("float32"), expected)
    (entry,) = json.loads((tmp_path / "o.h5.json").read_text())["datasets"]
    assert (entry["nan"], entry["inf"], entry["overflow"]) == (1, 3, 2)
    with pytest.raises(DataError, match=r"same is NaN or infinite in row 0"):
        layerprobe.extract(same, "same", rows[:1], tmp_path / "p.h5", dtype=kind, fail_on_nan=True)


@pytest.mark.engine("tensorflow", "jax", "torch")  # OpenVINO draws no random numbers
def test_means_of_samples_are_cast_and_counted_when_they_are_there(
    tmp_path: Path, same: Path
) -> None:
    """These are computed from samples that have left the device."""
    rows = np.array([[1e5, 2], [3, 4]], "float32")
    given: dict[str, Any] = {"dtype": "float16", "mc_samples": 2}
    report = layerprobe.extract(same, "same", rows, tmp_path / "o.h5", **given)
    assert by_h5py(tmp_path / "o.h5", "same%3Amean").tolist() == [[np.inf, 2], [3, 4]]
    assert report.nonfinite["same:mean"].overflow == 1
    assert "same:variance" not in report.nonfinite


@pytest.mark.engine("tensorflow", "jax", "torch")  # OpenVINO rounds inputs in another way
def test_a_model_in_bfloat16_is_stored_as_float32_unless_asked(tmp_path: Path) -> None:
    """As it was before there was a choice, with a note; with --dtype as it is."""
    x = keras.Input((3,))
    half = keras.layers.Activation("linear", dtype="bfloat16", name="half")(x)
    keras.Model(x, half).save(tmp_path / "m.keras")
    rows = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
    expected = rows.astype(ml_dtypes.bfloat16)
    report = layerprobe.extract(tmp_path / "m.keras", "half", rows, tmp_path / "o.h5")
    assert "bfloat16 stored as float32: half" in report.notes
    report = layerprobe.extract(
        tmp_path / "m.keras", "half", rows, tmp_path / "p.h5", dtype="bfloat16"
    )
    assert not any("bfloat16" in note for note in report.notes)
    for name in ("o.h5", "p.h5"):
        found = by_h5py(tmp_path / name, "half")
        np.testing.assert_array_equal(found, expected.astype("float32"), strict=True)
    with layerprobe.open_dump(tmp_path / "p.h5") as dump:
        assert dump["half"].dtype == ml_dtypes.bfloat16


@pytest.mark.engine("tensorflow")
@pytest.mark.parametrize("kind", KINDS)
def test_counts_outlive_an_interruption(
    tmp_path: Path, same: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Too large before and after it; the end has the same bytes as without one."""
    monkeypatch.chdir(tmp_path)
    rows = np.tile(np.array([[1, ENDS[kind][1]]], "float32"), (40, 1))
    np.save("x.npy", rows)

    def interrupt(done: int, _: int) -> None:
        if done >= 20:
            raise KeyboardInterrupt

    given: dict[str, Any] = {"dtype": kind, "batch_size": 10}
    with pytest.raises(KeyboardInterrupt):
        layerprobe.extract(same, "same", "x.npy", "o.h5", progress=interrupt, **given)
    (entry,) = layerprobe.show("o.h5").datasets
    assert (entry["overflow"], entry["dtype"]) == (20, kind)
    assert layerprobe.resume("o.h5").nonfinite["same"].overflow == 40
    layerprobe.extract(same, "same", "x.npy", "whole.h5", **given)
    assert Path("o.h5").read_bytes() == Path("whole.h5").read_bytes()
    again = layerprobe.resume("o.h5")
    assert again.was_complete
    assert again.nonfinite["same"].overflow == 40


@pytest.mark.engine("tensorflow")
def test_the_command_warns_and_folders_refuse_bfloat16(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, same: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line for what was too large; exit code 2 and what to do, with nothing written."""
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.full((2, 2), 1e6, "float32"))
    arguments = ["extract", same, "-l", "same", "-i", "x.npy", "--dtype"]
    done = typed(capfd, *arguments, "float16", "-o", "o")
    assert done.code == 0
    assert done.said.splitlines() == [
        "warning: values of same that are NaN: 0, Inf: 4",
        "warning: finite values of same too large for float16: 4",
    ]
    refused = typed(capfd, *arguments, "bfloat16", "-o", "p")
    assert refused.code == 2
    assert "Name the output p.h5" in refused.stderr
    assert not Path("p").exists()
    with pytest.raises(OutputError, match=r"'float8' is not known"):
        layerprobe.extract(same, "same", "x.npy", "p.h5", dtype="float8")

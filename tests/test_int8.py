"""Activations as steps of int8: against NumPy on the float32 ones, read by plain h5py and json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import numpy.typing as npt
import pytest
from command import typed

import layerprobe
from layerprobe.errors import DataError

pytestmark = pytest.mark.engine("tensorflow", "jax", "torch", "openvino")
Array = npt.NDArray[Any]
FIRST = 512  # the rows that a scale is found from


@pytest.fixture
def same(tmp_path: Path) -> Path:
    """Save a model that gives back its input, of three numbers a row, and one number a row."""
    x = keras.Input((3,), name="x")
    kept = keras.layers.Activation("linear", name="same")(x)
    number = keras.layers.Reshape((), name="number")(keras.layers.Dense(1)(kept))
    keras.Model(x, [kept, number]).save(tmp_path / "m.keras")
    return tmp_path / "m.keras"


def scale_of(array: Array) -> Array:
    """Return the scale of each channel, by NumPy."""
    peaks = np.abs(array[:FIRST]).max(tuple(range(array.ndim - 1)))
    return np.where(peaks > 0, peaks / np.float32(127), np.float32(1))


def stored(path: Path) -> dict[str, tuple[Array, Array]]:
    """Return values and scales as plain h5py reads them."""
    with h5py.File(path) as file:
        return {name: (file[name][:], file[name].attrs["scale"]) for name in file}


@pytest.mark.parametrize("size", [32, 100, 600])
def test_steps_and_scales_are_those_of_numpy(samples: Path, tmp_path: Path, size: int) -> None:
    """Maps and features of a sample model, over more rows than the scale is found from."""
    model, data = samples / "digits_cnn.h5", samples / "data" / "digits.npy"
    layers = ["relu1", "flat", "features"]
    given: dict[str, Any] = {"batch_size": size}
    report = layerprobe.extract(model, layers, data, tmp_path / "o.h5", dtype="int8", **given)
    layerprobe.extract(model, layers, data, tmp_path / "p.h5", **given)
    manifest = json.loads((tmp_path / "o.h5.json").read_text())
    assert len(manifest["datasets"]) == 3
    for entry in manifest["datasets"]:
        name = entry["name"]
        with h5py.File(tmp_path / "p.h5") as file:
            whole = file[name][:]
        values, scale = stored(tmp_path / "o.h5")[name]
        first = max(FIRST, -(-FIRST // size) * size)
        peaks = np.abs(whole[:first]).max(tuple(range(whole.ndim - 1)))
        expected = np.where(peaks > 0, peaks / np.float32(127), np.float32(1))
        np.testing.assert_array_equal(scale, expected, strict=True)
        steps = np.rint(whole / scale)
        expected_values = np.clip(steps, -127, 127).astype("int8")
        # An engine that computes the layer and the steps in one go may round the last digit of what
        # lies between two steps in another way.
        between = np.abs(np.abs(whole / scale - steps) - 0.5) < 1e-4
        assert between.mean() < 1e-3
        np.testing.assert_array_equal(values[~between], expected_values[~between], strict=True)
        assert np.abs(values[between] - steps[between]).max(initial=0) <= 1
        assert entry["scale"] == [float(number) for number in expected]
        assert entry["overflow"] == int((np.abs(steps) > 127).sum())
        counted = report.nonfinite.get(entry["address"])
        assert (counted.overflow if counted else 0) == entry["overflow"]
        with layerprobe.open_dump(tmp_path / "o.h5") as dump:
            lazy = dump[entry["address"]]
            np.testing.assert_array_equal(lazy.scale, expected, strict=True)
            np.testing.assert_array_equal(lazy.dequantized([3, 1]), values[[3, 1]] * scale)
            assert lazy.dequantized(5).dtype == np.float32
    assert layerprobe.verify(tmp_path / "o.h5").faults == ()
    assert layerprobe.recompute(tmp_path / "o.h5", 9).worst[1] == 0


def special_rows() -> Array:
    """Return rows with NaN, Inf, halves of steps, what is beyond, and a channel that is 0."""
    rows = np.zeros((FIRST + 8, 3), "float32")
    rows[:, 0] = np.arange(len(rows)) % 128 - 0.5
    rows[7, 0], rows[11, 0] = 127, np.nan
    rows[:FIRST, 1] = np.linspace(-1, 1, FIRST)
    rows[13, 1] = np.inf
    rows[FIRST:, 1] = [1.001, 1.004, 1.01, -2, -np.inf, 3.4e38, 0.5, np.nan]
    return rows


def test_nan_inf_halves_and_what_is_beyond(tmp_path: Path, same: Path) -> None:
    """NaN is 0, Inf and what is beyond the end of the range; each is counted as what it was."""
    rows = special_rows()
    report = layerprobe.extract(same, "same", rows, tmp_path / "o.h5", dtype="int8", batch_size=64)
    values, scale = stored(tmp_path / "o.h5")["same"]
    assert scale.tolist() == [1, float(np.float32(1) / np.float32(127)), 1]
    assert values[:7, 0].tolist() == [0, 0, 2, 2, 4, 4, 6]  # halves to the even one
    assert values[[11, 13], [0, 1]].tolist() == [0, 127]
    assert values[FIRST:, 1].tolist() == [127, 127, 127, -127, -127, 127, 64, 0]
    assert not values[:, 2].any()
    found = report.nonfinite["same"]
    assert (found.nan, found.inf, found.overflow) == (2, 2, 4)


def test_fail_on_nan_sees_what_was_there_before(tmp_path: Path, same: Path) -> None:
    """Inf ends a run, though it would be stored as 127; what is cut does not."""
    x = keras.Input((1,))
    grown = keras.layers.Activation("exponential", name="grown")(x)
    keras.Model(x, grown).save(tmp_path / "grown.keras")
    given: dict[str, Any] = {"dtype": "int8", "fail_on_nan": True, "batch_size": 1}
    rows = np.array([[1], [2], [1000]], "float32")
    with pytest.raises(DataError, match="grown is NaN or infinite in row 2"):
        layerprobe.extract(tmp_path / "grown.keras", "grown", rows, tmp_path / "p.h5", **given)
    beyond = np.ones((FIRST + 1, 3), "float32")
    beyond[FIRST] = 2
    report = layerprobe.extract(same, "same", beyond, tmp_path / "o.h5", **given)
    assert report.nonfinite["same"].overflow == 3


def test_numbers_alone_have_one_scale_and_whole_numbers_none(tmp_path: Path, same: Path) -> None:
    """A row that is one number; the places of the largest values."""
    rows = np.random.default_rng(1).normal(size=(40, 3)).astype("float32")
    layerprobe.extract(same, ["number", "same"], rows, tmp_path / "p.h5")
    layerprobe.extract(same, "number", rows, tmp_path / "o.h5", dtype="int8")
    with h5py.File(tmp_path / "p.h5") as file:
        numbers = file["number"][:]
    values, scale = stored(tmp_path / "o.h5")["number"]
    assert scale == np.abs(numbers).max(keepdims=True) / np.float32(127)
    np.testing.assert_array_equal(values, np.rint(numbers / scale))
    layerprobe.extract(same, "same", rows, tmp_path / "o.h5", dtype="int8", topk=2, overwrite=True)
    with h5py.File(tmp_path / "o.h5") as file:
        assert file["same%3Avalues"].dtype == np.int8
        places = file["same%3Aindices"]
        assert "scale" not in places.attrs
        np.testing.assert_array_equal(places, np.argsort(-rows, axis=-1)[:, :2])


@pytest.mark.engine("tensorflow")
def test_a_scale_too_long_for_an_attribute_lies_beside(tmp_path: Path) -> None:
    """HDF5 keeps attributes in a header of 64 kB; the name holds what no stored name does."""
    x = keras.Input((9000,))
    keras.Model(x, keras.layers.Activation("linear", name="same")(x)).save(tmp_path / "m.keras")
    rows = np.random.default_rng(0).normal(size=(3, 9000)).astype("float32")
    layerprobe.extract(tmp_path / "m.keras", "same", rows, tmp_path / "o.h5", dtype="int8")
    with h5py.File(tmp_path / "o.h5") as file:
        np.testing.assert_array_equal(file["same:scale"][:], scale_of(rows), strict=True)
        np.testing.assert_array_equal(file["same"][:], np.rint(rows / scale_of(rows)))
    assert layerprobe.verify(tmp_path / "o.h5").faults == ()


@pytest.mark.engine("tensorflow")
@pytest.mark.parametrize("output", ["o.h5", "o"])
@pytest.mark.parametrize("stop", [40, 520])
def test_a_run_goes_on_with_the_scale_it_was_begun_with(
    tmp_path: Path, same: Path, monkeypatch: pytest.MonkeyPatch, output: str, stop: int
) -> None:
    """Before and behind the rows that the scale is found from; the end has the same bytes."""
    monkeypatch.chdir(tmp_path)
    rows = np.random.default_rng(2).normal(size=(700, 3)).astype("float32")
    rows[30, 1] = rows[600, 2] = np.nan
    np.save("x.npy", rows)

    def interrupt(done: int, _: int) -> None:
        if done >= stop:
            raise KeyboardInterrupt

    given: dict[str, Any] = {"dtype": "int8", "batch_size": 20}
    with pytest.raises(KeyboardInterrupt):
        layerprobe.extract(same, "same", "x.npy", output, progress=interrupt, **given)
    assert layerprobe.show(output).safe == stop
    (begun,) = layerprobe.show(output).datasets
    assert begun["scale"] == [float(n) for n in scale_of(np.nan_to_num(rows[:520]))]
    report = layerprobe.resume(output)
    layerprobe.extract(same, "same", "x.npy", f"whole/{output}".replace("/", "-"), **given)
    for place in (
        (output, f"{output}.json") if output == "o.h5" else ("o/same.npy", "o/manifest.json")
    ):
        assert Path(place).read_bytes() == Path(f"whole-{place}").read_bytes()
    assert report.nonfinite["same"].nan == 2
    assert layerprobe.extract(same, "same", "x.npy", output, resume=True, **given).was_complete


@pytest.mark.engine("tensorflow")
def test_the_command_warns_and_refuses(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, same: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was cut is told; samples are not quantised."""
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", special_rows())
    arguments = ["extract", same, "-l", "same", "-i", "x.npy", "--dtype", "int8", "-o", "o.h5"]
    done = typed(capfd, *arguments)
    assert done.code == 0
    assert done.said.splitlines() == [
        "warning: NaN values in the rows for x: 2",
        "warning: values of same that are NaN: 2, Inf: 2 (stored as 0, and as 127 or -127)",
        "warning: values of same beyond the range of its scale, cut to it: 4",
    ]
    refused = typed(capfd, *arguments, "--mc-samples", "2", "--overwrite")
    assert refused.code == 2
    assert "not quantised" in refused.stderr

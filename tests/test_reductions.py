"""Outputs made smaller in the compiled pass: against NumPy on the whole activations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pytest

import layerprobe
from layerprobe.errors import BackendError, LayerNotFound, LayerprobeError
from layerprobe.reductions import Reductions

pytestmark = pytest.mark.engine("tensorflow", "jax", "torch", "openvino")
Array = npt.NDArray[Any]
ROWS = np.random.default_rng(0).normal(size=(7, 6, 5, 3)).astype("float32")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Save a model with outputs of rank 4, 3 and 2."""
    keras.utils.set_random_seed(0)
    x = keras.Input((6, 5, 3))
    maps = keras.layers.Conv2D(8, 3, padding="same", name="maps")(x)
    steps = keras.layers.Reshape((30, 8), name="steps")(maps)
    units = keras.layers.Dense(4, name="units")(keras.layers.GlobalMaxPooling1D()(steps))
    keras.Model(x, units).save(tmp_path / "m.keras")
    return tmp_path / "m.keras"


def extracted(model: Path, layers: list[str], **options: Any) -> dict[str, Array]:
    """Return what extraction writes, by address; batches of 3 leave a last one of 1."""
    out = model.parent / "o.h5"
    layerprobe.extract(model, layers, ROWS, out, overwrite=True, batch_size=3, **options)
    with layerprobe.open_dump(out) as dump:
        return {address: np.asarray(dump[address]) for address in dump}


ALL = ["maps", "steps", "units"]
BY_NUMPY: dict[str, tuple[dict[str, Any], Callable[[Array], Array]]] = {
    "select": ({"select": "0:3,-1"}, lambda a: a[..., [0, 1, 2, -1]]),
    "every other": ({"select": "::2"}, lambda a: a[..., ::2]),
    "backwards": ({"select": "3::-1"}, lambda a: a[..., 3::-1]),
    "max": ({"reduce": "max"}, lambda a: a.reshape(7, -1, a.shape[-1]).max(1)),
    "mean": ({"reduce": "mean"}, lambda a: a.reshape(7, -1, a.shape[-1]).mean(1)),
    "gap": ({"reduce": "gap"}, lambda a: a.reshape(7, -1, a.shape[-1]).mean(1)),
    "flatten": ({"reduce": "flatten"}, lambda a: a.reshape(7, -1)),
    "norm": ({"reduce": "norm"}, lambda a: np.linalg.norm(a, axis=-1)),
    "some, then mean": (
        {"select": "1:3", "reduce": "mean"},
        lambda a: a[..., 1:3].reshape(7, -1, 2).mean(1),
    ),
    "half floats": (
        {"reduce": "mean", "dtype": "float16"},
        lambda a: a.reshape(7, -1, a.shape[-1]).mean(1).astype("float16"),
    ),
}


@pytest.mark.parametrize("name", BY_NUMPY)
def test_reductions_are_those_of_numpy(model: Path, name: str) -> None:
    """Of maps, of steps and of units, which have no positions."""
    options, by_numpy = BY_NUMPY[name]
    whole, found = extracted(model, ALL), extracted(model, ALL, **options)
    for address, array in whole.items():
        expected = by_numpy(array)
        assert found[address].dtype == expected.dtype
        bound = 1e-3 if expected.dtype == "float16" else 1e-6
        np.testing.assert_allclose(found[address], expected, rtol=bound, atol=bound)


def test_one_position_and_the_largest_values(model: Path) -> None:
    """The first and last step; values sorted from the largest, with the units they are of."""
    steps = extracted(model, ["steps"])["steps"]
    np.testing.assert_array_equal(extracted(model, ["steps"], reduce="cls")["steps"], steps[:, 0])
    np.testing.assert_array_equal(extracted(model, ["steps"], reduce="last")["steps"], steps[:, -1])
    found = extracted(model, ["steps"], reduce="last", topk=3)
    order = np.argsort(-steps[:, -1], axis=-1)[:, :3]
    np.testing.assert_array_equal(found["steps:indices"], order)
    expected = np.take_along_axis(steps[:, -1], order, axis=-1)
    np.testing.assert_array_equal(found["steps:values"], expected)


def test_a_projection_keeps_distances_and_follows_the_seed(model: Path) -> None:
    """The matrix is the one documented, whatever the engine; another seed gives another."""
    maps = extracted(model, ["maps"])["maps"].reshape(7, -1)
    found = extracted(model, ["maps"], project=64, seed=5)["maps"]
    matrix = np.random.default_rng((5, 240)).standard_normal((240, 64)).astype("float32") / 8
    np.testing.assert_allclose(found, maps @ matrix, rtol=1e-4, atol=1e-4)
    assert np.abs(extracted(model, ["maps"], project=64, seed=6)["maps"] - found).max() > 0.1
    before, after = (np.linalg.norm(a[0] - a[1:], axis=-1) for a in (maps, found))
    assert (np.abs(after / before - 1) < 0.5).all()


def test_channels_first_has_its_channels_there(tmp_path: Path) -> None:
    """The layer says which axis they are."""
    x = keras.Input((3, 4, 5))
    padded = keras.layers.ZeroPadding2D(1, data_format="channels_first", name="padded")(x)
    keras.Model(x, padded).save(tmp_path / "m.keras")
    rows = np.random.default_rng(0).random((2, 3, 4, 5), np.float32)
    wide = np.pad(rows, [(0, 0), (0, 0), (1, 1), (1, 1)])
    for options, expected in (
        ({"select": "2,0"}, wide[:, [2, 0]]),
        ({"reduce": "mean"}, wide.mean((2, 3))),
        ({"reduce": "norm"}, np.linalg.norm(wide, axis=1)),
    ):
        out = tmp_path / "o.h5"
        layerprobe.extract(tmp_path / "m.keras", "padded", rows, out, overwrite=True, **options)
        with layerprobe.open_dump(out) as dump:
            np.testing.assert_allclose(dump["padded"][:], expected, atol=1e-6)


def test_sums_of_half_floats_do_not_overflow(tmp_path: Path) -> None:
    """60 values of 30,000 are more than float16 can hold; their mean and length are not."""
    x = keras.Input((60, 1), dtype="float16")
    keras.Model(x, keras.layers.ReLU(dtype="float16", name="half")(x)).save(tmp_path / "m.keras")
    rows = np.full((2, 60, 1), 30000, "float16")
    for kind, expected in (("mean", np.full((2, 1), 30000)), ("norm", np.full((2, 60), 30000))):
        out = tmp_path / "o.h5"
        layerprobe.extract(tmp_path / "m.keras", "half", rows, out, overwrite=True, reduce=kind)
        with layerprobe.open_dump(out) as dump:
            np.testing.assert_allclose(dump["half"][:], expected, rtol=1e-6)


def test_what_float16_cannot_hold_is_infinite_and_counted(tmp_path: Path) -> None:
    """Never the largest that it can hold."""
    x = keras.Input((2,))
    keras.Model(x, keras.layers.ReLU(name="same")(x)).save(tmp_path / "m.keras")
    rows = np.array([[1e5, 2], [3, np.nan]], "float32")
    report = layerprobe.extract(
        tmp_path / "m.keras", "same", rows, tmp_path / "o.h5", dtype="float16"
    )
    with layerprobe.open_dump(tmp_path / "o.h5") as dump:
        assert dump["same"][0].tolist() == [np.inf, 2]
    assert report.nonfinite["same"].inf == 1


REFUSED: dict[str, tuple[type[LayerprobeError], dict[str, Any], str]] = {
    "no such unit": (LayerNotFound, {"select": "8"}, "maps has no unit 8"),
    "none left": (LayerNotFound, {"select": "20:30"}, "maps has no unit 20:30"),
    "no one position": (BackendError, {"reduce": "cls"}, "Cannot take the cls position of maps"),
    "too few": (BackendError, {"topk": 9}, "Cannot keep 9 values of maps"),
    "unknown": (LayerprobeError, {"reduce": "sum"}, "'sum' is not known"),
    "no unit": (LayerprobeError, {"select": "a"}, "'a' does not say which units"),
    "no step": (LayerprobeError, {"select": "::0"}, "'::0' does not say which units"),
    "negative": (LayerprobeError, {"topk": -1}, "-1 numbers were asked for"),
    "samples": (LayerprobeError, {"topk": 1, "mc_samples": 2}, "at other places"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_refused(model: Path, name: str) -> None:
    """With the layer's name and its shape, and nothing written."""
    kind, options, message = REFUSED[name]
    with pytest.raises(kind, match=message):
        extracted(model, ["maps"], **options)
    assert not (model.parent / "o.h5").exists()


def test_units_are_pythons() -> None:
    """Numbers, ranges and steps mean what they mean for a list."""
    letters = list(range(10))
    for text in ("0:16", "-3:", ":-8", "::3", "9:2:-2", "4", "-1"):
        at = text if ":" in text else f"{text}:{int(text) + 1 or None}"
        expected = letters[
            slice(*[int(part) if part else None for part in at.replace("None", "").split(":")])
        ]
        assert Reductions(select=text).units(10, "a") == expected
    assert Reductions(select=" 3, 1,3").units(10, "a") == [3, 1, 3]

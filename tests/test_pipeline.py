"""From rows to a dump: the function's own numbers, whatever the batch, in little memory."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
import subprocess
import sys

import h5py
import numpy as np
import pytest
import xxhash
from command import environment, files

import layerprobe
from layerprobe.errors import DataError, LayerNotFound, OutputError

ROWS = 43


@pytest.fixture
def digits(samples):
    """Return some rows for the sample CNN."""
    return np.load(samples / "data" / "digits.npy")[:ROWS]


def read(path):
    """Return all datasets of an HDF5 dump, by h5py alone."""
    with h5py.File(path) as file:
        return {file[name].attrs["address"]: file[name][:] for name in file}


@pytest.mark.engine
@pytest.mark.parametrize("size", [1, 7, 32, 1000])
def test_the_dump_holds_what_the_function_returns(samples, tmp_path, digits, size):
    """Bit for bit: batches filled up with copies of their last row, and cut again."""
    model = layerprobe.load(samples / "digits_cnn.keras")
    layers = ["conv2", "features", "digit"]
    function = layerprobe.backend.function(model.inputs, layers)
    size_used = min(size, ROWS)
    parts = []
    for start in range(0, ROWS, size_used):
        batch = digits[start : start + size_used]
        count = len(batch)
        batch = np.concatenate([batch, np.repeat(batch[-1:], size_used - count, axis=0)])
        parts.append([result[:count] for result in function([batch])])
    expected = [np.concatenate(column) for column in zip(*parts, strict=True)]
    layerprobe.extract(
        samples / "digits_cnn.keras", layers, digits, tmp_path / "o.h5", batch_size=size
    )
    found = read(tmp_path / "o.h5")
    for name, value in zip(layers, expected, strict=True):
        np.testing.assert_array_equal(found[name], value, strict=True)
    with layerprobe.open_dump(tmp_path / "o.h5") as dump:
        assert dump.manifest["options"]["batch_size"] == size_used


@pytest.mark.engine
def test_the_batch_size_does_not_matter(samples, tmp_path, digits):
    """Every batch size gives the same numbers to a rounding error, a partial last batch too."""
    dumps = []
    for size in (1, 7, 32, 43, 1000):
        path = tmp_path / f"{size}.h5"
        layerprobe.extract(samples / "digits_cnn.h5", "all", digits, path, batch_size=size)
        dumps.append(read(path))
    for name, value in dumps[0].items():
        scale = max(1.0, float(np.abs(value).max()))
        for other in dumps[1:]:
            np.testing.assert_allclose(other[name], value, rtol=0, atol=1e-6 * scale)


@pytest.mark.engine
def test_a_row_does_not_depend_on_the_rows_after_it(samples, tmp_path, digits):
    """The first rows of a long run are bit for bit those of a short run of the same batch size."""
    for rows in (16, 37):
        path = tmp_path / f"{rows}.h5"
        layerprobe.extract(samples / "digits_cnn.h5", "all", digits[:rows], path, batch_size=16)
    short, long = read(tmp_path / "16.h5"), read(tmp_path / "37.h5")
    for name, value in short.items():
        np.testing.assert_array_equal(long[name][:16], value)


def test_two_runs_give_the_same_bytes(samples, tmp_path, monkeypatch):
    """A dump holds no time, no host and no chance: the same run gives the same files."""
    contents = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        for output in ("out.h5", "out"):
            layerprobe.extract(samples / "places_lstm.keras", "class:LSTM", None, output)
        paths = files(tmp_path / name)
        assert "out.h5.json" in paths
        assert "out/manifest.json" in paths
        folder = tmp_path / name
        contents.append({p: (folder / p).read_bytes() for p in paths if (folder / p).is_file()})
    assert contents[0] == contents[1]


DEFAULTS = {
    "phase": "test",
    "seed": 0,
    "mc_samples": 0,
    "select": None,
    "reduce": None,
    "project": 0,
    "topk": 0,
    "lambdas": {},
    "columns": [],
    "compress": None,
    "allow_trailing": False,
    **dict.fromkeys("input_dtype input_shape id_column header preprocess".split()),
    **dict.fromkeys(
        ("source_backend", "source_data_format", "custom_objects", "architecture", "trust")
    ),
}


def test_the_manifest_says_where_the_numbers_come_from(samples, tmp_path):
    """Model and rows by hash, rows, versions, options and counts; the same in both places."""
    model, data = samples / "digits_cnn.h5", samples / "data" / "digits.npy"
    images = np.load(data)[100:160]
    given = {"batch_size": 25, "rows": (100, 160), "dtype": "float16"}
    layerprobe.extract(model, ["conv1", "logits"], str(data), tmp_path / "o.h5", **given)
    manifest = json.loads((tmp_path / "o.h5.json").read_text())
    with h5py.File(tmp_path / "o.h5") as file:
        assert json.loads(file.attrs["layerprobe"]) == manifest
        stored = {name: file[name][:] for name in file}
    assert manifest["model"] == {
        "path": str(model),
        "sha256": hashlib.sha256(model.read_bytes()).hexdigest(),
        "format": "hdf5",
        "keras_version": "3.15.1",
        "backend": "tensorflow",
    }
    assert manifest["inputs"] == [
        {
            "name": "images",
            "location": str(data),
            "bytes": data.stat().st_size,
            "shape": [600, 8, 8, 1],
            "dtype": "float32",
            "nan": 0,
            "xxh3_128_of_rows": xxhash.xxh3_128(images.tobytes()).hexdigest(),
        }
    ]
    assert manifest["rows"] == [100, 160]
    given = {"batch_size": 25, "dtype": "float16", "from": []}
    assert manifest["options"] == DEFAULTS | given
    assert (manifest["engine"], manifest["device"], manifest["notes"]) == ("tensorflow", "cpu", [])
    assert manifest["versions"]["python"] == platform.python_version()
    for package in ("keras", "tensorflow", "numpy", "h5py"):
        assert manifest["versions"][package] == importlib.metadata.version(package)
    assert [d["address"] for d in manifest["datasets"]] == ["conv1", "logits"]
    for entry in manifest["datasets"]:
        shape = list(stored[entry["name"]].shape)
        assert (entry["shape"], entry["dtype"]) == (shape, "float16")
        assert (entry["nan"], entry["inf"]) == (0, 0)


def test_the_hash_of_the_rows_does_not_depend_on_the_batch_size(samples, tmp_path, digits):
    """Rows are hashed once each, in order, as the data hold them before any cast."""
    wide = digits.astype("float64")
    for size in (1, 10, 100):
        path = tmp_path / f"{size}.h5"
        report = layerprobe.extract(samples / "digits_cnn.h5", "flat", wide, path, batch_size=size)
        assert report.notes == ("<array for images>: float64 cast to float32",)
        with layerprobe.open_dump(path) as dump:
            (entry,) = dump.manifest["inputs"]
        assert entry["xxh3_128_of_rows"] == xxhash.xxh3_128(wide.tobytes()).hexdigest()


PEAK = """
import sys
import numpy as np
import layerprobe
model, data, output, rows = sys.argv[1:]
rows = int(rows)
report = layerprobe.extract(
    model, "conv1", data, output, rows=(0, rows), batch_size=250, quiet=True
)
print(report.bytes, open("/proc/self/status").read().partition("VmHWM:")[2].split()[0])
"""


def test_memory_does_not_grow_with_the_rows(samples, tmp_path):
    """With ten times the rows (20 MB, then 200 MB of activations) the peak stays within 5 %."""
    digits = np.load(samples / "data" / "digits.npy")
    np.save(tmp_path / "many.npy", np.tile(digits, (84, 1, 1, 1)))
    peaks = []
    for rows in (5000, 50_000):
        arguments = [samples / "digits_cnn.h5", tmp_path / "many.npy", tmp_path / f"{rows}", rows]
        done = subprocess.run(
            [sys.executable, "-c", PEAK, *map(str, arguments)],
            env=environment(),
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        size, peak = map(int, done.stdout.split())
        assert size == rows * 8 * 8 * 16 * 4
        peaks.append(peak)
    assert peaks[1] < 1.05 * peaks[0]


def test_only_the_inputs_that_are_needed_are_asked_for(samples, tmp_path, digits):
    """A layer on one branch needs one input; data for the other are left alone if given."""
    model = samples / "digits_pairs.keras"
    report = layerprobe.extract(model, "encoder@1/pool2", {"right": digits}, tmp_path / "a.h5")
    assert report.rows == ROWS
    both = {"right": digits, "left": "no such file"}
    layerprobe.extract(model, "encoder@1/pool2", both, tmp_path / "b.h5")
    with layerprobe.open_dump(tmp_path / "b.h5") as dump:
        assert [entry["name"] for entry in dump.manifest["inputs"]] == ["right"]
    with pytest.raises(DataError, match="No data was given for left"):
        layerprobe.extract(model, "joined", {"right": digits}, tmp_path / "c.h5")


def test_progress_is_told_before_the_first_batch_and_after_each(samples, tmp_path, digits):
    """The callback gets rows done and rows in all; the first call is before anything is written."""
    calls = []

    def progress(done, total):
        calls.append((done, total, len(files(tmp_path))))

    layerprobe.extract(
        samples / "digits_cnn.h5",
        "flat",
        digits,
        tmp_path / "o.h5",
        batch_size=20,
        progress=progress,
    )
    assert [call[:2] for call in calls] == [(0, 43), (20, 43), (40, 43), (43, 43)]
    assert calls[0][2] == 0
    assert calls[1][2] > 0


def test_addresses_may_be_numbers_in_python(samples, tmp_path, digits):
    """Indices are ints in Python as they are numbers on the command line; one needs no list."""
    for given in (3, [3], "3", ["pool1"]):
        report = layerprobe.extract(
            samples / "digits_cnn.h5", given, digits, tmp_path / "o.h5", dry_run=True, rows=None
        )
        assert [d.address for d in report.datasets] == ["pool1"]
    with pytest.raises(LayerNotFound, match="No layer was asked for"):
        layerprobe.extract(samples / "digits_cnn.h5", [], digits, tmp_path / "o.h5")


def test_options_are_checked_in_python_too(samples, tmp_path):
    """What the command line refuses, the function refuses, with the same error."""
    for options, kind in [({"batch_size": 0}, DataError), ({"dtype": "int4"}, OutputError)]:
        with pytest.raises(kind):
            layerprobe.extract(samples / "digits_cnn.h5", 3, None, tmp_path / "o.h5", **options)

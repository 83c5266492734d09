"""Dumps are read back as the arrays they were, a slice at a time."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from dumps import OUTPUTS, written

from layerprobe.dump import open_dump
from layerprobe.errors import DataError, LayerNotFound
from layerprobe.sinks import Dataset, open_sink

CUBE = np.random.default_rng(3).random((37, 4, 5)).astype("float32")
ORDER = np.random.default_rng(4).integers(-37, 37, 100)
KEYS = [
    0,
    -1,
    np.int64(5),
    ...,
    slice(None),
    slice(3, 9),
    slice(9, 3),
    slice(-5, 100),
    slice(None, None, 4),
    slice(30, 2, -3),
    [],
    [3, 3, -1, 0],
    ORDER,
    ORDER.astype("int8"),
    CUBE[:, 0, 0] > 0.5,
    np.zeros(37, bool),
    (2, 3),
    (2, slice(1, 3), -1),
    (slice(1, 20), 2),
    (slice(None), slice(None), slice(0, 0)),
    (slice(None, None, -1), slice(None, None, 2), 0),
    (..., 1),
    (slice(5), ..., 1),
    (4, ...),
    ([7, 2], slice(1, 3)),
    (ORDER, 1, slice(None, None, -1)),
    (CUBE[:, 0, 0] > 0.5, ..., 2),
]


@pytest.fixture(params=OUTPUTS)
def output(request, tmp_path):
    """Give the path of an output of each kind."""
    return tmp_path / request.param


@pytest.mark.parametrize("key", KEYS, ids=range(len(KEYS)))
@pytest.mark.parametrize("window", [1, 3, 1000])
def test_brackets_mean_what_they_mean_for_numpy(output, key, window):
    """Every index gives what it gives for the array in memory, however little is read at a time."""
    with open_dump(written(output, CUBE)) as dump:
        lazy = dump["a"]
        lazy._window = window
        np.testing.assert_array_equal(lazy[key], CUBE[key], strict=True)


OUTSIDE = [37, -38, [37], [-38], (0, 4), (slice(None), 4), (0, 0, 0, 0)]
OTHERS = [1.5, [0.5], "a", None, True, [True], np.zeros((2, 2), int), (0, [1]), (0, None)]
OTHERS += [(..., ...), (0, True), np.True_]


@pytest.mark.parametrize("key", [*OUTSIDE, *OTHERS], ids=repr)
def test_other_brackets_are_an_index_error(output, key):
    """What is out of range, or means something else in HDF5 than in NumPy, is refused."""
    with open_dump(written(output, CUBE)) as dump, pytest.raises(IndexError):
        dump["a"][key]


def test_arrays_of_every_shape_and_dtype(output):
    """Vectors, rows of no values and every dtype come back, by np.asarray and by iteration."""
    arrays = [np.arange(3).astype(d) for d in ("float16", "float64", "uint8", "int64", "bool")]
    arrays += [np.zeros((3, 0), "float32"), np.array([1j, 2, 3], "complex64")]
    with open_dump(written(output, *arrays)) as dump:
        for lazy, array in zip(dump.values(), arrays, strict=True):
            assert (lazy.shape, lazy.dtype, lazy.ndim) == (array.shape, array.dtype, array.ndim)
            assert len(lazy) == 3
            np.testing.assert_array_equal(np.asarray(lazy), array, strict=True)
            np.testing.assert_array_equal(list(lazy), list(array))
        assert np.asarray(dump["c"], dtype="float32").dtype == np.float32
        with pytest.raises(ValueError, match="without being read"):
            np.asarray(dump["c"], copy=False)


def test_a_dump_is_a_mapping_in_the_order_of_its_manifest(output):
    """Addresses are keys, as they were given; rows, manifest and path are at hand."""
    datasets = [Dataset(a, (3,), np.dtype("int32")) for a in ("z/conv:1", "a", "..")]
    with open_sink(output, datasets) as sink:
        sink.write(0, [np.full(3, n, "int32") for n in range(3)])
        sink.commit({"datasets": [{"address": d.address} for d in datasets], "engine": "numpy"})
    with open_dump(str(output)) as dump:
        assert list(dump) == list(dump.addresses) == ["z/conv:1", "a", ".."]
        assert [int(lazy[0]) for lazy in dump.values()] == [0, 1, 2]
        assert (dump.rows, dump.path, dump.manifest["engine"], len(dump)) == (3, output, "numpy", 3)
        assert "a" in dump
        assert "b" not in dump
        assert repr(dump) == f"<Dump {str(output)!r}: 3 datasets of 3 rows>"
        assert repr(dump["a"]) == "<LazyArray 'a': shape (3,), int32>"


def test_an_unknown_address_names_its_neighbours(output):
    """A mistyped address is a LayerNotFound, which is a KeyError, with the nearest ones."""
    datasets = [Dataset(a, (1,), np.dtype("int8")) for a in ("block1_conv", "dense")]
    with open_sink(output, datasets) as sink:
        sink.write(0, [np.zeros(1, "int8")] * 2)
        sink.commit({"datasets": [{"address": d.address} for d in datasets]})
    with open_dump(output) as dump:
        with pytest.raises(LayerNotFound, match="block1_conv") as missing:
            dump["block1_con"]
        assert missing.value.fields["candidates"] == ["block1_conv"]
        assert dump.get("nothing") is None


def test_a_slice_takes_no_more_memory_than_itself(output):
    """Of 32 MB, a few rows, a column, and rows far apart are read within 3 MB of memory."""
    path = written(output, np.zeros((4000, 1000), "float64"))
    with open_dump(path) as dump:
        tracemalloc.start()
        for key in (slice(10, 20), (slice(None), 3), slice(None, None, 1000), [3999, 0, 2000]):
            dump["a"][key]
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    chunk = 1_100_000 if output.suffix == ".zarr" else 0  # the last one is remembered
    assert peak < 3_000_000 + chunk


def test_many_reads_leave_no_file_open(output):
    """Closing, and reading before it, leaves no file open; afterwards nothing can be read."""
    written(output, CUBE)
    before = len(list(Path("/proc/self/fd").iterdir()))
    with open_dump(output) as dump:
        lazy = dump["a"]
        for row in range(len(lazy)):
            lazy[row]
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    dump.close()
    for read in (lambda: lazy[0], lambda: dump["a"]):
        with pytest.raises(DataError, match="is closed"):
            read()


def test_the_format_page_reads_dumps_with_numpy_and_h5py_alone(tmp_path):
    """The code of docs/dump-format.md runs on dumps of both kinds and finds what was written."""
    page = (Path(__file__).parents[1] / "docs" / "dump-format.md").read_text()
    code = page.partition("```python\n")[2].partition("```")[0]
    rows = np.arange(30, dtype="float32").reshape(10, 3)
    for name, address in (("features.h5", "features"), ("pairs", "encoder@1/conv1")):
        with open_sink(tmp_path / name, [Dataset(address, rows.shape, rows.dtype)]) as sink:
            sink.write(0, [rows])
            sink.commit({"datasets": [{"address": address}]})
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == f"{rows[:8]}\n{rows[:8]}\n"

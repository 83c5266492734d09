"""Every kind of sink keeps the contract, and the suite rejects one that does not."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
import zarr
from dumps import OUTPUTS, ROWS, content, listed, opened, written

from layerprobe import sinks
from layerprobe.errors import OutputError
from layerprobe.sinks.suite import SinkSuite


class TestHdf5(SinkSuite):
    """One HDF5 file, read back with h5py alone."""

    @pytest.fixture
    def open_sink(self):
        return sinks.open_sink

    @pytest.fixture
    def path(self, tmp_path):
        return tmp_path / "out.h5"

    @pytest.fixture
    def read_back(self):
        def read(path):
            with h5py.File(path) as file:
                manifest = json.loads(file.attrs["layerprobe"])
                assert manifest == json.loads(path.with_name("out.h5.json").read_text())
                found = {file[name].attrs["address"]: file[name][()] for name in file}
            return manifest, found

        return read


class TestNpy(SinkSuite):
    """A folder of NPY files, read back with np.load alone."""

    @pytest.fixture
    def open_sink(self):
        return sinks.open_sink

    @pytest.fixture
    def path(self, tmp_path):
        return tmp_path / "out"

    @pytest.fixture
    def read_back(self):
        def read(path):
            manifest = json.loads((path / "manifest.json").read_text())
            names = {entry["address"]: entry["name"] for entry in manifest["datasets"]}
            assert len(list(path.iterdir())) == len(names) + 1
            return manifest, {a: np.load(path / f"{name}.npy") for a, name in names.items()}

        return read


def open_early(path, datasets, **options):
    """Open a sink that makes the final name at once, as a careless one does."""
    sink = sinks.open_sink(path, datasets, **options)
    path.touch()
    return sink


def test_the_suite_rejects_a_sink_that_writes_the_final_name_early(tmp_path):
    """A sink whose output can be seen before commit fails the suite."""
    with pytest.raises(AssertionError):
        SinkSuite().test_has_its_name_only_when_committed(open_early, tmp_path / "out.h5")


WRONG = {
    "out of order": (1, [ROWS[1:]]),
    "shape": (0, [ROWS.T]),
    "no rows axis": (0, [np.float32(1)]),
    "dtype": (0, [ROWS.astype("float64")]),
    "too many rows": (0, [np.concatenate([ROWS, ROWS])]),
    "too many arrays": (0, [ROWS, ROWS]),
}


@pytest.mark.parametrize("case", WRONG)
@pytest.mark.parametrize("name", OUTPUTS)
def test_rows_that_do_not_fit_are_an_error_of_the_caller(tmp_path, name, case):
    """Rows out of order, or of another shape, dtype or number than declared, are refused."""
    with opened(tmp_path / name) as sink, pytest.raises(OutputError) as refused:
        sink.write(*WRONG[case])
    assert refused.value.exit_code == 70


@pytest.mark.parametrize("name", OUTPUTS)
def test_big_endian_rows_are_stored_little_endian(tmp_path, name):
    """The byte order of an array in memory is not that of the dump."""
    little, big = tmp_path / "little", tmp_path / "big"
    for folder, rows in ((little, ROWS), (big, ROWS.astype(">f4"))):
        folder.mkdir()
        written(folder / name, rows)
    assert sorted(content(little).values()) == sorted(content(big).values())


@pytest.mark.parametrize("name", OUTPUTS)
def test_a_finished_sink_takes_nothing_more(tmp_path, name):
    """After commit, writing and committing are errors, and abort removes nothing."""
    with opened(tmp_path / name) as sink:
        sink.write(0, [ROWS])
        sink.commit(listed("a"))
        before = content(tmp_path)
        for call in (lambda: sink.write(3, [ROWS]), lambda: sink.commit({})):
            with pytest.raises(OutputError, match="finished"):
                call()
        sink.abort()
    assert content(tmp_path) == before


MANIFESTS = {
    "other datasets": listed("b"),
    "no datasets": {},
    "a NaN": {"datasets": [{"address": "a", "mean": float("nan")}]},
    "no JSON": {"datasets": [{"address": "a"}], "x": np.float32(1)},
}


@pytest.mark.parametrize("case", MANIFESTS)
@pytest.mark.parametrize("name", OUTPUTS)
def test_a_manifest_that_does_not_fit_publishes_nothing(tmp_path, name, case):
    """A manifest of other datasets, or one that is not JSON, is an error."""
    with opened(tmp_path / name) as sink:
        sink.write(0, [ROWS])
        with pytest.raises(OutputError):
            sink.commit(MANIFESTS[case])
        assert not (tmp_path / name).exists()
        sink.commit(listed("a"))
    assert (tmp_path / name).exists()


def test_the_manifest_keeps_what_it_was_given_in_order(tmp_path):
    """Format, container and state come first, then the caller's keys; the caller's dict stays."""
    given = {"z": [1, None], "datasets": [{"nan": 0, "address": "a"}], "b": "ü"}
    with opened(tmp_path / "out") as sink:
        sink.write(0, [ROWS])
        sink.commit(given)
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    first = ["format", "container", "state", "z", "datasets", "b", "rows_a_mark"]
    assert list(manifest) == first
    described = ["address", "shape", "dtype", "name", "crc32", "crc32_marks"]
    assert list(manifest["datasets"][0]) == ["nan", *described]
    assert (manifest["z"], manifest["b"]) == ([1, None], "ü")
    assert given == {"z": [1, None], "datasets": [{"nan": 0, "address": "a"}], "b": "ü"}


def test_hdf5_stores_whole_rows_in_checked_chunks_of_about_a_mebibyte(tmp_path):
    """Only a row larger than a chunk is cut; each chunk has a checksum, and nothing has a time."""
    path = written(
        tmp_path / "wide.h5", np.zeros((2, 640, 640, 3), "f4"), np.zeros((2, 300_000), "f4")
    )
    with h5py.File(path) as file:
        assert (file["a"].chunks, file["b"].chunks) == ((1, 128, 640, 3), (1, 150_000))
    path = written(tmp_path / "small.h5", np.zeros((5000, 70), "float32"))
    with h5py.File(path) as file:
        assert (file["a"].chunks, file["a"].fletcher32) == ((2500, 70), True)
        times = [h5py.h5o.get_info(thing.id).ctime for thing in (file, file["a"])]
    assert times == [0, 0]


@pytest.mark.parametrize("name", OUTPUTS)
def test_thousands_of_datasets_and_a_large_manifest(tmp_path, name):
    """2,000 datasets, more than a process may have files open, with a manifest far over 64 kB."""
    addresses = [f"block/layer_{n}" for n in range(2000)]
    datasets = [sinks.Dataset(a, (2, 3), np.dtype("int16")) for a in addresses]
    with sinks.open_sink(tmp_path / name, datasets) as sink:
        sink.write(0, [np.full((2, 3), n, "int16") for n in range(2000)])
        sink.commit(listed(*addresses) | {"note": "x" * 200_000})
    if name != "out.h5":
        manifest = json.loads((tmp_path / name / "manifest.json").read_text())
    if name == "out":
        last = np.load(tmp_path / "out/block%2Flayer_1999.npy")
    elif name == "out.zarr":
        last = zarr.open_group(tmp_path / name, mode="r")["block%2Flayer_1999"][...]
    else:
        with h5py.File(tmp_path / name) as file:
            manifest, last = json.loads(file.attrs["layerprobe"]), file["block%2Flayer_1999"][()]
    assert [entry["address"] for entry in manifest["datasets"]] == addresses
    assert (last == 1999).all()

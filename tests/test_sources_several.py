"""Several files as one source, and groups of datasets for several inputs."""

from __future__ import annotations

import os

import h5py
import numpy as np
import pytest
from command import refused, sample_folder, typed

from layerprobe.errors import DataError
from layerprobe.sources import open_source, open_sources
from layerprobe.testing import SourceSuite

ROWS = np.arange(60, dtype="float32").reshape(20, 3)
OUT = ["-o", "out.h5"]


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


class TestPattern(SourceSuite):
    """Files of unequal length, one of them with a single row, that a pattern stands for."""

    @pytest.fixture
    def make_source(self):
        def make(array):
            for name, begin, end in ("b.npy", 4, 5), ("a.npy", 0, 4), ("c.npy", 5, 11):
                np.save(name, array[begin:end])
            return open_source("?.npy")

        return make


class TestManyFiles(SourceSuite):
    """More files than stay open, in the order given, of two kinds."""

    @pytest.fixture
    def make_source(self, monkeypatch):
        monkeypatch.setattr("layerprobe.sources.several._MOST_OPEN", 2)

        def make(array):
            names = [f"{11 - at}.h5" if at % 2 else f"{11 - at}.npy" for at in range(11)]
            for at, name in enumerate(names):
                if name.endswith(".npy"):
                    np.save(name, array[at : at + 1])
                else:
                    with h5py.File(name, "w") as file:
                        file["x"] = array[at : at + 1]
            return open_sources(names)

        return make


def test_the_order_is_plain(tmp_path):
    """Files come in the order of their paths as text, whatever order the folder lists them in."""
    for at, name in enumerate(["Z.npy", "a10.npy", "a9.npy", "b/a.npy"]):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        np.save(name, np.full((2, 3), at))
    np.save(".hidden.npy", np.zeros((2, 3)))
    with open_source("**/*.npy") as source:
        assert source.read(0, 8)[:, 0].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
        assert [str(path) for path in source.files] == ["Z.npy", "a10.npy", "a9.npy", "b/a.npy"]
        assert source.place_of(5) == "row 1 of a9.npy"


def test_names_with_the_characters_of_patterns_are_names():
    """A file that exists under the very name is that file; a key behind the colons is kept."""
    np.savez("x[1].npz", x=ROWS)
    np.savez("x1.npz", x=ROWS + 1)
    for location, first in ("x[1].npz", 0), ("x[1].npz::x", 0), ("x?.npz::x", 1):
        with open_source(location) as source:
            assert source.read(0, 1)[0, 0] == first


@pytest.mark.parametrize(
    ("odd", "what"),
    [
        (ROWS[:, :2], r"b.npy holds rows of \(2,\) float32.\nExpected: \(3,\) float32, as in a"),
        (ROWS.astype("f8"), r"b.npy holds rows of \(3,\) float64"),
        (ROWS[:0], r"b\.npy holds 0 rows"),
    ],
)
def test_the_odd_file_is_named(odd, what):
    """Rows of another shape or dtype, or none, are an error that names their file."""
    np.save("a.npy", ROWS)
    np.save("b.npy", odd)
    np.save("c.npy", ROWS)
    before = len(os.listdir("/dev/fd"))  # noqa: PTH208 - it counts itself as well
    with pytest.raises(DataError, match=what):
        open_source("*.npy")
    assert len(os.listdir("/dev/fd")) == before  # noqa: PTH208


def test_files_that_change_meanwhile(monkeypatch):
    """A file that is opened anew and is no longer what it was is an error, not other rows."""
    monkeypatch.setattr("layerprobe.sources.several._MOST_OPEN", 1)
    np.save("a.npy", ROWS)
    np.save("b.npy", ROWS)
    with open_source("*.npy") as source:
        np.save("a.npy", ROWS[:-1])
        with pytest.raises(DataError, match=r"a\.npy has 19 rows now, and had 20"):
            source.read(3, 5)


def test_patterns_on_the_command_line(samples, capfd):
    """A pattern and files one by one give what one file gives; mistakes are named."""
    sample_folder(samples)
    rows = np.load("digits.npy")
    np.save("part-1.npy", rows[:50])
    np.save("part-2.npy", rows[50:])
    cnn = ["extract", "cnn.keras", "-l", "features"]
    written = {}
    for name, given in {
        "one": ["-i", "digits.npy"],
        "pattern": ["-i", "images=part-*.npy"],
        "files": ["-i", "part-1.npy", "-i", "part-2.npy"],
    }.items():
        done = typed(capfd, *cnn, *given, "-o", f"{name}.h5")
        assert done.code == 0, done.stderr
        with h5py.File(f"{name}.h5") as file:
            written[name] = file["features"][:]
    np.testing.assert_array_equal(written["pattern"], written["one"])
    np.testing.assert_array_equal(written["files"], written["one"])
    message = refused(capfd, *cnn, "-i", "parts-*.npy", *OUT, code=66)
    assert "No file matches 'parts-*.npy'." in message
    assert "is also the data" in refused(capfd, *cnn, "-i", "part*.npy", "-o", "part-2.npy", code=2)
    np.save("part-2.npy", np.full((9, 8, 8, 1), 1e300))
    np.save("part-1.npy", np.zeros((4, 8, 8, 1)))
    message = refused(capfd, *cnn, "-i", "part-?.npy", *OUT, code=65)
    assert "holds 1e+300 in row 4 (row 0 of part-2.npy)." in message


def test_a_group_of_datasets_feeds_several_inputs(samples, capfd):
    """A group whose datasets have the inputs' names is enough, beside other groups like it."""
    sample_folder(samples)
    with np.load("pairs.npz") as pairs, h5py.File("pairs.h5", "w") as file:
        for name in ("left", "right"):
            file[f"deep/test/{name}"] = pairs[name]
            file[f"train/{name}"] = pairs[name][::-1]
    both = ["extract", "pairs.keras", "-l", "same"]
    assert typed(capfd, *both, "-i", "pairs.npz", *OUT).code == 0
    done = typed(capfd, *both, "-i", "pairs.h5::/deep/test", "-o", "group.h5")
    assert done.code == 0, done.stderr
    with h5py.File("out.h5") as one, h5py.File("group.h5") as other:
        np.testing.assert_array_equal(one["same"][:], other["same"][:])
    message = refused(capfd, *both, "-i", "pairs.h5", "-o", "no.h5", code=65)
    assert "deep/test/left" in message

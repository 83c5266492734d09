"""A location is what it says: the right file, the right kind, the right array in it."""

from __future__ import annotations

import zipfile

import h5py
import numpy as np
import pytest

from layerprobe.errors import DataError
from layerprobe.sources import array_source, dataset_names, open_source

ROWS = np.arange(21, dtype="float32").reshape(7, 3)


def test_kind_is_told_by_content(tmp_path):
    """An .npy named .h5 and an HDF5 file named .npy, with a block of its own in front, are read."""
    np.save(tmp_path / "a.npy", ROWS)
    (tmp_path / "a.npy").rename(tmp_path / "a.h5")
    with h5py.File(tmp_path / "b.npy", "w", userblock_size=1024) as file:
        file["x"] = ROWS
    for name in ("a.h5", "b.npy"):
        with open_source(tmp_path / name) as source:
            np.testing.assert_array_equal(source.read(2, 5), ROWS[2:5])


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_every_version_of_npy_is_read(tmp_path, version):
    """The three versions of the format differ in their header, not in their rows."""
    with (tmp_path / "x.npy").open("wb") as file:
        np.lib.format.write_array(file, ROWS, version)
    with open_source(tmp_path / "x.npy") as source:
        np.testing.assert_array_equal(source.read(0, 7), ROWS)


def test_a_path_with_colons_that_exists_is_a_path(tmp_path):
    """`::` in the name of an existing file is part of the name, and a key may still follow."""
    np.savez(tmp_path / "a::b.npz", x=ROWS, y=ROWS + 1)
    np.save(tmp_path / "x.npy", ROWS + 2)
    (tmp_path / "x.npy").rename(tmp_path / "a::b.npz::x")
    for location, first in (("a::b.npz::y", 1), ("a::b.npz::x", 2)):
        with open_source(tmp_path / location) as source:
            assert source.read(0, 1)[0, 0] == first


def test_the_one_array_that_fits_is_chosen(tmp_path):
    """Without a name, `fits` chooses; it is asked about rows of numbers only, in native dtypes."""
    other = {"names": np.array(["a"]), "empty": np.ones((0, 3)), "one": np.float32(1)}
    np.savez(tmp_path / "x.npz", y=ROWS[0], x=ROWS.astype(">f4"), **other)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["train/y"], file["train/x"], file["names"] = ROWS[0], ROWS.astype(">f4"), ["a"]
    for name, key in (("x.npz", "x"), ("x.h5", "train/x")):
        asked = []

        def fits(shape, dtype, asked=asked):
            asked.append((shape, dtype))
            return len(shape) == 2

        with open_source(tmp_path / name, fits=fits) as source:
            assert (source.key, source.path) == (key, tmp_path / name)
            np.testing.assert_array_equal(source.read(0, 7), ROWS)
        assert sorted(asked) == [((3,), np.dtype("f4")), ((7, 3), np.dtype("f4"))]
        assert all(dtype.isnative for _, dtype in asked)


def test_a_group_is_a_file_within_the_file(tmp_path):
    """Named without a dataset, a group gives the one in it that fits, whatever lies elsewhere."""
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["train/x"], file["train/y"], file["test/x"] = ROWS, ROWS[0], ROWS + 1
    for group, first in ("train", 0), ("/test/", 1):
        with open_source(
            f"{tmp_path}/x.h5::{group}", fits=lambda shape, _: len(shape) == 2
        ) as source:
            assert source.read(0, 1)[0, 0] == first
    with pytest.raises(DataError, match=r"x.h5::train holds 2 arrays.*\n(.*\n)+.*::train/y"):
        open_source(f"{tmp_path}/x.h5::train")


def test_soft_links_within_a_file_are_followed(tmp_path):
    """A soft link, relative or absolute, to a group or a dataset of the same file opens it."""
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["a/b/x"] = ROWS
        file["a/link"] = h5py.SoftLink("b")
        file["a/absolute"] = h5py.SoftLink("/a/b/x")
        file["soft"] = h5py.SoftLink("/a/link/x")
        file["a/b/loop"] = file["a"]
    for key in ("soft", "/a/link/x", "a//b/./x", "a/b/loop/absolute"):
        with open_source(f"{tmp_path}/x.h5::{key}") as source:
            np.testing.assert_array_equal(source.read(6, 7), ROWS[6:])


def test_names_are_those_behind_the_colons(tmp_path):
    """Names are listed where there are several; an .npy, or a location with a name, has none."""
    np.save(tmp_path / "x.npy", ROWS)
    np.savez(tmp_path / "x.npz", b=ROWS, a=ROWS)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["b/c"], file["a"], file["b/loop"] = ROWS, ROWS, file["/"]
        file["elsewhere"] = h5py.ExternalLink("none.h5", "/x")
    assert dataset_names(tmp_path / "x.npy") is None
    assert dataset_names(f"{tmp_path}/x.npz::a") is None
    assert list(dataset_names(tmp_path / "x.npz")) == ["b", "a"]
    assert list(dataset_names(tmp_path / "x.h5")) == ["a", "b/c", "elsewhere"]
    assert dataset_names(f"{tmp_path}/x.h5::/b") == {"c": f"{tmp_path}/x.h5::b/c"}
    assert dataset_names(f"{tmp_path}/x.h5::/b/c") is None
    assert dataset_names("-") is None


def test_members_that_are_no_arrays_are_passed_over(tmp_path):
    """A zip with one array and other files in it is a file of one array."""
    np.savez(tmp_path / "x.npz", x=ROWS)
    with zipfile.ZipFile(tmp_path / "x.npz", "a") as archive:
        archive.writestr("README.txt", "not an array")
    with open_source(tmp_path / "x.npz") as source:
        assert source.key == "x"
    assert list(dataset_names(tmp_path / "x.npz")) == ["x"]


def test_anything_numpy_can_read_is_an_array_source():
    """Nested lists become rows; ragged lists, masked arrays and text do not."""
    assert array_source([[1, 2], [3, 4]]).read(1, 2).tolist() == [[3, 4]]
    for wrong, message in (
        ([[1, 2], [3]], "cannot be made an array"),
        (np.ma.masked_equal([1, 2], 2), "masked"),
        (["a"], "holds text"),
    ):
        with pytest.raises(DataError, match=message):
            array_source(wrong)


def test_a_batch_larger_than_memory_is_an_error(monkeypatch):
    """Rows for which there is no memory are a DataError that gives their size."""
    source = array_source(ROWS)
    monkeypatch.setattr(source, "_fetch", lambda *_: np.empty(1 << 60, "uint8"))
    with pytest.raises(DataError, match="take 84 bytes") as caught:
        source.read(0, 7)
    assert caught.value.fields["bytes"] == 84


@pytest.mark.parametrize("name", ["x.npz", "x.h5"])
def test_two_sources_share_a_file(tmp_path, name):
    """Two arrays of one file are two sources, and closing one leaves the other open."""
    if name == "x.npz":
        np.savez_compressed(tmp_path / name, a=ROWS, b=ROWS + 1)
    else:
        with h5py.File(tmp_path / name, "w") as file:
            file["a"], file["b"] = ROWS, ROWS + 1
    first, second = (open_source(f"{tmp_path / name}::{key}") for key in "ab")
    np.testing.assert_array_equal(first.read(0, 2), ROWS[:2])
    first.close()
    with second:
        np.testing.assert_array_equal(second.read(5, 7), ROWS[5:] + 1)

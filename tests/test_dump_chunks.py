"""Rows read past HDF5 are those that it would read, and no damage goes by unseen."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
from dumps import written

from layerprobe.dump import open_dump, sums
from layerprobe.dump.verify import verify
from layerprobe.errors import DataError

WIDE = np.random.default_rng(0).standard_normal((5000, 300)).astype("float32")  # 6 chunks


@pytest.fixture
def path(tmp_path):
    """Write a dump of several chunks."""
    return written(tmp_path / "o.h5", WIDE)


def places(path):
    """Return where the chunks lie, how many rows each has, as h5py tells."""
    found = []
    with h5py.File(path) as file:
        file["a"].id.chunk_iter(
            lambda chunk: found.append((chunk.chunk_offset[0], chunk.byte_offset))
        )
        return sorted(found), file["a"].chunks[0]


def flip(path, place):
    """Change a bit of a file."""
    with path.open("r+b") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 8]))


@pytest.fixture(params=["one thread", "several threads"])
def _threads(request, monkeypatch):
    """Let several threads read what is long enough, or everything that has two pieces."""
    if request.param == "several threads":
        monkeypatch.setattr(sums, "_WORTH_THREADS", 2)


@pytest.mark.usefixtures("_threads")
@pytest.mark.parametrize("first", [slice(None), slice(0), slice(2000, 2001)])
def test_any_rows_in_any_order(path, first):
    """Before a chunk was checked and after it; parts of chunks, whole ones, the last one."""
    _, rows = places(path)
    ends = [0, 1, rows - 1, rows, rows + 1, 3 * rows, 4999, 5000]
    with open_dump(path) as dump:
        lazy = dump["a"]
        np.testing.assert_array_equal(lazy[first], WIDE[first])
        for start in ends:
            for stop in ends:
                np.testing.assert_array_equal(lazy[start:stop], WIDE[start:stop], strict=True)
        np.testing.assert_array_equal(dump["a"][[4999, 3, 3]], WIDE[[4999, 3, 3]])


@pytest.fixture(params=["sums of the manifest", "checksums of HDF5"])
def reader(request, monkeypatch):
    """Let rows be compared with the manifest's sums, or with those that HDF5 keeps itself.

    Returns what tells how many rows are compared at once.
    """
    if request.param == "sums of the manifest":
        return lambda path: open_dump(path).manifest["rows_a_mark"]
    monkeypatch.setattr(sums, "_MOST_BYTES", 1000)  # so that the pieces are too large for that
    return lambda path: places(path)[1]


@pytest.mark.usefixtures("_threads")
@pytest.mark.parametrize("piece", [0, 2, -1])
def test_a_changed_bit_is_found_by_any_row_of_its_piece(path, reader, piece):
    """As HDF5 finds it; other rows are read."""
    rows = reader(path)
    start = range(0, 5000, rows)[piece]
    place = path.read_bytes().index(WIDE[start].tobytes()) + 1000
    flip(path, place)
    with h5py.File(path) as file, pytest.raises(OSError, match="filter returned failure"):
        file["a"][start]
    with open_dump(path) as dump:
        lazy = dump["a"]
        other = (start + rows) % 5000 if piece != -1 else 0
        np.testing.assert_array_equal(lazy[other], WIDE[other])
        last = min(start + rows, 5000) - 1
        for key in (start, last, slice(start, last + 1), slice(None), [start, other]):
            with pytest.raises(DataError, match=r"rows of 'a' in .* cannot be read"):
                lazy[key]
        with pytest.raises(DataError, match=r"rows of 'a' in .* cannot be read"):
            dump["a"][last]  # another array of the same dataset


@pytest.mark.parametrize("name", ["o.h5", "folder"])
def test_a_piece_is_read_once_to_be_compared(tmp_path, monkeypatch, name):
    """Rows before and behind the wanted ones are read for their sum, and only the first time."""
    with open_dump(written(tmp_path / name, WIDE)) as dump:
        every = dump.manifest["rows_a_mark"]
        read = []
        bare = type(dump._files).bare

        def noted(files, entry):
            reader = bare(files, entry)
            return lambda *rows: (read.append(rows[:2]), reader(*rows))[1]

        monkeypatch.setattr(type(dump._files), "bare", noted)
        dump["a"][every + 5 : 2 * every + 7]
        first, second = (every + 5, 2 * every), (2 * every, 2 * every + 7)
        assert read == [first, (every, every + 5), second, (2 * every + 7, 3 * every)]
        read.clear()
        dump["a"][every : every + 1]
        dump["a"][every + 3 : 3 * every]
        assert read == [(every, every + 1), (every + 3, 3 * every)]


def test_small_pieces_are_compared_together(tmp_path, monkeypatch):
    """Those of a narrow dataset beside a wide one; a changed bit is found in each."""
    wide, narrow = np.zeros((900, 100_000), "uint8"), WIDE[:900, :3]
    path = written(tmp_path / "o", wide, narrow)
    with open_dump(path) as dump:
        assert dump.manifest["rows_a_mark"] == 10
        np.testing.assert_array_equal(dump["b"][:], narrow, strict=True)
        counted = []
        sums_of = sums.checksum
        monkeypatch.setattr(sums, "checksum", lambda *a: (counted.append(1), sums_of(*a))[1])
        np.testing.assert_array_equal(dump["b"][::7], narrow[::7], strict=True)
    assert not counted
    for row in (0, 444, 899):
        flip(tmp_path / "o" / "b.npy", 128 + row * 12)
        with open_dump(path) as dump, pytest.raises(DataError, match="checksum of its rows"):
            dump["b"][row]
        flip(tmp_path / "o" / "b.npy", 128 + row * 12)


def test_a_changed_checksum_is_found(path, monkeypatch):
    """By `verify`, and where rows are read by it: the last of its four bytes too."""
    found, rows = places(path)
    flip(path, found[1][1] + rows * 1200 + 3)
    with open_dump(path) as dump:
        np.testing.assert_array_equal(dump["a"][:], WIDE, strict=True)
    faults = verify(path).faults
    assert faults[0].start <= rows
    assert faults[-1].stop >= 2 * rows
    monkeypatch.setattr(sums, "_MOST_BYTES", 1000)
    with open_dump(path) as dump, pytest.raises(DataError, match="cannot be read"):
        dump["a"][rows]


LAYOUTS = {
    "shuffled": {"chunks": (100, 300), "shuffle": True, "fletcher32": True},
    "no checksum": {"chunks": (100, 300)},
    "cut inside rows": {"chunks": (100, 150), "fletcher32": True},
    "in one piece": {},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_others_have_stored_anew_is_left_to_hdf5(path, layout):
    """A dump that was repacked is still one."""
    with h5py.File(path) as file:
        manifest = file.attrs["layerprobe"]
    with h5py.File(path, "w") as file:
        file.create_dataset("a", data=WIDE, **LAYOUTS[layout])
        file.attrs["layerprobe"] = manifest
    assert json.loads(manifest)["state"] == "complete"
    with open_dump(path) as dump:
        np.testing.assert_array_equal(dump["a"][:], WIDE, strict=True)
        np.testing.assert_array_equal(dump["a"][4321], WIDE[4321])


def test_a_chunk_that_skips_its_checksum_is_left_to_hdf5(path):
    """Each chunk says itself which filters it went through."""
    with h5py.File(path) as file:
        manifest = file.attrs["layerprobe"]
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("a", WIDE.shape, "<f4", chunks=(1000, 300), fletcher32=True)
        for start in range(0, 5000, 1000):
            rows = WIDE[start : start + 1000]
            dataset.id.write_direct_chunk((start, 0), rows.tobytes(), filter_mask=1)
        file.attrs["layerprobe"] = manifest
    with open_dump(path) as dump:
        np.testing.assert_array_equal(dump["a"][:], WIDE, strict=True)

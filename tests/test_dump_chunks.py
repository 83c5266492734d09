"""Rows read past HDF5 are those that it would read, and no damage goes by unseen."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
from dumps import written

from layerprobe.dump import open_dump
from layerprobe.errors import DataError

WIDE = np.random.default_rng(0).standard_normal((5000, 300)).astype("float32")  # 6 chunks


@pytest.fixture
def path(tmp_path):
    """Write a dump of several chunks, and of more bytes than one thread reads."""
    return written(tmp_path / "o.h5", WIDE)


def places(path):
    """Return where the chunks lie, how many rows each has, as h5py tells."""
    found = []
    with h5py.File(path) as file:
        file["a"].id.chunk_iter(
            lambda chunk: found.append((chunk.chunk_offset[0], chunk.byte_offset))
        )
        return sorted(found), file["a"].chunks[0]


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


@pytest.mark.parametrize("chunk", [0, 2, -1])
def test_a_changed_bit_is_found_by_any_row_of_its_chunk(path, chunk):
    """As HDF5 finds it; rows of other chunks are read."""
    found, rows = places(path)
    start, place = found[chunk]
    with path.open("r+b") as file:
        file.seek(place + 1000)
        byte = file.read(1)[0]
        file.seek(place + 1000)
        file.write(bytes([byte ^ 8]))
    with h5py.File(path) as file, pytest.raises(OSError, match="filter returned failure"):
        file["a"][start]
    with open_dump(path) as dump:
        lazy = dump["a"]
        other = (start + rows) % 5000 if chunk != -1 else 0
        np.testing.assert_array_equal(lazy[other], WIDE[other])
        last = min(start + rows, 5000) - 1
        for key in (start, last, slice(start, last + 1), slice(None), [start, other]):
            with pytest.raises(DataError, match=r"rows of 'a' in .* cannot be read"):
                lazy[key]


def test_a_changed_checksum_is_found(path):
    """The last of its four bytes too."""
    found, rows = places(path)
    with path.open("r+b") as file:
        file.seek(found[1][1] + rows * 1200 + 3)
        byte = file.read(1)[0]
        file.seek(-1, 1)
        file.write(bytes([byte ^ 1]))
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

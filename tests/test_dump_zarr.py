"""What is wrong with a Zarr dump, by chance or on purpose, is refused or found."""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pytest
from dumps import ROWS, written
from test_dump_damage import change, refusal

from layerprobe.dump import open_dump
from layerprobe.dump.verify import verify
from layerprobe.errors import DataError
from layerprobe.sinks import grid


@pytest.fixture(params=[None, "gzip", "lz4", "zstd"])
def dump(request, tmp_path, monkeypatch):
    """Return a dump of several chunks and shards."""
    for limit, nbytes in (("CHUNK_BYTES", 16), ("SMALLEST_CHUNK", 16), ("SHARD_BYTES", 32)):
        monkeypatch.setattr(grid, limit, nbytes)
    rows = np.arange(26, dtype="float32").reshape(13, 2)
    return written(tmp_path / "out.zarr", rows, rows + 1, compress=request.param)


def test_a_shard_that_is_gone_is_no_row_of_zeros(dump):
    """Zarr libraries give zeros for it, without a word."""
    (dump / "a" / "c.2.0").unlink()
    assert "cannot be read" in refusal(dump)


@pytest.mark.parametrize("size", [0, 30])
def test_a_cut_shard_is_refused(dump, size):
    """Of plain rows at once; of compressed ones as soon as its chunks are not there."""
    os.truncate(dump / "a" / "c.1.0", size)
    assert "'a' is not all there: c.1.0 is damaged" in refusal(dump)


def test_every_flipped_bit_of_a_shard_is_found(dump):
    """In rows, checksums and indexes alike: the rows of the chunk, and of no other dataset."""
    path = dump / "a" / "c.1.0"
    whole = path.read_bytes()
    for at in range(len(whole)):
        broken = bytearray(whole)
        broken[at] ^= 1 << at % 8
        path.write_bytes(broken)
        faults = verify(dump).faults
        assert [(fault.address, fault.start, fault.stop) for fault in faults] == [("a", 0, 13)]
    path.write_bytes(whole)
    assert verify(dump).faults == ()


def test_rows_of_other_chunks_are_still_read(dump):
    """A damaged chunk is an error where its rows are asked for."""
    path = dump / "a" / "c.1.0"
    broken = bytearray(path.read_bytes())
    broken[36 + 2] ^= 1  # in the first chunk behind an index of two entries
    path.write_bytes(broken)
    with open_dump(dump) as found:
        np.testing.assert_array_equal(found["a"][:4], np.arange(8).reshape(4, 2))
        np.testing.assert_array_equal(found["a"][6:], np.arange(12, 26).reshape(7, 2))
        with pytest.raises(DataError, match="checksum of a chunk is wrong"):
            found["a"][4]


def test_shards_in_each_others_place_are_found(dump):
    """Each is sound in itself: what gives them away is the order of the rows."""
    first, second = dump / "a" / "c.0.0", dump / "a" / "c.1.0"
    first.rename(dump / "a" / "x")
    second.rename(first)
    (dump / "a" / "x").rename(second)
    (fault,) = verify(dump).faults
    assert "the checksum is" in fault.reason


def sharding(metadata):
    """Return what the metadata of an array say of its shards."""
    return metadata["codecs"][0]["configuration"]


EDITS = {
    "another shape": lambda m: m.update(shape=[3, 4]),
    "another dtype": lambda m: m.update(data_type="int32"),
    "a dtype of text": lambda m: m.update(data_type="string"),
    "another fill value": lambda m: m.update(fill_value=1.0),
    "chunks elsewhere": lambda m: m.update(storage_transformers=[{"name": "elsewhere"}]),
    "other keys": lambda m: m.update(chunk_key_encoding={"name": "v2"}),
    "no shards": lambda m: m.update(codecs=[{"name": "bytes"}]),
    "a codec more": lambda m: m["codecs"].append({"name": "crc32c"}),
    "a codec inside": lambda m: sharding(m)["codecs"].insert(0, {"name": "transpose"}),
    "big-endian": lambda m: sharding(m)["codecs"][0].update(configuration={"endian": "big"}),
    "no checksum": lambda m: sharding(m)["codecs"].pop() and None,
    "index at the end": lambda m: sharding(m).update(index_location="end"),
    "huge chunks": lambda m: sharding(m).update(chunk_shape=[1 << 40, 2]),
    "chunks of nothing": lambda m: sharding(m).update(chunk_shape=[0, 2]),
    "chunks of half a row": lambda m: sharding(m).update(chunk_shape=[3, 1]),
    "chunks with fewer axes": lambda m: sharding(m).update(chunk_shape=[3]),
    "huge shards": lambda m: m["chunk_grid"]["configuration"].update(chunk_shape=[3 << 40, 2]),
    "another address": lambda m: m["attributes"].update(address="b"),
    "a kind of its own": lambda m: m.update(must_understand=True),
}


@pytest.mark.parametrize("case", EDITS)
def test_metadata_that_a_sink_does_not_write_are_refused(tmp_path, case):
    """Whatever a Zarr library would make of them: other numbers, other files, all the memory."""
    path = written(tmp_path / "out.zarr")
    for file, part in ((path / "a" / "zarr.json", None), (path / "zarr.json", "a")):
        metadata = json.loads(file.read_text())
        inner = metadata["consolidated_metadata"]["metadata"][part] if part else metadata
        EDITS[case](inner)
        file.write_text(json.dumps(metadata))
    refusal(path)


@pytest.mark.parametrize("place", ["zarr.json", "a/zarr.json"])
@pytest.mark.parametrize("text", ["", "[]", "{}", "nonsense", "[" * 100_000])
def test_metadata_that_are_none_are_refused(tmp_path, place, text):
    """Also of the group alone: other readers begin with it."""
    path = written(tmp_path / "out.zarr")
    (path / place).write_text(text)
    refusal(path)


LINKS = {
    "the array": "a",
    "its metadata": "a/zarr.json",
    "the metadata of the group": "zarr.json",
    "a shard": "a/c.0.0",
}


@pytest.mark.parametrize("place", LINKS.values(), ids=LINKS)
@pytest.mark.parametrize("make", [os.symlink, lambda _, path: os.mkfifo(path)])
def test_links_and_pipes_are_not_followed(tmp_path, place, make):
    """Even when the same is at their end; opening a pipe would wait for ever."""
    path = written(tmp_path / "out.zarr")
    moved = tmp_path / "moved"
    shutil.move(path / place, moved)
    make(moved, path / place)
    refusal(path)


def test_a_link_put_in_after_opening_is_not_followed(tmp_path):
    """The check is made again with every read."""
    path = written(tmp_path / "out.zarr")
    with open_dump(path) as found:
        shutil.move(path / "a" / "c.0.0", tmp_path / "moved")
        (path / "a" / "c.0.0").symlink_to(tmp_path / "moved")
        with pytest.raises(DataError, match="cannot be read"):
            found["a"][0]


@pytest.mark.parametrize("name", ["brotli", None, 3, ["gzip"], {}])
def test_unknown_compression_is_refused(tmp_path, name):
    """Of a later version, or of somebody's."""
    path = written(tmp_path / "out.zarr")
    change(path, lambda manifest: manifest.update(compression={"name": name}))
    refusal(path)


def test_another_compression_than_the_manifest_says_is_refused(tmp_path):
    """The manifest counts."""
    path = written(tmp_path / "out.zarr", compress="gzip")
    change(path, lambda manifest: manifest["compression"].update(name="zstd"))
    assert "'a' is not stored as a dump has it" in refusal(path)


def test_a_dump_of_another_level_is_read(tmp_path):
    """What a compressor was told is nothing to a reader."""
    path = written(tmp_path / "out.zarr", compress="gzip")
    for file in (path / "zarr.json", path / "a" / "zarr.json"):
        file.write_text(file.read_text().replace('"level": 1', '"level": 9'))
    with open_dump(path) as found:
        np.testing.assert_array_equal(found["a"], ROWS)


def test_a_chunk_that_unpacks_to_more_is_refused(tmp_path):
    """A bomb: a few bytes that would be gigabytes, behind a checksum that is right."""
    import zlib

    from layerprobe.sinks.crc32c import crc32c

    path = written(tmp_path / "out.zarr", compress="gzip")
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = packer.compress(bytes(10_000)) + packer.flush()
    index = np.array([20, len(bomb) + 4], "<u8").tobytes()
    file = index + crc32c(index) + bomb + crc32c(bomb)
    (path / "a" / "c.0.0").write_bytes(file)
    with open_dump(path) as found, pytest.raises(DataError, match="another size"):
        found["a"][0]

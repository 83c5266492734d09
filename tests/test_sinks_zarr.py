"""A Zarr dump is plain Zarr for those who know nothing of it, whatever its rows and codecs."""

from __future__ import annotations

import json
import sys
import warnings
from functools import partial

import google_crc32c
import ml_dtypes
import numpy as np
import pytest
import tensorstore
import zarr
from dumps import ROWS, content, listed, written
from hypothesis import given
from hypothesis import strategies as st

from layerprobe import sinks
from layerprobe.errors import OutputError
from layerprobe.sinks import codecs, crc32c, grid
from layerprobe.sinks.suite import SinkSuite
from layerprobe.sinks.tail import Tail
from layerprobe.sinks.zarr import ZarrContainer

CODECS = {
    None: None,
    "gzip": {"name": "gzip", "configuration": {"level": 1}},
    "lz4": {
        "name": "blosc",
        "configuration": {
            "cname": "lz4",
            "clevel": 5,
            "shuffle": "shuffle",
            "typesize": 4,
            "blocksize": 0,
        },
    },
    "zstd": {"name": "zstd", "configuration": {"level": 1, "checksum": False}},
}


def read_zarr(path):
    """Return the manifest and the arrays by address, on which two libraries agree."""
    manifest = json.loads((path / "manifest.json").read_text())
    names = {entry["name"]: entry["address"] for entry in manifest["datasets"]}
    with warnings.catch_warnings(action="error"):
        found = {name: x[...] for name, x in zarr.open_group(path, mode="r").arrays()}
    assert {*found} == {*names}
    for name, array in found.items():
        alone = zarr.open_array(path / name, mode="r")
        assert alone.attrs["address"] == names[name]
        store = {"driver": "file", "path": f"{path / name}/"}
        other = tensorstore.open({"driver": "zarr3", "kvstore": store}).result()
        assert other.read().result().tobytes() == alone[...].tobytes() == array.tobytes()
    return manifest, {names[name]: array for name, array in found.items()}


class TestZarr(SinkSuite):
    """A Zarr group, read back with zarr-python and TensorStore alone."""

    @pytest.fixture
    def open_sink(self):
        return sinks.open_sink

    @pytest.fixture
    def path(self, tmp_path):
        return tmp_path / "out.zarr"

    @pytest.fixture
    def read_back(self):
        return read_zarr


@pytest.mark.parametrize(
    ("compress", "small"), [*((c, False) for c in CODECS), (None, True), ("lz4", True)]
)
def test_every_codec_keeps_the_contract(tmp_path, monkeypatch, compress, small):
    """Bits come back and runs go on, with chunks of a mebibyte and with those of a row or two."""
    if small:
        for limit, nbytes in (("CHUNK_BYTES", 600_000), ("SHARD_BYTES", 1_300_000)):
            monkeypatch.setattr(grid, limit, nbytes)
    suite, opened = SinkSuite(), partial(sinks.open_sink, compress=compress)
    (tmp_path / "x").mkdir()
    suite.test_gives_back_every_bit(opened, tmp_path / "x" / "out.zarr", read_zarr)
    (tmp_path / "y").mkdir()
    suite.test_goes_on_where_it_was_left(opened, tmp_path / "y" / "out.zarr", 8)


@pytest.mark.parametrize("compress", CODECS)
def test_codecs_and_levels_stand_in_the_dump(tmp_path, compress):
    """In the array, as Zarr has them; in the manifest, by their names."""
    rows = np.zeros((3000, 100), "float32")
    path = written(tmp_path / "out.zarr", rows, compress=compress)
    (sharding,) = json.loads((path / "a" / "zarr.json").read_text())["codecs"]
    order, *packed, checksum = sharding["configuration"]["codecs"]
    assert (order["name"], checksum["name"]) == ("bytes", "crc32c")
    assert packed == ([CODECS[compress]] if compress else [])
    said = json.loads((path / "manifest.json").read_text()).get("compression")
    if compress is None:
        assert said is None
    else:
        settings = {k: v for k, v in packed[0]["configuration"].items() if k != "typesize"}
        library = said.pop("library").split(" ")[0]
        assert library == ("zlib" if compress == "gzip" else "numcodecs")
        assert said == {"name": compress, "codec": packed[0]["name"], **settings}
        assert sum(map(len, content(path).values())) < rows.nbytes / 20


def test_rows_lie_in_chunks_of_about_a_mebibyte_in_shards_of_64(tmp_path):
    """Whole rows, and files of many of them; with many datasets chunks shrink, shards do not."""
    path = written(tmp_path / "out.zarr", np.zeros((100_000, 200), "float32"))
    array = zarr.open_array(path / "a", mode="r")
    assert (array.chunks, array.shards) == ((1299, 200), (1299 * 64, 200))
    assert sorted(p.name for p in (path / "a").iterdir()) == ["c.0.0", "c.1.0", "zarr.json"]
    many = grid.grid_of(sinks.Dataset("a", (100_000, 200), np.dtype("float32")), 256)
    assert (many.chunk, many.shard[0] * 800 // 10**6) == ((327, 200), 66)


def test_one_compression_is_not_gone_on_with_as_another(tmp_path):
    """What was begun with gzip ends with gzip."""
    dataset = [sinks.Dataset("a", ROWS.shape, ROWS.dtype)]
    with sinks.open_sink(tmp_path / "out.zarr", dataset, compress="gzip") as sink:
        sink.write(0, [ROWS[:2]])
    for other in (None, "zstd"):
        with pytest.raises(OutputError, match=r"another compression.*'gzip'") as refused:
            sinks.open_sink(tmp_path / "out.zarr", dataset, resume=True, compress=other)
        assert refused.value.exit_code == 65


@pytest.mark.parametrize(
    ("name", "compress", "words"),
    [
        ("out.h5", "gzip", "gzip is for Zarr alone"),
        ("out", "lz4", "lz4 is for Zarr alone"),
        ("out.zarr", "brotli", "one of: gzip, lz4, zstd"),
    ],
)
def test_compression_that_an_output_does_not_have(tmp_path, name, compress, words):
    """Only Zarr is compressed, in three ways; all else is exit code 2, and nothing is written."""
    with pytest.raises(OutputError, match=words) as refused:
        sinks.check_target(tmp_path / name, compress=compress)
    assert refused.value.exit_code == 2
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_named_with_its_pip_line(tmp_path, monkeypatch):
    """lz4 and zstd need numcodecs; gzip and plain rows need nothing."""
    monkeypatch.setitem(sys.modules, "numcodecs.zstd", None)
    with pytest.raises(OutputError, match=r"pip install 'layerprobe\[zarr\]'") as refused:
        sinks.check_target(tmp_path / "out.zarr", compress="zstd")
    assert refused.value.exit_code == 70
    written(tmp_path / "out.zarr", compress="gzip")


def test_numbers_that_zarr_has_not_are_refused(tmp_path):
    """Extended floats have no name in Zarr."""
    wide = [sinks.Dataset("a", (3,), np.dtype("longdouble"))]
    with pytest.raises(OutputError, match="Zarr has no numbers of dtype") as refused:
        sinks.open_sink(tmp_path / "out.zarr", wide)
    assert refused.value.exit_code == 70
    assert not list(tmp_path.iterdir())


@given(st.binary(max_size=300), st.sampled_from([0, 1 << 18, 5 << 16]))
def test_checksums_with_and_without_the_package_are_the_same(data, more):
    """Of any bytes, also of many pieces of them."""
    data = data + bytes(more)
    expected = google_crc32c.value(data).to_bytes(4, "little")
    assert crc32c.crc32c(data) == expected
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(crc32c, "_compiled", lambda: None)
        assert crc32c.crc32c(data) == expected


@pytest.mark.parametrize("compress", CODECS)
@given(data=st.binary(min_size=4, max_size=400), flip=st.integers(0), size=st.integers(0, 100))
def test_what_is_unpacked_has_the_size_that_it_was_made_with(compress, data, flip, size):
    """Damaged, cut or hostile chunks are a ValueError, never other bytes or more of them."""
    data = data[: len(data) // 4 * 4]
    chain = codecs.Chain(4, compress)
    stored = bytearray(b"".join(chain.encode(data)))
    assert unpacked(chain, stored, len(data)) == data
    if size != len(data):
        with pytest.raises(ValueError, match="size"):
            unpacked(chain, stored, size)
    broken = stored[:-4]
    broken[flip % len(broken)] ^= 1 << flip % 8
    with pytest.raises(ValueError, match="checksum"):
        unpacked(chain, broken + stored[-4:], len(data))
    try:  # by somebody who knows how checksums are made
        found = unpacked(chain, broken + crc32c.crc32c(broken), len(data))
    except ValueError:
        return
    assert len(found) == len(data)


def unpacked(chain, stored, size):
    """Return what a chain makes of stored bytes, for a chunk of some size."""
    rest, chunk = [bytes(stored)], bytearray(size)

    def read(into):
        into[:] = rest[0][: len(into)]
        rest[0] = rest[0][len(into) :]

    chain.decode(read, len(stored), memoryview(chunk))
    return bytes(chunk)


def test_a_group_of_one_array_is_as_any_other(tmp_path):
    """The whole of a small dump: what lies where, and what it says."""
    path = written(tmp_path / "out.zarr")
    assert sorted(content(path)) == ["a/c.0.0", "a/zarr.json", "manifest.json", "zarr.json"]
    shard = (path / "a" / "c.0.0").read_bytes()
    raw = ROWS.tobytes()
    index = np.array([20, len(raw) + 4], "<u8").tobytes()
    sums = [google_crc32c.value(part).to_bytes(4, "little") for part in (index, raw)]
    assert shard == index + sums[0] + raw + sums[1]
    assert listed("a")["datasets"][0]["address"] == zarr.open(path)["a"].attrs["address"]


def test_a_run_that_died_at_its_end_goes_on_from_sound_rows(tmp_path, monkeypatch):
    """The files of waiting rows are gone then; a damaged chunk costs its rows alone."""
    for limit in ("CHUNK_BYTES", "SMALLEST_CHUNK"):
        monkeypatch.setattr(grid, limit, ROWS[0].nbytes)
    path, dataset = tmp_path / "out.zarr", [sinks.Dataset("a", ROWS.shape, ROWS.dtype)]
    for start, stop in ((0, 2), (2, 3)):
        with sinks.open_sink(path, dataset, resume=start > 0) as sink:
            sink.write(start, [ROWS[start:stop]])
    folder = tmp_path / "out.zarr.partial"
    (folder / "+0").unlink()
    (folder / "+1").unlink()
    shard = bytearray((folder / "a" / "c.0.0").read_bytes())
    shard[-5] ^= 1
    (folder / "a" / "c.0.0").write_bytes(shard)
    with sinks.open_sink(path, dataset, resume=True) as sink:
        assert sink.durable == 2
        sink.write(2, [ROWS[2:]])
        sink.commit(listed("a"))
    np.testing.assert_array_equal(read_zarr(path)[1]["a"], ROWS)


def test_other_rows_after_a_crash_take_no_room_from_each_other(tmp_path, monkeypatch):
    """Rows that were written and never called safe may come out otherwise, and longer."""
    for limit in ("CHUNK_BYTES", "SMALLEST_CHUNK"):
        monkeypatch.setattr(grid, limit, 4000)
    path, rows = tmp_path / "out.zarr", np.zeros((10, 1000), "float32")
    opened = partial(sinks.open_sink, path, [sinks.Dataset("a", rows.shape, rows.dtype)])
    with opened(compress="gzip") as sink:
        sink.write(0, [rows[:2]])
    journal = path.with_name("out.zarr.journal")
    early = journal.read_bytes()
    with opened(compress="gzip", resume=True) as sink:
        sink.write(2, [rows[2:]])
    journal.write_bytes(early)
    rows[2:] = np.random.default_rng(0).random((8, 1000))
    for start, stop in ((2, 5), (5, 6), (6, 10)):
        with opened(compress="gzip", resume=True) as sink:
            assert sink.durable == start
            sink.write(start, [rows[start:stop]])
    with opened(compress="gzip", resume=True) as sink:
        sink.commit(listed("a"))
    np.testing.assert_array_equal(read_zarr(path)[1]["a"], rows)


@pytest.mark.parametrize(("known", "left"), [(3, 5), (5, 3)])
def test_waiting_rows_that_are_safe_are_never_written_over(tmp_path, known, left):
    """Of two files the one that a run goes on with stays until the other is whole."""
    tail = Tail(tmp_path, [(10, 1)], 20)
    tail.create()
    for row in (3, 5):
        tail.write(row, [memoryview(bytes(range(row)))])
    tail = Tail(tmp_path, [(10, 1)], 20)
    assert bytes(tail.find(0, known)) == bytes(range(known))
    assert tail.find(0, 6) is None
    tail.keep(known)
    tail.write(7, [memoryview(bytes(range(7)))])
    held = {int.from_bytes((tmp_path / name).read_bytes()[:8], "little") for name in ("+0", "+1")}
    assert held == {known, 7}
    assert left not in held


def test_bfloat16_has_its_own_type(tmp_path):
    """As TensorStore writes it; the bits are kept."""
    rows = np.arange(12).reshape(3, 4).astype(ml_dtypes.bfloat16)
    dataset = sinks.Dataset("a", rows.shape, rows.dtype)
    container = ZarrContainer(tmp_path, [dataset], ["a"], begun=False)
    container.write(0, 0, rows)
    container.settle(3)
    assert container.read(0, 0, 3).tobytes() == rows.tobytes()
    container.finish("")
    store = {"driver": "file", "path": f"{tmp_path / 'a'}/"}
    found = tensorstore.open({"driver": "zarr3", "kvstore": store}).result().read().result()
    assert (found.dtype, found.tobytes()) == (rows.dtype, rows.tobytes())

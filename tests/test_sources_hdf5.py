"""HDF5 as a source: it never leads to another file, and never gives zeros for what is not there."""

from __future__ import annotations

import fcntl
from pathlib import Path

import h5py
import numpy as np
import pytest

from layerprobe.errors import DataError
from layerprobe.sources import dataset_names, open_source

ROWS = np.arange(21, dtype="float32").reshape(7, 3)
NOT_REGISTERED = 32015  # Zstandard's number; h5py comes without it


def _virtual(file):
    layout = h5py.VirtualLayout((7, 3), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "x", (7, 3))
    file.create_virtual_dataset("x", layout)


def _external_storage(file):
    file.create_dataset("x", (7, 3), "f4", external=[("raw.bin", 0, 84)])


def _external_link(file):
    file["x"] = h5py.ExternalLink("other.h5", "/x")


def _soft_link_outside(file):
    file["outside"] = h5py.ExternalLink("other.h5", "/")
    file["x"] = h5py.SoftLink("/outside/x")


def _circle(file):
    file["x"] = h5py.SoftLink("y")
    file["y"] = h5py.SoftLink("x")


def _dangling(file):
    file["x"] = h5py.SoftLink("/none")


def _varying(file):
    file.create_dataset("x", (2,), h5py.vlen_dtype("f4"))


def _null(file):
    file["x"] = h5py.Empty("f4")


def _words(file):
    file["x"] = ["a", "b"]


def _records(file):
    file["x"] = np.ones(3, "f4,f4")


def _references(file):
    file.create_dataset("x", (2,), h5py.ref_dtype)


def _complex(file):
    file["x"] = ROWS + 1j


def _scalar(file):
    file["x"] = 1.0


def _no_rows(file):
    file["x"] = ROWS[:0]


def _never_written(file):
    file.create_dataset("x", (10**12, 1000), "f4", chunks=(1, 1000))


def _partly_written(file):
    file.create_dataset("x", (7, 3), "f4", chunks=(2, 3))[:4] = 1


def _unknown_filter(file):
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_chunk((7, 3))
    properties.set_filter(NOT_REGISTERED, h5py.h5z.FLAG_OPTIONAL)
    space = h5py.h5s.create_simple((7, 3))
    dataset = h5py.h5d.create(file.id, b"x", h5py.h5t.IEEE_F32LE, space, properties)
    dataset.write_direct_chunk((0, 0), b"compressed elsewhere")


def _nothing(file):
    file.create_group("other")


def _mistyped(file):
    file["xs"] = ROWS


CASES = {
    _virtual: ("is a virtual dataset: its values lie in other files", 77),
    _external_storage: ("keeps its values in another file, 'raw.bin'", 77),
    _external_link: ("is a link to another file, 'other.h5'", 77),
    _soft_link_outside: ("is a link to another file, 'other.h5'", 77),
    _circle: ("holds no array named 'x'", 65),
    _dangling: ("holds no array named 'x'", 65),
    _varying: ("holds Python objects or values of varying length", 65),
    _null: ("is empty: it has a dtype but neither shape nor values", 65),
    _words: ("holds Python objects or values of varying length", 65),
    _records: ("holds records or raw bytes", 65),
    _references: ("holds Python objects or values of varying length", 65),
    _complex: ("holds complex numbers", 65),
    _scalar: ("holds a single number (0-d)", 65),
    _no_rows: ("holds 0 rows", 65),
    _never_written: ("declares 4,000,000,000,000,000 bytes and stores none", 65),
    _partly_written: ("was not fully written: 2 of its 4 chunks are missing", 65),
    _unknown_filter: (f"filter that is not installed: unnamed ({NOT_REGISTERED})", 65),
    _nothing: ("holds no array named 'x'.", 65),
    _mistyped: ("holds no array named 'x'.\nTo choose from:\n  x.h5::xs  (7, 3) float32", 65),
}


@pytest.mark.parametrize("make", CASES)
@pytest.mark.parametrize("target_exists", [False, True])
def test_datasets_that_are_no_rows(tmp_path, monkeypatch, make, target_exists):
    """Each gives its own reason and exit code, whether or not the file it leads to is there."""
    monkeypatch.chdir(tmp_path)
    with h5py.File("x.h5", "w") as file:
        make(file)
    if target_exists:
        Path("raw.bin").write_bytes(bytes(84))
        with h5py.File("other.h5", "w") as other:
            other["x"] = ROWS
    fragment, exit_code = CASES[make]
    with pytest.raises(DataError) as caught:
        open_source("x.h5::x")
    assert fragment in str(caught.value)
    assert caught.value.exit_code == exit_code


@pytest.mark.parametrize("make", CASES)
def test_what_is_no_source_is_not_chosen(tmp_path, monkeypatch, make):
    """Beside a dataset of rows, anything else is passed over, and named by `dataset_names`."""
    if make is _mistyped or make is _unknown_filter:
        make = _nothing
    monkeypatch.chdir(tmp_path)
    with h5py.File("x.h5", "w") as file:
        make(file)
        file["rows"] = ROWS
    with open_source("x.h5") as source:
        assert source.key == "rows"
    assert "rows" in dataset_names("x.h5")


def test_several_datasets_are_listed_as_they_are_typed(tmp_path, monkeypatch):
    """What to type is shown with shapes, quoted for a shell; names cannot write to the terminal."""
    monkeypatch.chdir(tmp_path)
    with h5py.File("x.h5", "w") as file:
        file["a b"], file["train/x"], file["\33[2J\u202e"] = ROWS, ROWS[0], ROWS
        file["label"] = ["a"]
    with pytest.raises(DataError, match="holds 3 arrays") as caught:
        open_source("x.h5")
    lines = str(caught.value).splitlines()
    assert lines[-3:] == [
        r"  x.h5::\x1b[2J\u202e  (7, 3) float32",
        "  'x.h5::a b'  (7, 3) float32",
        "  x.h5::train/x  (3,) float32",
    ]
    with pytest.raises(DataError, match=r"None of the 3 arrays in x.h5 fits") as caught:
        open_source("x.h5", fits=lambda *_: False)
    assert "label  holds Python objects" in str(caught.value)


def test_a_long_listing_is_cut(tmp_path):
    """Of very many datasets twelve are shown, and how many there are."""
    with h5py.File(tmp_path / "x.h5", "w") as file:
        for number in range(20):
            file[f"d{number}"] = ROWS
    with pytest.raises(DataError, match="20 in all") as caught:
        open_source(tmp_path / "x.h5")
    assert str(caught.value).count("(7, 3)") == 12


def _chunked(path: Path, **options) -> int:
    """Write 7 rows in chunks of 2 and return where the third chunk begins."""
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("x", data=ROWS, chunks=(2, 3), **options)
        return dataset.id.get_chunk_info(2).byte_offset


def test_a_checksum_error_names_the_rows(tmp_path):
    """Of a checksummed dataset, damaged rows are an error when read, and the others are read."""
    offset = _chunked(tmp_path / "x.h5", fletcher32=True)
    content = bytearray((tmp_path / "x.h5").read_bytes())
    content[offset] ^= 1
    (tmp_path / "x.h5").write_bytes(content)
    with open_source(tmp_path / "x.h5") as source:
        np.testing.assert_array_equal(source.read(0, 4), ROWS[:4])
        with pytest.raises(DataError, match=r"Rows 3 to 5 of .*x.h5 cannot be read: its checksum"):
            source.read(3, 5)
        np.testing.assert_array_equal(source.read(6, 7), ROWS[6:])


def test_a_chunk_without_room_for_its_checksum(tmp_path):
    """A chunk size of zero, on which HDF5 itself would end the process, is an error."""
    offset = _chunked(tmp_path / "x.h5", fletcher32=True)
    content = bytearray((tmp_path / "x.h5").read_bytes())
    # Before a chunk's address in the index: its size and filters (4 bytes each), its indices.
    entry = content.index(offset.to_bytes(8, "little")) - 32
    assert content[entry : entry + 4] == (28).to_bytes(4, "little")
    content[entry] = 0
    (tmp_path / "x.h5").write_bytes(content)
    with pytest.raises(DataError, match="shorter than its checksum"):
        open_source(tmp_path / "x.h5")


def test_a_file_cut_short(tmp_path):
    """A truncated file is refused, and the message has HDF5's own reason."""
    _chunked(tmp_path / "x.h5")
    content = (tmp_path / "x.h5").read_bytes()
    (tmp_path / "x.h5").write_bytes(content[:-10])
    with pytest.raises(DataError, match=r"is cut short: .*eof"):
        open_source(tmp_path / "x.h5")


def test_a_file_that_is_being_written(tmp_path):
    """A file that another program holds a lock on is refused with exit code 75."""
    _chunked(tmp_path / "x.h5")
    with (tmp_path / "x.h5").open("rb") as writer:
        fcntl.flock(writer, fcntl.LOCK_EX)
        with pytest.raises(DataError, match="is in use") as caught:
            open_source(tmp_path / "x.h5")
    assert caught.value.exit_code == 75


def test_chunks_are_unpacked_once(tmp_path):
    """The chunk cache holds the chunks that lie side by side over the same rows."""
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("x", (600, 4000), "f8", chunks=(300, 100))[:] = 1
    with open_source(tmp_path / "x.h5") as source:
        cache = source._dataset.id.get_access_plist().get_chunk_cache()
        assert cache[1] == 300 * 4000 * 8


def test_enumerations_are_their_numbers(tmp_path):
    """A dataset of named integers gives the integers, in a plain dtype."""
    names = h5py.enum_dtype({"cat": 1, "dog": 2}, basetype=">i2")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("x", data=[1, 2], dtype=names)
    with open_source(tmp_path / "x.h5") as source:
        assert (source.read(0, 2).tolist(), source.dtype.metadata) == ([1, 2], None)

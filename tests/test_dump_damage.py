"""What is no dump, not a whole one, or a hostile one is refused with a reason."""

from __future__ import annotations

import json
import os
from pathlib import Path

import h5py
import numpy as np
import pytest
from dumps import OUTPUTS, ROWS, opened, written

from layerprobe.dump import open_dump
from layerprobe.dump.verify import verify
from layerprobe.errors import DataError


@pytest.fixture(params=OUTPUTS)
def output(request, tmp_path):
    """Give the path of an output of each kind."""
    return tmp_path / request.param


def change(path, edit):
    """Rewrite the manifest of a dump by `edit(manifest)`, which may return another value for it."""
    if path.is_dir():
        place = path / "manifest.json"
        manifest = json.loads(place.read_text())
        place.write_text(json.dumps(edit(manifest) or manifest, indent=1))
    else:
        with h5py.File(path, "r+") as file:
            manifest = json.loads(file.attrs["layerprobe"])
            file.attrs["layerprobe"] = json.dumps(edit(manifest) or manifest, indent=1)
    return path


def refusal(path, exit_code=65):
    """Return the message with which a dump is refused."""
    with pytest.raises(DataError) as refused:
        open_dump(path)
    assert refused.value.exit_code == exit_code
    assert str(path) in str(refused.value)
    return str(refused.value)


def test_nothing_there(output):
    """A path that is not there is exit code 66, and an unfinished run under it is pointed out."""
    assert "There is no dump" in refusal(output, 66)
    with opened(output):
        assert f"{output}.partial is what a run has not finished" in refusal(output, 66)


def test_an_unfinished_output_is_refused(output):
    """What lies under .partial is not read, whatever is in it."""
    with opened(output) as sink:
        sink.write(0, [ROWS])
        assert "has not finished" in refusal(output.with_name(f"{output.name}.partial"))


def test_what_is_no_dump(tmp_path):
    """Plain HDF5, plain folders, other files and pipes are told apart from damaged dumps."""
    h5py.File(tmp_path / "plain.h5", "w").close()
    (tmp_path / "folder").mkdir()
    (tmp_path / "text.h5").write_text("not HDF5")
    os.mkfifo(tmp_path / "pipe")
    assert "is not a dump" in refusal(tmp_path / "plain.h5")
    assert "is not a dump" in refusal(tmp_path / "folder")
    assert "is not a dump" in refusal(tmp_path / "pipe")
    assert "cannot be read" in refusal(tmp_path / "text.h5")
    np.save(tmp_path / "folder" / "x.npy", ROWS)
    (tmp_path / "folder" / "manifest.json").write_text('{"format": "somebody else\'s"}')
    assert "is not a dump" in refusal(tmp_path / "folder")


def test_the_manifest_for_its_dump(output):
    """As `part*` also matches it; the message says which path is meant."""
    written(output)
    place = output / "manifest.json" if output.is_dir() else output.with_name(f"{output.name}.json")
    assert f"{place} is the manifest of a dump alone." in refusal(place)
    assert refusal(place).endswith(f"Give {output}")
    alone = place.rename(place.with_name("copied.json"))
    assert refusal(alone).endswith("Copy the dump again: it has the rows.")


EDITS = {
    "a newer format": lambda m: m.update(format="lpdump/2"),
    "not complete": lambda m: m.update(state="partial"),
    "no state": lambda m: m.pop("state") and None,
    "no list": lambda m: m.pop("datasets") and None,
    "an empty list": lambda m: m.update(datasets=[]),
    "one twice": lambda m: m["datasets"].append(m["datasets"][0]),
    "one that is not there": lambda m: m["datasets"][0].update(name="gone"),
    "one without a name": lambda m: m["datasets"][0].pop("name") and None,
    "another shape": lambda m: m["datasets"][0].update(shape=[3, 3]),
    "fewer rows": lambda m: m["datasets"][0].update(shape=[2, 2]),
    "a negative size": lambda m: m["datasets"][0].update(shape=[-3, -2]),
    "a size that is no integer": lambda m: m["datasets"][0].update(shape=[3.0, 2]),
    "another dtype": lambda m: m["datasets"][0].update(dtype="int32"),
    "objects": lambda m: m["datasets"][0].update(dtype="object"),
    "no dtype": lambda m: m["datasets"][0].update(dtype="nonsense"),
    "a path of Windows": lambda m: m["datasets"][0].update(name="..\\a"),
    "no name at all": lambda m: m["datasets"][0].update(name=""),
    "a list as manifest": lambda m: [m],
}


@pytest.mark.parametrize("case", EDITS)
def test_a_manifest_that_does_not_fit_the_data_is_refused(output, case):
    """Whatever the manifest says that the data does not bear out, the dump is not opened."""
    change(written(output), EDITS[case])
    refusal(output)


def test_a_dataset_without_rows_is_refused(output):
    """Every dataset has rows, if only of one value each."""
    change(written(output), lambda manifest: manifest["datasets"][0].update(shape=[]))
    assert "'a' has the shape ()" in refusal(output)


@pytest.mark.parametrize("every", [0, -5, "x", None])
def test_sums_that_stand_nowhere_are_refused(output, every):
    """Before a row is believed; only Zarr, which has checksums of its own, is read without them."""
    change(written(output), lambda manifest: manifest.update(rows_a_mark=every))
    with pytest.raises(DataError, match="cannot be read"):
        verify(output)
    if output.suffix != ".zarr":
        with open_dump(output) as dump, pytest.raises(DataError, match="cannot be read"):
            dump["a"][0]


def test_a_dump_of_unequal_rows_is_refused(output):
    """Row i of every dataset is row i of the input, so all have the same rows."""
    written(output, ROWS, ROWS)
    change(output, lambda manifest: manifest["datasets"][1].update(shape=[2, 2]))
    assert "unequal rows" in refusal(output)


def test_a_cut_or_padded_npy_file_is_refused(tmp_path):
    """The size of a file tells whether all of it is there."""
    path = written(tmp_path / "out") / "a.npy"
    whole = path.read_bytes()
    for size, content in ((20, whole[:-4]), (28, whole + b"more")):
        path.write_bytes(content)
        assert f"has {size} bytes of rows, not 24" in refusal(tmp_path / "out")
    for content in (b"", whole[:30], b"text", b"\x93NUMPY\x02\x00" + whole[8:]):
        path.write_bytes(content)
        refusal(tmp_path / "out")
    path.unlink()
    refusal(tmp_path / "out")


def test_npy_rows_in_column_order_are_refused(tmp_path):
    """The same header with the axes stored in the other order would mix the values up."""
    written(tmp_path / "out")
    np.save(tmp_path / "out" / "a.npy", np.asfortranarray(ROWS))
    refusal(tmp_path / "out")


def test_an_npy_file_cut_after_opening_is_an_error_at_the_rows(tmp_path):
    """A file that shrinks while it is open is noticed when its rows are asked for."""
    with open_dump(written(tmp_path / "out")) as dump:
        os.truncate(tmp_path / "out" / "a.npy", 140)
        with pytest.raises(DataError, match=r"'a' in .* is cut short"):
            dump["a"][:]


def test_a_cut_hdf5_file_is_refused(tmp_path):
    """HDF5 knows how long its file is."""
    path = written(tmp_path / "out.h5")
    os.truncate(path, path.stat().st_size - 100)
    assert "cannot be read" in refusal(path)


def test_a_flipped_bit_in_an_hdf5_chunk_is_an_error_at_the_rows(tmp_path):
    """The checksum of the chunk finds it; the other dataset is still read."""
    path = written(tmp_path / "out.h5", ROWS, ROWS + 1)
    raw = bytearray(path.read_bytes())
    raw[raw.find(ROWS.tobytes()) + 5] ^= 1
    path.write_bytes(raw)
    with open_dump(path) as dump:
        with pytest.raises(DataError, match="rows of 'a' in"):
            dump["a"][0]
        np.testing.assert_array_equal(dump["b"], ROWS + 1)


def replaced(path, make):
    """Replace dataset "a" of an HDF5 dump by what `make(file)` puts there."""
    np.save(path.with_name("secret.npy"), ROWS)
    h5py.File(path.with_name("other.h5"), "w").create_dataset("a", data=ROWS).file.close()
    with h5py.File(path, "r+") as file:
        del file["a"]
        make(file)


def virtual(file):
    """Make "a" a window into another file."""
    layout = h5py.VirtualLayout((3, 2), "float32")
    layout[:] = h5py.VirtualSource("other.h5", "a", (3, 2))
    file.create_virtual_dataset("a", layout)


LEADING_OUT = {
    "external link": lambda file: file.__setitem__("a", h5py.ExternalLink("other.h5", "a")),
    "soft link": lambda file: file.__setitem__("a", h5py.SoftLink("/b")),
    "virtual dataset": virtual,
    "external storage": lambda file: file.create_dataset(
        "a", (3, 2), "float32", external=[("secret.npy", 128, 24)]
    ),
    "group": lambda file: file.create_group("a"),
}


@pytest.mark.parametrize("case", LEADING_OUT)
def test_an_hdf5_dump_that_leads_to_another_file_is_refused(tmp_path, case):
    """A dump may come from anyone: it is not a way to have other files read."""
    path = written(tmp_path / "out.h5", ROWS, ROWS)
    replaced(path, LEADING_OUT[case])
    assert "'a' is no dataset of its own" in refusal(path)


def test_an_hdf5_dump_without_its_values_is_refused(tmp_path):
    """HDF5 gives zeros for rows that were never stored."""
    path = written(tmp_path / "out.h5", ROWS, ROWS)
    replaced(path, lambda file: file.create_dataset("a", (3, 2), "float32"))
    assert "'a' is not all there" in refusal(path)


@pytest.mark.parametrize("name", ["../stolen", "/stolen", "."])
def test_a_stored_name_that_is_a_path_is_refused(output, name):
    """Even when there is something to read at the end of it."""
    np.save(output.parent / "stolen.npy", ROWS)
    change(written(output), lambda manifest: manifest["datasets"][0].update(name=name))
    if output.suffix == ".h5":
        with h5py.File(output, "r+") as file:
            file["stolen"] = file["a"]
    assert "leads out of it" in refusal(output)


def test_values_that_are_objects_are_refused(output):
    """Stored objects are pickles or pointers: neither is ever read."""
    written(output)
    change(output, lambda manifest: manifest["datasets"][0].update(dtype="object", shape=[3]))
    if output.suffix == ".h5":
        with h5py.File(output, "r+") as file:
            del file["a"]
            file["a"] = ["x", "y", "z"]
    elif not output.suffix:
        header = {"descr": "|O", "fortran_order": False, "shape": (3,)}
        with (output / "a.npy").open("wb") as file:
            np.lib.format.write_array_header_1_0(file, header)
            file.write(bytes(24))
    assert "is no number" in refusal(output)


def test_a_refused_dump_is_not_left_open(output):
    """Whoever keeps the error does not keep the file open with it."""
    change(written(output), EDITS["another shape"])
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(DataError) as refused:
        open_dump(output)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert "by the manifest" in str(refused.value)

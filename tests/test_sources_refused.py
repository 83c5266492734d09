"""What is no source of rows is refused with a reason, an exit code, and what to do next."""

from __future__ import annotations

import io
import os
import pickle
import stat
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from layerprobe.errors import DataError
from layerprobe.sources import open_source

ROWS = np.arange(21, dtype="float32").reshape(7, 3)


def _npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def _header(shape: str) -> bytes:
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}"
    return b"\x93NUMPY\1\0" + len(text).to_bytes(2, "little") + text.encode()


def _npz(*contents: bytes, method: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in zip("xy", contents, strict=False):
            archive.writestr(f"{name}.npy", content)
    return file.getvalue()


def _check_refusal(location: object, fragments: str, exit_code: int) -> None:
    with pytest.raises(DataError) as caught:
        open_source(location)
    text = str(caught.value)
    for fragment in fragments.split(" … "):
        assert fragment in text
    assert caught.value.exit_code == exit_code
    assert text.replace("\n", "").isprintable()


class Program:
    """Creates a file as soon as it is unpickled."""

    def __reduce__(self):
        return Path.touch, (Path("ran"),)


OBJECTS = np.array([Program()], dtype=object)
TWINS = _npz(_npy(ROWS), _npy(ROWS)).replace(b"y.npy", b"x.npy")
FORTRAN = _npy(np.asfortranarray(ROWS))

FILES = {
    "empty": ("x.npy", b"", "x.npy is empty", 65),
    "text": ("x.npy", b"1,2,3\n4,5,6\n", "not an NPY file … which is text … np.loadtxt", 65),
    "one byte": ("x.npz", b"\x80", "is not an NPZ file", 65),
    "other": ("x.dat", b"\x89PNG\r\n\x1a\n", "is none of the kinds", 65),
    "pickle": ("x.npy", pickle.dumps(Program()), "is a Python pickle", 77),
    "objects": ("x.npy", _npy(OBJECTS), "holds pickled Python objects", 77),
    "cut short": ("x.npy", _npy(ROWS)[:-1], "it has 211 bytes. … 212 bytes … (7, 3) float32", 65),
    "claims too much": ("x.npy", _header("(10**9,)"), "damaged", 65),
    "header cut short": ("x.npy", _npy(ROWS)[:40], "header that is damaged or cut short", 65),
    "header nested": ("x.npy", _header("(" * 9000), "header that is damaged", 65),
    "header endless": ("x.npy", _header("-" * 9000 + "1"), "header that is damaged", 65),
    "header unfinished": ("x.npy", _header("7L, ["), "header that is damaged", 65),
    "version": ("x.npy", b"\x93NUMPY\7\0", "version (7, 0) is not known", 65),
    "negative": ("x.npy", _header("(-1, 3)"), "the impossible shape (-1, 3)", 65),
    "rank": ("x.npy", _header(f"({'1,' * 33})"), "the impossible shape (1, 1,", 65),
    "trailing": ("x.npy", _npy(ROWS) + b"more", "has 4 bytes after its array: 216 in all", 65),
    "records": ("x.npy", _npy(np.ones(3, "f4,f4")), "holds records or raw bytes", 65),
    "bytes": ("x.npy", _npy(np.array([b"a"])), "holds text (dtype |S1)", 65),
    "words": ("x.npy", _npy(np.array(["a"])), "holds text (dtype <U1)", 65),
    "dates": ("x.npy", _npy(np.ones(3, "M8[s]")), "holds dates", 65),
    "durations": ("x.npy", _npy(np.ones(3, "m8[s]")), "holds time differences", 65),
    "complex": ("x.npy", _npy(ROWS + 1j), "holds complex numbers", 65),
    "0 rows": ("x.npy", _npy(ROWS[:0]), "holds 0 rows", 65),
    "0 columns": ("x.npy", _npy(ROWS[:, :0]), "holds rows without elements", 65),
    "0-d": ("x.npy", _npy(np.float32(1)), "holds a single number (0-d), not rows", 65),
    "key": ("x.npy::z", _npy(ROWS), "one array, without a name", 65),
    "zip cut short": ("x.npz", _npz(_npy(ROWS))[:-30], "zip archive that is damaged", 65),
    "no arrays": ("x.npz", _npz(), "holds no array at all", 65),
    "member objects": ("x.npz::x", _npz(_npy(OBJECTS)), "holds pickled Python objects", 77),
    "only objects": ("x.npz", _npz(_npy(OBJECTS)), "x.npz::x  holds pickled objects", 65),
    "only damaged": ("x.npz", _npz(b"a"), "x.npz::x  is damaged", 65),
    "member cut short": ("x.npz", _npz(_npy(ROWS)[:-1]), "it has 211 bytes", 65),
    "member trailing": ("x.npz", _npz(_npy(ROWS) + b"!", method=8), "1 bytes after its array", 65),
    "deflated Fortran": ("x.npz", _npz(FORTRAN, method=8), "in Fortran order … np.load", 65),
    "same name": ("x.npz::x", TWINS, "2 arrays named 'x'", 77),
    "unknown key": ("x.npz::z", _npz(_npy(ROWS)), "named 'z' … x.npz::x  (7, 3) float32", 65),
    "several": ("x.npz", _npz(_npy(ROWS), _npy(ROWS)), "2 arrays. … x.npz::x … x.npz::y", 65),
    "HDF5 damaged": ("x.h5", b"\x89HDF\r\n\x1a\n" + bytes(99), "that cannot be opened", 65),
}


@pytest.mark.filterwarnings("ignore:Reading .* additional header parsing")
@pytest.mark.parametrize("case", FILES)
def test_files_that_are_no_rows(tmp_path, monkeypatch, case):
    """Each bad file gives its own reason and exit code, printably, and nothing in it runs."""
    name, content, fragments, exit_code = FILES[case]
    monkeypatch.chdir(tmp_path)
    Path(name.partition("::")[0]).write_bytes(content)
    _check_refusal(name, fragments, exit_code)
    assert not Path("ran").exists()


PLACES = {
    "missing": ("dta.npy", "no file … Near by: 'data.npy'", 66),
    "no folder": ("none/x.npy", "The folder … does not exist either", 66),
    "behind a file": ("data.npy/g/x", "data.npy::/g/x", 66),
    "address": ("http://a.org/x.npy", "nothing is fetched from the net", 2),
    "NUL": ("a\0b", "no file", 66),
    "long name": ("x" * 5000, "cannot be opened: File name too long", 66),
    "nothing": ("", "There is no file ''", 66),
    "folder": ("folder", "The folder folder holds no file", 65),
    "pipe": ("pipe", "is a pipe or a device", 65),
}


@pytest.mark.parametrize("case", PLACES)
def test_places_where_no_data_file_is(tmp_path, monkeypatch, case):
    """A location without a file names the nearest one; folders and pipes are never opened."""
    location, fragments, exit_code = PLACES[case]
    monkeypatch.chdir(tmp_path)
    Path("data.npy").write_bytes(_npy(ROWS))
    Path("folder").mkdir()
    os.mkfifo("pipe", stat.S_IRUSR)
    _check_refusal(location, fragments, exit_code)


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    """A refusal of the operating system is passed on, with exit code 66."""
    (tmp_path / "x.npy").write_bytes(_npy(ROWS))

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    _check_refusal(tmp_path / "x.npy", "cannot be opened: Permission denied", 66)


def _lying(columns: int, method: int) -> bytes:
    """Return an archive whose array and directory declare 9 rows, and which stores none of them."""
    header = _header(f"(9, {columns})")
    content = bytearray(_npz(header, method=method))
    claimed = (len(header) + 9 * columns * 4).to_bytes(4, "little")
    directory = content.index(b"PK\1\2")
    content[directory + 24 : directory + 28] = claimed
    if method == zipfile.ZIP_STORED:
        content[directory + 20 : directory + 24] = claimed
    return bytes(content)


def test_archives_that_declare_what_they_do_not_store(tmp_path):
    """Rows that are not there are refused: at once where sizes tell, else when they are read."""
    location = f"{tmp_path}/x.npz::x"
    (tmp_path / "x.npz").write_bytes(_lying(99_999_999, zipfile.ZIP_DEFLATED))
    _check_refusal(location, "which cannot be true", 77)
    (tmp_path / "x.npz").write_bytes(_lying(99_999_999, zipfile.ZIP_STORED))
    _check_refusal(location, "damaged or cut short: a member lies beyond its end", 65)
    (tmp_path / "x.npz").write_bytes(_lying(100, zipfile.ZIP_DEFLATED))
    with (
        open_source(location) as source,
        pytest.raises(DataError, match=r"Rows 0 to 9 .*ends early"),
    ):
        source.read(0, 9)


def test_one_damaged_member_leaves_the_others(tmp_path):
    """Beside an array that cannot be read, the one that can is chosen; by name, it is an error."""
    content = _npz(_npy(ROWS), _npy(ROWS))
    second = content.index(b"PK\3\4", 4)
    (tmp_path / "x.npz").write_bytes(content[:second] + b"XX" + content[second + 2 :])
    with open_source(tmp_path / "x.npz") as source:
        assert source.key == "x"
    _check_refusal(f"{tmp_path}/x.npz::y", "zip archive that is damaged", 65)


def test_an_error_while_unpacking_is_not_the_end(tmp_path):
    """After an error, the stream stands nobody knows where: the next read starts anew."""
    np.savez_compressed(tmp_path / "x.npz", x=ROWS)

    class Failing(io.BytesIO):
        def read(self, _):
            raise OSError(5, "Input/output error")

    with open_source(tmp_path / "x.npz") as source:
        np.testing.assert_array_equal(source.read(0, 2), ROWS[:2])
        source._stream.close()
        source._stream = Failing()
        with pytest.raises(DataError, match="Rows 2 to 3"):
            source.read(2, 3)
        np.testing.assert_array_equal(source.read(2, 3), ROWS[2:3])


def test_a_damaged_deflated_array(tmp_path):
    """Damage that the zip's checksum finds is reported with the rows that were being read."""
    rows = np.random.default_rng(0).random((5000, 30))
    np.savez_compressed(tmp_path / "x.npz", x=rows)
    with zipfile.ZipFile(tmp_path / "x.npz") as archive:
        checksum = archive.getinfo("x.npy").CRC.to_bytes(4, "little")
    content = (tmp_path / "x.npz").read_bytes()
    (tmp_path / "x.npz").write_bytes(content.replace(checksum, b"\1\2\3\4"))
    with open_source(tmp_path / "x.npz") as source:
        np.testing.assert_array_equal(source.read(0, 3), rows[:3])
        with pytest.raises(DataError, match=r"Rows 3 to 5000 .* damaged \(Bad CRC-32"):
            source.read(3, 5000)
        np.testing.assert_array_equal(source.read(3, 6), rows[3:6])


def test_an_encrypted_archive(tmp_path):
    """An array under a password is refused; layerprobe asks for none."""
    content = bytearray(_npz(_npy(ROWS)))
    for signature, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        content[content.index(signature) + offset] |= 1  # the flag "encrypted"
    (tmp_path / "x.npz").write_bytes(content)
    _check_refusal(f"{tmp_path}/x.npz::x", "is encrypted", 65)


@pytest.mark.parametrize("name", ["x.npy", "f.npy", "x.npz", "d.npz", "x.h5"])
def test_a_file_cut_short_while_it_is_read(tmp_path, name):
    """Rows beyond the new end are an error that names them: not zeros, not a signal."""
    rows = np.random.default_rng(0).random((5000, 30))
    if name.endswith(".npy"):
        np.save(tmp_path / name, np.asfortranarray(rows) if name[0] == "f" else rows)
    elif name.endswith(".npz"):
        (np.savez_compressed if name[0] == "d" else np.savez)(tmp_path / name, x=rows)
    else:
        with h5py.File(tmp_path / name, "w") as file:
            file["x"] = rows
    with open_source(tmp_path / name) as source:
        np.testing.assert_array_equal(source.read(0, 10), rows[:10])
        os.truncate(tmp_path / name, 300_000)
        with pytest.raises(DataError, match=rf"Rows 4000 to 4010 of .*{name} cannot be read"):
            source.read(4000, 4010)


def test_an_error_of_the_disk(tmp_path, monkeypatch):
    """An input/output error while reading has exit code 74 and names the rows."""
    np.save(tmp_path / "x.npy", ROWS)

    class Failing:
        def seek(self, _):
            raise OSError(5, "Input/output error")

        def close(self):
            pass

    with open_source(tmp_path / "x.npy") as source:
        source._file.close()
        monkeypatch.setattr(source, "_file", Failing())
        with pytest.raises(DataError, match=r"Rows 1 to 2 .*: Input/output error") as caught:
            source.read(1, 2)
    assert caught.value.exit_code == 74

"""Files of plain numbers and an .npy on standard input: what is read, and what is refused."""

from __future__ import annotations

import io
import shlex
import subprocess
import sys

import h5py
import numpy as np
import pytest
from command import COMMAND, environment, refused, sample_folder, typed

from layerprobe.errors import DataError
from layerprobe.sources import SourceOptions, open_source
from layerprobe.sources.stream import open_stream

ROWS = np.arange(21, dtype="float32").reshape(7, 3)
CNN, OUT = ["extract", "cnn.keras", "-l", "features"], ["-o", "out.h5"]


@pytest.fixture
def _folder(samples, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sample_folder(samples)


def _npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def _features(name="out.h5"):
    with h5py.File(name) as file:
        return file["features"][:]


@pytest.fixture
def expected(request, capfd):
    """Return the features of the sample rows, from the .npy file."""
    request.getfixturevalue("_folder")
    assert typed(capfd, *CNN, "-i", "digits.npy", "-o", "npy.h5").code == 0
    return _features("npy.h5")


def test_plain_numbers_give_what_their_npy_gives(capfd, expected):
    """A raw file in big-endian doubles, its row shape from the model, gives the same features."""
    np.load("digits.npy").astype(">f8").tofile("x.bin")
    done = typed(capfd, *CNN, "-i", "x.bin", "--input-dtype", ">f8", *OUT)
    assert done.code == 0, done.stderr
    np.testing.assert_array_equal(_features(), expected)


def test_standard_input_gives_what_the_file_gives(expected):
    """An .npy through a real pipe gives the same features, from row 100 on too."""
    for rows, first in ("", 0), ("--rows 100:", 100):
        line = f"extract cnn.keras -l features -i - -o out.h5 --overwrite {rows}"
        done = subprocess.run(
            ["sh", "-c", f"cat digits.npy | {shlex.join(COMMAND)} {line}"],
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        np.testing.assert_array_equal(_features(), expected[first:])


RAW = {
    "rest": (["--input-dtype", "float32"], "1,000 bytes: 3 rows and 232 bytes", "256 bytes", 65),
    "shape": (["--input-dtype", "u1", "--input-shape", "8,9"], "and 64 bytes", "(8, 9) uint8", 65),
    "unfit": (["--input-dtype", "u1", "--input-shape", "8,5"], "(8, 5).", "(8, 8, 1) for", 65),
    "type": (["--input-dtype", "floaty"], "type 'floaty'", "float32, float64", 2),
    "object": (["--input-dtype", "O"], "type 'O'", "float32, float64", 2),
    "records": (["--input-dtype", "f4,f4"], "type 'f4,f4'", "float32, float64", 2),
    "zero": (["--input-dtype", "u1", "--input-shape", "0,8"], "shape '0,8'", "such as 224", 2),
    "no dtype": ([], "is none of the kinds", "--input-dtype", 65),
}


@pytest.mark.usefixtures("_folder")
@pytest.mark.parametrize("case", RAW)
def test_plain_numbers_that_cannot_be_rows(capfd, case):
    """Sizes that are no whole number of rows, and words that are no type, are errors."""
    options, what, fix, code = RAW[case]
    np.full(1000, 200, "uint8").tofile("x.bin")
    message = refused(capfd, *CNN, "-i", "x.bin", *options, *OUT, code=code)
    assert what in message
    assert fix in message


@pytest.mark.usefixtures("_folder")
@pytest.mark.parametrize("name", ["digits.npy", "digits.h5", "pairs.npz"])
def test_files_that_say_their_dtype(capfd, name):
    """--input-dtype is no cast: with a file that has a header it is refused."""
    message = refused(capfd, *CNN, "-i", name, "--input-dtype", "float32", *OUT, code=2)
    assert "says its dtype itself" in message


def test_a_row_of_unknown_shape(tmp_path):
    """Where neither the user nor the model says how long a row is, nothing is guessed."""
    ROWS.tofile(tmp_path / "x.bin")
    for wanted in (None, (None, None)):
        with pytest.raises(DataError, match="how many numbers make a row") as caught:
            open_source(tmp_path / "x.bin", options=SourceOptions("float32", wanted=wanted))
        assert caught.value.exit_code == 2
    with pytest.raises(DataError, match="without a name such as 'a'"):
        open_source(f"{tmp_path}/x.bin::a", options=SourceOptions("f4", row_shape=(3,)))


STREAMS = {
    "nothing": (b"", "is empty", 66),
    "cut in the rows": (_npy(ROWS)[:-5], "ended after 6 of its 7 rows", 65),
    "no rows": (_npy(ROWS)[:-84], "ended after 0 of its 7 rows", 65),
    "cut in the header": (_npy(ROWS)[:40], "damaged or cut short", 65),
    "two arrays": (_npy(ROWS) * 2, "goes on after its 7 rows", 65),
    "text": (b"1,2,3\n", "it begins with b'1,2,3\\n'", 65),
    "short text": (b"1", "it begins with b'1'", 65),
    "archive": (b"PK\3\4aa", "as an .npz file does", 65),
    "hdf5": (b"\x89HDF\r\n\x1a\n", "as an HDF5 file does", 65),
    "Fortran": (_npy(np.asfortranarray(ROWS)), "in Fortran order", 65),
    "objects": (_npy(np.array([None])), "pickled Python objects", 77),
    "0 rows": (_npy(ROWS[:0]), "holds 0 rows", 65),
}


@pytest.mark.parametrize("case", STREAMS)
def test_streams_that_are_no_rows(case):
    """A stream that ends early, goes on, or is something else is an error that says so."""
    content, what, code = STREAMS[case]

    def read():
        with open_stream("standard input", io.BytesIO(content)) as source:
            source.read(0, 7)

    with pytest.raises(DataError) as caught:
        read()
    assert what in str(caught.value)
    assert caught.value.exit_code == code


def test_rows_before_the_end_of_a_stream_are_good():
    """Rows that came whole are given before the error, also where some are passed over."""
    source = open_stream("standard input", io.BytesIO(_npy(ROWS)[:-5]))
    np.testing.assert_array_equal(source.read(3, 6), ROWS[3:6])
    with pytest.raises(DataError, match="ended after 6") as caught:
        source.read(6, 7)
    assert caught.value.fields["row"] == 6


class Terminal(io.StringIO):
    """Standard input of somebody who forgot the pipe."""

    def isatty(self):
        return True


@pytest.mark.usefixtures("_folder")
def test_standard_input_on_the_command_line(capfd, monkeypatch):
    """A terminal, two inputs from one pipe, a short stream and training are refused."""
    monkeypatch.setattr(sys, "stdin", Terminal())
    assert "is a terminal" in refused(capfd, *CNN, "-i", "-", *OUT, code=66)
    pairs = ["extract", "pairs.keras", "-l", "same", "-i", "left=-", "-i", "right=-", *OUT]
    assert "given twice" in refused(capfd, *pairs, code=65)
    train = ["train", "cnn.keras", "--to", "digit", "-t", "digits.npy", "--loss", "mse", "-i", "-"]
    assert "can be read once" in refused(capfd, *train, "-o", "new.keras", code=2)
    stream = io.BytesIO(_npy(np.zeros((9, 8, 8, 1), "float32"))[:-9])
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(stream))
    assert "ended after 8 of its 9 rows" in refused(capfd, *CNN, "-i", "-", *OUT, code=65)

"""Data that cannot be rows of a model, each through the command: rows 27 to 45 of the table.

What is refused is refused before an engine is loaded; what is taken is taken with a word about it.
"""

from __future__ import annotations

import os
from pathlib import Path

import h5py
import numpy as np
import pytest
from command import content, refused, sample_folder, stopped, typed
from model_files import INPUT, KERNEL, dense, runnable, sequential, write_keras

CNN, OUT = ["extract", "cnn.h5", "-l", "features"], ["-o", "out.h5"]
ROWS = np.arange(9 * 64, dtype="float32").reshape(9, 8, 8, 1) / 99


@pytest.fixture(autouse=True)
def _folder(samples, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sample_folder(samples)
    np.save("x.npy", ROWS)


def values():
    """Return what a command has written."""
    with h5py.File("out.h5") as file:
        return file["features"][:]


class Program:
    """Makes a file as soon as it is unpickled."""

    def __reduce__(self):
        return Path.touch, (Path("ran"),)


def _cut():
    os.truncate("x.npy", 999)


def _lie():
    raw = Path("x.npy").read_bytes()
    Path("x.npy").write_bytes(raw.replace(b"(9, 8, 8, 1)", b"(9, 8, 8, 9)"))


def _bomb():
    raw = Path("x.npy").read_bytes()
    Path("x.npy").write_bytes(raw.replace(b"(9, 8, 8, 1), ", b"(9999999,8,8,1)"))


def _append():
    with Path("x.npy").open("ab") as file:
        file.write(b"more")


def _objects():
    np.save("x.npy", np.array([Program()], dtype=object), allow_pickle=True)


def _text():
    Path("x.npy").write_text("1.0,2.0\n3.0,4.0\n")


def _saved(array):
    return lambda: np.save("x.npy", array)


STRUCTURED = np.zeros((9, 8, 8, 1), [("a", "f4"), ("b", "i4")])
FILES = {
    "27 cut short": (_cut, 65, "x.npy is cut short: it has 999 bytes.", "Expected: 2,432 bytes"),
    "27 a header that lies": (_lie, 65, "x.npy is cut short", "(9, 8, 8, 9) float32 as its header"),
    "27 a header that lies much": (_bomb, 65, "x.npy is cut short", "Expected: 2,559,999,8"),
    "28 trailing bytes": (_append, 65, "x.npy has 4 bytes after its array", "--allow-trailing"),
    "29 pickled objects": (_objects, 77, "pickled Python objects", "never runs"),
    "30 text": (_text, 65, "x.npy is not an NPY file", "np.loadtxt"),
    "31 records": (_saved(STRUCTURED), 65, "holds records", "booleans, integers or floats"),
    "31 strings": (_saved(np.full((9, 8, 8, 1), "a")), 65, "holds text", "np.save"),
    "31 dates": (_saved(ROWS.astype("M8[s]")), 65, "holds dates", "np.save"),
    "31 complex": (_saved(ROWS.astype("c8")), 65, "holds complex numbers", "np.save"),
    "33 channels first": (_saved(ROWS.reshape(9, 1, 8, 8)), 65, "(1, 8, 8)", "transpose"),
    "33 no last axis": (_saved(ROWS[..., 0]), 65, "(8, 8)", "x[..., None]"),
    "35 no rows": (_saved(ROWS[:0]), 65, "holds 0 rows", "at least one row"),
}


@pytest.mark.parametrize("case", FILES)
def test_files_that_are_no_rows(capfd, case):
    """Each is named with what was expected and what to do; a program in it never runs."""
    damage, code, what, fix = FILES[case]
    damage()
    message = refused(capfd, *CNN, "-i", "x.npy", *OUT, code=code)
    assert what in message
    assert fix in message
    assert not Path("ran").exists()


def test_trailing_bytes_are_left_out_when_asked(capfd):
    """28: with --allow-trailing the array is taken as its header says."""
    assert typed(capfd, *CNN, "-i", "x.npy", *OUT).code == 0
    wanted = values()
    _append()
    done = typed(capfd, *CNN, "-i", "x.npy", *OUT, "--overwrite", "--allow-trailing")
    assert done.code == 0, done
    np.testing.assert_array_equal(values(), wanted)
    _cut()
    refused(capfd, *CNN, "-i", "x.npy", "-o", "o.h5", "--allow-trailing", code=65)


@pytest.mark.parametrize("dtype", ["float64", "int64", "uint8"])
def test_casts_are_named_or_refused(capfd, dtype):
    """32: a cast is named once; with --strict-dtype it is refused before an engine is loaded."""
    np.save("x.npy", (ROWS * 20).astype(dtype))
    message = refused(capfd, *CNN, "-i", "x.npy", *OUT, "--strict-dtype", code=65)
    assert f"x.npy holds {dtype}." in message
    assert "Expected: float32 for input 'images', as --strict-dtype asks for." in message
    done = typed(capfd, *CNN, "-i", "x.npy", *OUT, "-b", "2")
    assert done.code == 0
    assert done.stderr.count(f"x.npy: {dtype} cast to float32") == 1


def test_strictness_takes_what_fits(capfd):
    """32: data of the input's own dtype, in either byte order, are no cast."""
    for array in (ROWS, ROWS.astype(">f4")):
        np.save("x.npy", array)
        done = typed(capfd, *CNN, "-i", "x.npy", *OUT, "--strict-dtype", "--overwrite")
        assert done.code == 0
        assert " cast to " not in done.said


LAYOUTS = {
    "Fortran order": lambda: np.save("x.npy", np.asfortranarray(ROWS)),
    "big-endian": lambda: np.save("x.npy", ROWS.astype(">f4")),
    "big-endian, turned into this machine's order; in Fortran order": lambda: np.save(
        "x.npy", np.asfortranarray(ROWS.astype(">f4"))
    ),
    "big-endian, turned": lambda: _as_hdf5(ROWS.astype(">f4")),
}


def _as_hdf5(rows):
    Path("x.npy").unlink()
    with h5py.File("x.npy", "w") as file:
        file["x"] = rows


@pytest.mark.parametrize("layout", LAYOUTS)
def test_other_layouts_give_the_same_numbers(capfd, layout):
    """34: Fortran order and big-endian numbers are read as what they are, with a note."""
    first = typed(capfd, *CNN, "-i", "x.npy", *OUT)
    assert (first.code, first.said) == (0, "")
    wanted = values()
    LAYOUTS[layout]()
    done = typed(capfd, *CNN, "-i", "x.npy", *OUT, "--overwrite")
    assert done.code == 0
    np.testing.assert_array_equal(values(), wanted)
    assert done.said.startswith("note: x.npy: ")
    assert layout in done.said
    assert ("np.ascontiguousarray" in done.said) == ("Fortran" in layout)
    assert len(done.said.splitlines()) == 1


def test_the_layout_of_several_files_is_told(capfd):
    """34: one note for all of them."""
    Path("parts").mkdir()
    np.save("parts/0.npy", ROWS[:4])
    np.save("parts/1.npy", ROWS[4:].astype(">f4"))
    done = typed(capfd, *CNN, "-i", "parts/*.npy", *OUT)
    assert done.code == 0
    assert done.said.count("parts/*.npy: big-endian") == 1


def test_a_header_that_python_2_wrote(capfd, recwarn):
    """Its integers end in L; NumPy warns of that, which helps nobody here."""
    raw = Path("x.npy").read_bytes()
    assert raw.count(b"(9, 8, 8, 1), }    ") == 1
    Path("x.npy").write_bytes(raw.replace(b"(9, 8, 8, 1), }    ", b"(9L, 8L, 8L, 1L), }"))
    assert typed(capfd, "audit", "x.npy").code == 0
    done = typed(capfd, *CNN, "-i", "x.npy", *OUT)
    assert (done.code, done.said) == (0, "")
    assert not [one for one in recwarn if "Python 2" in str(one.message)]


def _none(file):
    file.create_group("empty")


def _several(file):
    file["train"], file["test"] = ROWS, ROWS


def _link(file):
    file["images"] = h5py.ExternalLink("digits.h5", "images")


def _outside(file):
    file.create_dataset("images", ROWS.shape, "f4", external=[("digits.npy", 128, 9999)])


def _virtual(file):
    layout = h5py.VirtualLayout(ROWS.shape, "f4")
    layout[:] = h5py.VirtualSource("digits.h5", "images", (600, 8, 8, 1))[:9]
    file.create_virtual_dataset("images", layout)


def _ragged(file):
    file.create_dataset("images", (9,), h5py.vlen_dtype("f4"))


def _void(file):
    file["images"] = h5py.Empty("f4")


HDF5 = [
    (_none, "h", 65, "holds no array", ""),
    (_several, "h", 65, "h.h5 holds 2 arrays that fit", "h.h5::test  (9, 8, 8, 1) float32"),
    (_link, "h", 65, "h.h5 holds no array of numbers", "images"),
    (_link, "h.h5::images", 77, "digits.h5", ""),
    (_outside, "h.h5::images", 77, "h.h5::images", ""),
    (_virtual, "h.h5::images", 77, "h.h5::images", ""),
    (_ragged, "h.h5::images", 65, "varying length", "np.save"),
    (_void, "h.h5::images", 65, "h.h5::images", ""),
]


@pytest.mark.parametrize(("make", "location", "code", "what", "fix"), HDF5)
def test_datasets_that_are_no_rows(capfd, make, location, code, what, fix):
    """36, 37: none or several that fit, and what lies elsewhere, which is never opened."""
    with h5py.File("h.h5", "w") as file:
        make(file)
    given = location if "::" in location else "h.h5"
    message = refused(capfd, *CNN, "-i", given, *OUT, code=code)
    assert what in message
    assert fix in message


def small(bias=0.0):
    """Write a model of one Dense with a bias."""
    weights = {
        "layers/dense/vars/0": KERNEL,
        "layers/dense/vars/1": np.array([bias, 0], "float32"),
    }
    return write_keras(Path("small.keras"), runnable(sequential(INPUT, dense())), weights)


def test_nan_is_an_error_when_asked(capfd):
    """40: --fail-on-nan stops at the first row with NaN or Inf in the data; others are safe."""
    rows = np.ones((40, 3), "float32")
    rows[7, 1] = np.nan
    rows[5, 0] = np.inf
    np.save("x.npy", rows)
    small()
    arguments = ["extract", "small.keras", "-l", "dense", "-i", "x.npy", *OUT, "-b", "4"]
    message = stopped(capfd, *arguments, "--fail-on-nan", code=65, safe="4 of 40")
    assert "x.npy holds inf in row 5." in message
    assert "Expected: finite numbers, for input 'rows'." in message
    done = typed(capfd, *arguments, "--overwrite")
    assert done.code == 0
    assert "NaN values in the rows for rows: 1" in done.stderr


def test_nan_that_the_model_makes_is_an_error_when_asked(capfd):
    """40: so do activations that overflow; the message names the layer and the first row."""
    rows = np.ones((40, 3), "float32")
    rows[21] = 3e38
    np.save("x.npy", rows)
    small()
    arguments = ["extract", "small.keras", "-l", "dense", "-i", "x.npy", *OUT, "-b", "4"]
    message = stopped(capfd, *arguments, "--fail-on-nan", code=65, safe="8 of 40")
    assert "dense is NaN or infinite in row 21." in message
    assert "--fail-on-nan" in message
    assert typed(capfd, *arguments, "--fail-on-nan", "--rows", "0:21", "--overwrite").code == 0


def test_batches_that_cannot_fit(capfd):
    """44: a batch beyond the machine's memory is refused with the estimate; others are not."""
    repeat = {"class_name": "RepeatVector", "config": {"name": "many", "n": 10**8}}
    write_keras(Path("wide.keras"), sequential(INPUT, dense(), repeat))
    np.save("x.npy", np.ones((10**6, 3), "float32"))
    arguments = ["extract", "wide.keras", "-l", "many", "-i", "x.npy", *OUT]
    message = refused(capfd, *arguments, "-b", 10**9, code=77)
    assert "wide.keras takes at least 800,000,000,000,032 bytes of memory" in message
    assert "Take a smaller --batch-size" in message
    before = content()
    assert typed(capfd, *CNN, "-i", "digits.npy", "-o", "o.h5", "-b", 10**9).code == 0
    assert set(content()) - set(before) == {"o.h5", "o.h5.json"}

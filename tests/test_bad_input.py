"""Every mistake about data, options and outputs gets a message that helps.

It says what happened, what was expected and what to do, in at most five lines and without a
traceback; the exit code is right and the folder is as it was. Each case is the command as somebody
might type it, in the folder that `command.sample_folder` makes.
"""

from __future__ import annotations

import numpy as np
import pytest
from command import checked, content, refused, sample_folder, shell, stopped, typed

from layerprobe.sinks import Dataset, open_sink

PAIRS = ["extract", "pairs.keras", "-l", "same"]
CNN, OUT = ["extract", "cnn.h5", "-l", "features"], ["-o", "out.h5"]


@pytest.fixture(autouse=True)
def _folder(samples, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sample_folder(samples)


def array(shape, dtype="float32", five=0):
    """Return zeros, with another value in row 5 if one is given."""
    rows = np.zeros(shape, dtype)
    if five:
        rows[5, 0, 0, 0] = five
    return rows


IMAGES = (9, 8, 8, 1)
ROWS = [
    (array((9, 8, 8)), 65, "holds rows of shape (8, 8).", "as in x[..., None]"),
    (array((9, 64)), 65, "holds rows of shape (64).", "rows of shape (8, 8, 1) for input 'images'"),
    (array((8, 8, 1)), 65, "holds rows of shape (8, 1).", "The first axis counts the rows"),
    (array((9, 1, 8, 8)), 65, "holds rows of shape (1, 8, 8).", "transpose the data"),
    (array((0, 8, 8, 1)), 65, "holds 0 rows", "at least one row"),
    (np.zeros(()), 65, "holds a single number", "at least one row"),
    (array(IMAGES, "complex64"), 65, "holds complex numbers", "booleans, integers or floats"),
    (array(IMAGES, "U3"), 65, "holds text", "booleans, integers or floats"),
    (
        array(IMAGES, "float64", five=1e300),
        65,
        "holds 1e+300 in row 5.",
        "numbers that float32 can",
    ),
    (array(IMAGES, "float64", five=-1e39), 65, "holds -1e+39 in row 5.", "for input 'images'"),
]


@pytest.mark.parametrize(("rows", "code", "what", "fix"), ROWS)
def test_rows_that_do_not_fit_the_model(capfd, rows, code, what, fix):
    """A wrong rank, shape, dtype or value is named, and no row is reshaped or rounded."""
    np.save("x.npy", rows)
    message = refused(capfd, *CNN, "-i", "x.npy", *OUT, code=code)
    assert what in message
    assert fix in message


@pytest.mark.parametrize("bad", ["high", "half", "NaN", "minus", "huge"])
def test_token_numbers_that_do_not_exist(capfd, bad):
    """An Embedding's rows name the token that is out of range or no integer, and its row."""
    value = {"high": 28.0, "half": 1.7, "NaN": np.nan, "minus": -1.0, "huge": 2.0**31}[bad]
    rows = np.load("places.npy").astype("float64")
    rows[40, 3] = value
    np.save("x.npy", rows)
    arguments = ["extract", "places.keras", "-l", "lstm", "-i", "x.npy", "-b", 16, *OUT]
    message = stopped(capfd, *arguments, code=65, safe="32 of 658")
    assert f"x.npy holds {value} in row 40." in message
    assert ("0 to 27" if bad in ("high", "minus") else "integers that int32 can hold") in message


DATA = [
    (["-i", "nothing.npy"], 66, "There is no file 'nothing.npy'.", ""),
    (["-i", "digit.npy"], 66, "There is no file 'digit.npy'.", "Near by: 'digits.npy'"),
    (["-i", "digits.h5::/nope"], 65, "no array named '/nope'", "digits.h5::images"),
    (["-i", "digits.h5::/labels"], 65, "holds rows of shape ().", "rows of shape (8, 8, 1)"),
    (["-i", "pairs.npz"], 65, "holds 2 arrays that fit", "pairs.npz::left"),
    (["-i", "picture=digits.npy"], 65, "There is no input picture.", "--input images=FILE"),
    (["-i", "digits.npy", "-i", "digits.npy"], 65, "digits.npy is given twice.", "NAME=FILE"),
    (["-i", "images=digits.npy", "-i", "images=digits.npy"], 65, "images is given twice", "="),
    (
        ["--from", "flat", "-i", "digits.npy"],
        65,
        "rows of shape (8, 8, 1).",
        "(96) for input 'flat'",
    ),
    (["--rows", "5:2"], 2, "The rows 5:2 were asked for", "within 0:32"),
    (["--rows", "3:3"], 2, "The rows 3:3 were asked for", "within 0:32"),
    (["-i", "digits.npy", "--rows", "0:601"], 2, "the input has 600", "within 0:600"),
    (["--rows", "40:"], 2, "The rows 40:32 were asked for", "within 0:32"),
    (["--rows", "0-9"], 2, "'0-9' is not START:STOP", "such as 0:1000"),
    (["--rows=-9:"], 2, "'-9:' is not START:STOP", "such as 0:1000"),
    (["--rows", "1:9:2"], 2, "'1:9:2' is not START:STOP", "such as 0:1000"),
]


@pytest.mark.parametrize(("arguments", "code", "what", "fix"), DATA)
def test_data_that_are_not_there(capfd, arguments, code, what, fix):
    """A missing file, array, input or row is named, with what there is instead."""
    message = refused(capfd, *CNN, *arguments, *OUT, code=code)
    assert what in message
    assert fix in message


def test_inputs_of_different_lengths(capfd):
    """All inputs of a model need the same number of rows."""
    np.save("long.npy", array((12, 8, 8, 1)))
    given = ["-i", "left=digits.npy", "-i", "right=long.npy"]
    message = refused(capfd, *PAIRS, *given, *OUT, code=65)
    assert "different numbers of rows (left: 600, right: 12)" in message
    message = refused(capfd, *PAIRS, "-i", "left=digits.npy", code=65)
    assert "No data was given for right." in message
    message = refused(capfd, *PAIRS, "-i", "digits.npy", code=65)
    assert "Data was given once, for 2 tensors." in message
    assert "--input left=FILE --input right=FILE" in message


OPTIONS = [
    (["--batch-size", "0"], 2, "The batch size is 0.", "1 or more"),
    (["--batch-size", "-5"], 2, "The batch size is -5.", "1 or more"),
    (["--batch-size", "many"], 2, "'many' is neither a number nor auto", "--help"),
    (["--dtype", "int4"], 2, "The dtype 'int4' is not known.", "one of float16, bfloat16"),
    (["--device", "tpu"], 2, "The device 'tpu' is not known.", "auto, cpu, gpu or gpu:N"),
    (["--device", "gpu:x"], 2, "The device 'gpu:x' is not known.", "auto, cpu, gpu or gpu:N"),
    (["--device", "gpu:99"], 70, "There is no gpu:99: tensorflow sees", "Use --device cpu"),
    (["--backend", "theano"], 2, "The engine 'theano' is not known.", "tensorflow, jax, torch"),
    (["--backend", "Jax"], 2, "The engine 'Jax' is not known.", "tensorflow, jax, torch"),
    (["--layers", "3"], 2, "No such option", "--layer"),
]


@pytest.mark.parametrize(("arguments", "code", "what", "fix"), OPTIONS)
def test_options_out_of_range(capfd, arguments, code, what, fix):
    """An option's wrong value is named beside the right ones."""
    message = refused(capfd, *CNN, *arguments, *OUT, code=code)
    assert what in message
    assert fix in message


def test_an_engine_that_is_not_installed(tmp_path):
    """The message holds the line that installs the engine, and comes before anything is loaded."""
    shim = tmp_path / "shim"
    shim.mkdir()
    (shim / "sitecustomize.py").write_text(
        "import importlib.util\n"
        "find_spec = importlib.util.find_spec\n"
        "def without_jax(name, package=None):\n"
        "    return None if name == 'jax' else find_spec(name, package)\n"
        "importlib.util.find_spec = without_jax\n"
    )
    before = content()
    done = shell(*CNN, "--backend", "jax", *OUT, cwd=tmp_path, PYTHONPATH=str(shim))
    message = checked(done, 70, before)
    assert "The engine 'jax' is not installed." in message
    assert "pip install 'layerprobe[jax]'" in message


OUTPUTS = [
    ("cnn.h5", 2, "cnn.h5 is also the model."),
    ("other-name.h5", 2, "other-name.h5 is also the model."),
    ("digits.h5", 2, "digits.h5 is also the data for images."),
    ("theirs.h5", 2, "theirs.h5 exists already and is not a dump"),
    ("theirs", 2, "theirs exists already and is not a dump"),
    ("dump.h5", 2, "dump.h5 exists already."),
    ("dump", 2, "dump exists already."),
    ("out.npy", 2, "out.npy is no name for an output."),
    ("out.json", 2, "out.json is no name for an output."),
    ("no/such/out.h5", 74, "no folder, so no/such/out.h5 cannot be written"),
    ("digits.npy/out.h5", 74, "no folder, so digits.npy/out.h5 cannot be written"),
    ("/proc/out.h5", 74, "/proc/out.h5"),
]


@pytest.mark.parametrize(("out", "code", "what"), OUTPUTS)
def test_an_output_that_must_not_be_written(capfd, tmp_path, out, code, what):
    """What exists stays, inputs above all, also with --overwrite; a folder must be there."""
    assert typed(capfd, *CNN, "-o", "dump.h5").code == 0
    assert typed(capfd, *CNN, "-o", "dump").code == 0
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "work.txt").write_text("precious")
    (tmp_path / "theirs.h5").write_bytes((tmp_path / "digits.h5").read_bytes())
    (tmp_path / "other-name.h5").hardlink_to("cnn.h5")
    flags = [] if out.startswith("dump") else ["--overwrite"]
    message = refused(capfd, *CNN, "-i", "digits.h5", "-o", out, *flags, code=code)
    assert what in message


def test_a_dump_is_not_written_over_its_own_input(capfd):
    """A dump may be the data of the next run, but not its output at the same time."""
    assert typed(capfd, "extract", "cnn.h5", "-l", "flat", "-o", "flat.h5").code == 0
    arguments = ["-l", "logits", "--from", "flat", "-i", "flat.h5", "-o", "flat.h5", "--overwrite"]
    message = refused(capfd, "extract", "cnn.h5", *arguments, code=2)
    assert "The output flat.h5 is also the data for flat." in message


def test_an_output_that_is_being_written(capfd):
    """A second writer of the same output is told who the first one is (exit code 75)."""
    with open_sink("out.h5", [Dataset("a", (1,), np.dtype("float32"))]):
        message = refused(capfd, *CNN, *OUT, code=75)
    assert "out.h5 is being written by process" in message
    assert "Wait until it ends" in message

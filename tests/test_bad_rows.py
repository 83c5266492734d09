"""Models that are odd, wrong or hostile in their names, each through the command.

Rows 3 and 17 to 25 of the table of bad input, and those about the machine: 49, 58 and 59.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
import pytest
from command import content, files, refused, sample_folder, shell, typed
from model_files import (
    BIAS,
    INPUT,
    KERNEL,
    called,
    dense,
    functional,
    old,
    old_model,
    runnable,
    sequential,
    tensor,
    write_h5,
    write_keras,
)

OUT = ["-o", "out.h5"]
FOLDER = Path(__file__).parent / "tf_keras" / "recurrent_folder.saved_model"


class Usage(NamedTuple):
    """What the system says about a disk."""

    total: int
    used: int
    free: int


@pytest.fixture(autouse=True)
def _folder(samples, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sample_folder(samples)


@pytest.mark.parametrize(
    ("real", "name", "kind"),
    [("cnn.h5", "x.keras", "an HDF5 file"), ("cnn.keras", "x.h5", "a .keras archive")],
)
def test_a_file_under_another_name(capfd, real, name, kind):
    """3: what a file is its content says; a note tells that its name says something else."""
    shutil.copy(real, name)
    done = typed(capfd, "extract", name, "-l", "logits", "-i", "digits.npy", *OUT)
    assert done.code == 0
    assert f"note: {name} is {kind}, whatever its name says\n" in done.stderr
    typed(capfd, "extract", real, "-l", "logits", "-i", "digits.npy", "-o", "real.h5")
    with h5py.File("out.h5") as one, h5py.File("real.h5") as other:
        np.testing.assert_array_equal(one["logits"][:], other["logits"][:])


def test_folders_that_lack_a_part(capfd):
    """17: a SavedModel whose layers are cut short, or without variables, is not run."""
    for name in ("cut", "bare"):
        shutil.copytree(FOLDER, name)
    with Path("cut/keras_metadata.pb").open("r+b") as file:
        file.truncate(999)
    shutil.rmtree("bare/variables")
    for name in ("cut", "bare"):
        message = refused(capfd, "extract", name, "-l", "all", *OUT, code=65)
        assert name in message


HOSTILE = [
    *("a\x1b[31mred", "line\nbreak", "[bold]x", "\u202egnp.exe", "nul\0nul", "..", "..."),
    *("x" * 5000, "Twin", "twin", "TWIN", "CON", " ", "-rf", "~", "$(touch ran)", "a:b"),
]


def hostile_model():
    """Write a chain of layers with hostile names; each adds nothing to the numbers it gets."""

    def layer(name):
        config = {"name": name, "trainable": True, "dtype": "float32", "activation": "linear"}
        return {"class_name": "Activation", "config": config}

    layers, before = [called(dense("dense"), tensor("rows"))], "dense"
    for name in HOSTILE:
        layers.append(called(layer(name), tensor(before, shape=(None, 2))))
        before = name
    write_keras(Path("hostile.keras"), runnable(functional(*layers, outputs=[[before, 0, 0]])))


@pytest.mark.parametrize("out", ["out.h5", "out"])
def test_names_are_never_paths_and_never_steer_a_terminal(capfd, out):
    """18, 19: all is written inside the output under harmless names, twins apart."""
    hostile_model()
    before = set(content())
    done = typed(capfd, "extract", "hostile.keras", "-l", "all", "-o", out)
    assert done.code == 0, done
    for text in (done.stdout, done.stderr):
        assert all(c.isprintable() or c == "\n" for c in text)
    made = set(content()) - before
    assert not Path("ran").exists()
    if out == "out.h5":
        assert made == {"out.h5", "out.h5.json"}
        with h5py.File(out) as file:
            names = list(file)
            arrays = [file[name][:] for name in names if name != "rows"]
    else:
        names = [path.stem for path in Path(out).glob("*.npy")]
        assert made == {out, f"{out}/manifest.json", *(f"{out}/{name}.npy" for name in names)}
        arrays = [np.load(path) for path in Path(out).glob("*.npy") if path.stem != "rows"]
    assert len(names) == len(HOSTILE) + 2
    assert len({name.casefold() for name in names}) == len(names)
    assert all(name.isprintable() and len(name.encode()) < 255 for name in names)
    assert not {".", "..", "CON", ""} & set(names)
    assert not any(character in name for name in names for character in "/\\\0:")
    for array in arrays:
        np.testing.assert_array_equal(array, arrays[0])


def test_twins_that_differ_by_case_are_told_apart(capfd):
    """19: each is found by its own name; a name in no case of theirs is no layer."""
    hostile_model()
    assert typed(capfd, "extract", "hostile.keras", "-l", "twin", *OUT).code == 0
    with h5py.File("out.h5") as file:
        assert list(file) == ["twin"]
    message = refused(capfd, "extract", "hostile.keras", "-l", "tWIN", "-o", "o.h5", code=2)
    assert "No layer matches 'tWIN'." in message


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_weights_that_are_nan(capfd, value):
    """21: such a model runs, and a note names the weights."""
    kernel = KERNEL.copy()
    kernel[1, 1] = value
    weights = {"layers/dense/vars/0": kernel, "layers/dense/vars/1": BIAS}
    write_keras(Path("sick.keras"), runnable(sequential(INPUT, dense())), weights)
    done = typed(capfd, "extract", "sick.keras", "-l", "dense", *OUT)
    assert done.code == 0
    assert "note: weights are NaN or infinite: " in done.stderr
    assert "dense/kernel\n" in done.stderr
    assert "values of dense that are NaN: " in done.stderr


HUGE = {
    "units": dense(units=10**13),
    "repeats": {"class_name": "RepeatVector", "config": {"name": "dense", "n": 10**14}},
}


@pytest.mark.parametrize("kind", HUGE)
def test_layers_that_cannot_fit(capfd, kind):
    """22: what no machine has the memory for is refused with the size, before it is made."""
    write_keras(Path("huge.keras"), sequential(INPUT, HUGE[kind]))
    message = refused(capfd, "extract", "huge.keras", "-l", "dense", *OUT, code=77)
    assert "layer 'dense': its output takes at least " in message
    assert ("40,000,000,000,000 bytes" in message) is (kind == "units")


def test_layers_that_this_machine_has_no_memory_for(capfd, monkeypatch):
    """22: so is what this machine has not, with the estimate."""
    write_keras(Path("large.keras"), sequential(INPUT, dense(units=10**6)))
    monkeypatch.setattr("layerprobe.memory.os.sysconf", lambda _: 1024)
    message = refused(capfd, "extract", "large.keras", "-l", "dense", *OUT, code=77)
    assert "large.keras takes at least 128,000,0" in message
    assert "of memory for 32 rows" in message
    assert "at most the 1,048,576 bytes of this machine" in message


def test_a_model_from_a_newer_keras(capfd):
    """23: where it cannot be built, both versions are named."""
    newer = runnable(sequential(INPUT, dense(quantum="yes")))
    write_keras(Path("new.keras"), newer, metadata={"keras_version": "9.1.0"})
    message = refused(capfd, "extract", "new.keras", "-l", "dense", *OUT, code=65)
    assert "It was written by Keras 9.1.0; here is 3." in message


def test_a_model_of_keras_2(tmp_path):
    """24: it is computed as Keras 3 without tf_keras, and a note says what it is."""
    model = old_model(old(dense(), [["rows", 0, 0, {}]]), outputs=[["dense", 0, 0]])
    write_h5(Path("old.h5"), model, keras_version="2.3.1", backend="tensorflow")
    np.save("x.npy", np.eye(3, dtype="float32"))
    shim = tmp_path / "shim"
    shim.mkdir()
    (shim / "tf_keras.py").write_text("raise SystemExit('tf_keras was loaded')")
    arguments = ["extract", "old.h5", "-l", "dense", "-i", "x.npy", *OUT]
    done = shell(*arguments, cwd=tmp_path, PYTHONPATH=str(shim))
    assert done.code == 0, done
    with h5py.File("out.h5") as file:
        np.testing.assert_allclose(file["dense"][:], KERNEL + BIAS, rtol=1e-6)


ADDRESSES = ["hf://user/model", "gs://bucket/m.keras", "https://example.org/m.h5", "s3://b/x.npy"]


@pytest.mark.parametrize("address", ADDRESSES)
def test_addresses_on_the_net(capfd, address):
    """25: nothing is fetched, neither a model nor data."""
    for command in (["list-layers", address], ["extract", address, "-l", "all", *OUT]):
        message = refused(capfd, *command, code=2)
        assert "is not on this machine." in message
        assert "a local file; layerprobe fetches nothing from " in message
    message = refused(capfd, "extract", "cnn.h5", "-l", "3", "-i", address, *OUT, code=2)
    assert "nothing is fetched from the net" in message


def test_a_disk_without_room(capfd, monkeypatch):
    """49: the room is compared before the first row is written."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**6, 10**6 - 10, 10))
    message = refused(capfd, "extract", "cnn.h5", "-l", "3", "-i", "digits.npy", *OUT, code=74)
    assert "out.h5 needs 614.4 kB, 10 bytes free." in message
    assert "another disk" in message


def test_a_terminal_of_few_characters(tmp_path):
    """58: names beyond ASCII are shown as escapes where the locale has no more, and work."""
    layers = [called(dense("層"), tensor("rows"))]
    write_keras(Path("m.keras"), functional(*layers, outputs=[["層", 0, 0]]))
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for encoding in ("ascii", "latin-1", "utf-8"):
        given = {"cwd": tmp_path, "PYTHONIOENCODING": encoding, **locale}
        done = shell("list-layers", "m.keras", **given)
        assert (done.code, done.said) == (0, "")
        # click takes ASCII, which systems without any setting claim, for UTF-8.
        assert ("\\u5c64" if encoding == "latin-1" else "層") in done.stdout
        missed = shell("extract", "m.keras", "-l", "no層", *OUT, **given)
        assert missed.code == 2
        assert "Traceback" not in missed.stderr


def test_the_device_that_was_used_is_recorded(capfd):
    """59: without a GPU `auto` is the CPU, and the dump says so."""
    assert typed(capfd, "extract", "cnn.h5", "-l", "3", *OUT, "--device", "cpu").code == 0
    with h5py.File("out.h5") as file:
        assert '"device": "cpu"' in Path("out.h5.json").read_text("utf-8")
        assert list(file) == ["pool1"]
    assert "out.h5" in files(Path())

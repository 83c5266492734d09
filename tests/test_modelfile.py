"""What a model file says of itself is read from its bytes alone: format, origin, sizes, layers."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import zipfile

import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from command import environment
from model_files import (
    INPUT,
    KERNEL,
    WEIGHTS,
    called,
    dense,
    functional,
    sequential,
    tensor,
    write_h5,
    write_keras,
)

import layerprobe
from layerprobe.cli import main
from layerprobe.modelfile.window import FileWindow

SCHEMA = {
    "model": [
        "path",
        "sha256",
        "format",
        "keras_version",
        "backend",
        "inputs",
        "outputs",
        "params",
    ],
    "layers": [
        *("index", "address", "name", "class_name", "output_shape", "dtype", "params"),
        *("trainable", "bytes_per_row", "inbound"),
    ],
    "audit": ["verdict", "findings"],
}
NO_FRAMEWORK = """
import sys
import layerprobe
assert "rich" not in sys.modules and "h5py" not in sys.modules, "importing is cheap"
for path in sys.argv[1:]:
    layerprobe.list_layers(path).to_json()
assert "rich" not in sys.modules
from layerprobe.cli import main
for arguments in (["--help"], ["extract", "--help"], *(["list-layers", p] for p in sys.argv[1:])):
    main(arguments, standalone_mode=False)
loaded = {"keras", "tensorflow", "jax", "torch", "openvino"} & set(sys.modules)
assert not loaded, loaded
"""


@pytest.mark.parametrize("name", ["model.h5", "model.hdf5", "model.keras", "model", "model.npy"])
def test_the_format_is_told_by_content(name, tmp_path):
    """A file is read for what it is, whatever it is called."""
    hdf5 = layerprobe.list_layers(write_h5(tmp_path / name, sequential()))
    assert (hdf5.format, hdf5.params, len(hdf5.table)) == ("hdf5", 8, 2)
    archive = layerprobe.list_layers(write_keras(tmp_path / name, sequential()))
    assert (archive.format, archive.params, len(archive.table)) == ("keras", 8, 2)


def test_a_file_says_who_wrote_it(tmp_path):
    """Version and engine are found in both formats, and None where the file does not tell."""
    path = tmp_path / "model"
    written = layerprobe.list_layers(write_h5(path, sequential(), keras_version="2.4.0"))
    assert (written.keras_version, written.backend) == ("2.4.0", "jax")
    silent = layerprobe.list_layers(write_h5(path, sequential(), keras_version=None, backend=None))
    assert (silent.keras_version, silent.backend) == (None, None)
    archive = layerprobe.list_layers(write_keras(path, sequential()))
    assert (archive.keras_version, archive.backend) == ("3.15.1", None)
    assert archive.contents.major_version == 3
    for metadata in ({}, {"keras_version": 3}, {"keras_version": None}):
        odd = layerprobe.list_layers(write_keras(path, sequential(), metadata=metadata))
        assert (odd.keras_version, odd.contents.major_version) == (None, None)
    bare = layerprobe.list_layers(write_keras(path, sequential(), metadata_json=b""))
    assert bare.keras_version is None


def test_the_version_may_stand_beside_the_weights(tmp_path):
    """Some versions of Keras name themselves on the group of weights alone; that counts too."""
    path = write_h5(tmp_path / "m.h5", sequential(), keras_version=None, backend=None)
    with h5py.File(path, "a") as file:
        file["model_weights"].attrs["keras_version"] = np.bytes_(b"2.0.8")
        file["model_weights"].attrs["backend"] = np.bytes_(b"theano")
    model = layerprobe.list_layers(path)
    assert (model.keras_version, model.backend) == ("2.0.8", "theano")


def test_the_hash_is_that_of_the_file(tmp_path):
    """`sha256` equals the hash of the bytes on disk."""
    path = write_keras(tmp_path / "m.keras", sequential())
    assert layerprobe.list_layers(path).sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_files_without_weights_have_unknown_many(tmp_path):
    """Where a file holds no weights their number is None, not zero."""
    path = write_keras(tmp_path / "m.keras", sequential(), model_weights_h5=b"")
    model = layerprobe.list_layers(path)
    assert model.params is None
    assert [row.params for row in model.table] == [None, None]


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_weights_are_counted_without_being_told(compression, tmp_path):
    """Numbers of weights are those of the datasets, stored or compressed, random state left out."""
    weights = WEIGHTS | {
        "layers/dense_1/vars/0": np.zeros((2, 2)),
        "layers/dropout/seed_generator/vars/0": np.zeros(2, "uint32"),
        "optimizer/vars/0": np.zeros(100),
        "layers/dense/vars/2": np.float32(1.0),
    }
    dropout = {"class_name": "Dropout", "config": {"name": "drop", "rate": 0.5}}
    config = sequential(INPUT, dense("first"), dropout, dense("second"), dense("third"))
    path = write_keras(tmp_path / "m.keras", config, weights, compression=compression)
    model = layerprobe.list_layers(path)
    assert [row.params for row in model.table] == [0, 9, 0, 4, 0]
    assert model.params == 13


def test_long_lists_of_names_are_put_together(tmp_path):
    """Names of layers that Keras split over numbered attributes are all found."""
    weights = {f"d{i}/d{i}/kernel": np.zeros((3, i + 1)) for i in range(5)}
    config = sequential(INPUT, *(dense(f"d{i}") for i in range(5)))
    path = write_h5(tmp_path / "m.h5", config, weights)
    with h5py.File(path, "a") as file:
        attributes = file["model_weights"].attrs
        names = list(attributes["layer_names"])
        del attributes["layer_names"]
        attributes["layer_names0"], attributes["layer_names1"] = names[:3], names[3:]
    assert [r.params for r in layerprobe.list_layers(path).table] == [0, 3, 6, 9, 12, 15]


def test_the_listing_is_json_of_a_fixed_form(tmp_path):
    """`to_json` has the promised keys in the promised order, and no others; values are plain."""
    config = functional(
        called(dense("twice"), tensor("rows"), tensor("twice", shape=(None, 2))),
        outputs=[["twice", 1, 0]],
    )
    path = write_keras(tmp_path / "m.keras", config, {"layers/dense/vars/0": KERNEL})
    listed = layerprobe.list_layers(path).to_json()
    assert list(listed) == list(SCHEMA)
    assert list(listed["model"]) == SCHEMA["model"]
    assert all(list(row) == SCHEMA["layers"] for row in listed["layers"])
    assert json.loads(json.dumps(listed)) == listed
    assert listed["model"] == {
        "path": str(path),
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "format": "keras",
        "keras_version": "3.15.1",
        "backend": None,
        "inputs": [{"name": "rows", "shape": [None, 3], "dtype": "float32"}],
        "outputs": [{"address": "twice@1", "shape": [None, 2], "dtype": "float32"}],
        "params": 6,
    }
    assert listed["layers"][2] == {
        "index": 1,
        "address": "twice@1",
        "name": "twice",
        "class_name": "Dense",
        "output_shape": [None, 2],
        "dtype": "float32",
        "params": 6,
        "trainable": True,
        "bytes_per_row": 8,
        "inbound": ["twice@0"],
    }


def test_the_command_prints_what_python_returns(tmp_path):
    """`list-layers --json` prints one object, equal to that of `to_json`."""
    path = write_h5(tmp_path / "m.h5", sequential())
    result = CliRunner().invoke(main, ["list-layers", str(path), "--json"])
    assert result.exit_code == 0
    assert json.loads(result.stdout) == layerprobe.list_layers(path).to_json()


def test_listing_loads_no_framework(tmp_path, samples):
    """Neither the library nor the command line needs an engine to list a model or to help."""
    paths = [
        write_h5(tmp_path / "m.h5", sequential()),
        write_keras(tmp_path / "m.keras", sequential()),
        samples / "digits_pairs.keras",
        samples / "digits_cnn.h5",
    ]
    command = [sys.executable, "-c", NO_FRAMEWORK, *map(str, paths)]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "digits_pairs" in done.stdout or "left" in done.stdout


@pytest.mark.parametrize(
    "name", ["\x1b[31mred\x1b[0m", "[bold]x[/bold]", "\u202egnp", "a\nb", "\x9b2J", "back\\slash"]
)
@pytest.mark.parametrize("write", [write_h5, write_keras])
def test_names_cannot_steer_the_terminal(name, write, tmp_path):
    """Control characters and markup in names are printed as escapes; JSON keeps the name whole."""
    layer = dense(name) | {"class_name": name.replace("\n", "")}
    path = write(tmp_path / "m", sequential(INPUT, layer))
    listed = CliRunner().invoke(main, ["list-layers", str(path)])
    missed = CliRunner().invoke(main, ["extract", str(path), "--layer", f"x{name}"])
    assert (listed.exit_code, missed.exit_code) == (0, 2)
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in layer["class_name"])
    assert shown in listed.stdout
    for text in (listed.stdout, missed.stderr):
        assert all(character.isprintable() or character == "\n" for character in text)
    assert len(listed.stdout.splitlines()) == 4
    as_json = CliRunner().invoke(main, ["list-layers", str(path), "--json"])
    assert json.loads(as_json.stdout)["layers"][1]["name"] == name
    assert as_json.stdout.isascii()


def test_a_window_is_a_file_of_its_own(tmp_path):
    """Reading, seeking and ends of a window are those of the part it shows."""
    path = tmp_path / "whole"
    path.write_bytes(b"before|middle|after")
    with path.open("rb") as file, FileWindow(file, 7, 6) as window:
        assert window.readable()
        assert window.seekable()
        assert window.read() == b"middle"
        assert window.read() == b""
        assert window.seek(-3, 2) == 3
        assert window.read(100) == b"dle"
        assert (window.seek(1), window.seek(1, 1), window.tell()) == (1, 2, 2)
        assert window.read(2) == b"dd"
        assert window.seek(50) == 50
        assert window.read(4) == b""


_OBJECT, _REST = b"\1\0" + bytes(6), bytes(8)  # the heads of an object and of the room that is free


@pytest.mark.parametrize(
    ("objects", "ends"),
    [
        ([(_OBJECT, 5), (_OBJECT, 8), (_REST, 80)], True),
        ([(_OBJECT, 112 - 8)], True),  # what is left over has no room for a head
        ([(_OBJECT, 112)], True),
        ([(_REST, 0)], False),
        ([(_OBJECT, 5), (_REST, 0)], False),
        ([(_OBJECT, 2**64 - 16)], False),  # to where it began
        ([(_OBJECT, 2**64 - 64)], False),  # to before it
        ([(_OBJECT, 120)], False),
        ([(_REST, 129)], False),
    ],
)
def test_a_heap_of_texts_ends(tmp_path, objects, ends):
    """What HDF5 would look for the end of for ever, or beyond its end, is an error."""
    heap = bytearray(b"GCOL\1\0\0\0" + (144).to_bytes(8, "little") + bytes(128))
    at = 16
    for head, size in objects:
        heap[at : at + 16] = head + size.to_bytes(8, "little")
        at += size if head == _REST else 16 + -(-size // 8) * 8
    path = tmp_path / "file"
    path.write_bytes(bytes(24) + heap)
    with path.open("rb") as file, FileWindow(file, 8, 16 + len(heap)) as window:
        window.seek(16)
        if ends:
            assert window.read(20) == heap[:20]
            assert window.tell() == 36
        else:
            with pytest.raises(OSError, match="the heap at byte"):
                window.read(20)


def test_a_heap_that_is_cut_or_has_too_many_objects(tmp_path):
    """A heap that reaches beyond the file, or holds more than can be numbered, is an error."""
    for size, length in ((4096, 4095), (16 * 70_000, 16 * 70_000)):
        path = tmp_path / "file"
        objects = (_OBJECT + bytes(8)) * (size // 16)
        path.write_bytes((b"GCOL\1\0\0\0" + size.to_bytes(8, "little") + objects)[:length])
        with (
            path.open("rb") as file,
            FileWindow(file, 0, length) as window,
            pytest.raises(OSError, match="is damaged"),
        ):
            window.read(20)

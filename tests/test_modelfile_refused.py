"""Files that are no sound model end in one error that says what they are and what to do."""

from __future__ import annotations

import io
import json
import os
import random
import struct
import zipfile

import h5py
import numpy as np
import pytest
from model_files import BIAS, KERNEL, sequential, write_h5, write_keras

import layerprobe
from layerprobe.errors import LayerprobeError, ModelError, TrustError
from layerprobe.modelfile.contents import parse_config
from layerprobe.modelfile.jsontext import MAX_CONFIG_BYTES


def refused(path, kind=ModelError, exit_code=65):
    """Return what is said of a file that must be refused with this class and exit code."""
    with pytest.raises(LayerprobeError) as caught:
        layerprobe.list_layers(path)
    assert type(caught.value) is kind, caught.value
    assert caught.value.exit_code == exit_code
    return str(caught.value)


def npy(array):
    """Return the bytes of a .npy file."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935\nsize 12345\n"
NO_MODELS = {
    "empty": (b"", "is empty"),
    "a NumPy array": (npy(np.zeros(3)), "is a NumPy array, not a model"),
    "a Git LFS pointer": (POINTER, "is a Git LFS pointer, not the file itself"),
    "a pickle": (b"\x80\x04\x95\x1a\x00", "is neither an HDF5 file nor a .keras archive"),
    "text": (b"hello", "is neither an HDF5 file nor a .keras archive"),
    "a short file": (b"\x89HD", "is neither an HDF5 file nor a .keras archive"),
    "an empty zip": (b"PK\x05\x06" + bytes(18), "is neither an HDF5 file nor a .keras archive"),
}


@pytest.mark.parametrize("name", NO_MODELS)
def test_what_is_no_model_is_told_by_its_first_bytes(name, tmp_path):
    """The message names what the file is instead, and the kinds that can be read."""
    content, said = NO_MODELS[name]
    path = tmp_path / "model.h5"
    path.write_bytes(content)
    message = refused(path)
    assert f"{path} {said}" in message
    assert "Expected: a model file (.h5, .hdf5 or .keras)" in message


def test_a_missing_file_names_its_neighbours(tmp_path):
    """The error ends with 66 and names files that are called nearly so."""
    write_h5(tmp_path / "resnet50.h5", sequential())
    assert f"Did you mean {tmp_path / 'resnet50.h5'}?" in refused(
        tmp_path / "resnet5.h5", exit_code=66
    )
    assert "Did you mean" not in refused(tmp_path / "other.keras", exit_code=66)
    assert "There is no file" in refused(tmp_path / "nowhere" / "resnet50.h5", exit_code=66)


def test_what_cannot_be_opened_is_said(tmp_path):
    """A path through a file or too long for the system ends with 66 and the system's reason."""
    path = write_h5(tmp_path / "m.h5", sequential())
    assert "Not a directory" in refused(path / "inner.h5", exit_code=66)
    assert "File name too long" in refused(tmp_path / ("x" * 5000), exit_code=66)


def test_folders_and_pipes_are_not_read(tmp_path):
    """A folder is told apart, with a way out; a pipe is not waited on."""
    assert "is a folder" in refused(tmp_path)
    assert "model.save(" in refused(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    assert "is a pipe or a device" in refused(tmp_path / "pipe")


@pytest.mark.parametrize("write", [write_h5, write_keras])
def test_a_file_cut_short_is_damaged(write, tmp_path):
    """At whatever length a file was cut off, the error says damaged or not a model."""
    path = write(tmp_path / "m", sequential())
    whole = path.read_bytes()
    for length in {*range(1, len(whole), 97), *range(1, 12), len(whole) - 1}:
        path.write_bytes(whole[:length])
        message = refused(path)
        assert "damaged" in message or length < 8, (length, message)


@pytest.mark.parametrize("write", [write_h5, write_keras])
def test_flipped_bytes_raise_nothing_else(write, tmp_path):
    """Bytes overwritten anywhere give a listing or one of our errors, never another exception."""
    path = write(tmp_path / "m", sequential())
    whole = path.read_bytes()
    at = random.Random(7)  # noqa: S311 - not for secrets
    refusals = 0
    for _ in range(300):
        changed = bytearray(whole)
        for _ in range(at.choice((1, 4, 40))):
            changed[at.randrange(8, len(changed))] = at.randrange(256)
        path.write_bytes(changed)
        try:
            layerprobe.list_layers(path).to_json()
        except LayerprobeError:
            refusals += 1
    assert refusals > 30


@pytest.mark.parametrize("layout", ["nb_layers", "layer_names", "layers", "checkpoint"])
def test_weights_alone_are_named_so(layout, tmp_path):
    """Weights without an architecture, as Keras 1, 2 and 3 wrote them, are told from models."""
    path = tmp_path / "weights.h5"
    with h5py.File(path, "w") as file:
        if layout == "nb_layers":
            file.attrs["nb_layers"] = 1
            file["layer_0/param_0"] = KERNEL
        elif layout == "layer_names":
            file.attrs["layer_names"] = np.array([b"dense"])
            file["dense/dense/kernel:0"] = KERNEL
        elif layout == "layers":
            file["layers/dense/vars/0"] = KERNEL
        else:
            file["_layer_checkpoint_dependencies/dense/vars/0"] = KERNEL
    message = refused(path)
    assert "holds weights but no architecture" in message
    assert "model.save('model.keras')" in message


def test_data_in_hdf5_is_no_model(tmp_path):
    """An HDF5 file of arrays is named as such, with what it holds and where rows go."""
    path = tmp_path / "rows.h5"
    with h5py.File(path, "w") as file:
        file["images"], file["labels"] = np.zeros((3, 2)), np.zeros(3)
    message = refused(path)
    assert "is an HDF5 file but not a Keras model; it holds images, labels." in message
    assert "Rows of data go to --input." in message
    with h5py.File(path, "w"):
        pass
    assert "it holds nothing." in refused(path)


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"config_json": b""}, "is a zip archive without config.json"),
        ({"config_json": b"{"}, "is not JSON"),
        ({"config_json": b"\xff\xfe"}, "is not JSON"),
        ({"config_json": b"[" * 100_000}, "is nested too deeply"),
        ({"config_json": b"[1, 2]"}, "does not describe a model"),
        ({"config_json": b'{"class_name": null}'}, "does not describe a model"),
        ({"metadata_json": b"{"}, "is not JSON"),
        ({"metadata_json": b"[]"}, "is a damaged .keras archive"),
        ({"model_weights_h5": b"no HDF5"}, "is a damaged .keras archive"),
    ],
)
def test_archives_with_a_bad_member(members, said, tmp_path):
    """A member that is missing or not what it should be is named."""
    assert said in refused(write_keras(tmp_path / "m.keras", sequential(), **members))


def test_an_encrypted_archive_is_refused(tmp_path):
    """Members under a password are not readable, and no password is asked for."""
    path = write_keras(tmp_path / "m.keras", sequential())
    content = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        at = -1
        while (at := content.find(signature, at + 1)) >= 0:
            content[at + offset] |= 1
    path.write_bytes(content)
    assert "password" in refused(path)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("{", "is not JSON"),
        ("null", "does not describe a model"),
        ('{"class_name": 3}', "does not describe a model"),
        (json.dumps({"class_name": "Mine", "config": {}}), "of class 'Mine' does not list"),
    ],
)
def test_hdf5_files_with_a_bad_config(config, said, tmp_path):
    """A config that is no JSON, or of a model that is Python code, is named so."""
    assert said in refused(write_h5(tmp_path / "m.h5", config))


@pytest.mark.parametrize("value", [3, np.zeros(4), h5py.Empty("S1"), np.array([b"{", b"}"])])
@pytest.mark.parametrize("name", ["model_config", "keras_version", "backend", "layer_names"])
def test_attributes_of_other_kinds_raise_nothing_else(name, value, tmp_path):
    """Where text is expected, numbers, lists and nothing at all are ignored or refused."""
    path = write_h5(tmp_path / "m.h5", sequential())
    with h5py.File(path, "a") as file:
        (file["model_weights"] if name == "layer_names" else file).attrs[name] = value
    if name == "model_config":
        assert "config" in refused(path)
    elif name == "layer_names" and value is not None and np.ndim(value) == 0:
        assert "damaged" in refused(path)
    else:
        assert len(layerprobe.list_layers(path).table) == 2


def test_a_config_out_of_proportion_is_not_read(tmp_path):
    """An archive that declares more than 32 MiB of config is refused before it is unpacked."""
    path = tmp_path / "m.keras"
    write_keras(path, sequential(), compression=zipfile.ZIP_DEFLATED)
    content = bytearray(path.read_bytes())
    names = [i.filename for i in zipfile.ZipFile(path).infolist()]
    for name in ("metadata.json", "config.json"):
        at = -1
        for _ in range(names.index(name) + 1):
            at = content.index(b"PK\x01\x02", at + 1)
        bomb = bytearray(content)
        bomb[at + 24 : at + 28] = struct.pack("<I", MAX_CONFIG_BYTES + 1)
        path.write_bytes(bomb)
        assert f"member '{name}': declares 33,554,433 bytes" in refused(path, TrustError, 77)
    with pytest.raises(ModelError, match="takes 33,554,433 bytes"):
        parse_config(b" " * (MAX_CONFIG_BYTES + 1), path)


def test_the_hand_written_model_is_sound(tmp_path):
    """What all of the above spoil is a model of 8 weights, so that nothing else is to blame."""
    for write in (write_h5, write_keras):
        model = layerprobe.list_layers(write(tmp_path / "m", sequential()))
        assert model.params == KERNEL.size + BIAS.size


@pytest.mark.parametrize("inner", ["text", 7, {"layers": 7}, {"layers": [{"config": "text"}]}])
def test_what_keras_1_never_wrote_is_refused(inner, tmp_path):
    """A file that names no version may be of Keras 1: junk in it is damage as elsewhere."""
    config = {"class_name": "Sequential", "config": inner}
    refused(write_h5(tmp_path / "m.h5", config, keras_version=None))

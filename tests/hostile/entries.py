"""HDF5 files whose entries lie elsewhere."""

from __future__ import annotations

import json
import zipfile

import h5py
import numpy as np
from model_files import sequential, weights_file, write_h5, write_keras

from hostile import REFUSE, Case

_KERNEL = "model_weights/dense/dense/kernel"


def changed(change):
    """Return a maker of an .h5 model that a change was made to."""

    def made(place):
        path = write_h5(place.folder / "m.h5", sequential())
        with h5py.File(path, "a") as file:
            change(file, place)
        return path

    return made


def changed_keras(change):
    """Return a maker of an archive whose weights a change was made to."""

    def made(place):
        inner = place.folder / "weights.h5"
        inner.write_bytes(weights_file({"layers/other/vars/0": np.zeros(3, "f4")}))
        with h5py.File(inner, "a") as file:
            change(file, place)
        content = inner.read_bytes()
        inner.unlink()
        return write_keras(place.folder / "m.keras", sequential(), model_weights_h5=content)

    return made


def external_link(file, place):
    """Link the kernel to another file."""
    _drop(file)
    file[_name(file)] = h5py.ExternalLink(str(place.secret), "/x")


def soft_link(file, _):
    """Link the kernel to another entry."""
    _drop(file)
    file[_name(file)] = h5py.SoftLink("/elsewhere")


def external_bytes(file, place):
    """Let the kernel's numbers lie in another file."""
    _drop(file)
    file.create_dataset(_name(file), (3, 2), "f4", external=[(str(place.secret), 0, 24)])


def virtual(file, place):
    """Let the kernel be put together of another file."""
    _drop(file)
    layout = h5py.VirtualLayout((3, 2), "f4")
    layout[:] = h5py.VirtualSource(str(place.secret), "x", (3, 2))
    file.create_virtual_dataset(_name(file), layout)


def beside(file, place):
    """Put a link beside the weights, where nobody looks for one."""
    file["unrelated"] = h5py.ExternalLink(str(place.secret), "/")


def circle(file, _):
    """Let a group hold the group that holds it."""
    group = file.create_group("a/b")
    group["up"] = file["a"]


def plugin(file, _):
    """Let a dataset need a filter that is loaded as a program."""
    storage = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    storage.set_chunk((3,))
    storage.set_filter(32_000, h5py.h5z.FLAG_OPTIONAL, (1,))
    storage.set_filter(40_000, h5py.h5z.FLAG_OPTIONAL, (1,))
    space = h5py.h5s.create_simple((3,))
    h5py.h5d.create(file.id, b"packed", h5py.h5t.IEEE_F32LE, space, storage)


def endless(content):
    """Let what is free in a heap of texts take no room: HDF5 1.14 looks for its end for ever."""
    changed = bytearray(content)
    at = changed.index(b"GCOL") + 16
    while changed[at : at + 2] != b"\0\0":
        at += 16 + -(-int.from_bytes(changed[at + 8 : at + 16], "little") // 8) * 8
    changed[at + 8 : at + 16] = bytes(8)
    return bytes(changed)


def endless_config(place):
    """Let the config lie in such a heap."""
    path = write_h5(place.folder / "m.h5", sequential())
    path.write_bytes(endless(path.read_bytes()))
    return path


def endless_text(place):
    """Let the config declare a gigabyte: HDF5 makes room for it before it looks for the text."""
    path = write_h5(place.folder / "m.h5", sequential())
    content = path.read_bytes()
    place_of_heap = content.index(b"GCOL").to_bytes(8, "little")
    declared = len(json.dumps(sequential())).to_bytes(4, "little") + place_of_heap
    assert content.count(declared) == 1
    path.write_bytes(content.replace(declared, (1 << 30).to_bytes(4, "little") + place_of_heap))
    return path


def no_such_type(place):
    """Let the version be of a type that is neither a list nor a text: HDF5 1.14 crashes on it."""
    path = write_h5(place.folder / "m.h5", sequential())
    content = path.read_bytes()
    at = content.index(b"\x19\x01\x01\0", content.index(b"keras_version\0"))
    path.write_bytes(content[: at + 1] + b"\x9f" + content[at + 2 :])
    return path


def endless_dataset(place):
    """Let a virtual dataset of an archive name its sources in such a heap."""
    path = changed_keras(virtual)(place)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["model.weights.h5"] = endless(members["model.weights.h5"])
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def _name(file):
    return _KERNEL if "model_weights" in file else "layers/dense/vars/0"


def _drop(file):
    if "model_weights" in file:
        del file[_KERNEL]


_CHANGES = {
    "external link": (external_link, "hdf5-link"),
    "soft link": (soft_link, "hdf5-link"),
    "external bytes": (external_bytes, "hdf5-storage"),
    "virtual dataset": (virtual, "hdf5-storage"),
    "link beside": (beside, "hdf5-link"),
    "circle": (circle, "hdf5-twice"),
    "filter plugin": (plugin, "hdf5-filter"),
}
CASES = [
    Case(f"{name} in {kind}", REFUSE, rule, maker(change))
    for name, (change, rule) in _CHANGES.items()
    for kind, maker in (("h5", changed), ("keras", changed_keras))
]
CASES += [
    Case("type that is none in h5", REFUSE, "damaged", no_such_type),
    Case("text of a gigabyte in h5", REFUSE, "hdf5-bomb", endless_text),
    Case("heap without end in h5", REFUSE, "damaged", endless_config),
    Case("heap without end in keras", REFUSE, "damaged", endless_dataset),
]

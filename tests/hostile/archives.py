"""Archives that lead out of themselves, or show two readers two models."""

from __future__ import annotations

import io
import json
import pickle
import stat
import struct
import warnings
import zipfile

import numpy as np
from model_files import sequential, write_keras

from hostile import REFUSE, Case
from hostile.code import INPUT, lambda_layer


def with_member(name, content=b"x", *, mode=0, system=3, compression=zipfile.ZIP_STORED):
    """Return a maker of an archive with one more member."""

    def made(place):
        path = write_keras(place.folder / "m.keras", sequential())
        info = zipfile.ZipInfo(name)
        info.external_attr = mode << 16
        info.create_system = system
        info.compress_type = compression
        with warnings.catch_warnings(), zipfile.ZipFile(path, "a") as archive:
            warnings.simplefilter("ignore")  # of names that are there twice
            archive.writestr(info, content)
        return path

    return made


def other_name(place):
    """Return an archive whose member calls itself otherwise than the table of contents does."""
    path = write_keras(place.folder / "m.keras", sequential())
    content = path.read_bytes()
    path.write_bytes(content.replace(b"config.json", b"CONFIG.XXXX", 1))
    return path


def with_nul(place):
    """Return an archive with a member whose name some readers end early."""
    path = with_member("weights.h5!.txt")(place)
    path.write_bytes(path.read_bytes().replace(b"h5!.txt", b"h5\0.txt"))
    return path


def before(place):
    """Return an archive behind another one, which readers from the front see."""
    first = write_keras(place.folder / "a.keras", sequential(INPUT, lambda_layer(place)))
    second = write_keras(place.folder / "m.keras", sequential())
    second.write_bytes(first.read_bytes() + second.read_bytes())
    first.unlink()
    return second


def overlapping(place):
    """Return an archive in which two members share their bytes."""
    path = write_keras(place.folder / "m.keras", sequential(), extra_json=b"{}")
    content = bytearray(path.read_bytes())
    places, at = [], -1
    while (at := content.find(b"PK\x01\x02", at + 1)) >= 0:
        places.append(at)
    first = content[places[0] + 42 : places[0] + 46]
    content[places[-1] + 42 : places[-1] + 46] = first
    path.write_bytes(content)
    return path


def pickled(place):
    """Return bytes that write the marker when they are unpickled."""

    class Payload:
        def __reduce__(self):
            return open, (str(place.marker), "w")

    return pickle.dumps(Payload())


def arrays_of_objects(place):
    """Return a .npy of objects, pickled."""
    buffer = io.BytesIO()
    np.save(buffer, np.array([None, 1], dtype=object), allow_pickle=True)
    assert place.folder.is_dir()
    return buffer.getvalue()


def weights_npz(place):
    """Return an archive whose weights are an .npz."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as inner:
        inner.writestr("layers.npy", arrays_of_objects(place))
    return with_member("model.weights.npz", buffer.getvalue())(place)


def many(place):
    """Return an archive of more members than any model has."""
    path = write_keras(place.folder / "m.keras", sequential())
    with zipfile.ZipFile(path, "a") as archive:
        for number in range(10_050):
            archive.writestr(f"assets/{number}", b"")
    return path


def long_contents(place):
    """Return an archive that claims a table of contents of a gigabyte."""
    path = write_keras(place.folder / "m.keras", sequential())
    content = bytearray(path.read_bytes())
    at = content.rindex(b"PK\x05\x06")
    content[at + 12 : at + 16] = struct.pack("<I", 1 << 30)
    path.write_bytes(content)
    return path


_TWICE = json.dumps(sequential()).encode()
CASES = [
    Case("member above", REFUSE, "zip-path", with_member("../marker")),
    Case("member far above", REFUSE, "zip-path", with_member("assets/../../../marker")),
    Case("member at the root", REFUSE, "zip-path", with_member("/tmp/marker")),  # noqa: S108
    Case("member on a drive", REFUSE, "zip-path", with_member("C:/marker")),
    Case("member above with backslashes", REFUSE, "zip-path", with_member("..\\marker")),
    Case("member with a NUL", REFUSE, "zip-path", with_nul),
    Case("member is a link", REFUSE, "zip-link",
         with_member("assets/link", b"../../secret", mode=stat.S_IFLNK | 0o777)),
    Case("member is a device", REFUSE, "zip-link", with_member("dev", mode=stat.S_IFCHR | 0o666)),
    Case("config twice", REFUSE, "zip-duplicate", with_member("config.json", _TWICE)),
    Case("weights twice", REFUSE, "zip-duplicate", with_member("model.weights.h5", b"")),
    Case("config and its case twin", REFUSE, "zip-duplicate", with_member("Config.JSON", _TWICE)),
    Case("member of another name", REFUSE, "zip-contradiction", other_name),
    Case("archive behind an archive", REFUSE, "zip-contradiction", before),
    Case("members that overlap", REFUSE, "zip-contradiction", overlapping),
    Case("pickle among the members", REFUSE, "pickle-inside",
         lambda p: with_member("assets/optimizer.bin", pickled(p))(p)),
    Case("old pickle among the members", REFUSE, "pickle-inside",
         with_member("assets/words.txt", b"cos\nsystem\n(S'true'\ntR.")),
    Case("pickle by its name", REFUSE, "pickle-inside", with_member("assets/x.pkl", b"?")),
    Case("array of objects among the members", REFUSE, "pickle-inside",
         lambda p: with_member("assets/x.npy", arrays_of_objects(p))(p)),
    Case("weights in an npz of objects", REFUSE, "pickle-inside", weights_npz),
    Case("ten thousand members", REFUSE, "zip-bomb", many),
    Case("contents of a gigabyte", REFUSE, "zip-bomb", long_contents),
]  # fmt: skip

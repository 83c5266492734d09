"""Text that two readers read differently, and files that are no models at all."""

from __future__ import annotations

import json

import h5py
from model_files import sequential, write_h5, write_keras

from hostile import REFUSE, Case
from hostile.arrays import written
from hostile.bombs import text
from hostile.graphs import field, graph, node, saved_model

_SOUND = json.dumps(sequential())
_TWICE = _SOUND.replace('"config":', '"config": {"layers": []}, "config":', 1).encode()
_OTHER = _SOUND.replace('"units": 2', '"units": 3')
_LOSS = '{"loss": {"class_name": "Lambda", "config": {}}, "loss": "mse"}'
_NAN = _SOUND.replace('"units": 2', '"units": NaN').encode()


def cut(place):
    """Return an archive that ends early."""
    path = write_keras(place.folder / "m.keras", sequential())
    path.write_bytes(path.read_bytes()[:-300])
    return path


def cut_h5(place):
    """Return an .h5 model that ends early."""
    path = write_h5(place.folder / "m.h5", sequential())
    path.write_bytes(path.read_bytes()[:1500])
    return path


def described(*configs):
    """Return a maker of a SavedModel whose file of metadata describes the model so."""

    def made(place):
        folder = saved_model(place, graph([node("x", "Placeholder")]))
        told = [field(1, field(2, 0) + field(3, "root") + field(5, config)) for config in configs]
        (folder / "keras_metadata.pb").write_bytes(b"".join(told))
        return folder

    return made


def described_inside(place):
    """Describe the model twice beside its graph, as TensorFlow did before version 2.5."""
    users = [field(4, field(1, "_tf_keras_sequential") + field(3, c)) for c in (_SOUND, _OTHER)]
    objects = field(7, field(1, b"".join(users)))
    return saved_model(place, graph([node("x", "Placeholder")]), more=objects)


def trained(config):
    """Return a maker of an .h5 model that says so of its training."""

    def made(place):
        path = write_h5(place.folder / "m.h5", sequential())
        with h5py.File(path, "a") as file:
            file.attrs["training_config"] = config
        return path

    return made


CASES = [
    Case("key twice in json", REFUSE, "duplicate-keys", text(_TWICE)),
    Case("key twice in keras", REFUSE, "duplicate-keys",
         lambda p: write_keras(p.folder / "m.keras", _TWICE)),
    Case("key twice in h5", REFUSE, "duplicate-keys",
         lambda p: write_h5(p.folder / "m.h5", _TWICE.decode())),
    Case("key twice in metadata", REFUSE, "duplicate-keys", described(_TWICE)),
    Case("model twice in metadata", REFUSE, "duplicate-keys", described(_SOUND, _OTHER)),
    Case("model twice in a graph", REFUSE, "duplicate-keys", described_inside),
    Case("loss twice in h5", REFUSE, "duplicate-keys", trained(_LOSS)),
    Case("nan of a loss in h5", REFUSE, "not-a-number", trained('{"loss_weights": NaN}')),
    Case("nan in json", REFUSE, "not-a-number", text(_NAN)),
    Case("nan in keras", REFUSE, "not-a-number",
         lambda p: write_keras(p.folder / "m.keras", _NAN)),
    Case("archive cut short", REFUSE, "damaged", cut),
    Case("h5 cut short", REFUSE, "damaged", cut_h5),
    Case("empty", REFUSE, "not-a-model", written("m.keras", lambda _: b"")),
    Case("text", REFUSE, "not-a-model", written("m.h5", lambda _: b"hello there")),
    Case("json of something else", REFUSE, "damaged", text(b'{"class_name": null}')),
]  # fmt: skip

"""Text that two readers read differently, and files that are no models at all."""

from __future__ import annotations

import json

from model_files import sequential, write_h5, write_keras

from hostile import REFUSE, Case
from hostile.arrays import written
from hostile.bombs import text

_SOUND = json.dumps(sequential())
_TWICE = _SOUND.replace('"config":', '"config": {"layers": []}, "config":', 1).encode()
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


CASES = [
    Case("key twice in json", REFUSE, "duplicate-keys", text(_TWICE)),
    Case("key twice in keras", REFUSE, "duplicate-keys",
         lambda p: write_keras(p.folder / "m.keras", _TWICE)),
    Case("key twice in h5", REFUSE, "duplicate-keys",
         lambda p: write_h5(p.folder / "m.h5", _TWICE.decode())),
    Case("nan in json", REFUSE, "not-a-number", text(_NAN)),
    Case("nan in keras", REFUSE, "not-a-number",
         lambda p: write_keras(p.folder / "m.keras", _NAN)),
    Case("archive cut short", REFUSE, "damaged", cut),
    Case("h5 cut short", REFUSE, "damaged", cut_h5),
    Case("empty", REFUSE, "not-a-model", written("m.keras", lambda _: b"")),
    Case("text", REFUSE, "not-a-model", written("m.h5", lambda _: b"hello there")),
    Case("json of something else", REFUSE, "damaged", text(b'{"class_name": null}')),
]  # fmt: skip

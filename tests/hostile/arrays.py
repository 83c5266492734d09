"""Pickles, and arrays that hold some."""

from __future__ import annotations

import numpy as np

from hostile import REFUSE, Case
from hostile.archives import arrays_of_objects, pickled


def written(name, make):
    """Return a maker of a file of these bytes."""

    def made(place):
        path = place.folder / name
        path.write_bytes(make(place))
        return path

    return made


def protocol_0(place):
    """Return a pickle of the oldest protocol, which has no mark."""
    return f"c__builtin__\nopen\n(V{place.marker}\nVw\ntR.".encode()


def npz(place):
    """Return an .npz with an array of objects."""
    path = place.folder / "m.npz"
    np.savez(path, fine=np.zeros(3), evil=np.array([None], dtype=object))
    return path


CASES = [
    Case("pickle", REFUSE, "pickle", written("m.pkl", pickled)),
    Case("pickle named keras", REFUSE, "pickle", written("m.keras", pickled)),
    Case("pickle named h5", REFUSE, "pickle", written("m.h5", pickled)),
    Case("pickle named json", REFUSE, "pickle", written("m.json", pickled)),
    Case("pickle without a mark", REFUSE, "pickle", written("m.keras", protocol_0)),
    Case("npy of objects", REFUSE, "pickle-inside", written("m.npy", arrays_of_objects)),
    Case("npz of objects", REFUSE, "pickle-inside", npz),
    Case("npy named keras", REFUSE, "pickle-inside", written("m.keras", arrays_of_objects)),
]

"""The weights of a .keras archive put into a live model that was built from a rewritten config.

An archive has a group for each layer, named after its class and numbered in the order of the
layers; in it the layer's own variables and a group for each attribute that is a layer. Source:
keras 2.12 to 2.15 and 3, saving/saving_lib.py.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

from layerprobe.backend import compat_state
from layerprobe.backend.legacy import foreign
from layerprobe.modelfile.hdf5_entries import dataset_sizes
from layerprobe.modelfile.weights import group_names, one_layout

_WEIGHTS = "model.weights.h5"
_Stored = Mapping[str, h5py.Dataset]


def load_archive_weights(model: Any, path: Path) -> None:
    """Assign the weights of a .keras archive, or of a .weights.h5 file.

    Args:
        model: A built Keras model.
        path: The archive or the file.

    Raises:
        ValueError: A layer has other weights than the archive.
        TrustError: The weights lead out of the archive.
    """
    source: Any = path
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            source = io.BytesIO(archive.read(_WEIGHTS))
    with h5py.File(source, "r") as file:
        stored = {one_layout(name): file[name] for name in dataset_sizes(file)}
        assigned = {id(variable) for variable in _assigned(model, "", stored)}
    for variable in (*model.trainable_weights, *model.non_trainable_weights):
        if id(variable) not in assigned:
            raise ValueError(f"there is no weight for {variable.path}")


def _assigned(layer: Any, prefix: str, stored: _Stored) -> Iterator[Any]:
    """Assign the weights below a group to a layer; yield its variables."""
    if isinstance(layer, foreign.Unrun):
        return  # what its code would do with its weights, nobody runs
    own = compat_state.own_weights(layer)
    arrays = [stored[name] for name in _own_names(prefix, stored)]
    if len(own) != len(arrays):
        raise ValueError(f"layer {layer.name!r} has {len(own)} weights, the file {len(arrays)}")
    for variable, array in zip(own, arrays, strict=True):
        if tuple(variable.shape) != tuple(array.shape):
            raise ValueError(
                f"{array.name} has shape {array.shape}, {variable.path} {tuple(variable.shape)}"
            )
        variable.assign(np.asarray(array))
        yield variable
    for name in _groups(prefix, stored):
        held = layer.layers if name == "layers" else getattr(layer, name, None)
        if isinstance(held, keras.Layer):
            yield from _assigned(held, f"{prefix}{name}/", stored)
        elif isinstance(held, (list, tuple)):
            yield from _listed(held, f"{prefix}{name}/", stored)


def _listed(layers: Sequence[Any], prefix: str, stored: _Stored) -> Iterator[Any]:
    classes = [str(getattr(layer, "saved_class", type(layer).__name__)) for layer in layers]
    names = group_names(classes, _groups(prefix, stored))
    for layer, name in zip(layers, names, strict=True):
        yield from _assigned(layer, f"{prefix}{name}/", stored)


def _own_names(prefix: str, stored: _Stored) -> list[str]:
    names = [name for name in stored if name.startswith(f"{prefix}vars/")]
    return sorted(names, key=lambda name: int(name.rpartition("/")[2]))


def _groups(prefix: str, stored: _Stored) -> list[str]:
    below = (name.removeprefix(prefix) for name in stored if name.startswith(prefix))
    return list(dict.fromkeys(n.partition("/")[0] for n in below if not n.startswith("vars/")))

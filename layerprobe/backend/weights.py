"""The weights of an .h5 file put into a live model, layer by layer.

A layer is found by its name, its weights by their order: those that train, then the others. Each
must have the shape and the name that are expected at its place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

from layerprobe.backend import compat, legacy
from layerprobe.backend.legacy import foreign
from layerprobe.backend.legacy.former_weights import Named, of_cudnn, of_keras1, split_gates
from layerprobe.modelfile.hdf5 import attribute_list
from layerprobe.modelfile.slashes import saved_name


def load_hdf5_weights(
    model: Any, path: Path, *, flips: bool = False, keras1: bool = False, partial: bool = False
) -> None:
    """Assign the weights of an .h5 file.

    Args:
        model: A built Keras model.
        path: The file.
        flips: Whether kernels that were convolved with have to be turned round.
        keras1: Whether the weights are apart and named as Keras 1 had them.
        partial: Whether the model is a part of the file's.

    Raises:
        ValueError: A layer has other weights than the file.
    """
    with h5py.File(path, "r") as file:
        root = file.get("model_weights") or file
        names = attribute_list(root, "layer_names")
        if not names:
            raise ValueError("the file holds no weights")
        places = _by_order(model, root, names)
        for layer in model.layers:
            at = places.get(saved_name(layer.name))
            group = root if at is None else root[at]
            stored = attribute_list(group, "weight_names")
            if isinstance(layer, foreign.Unrun):
                continue  # what its code would do with its weights, nobody runs
            arrays = [(name, np.asarray(group[name])) for name in stored]
            _assign(layer, _as_now(layer, arrays, keras1=keras1), flips=flips)
        known = set(places.values())
        unknown = [n for n in names if n not in known and attribute_list(root[n], "weight_names")]
        if unknown and not partial:
            raise ValueError(f"there are weights of unknown layers: {', '.join(unknown)}")


def _by_order(model: Any, root: h5py.Group, names: list[str]) -> dict[str, str]:
    """Return where in the file each layer's weights are: under its name, or as Keras counts them.

    An architecture that was saved apart may have been made anew, and its layers named anew.
    """
    own = [saved_name(layer.name) for layer in model.layers]
    filled = [name for name in names if attribute_list(root[name], "weight_names")]
    with_weights = [saved_name(layer.name) for layer in model.layers if layer.weights]
    if set(filled) <= set(own) or len(filled) != len(with_weights):
        return {name: name for name in own if name in names}
    return dict(zip(with_weights, filled, strict=True))


def _assign(layer: Any, arrays: list[Named], *, flips: bool) -> None:
    variables = [variable for _, part in _parts(layer) for variable in part]
    if len(arrays) != len(variables):
        raise ValueError(
            f"layer {layer.name!r} has {len(variables)} weights, the file {len(arrays)}"
        )
    turned = set(compat.ids(legacy.kernels_convolved(layer))) if flips else set()
    for variable, (name, array) in zip(variables, arrays, strict=True):
        _check(variable, name, array, layer.name)
        variable.assign(legacy.turned(array) if id(variable) in turned else array)


def _as_now(layer: Any, stored: list[Named], *, keras1: bool) -> list[Named]:
    """Return a layer's weights as the layers inside it have them now."""
    found: list[Named] = []
    rest = list(stored)
    for inner, variables in _parts(layer):
        class_name = type(inner).__name__
        count = len(variables)
        if keras1 and variables:
            count = split_gates(class_name, [name for name, _ in rest]) or count
        part, rest = rest[:count], rest[count:]
        if keras1:
            found += of_keras1(class_name, getattr(inner, "data_format", None), part)
        else:
            found += of_cudnn(class_name, part)
    return found + rest


def _parts(layer: Any) -> Iterator[tuple[Any, list[Any]]]:
    """Yield the layers with weights inside a layer: with those that train, then with the others."""
    inside = list(_leaves(layer))
    for inner in inside:
        yield inner, list(inner.trainable_weights)
    for inner in inside:
        yield inner, list(inner.non_trainable_weights)


def _leaves(layer: Any) -> Iterator[Any]:
    if isinstance(layer, keras.Model):
        inside = list(layer.layers)
    elif isinstance(layer, keras.layers.Bidirectional):
        inside = [layer.forward_layer, layer.backward_layer]
    elif isinstance(layer, keras.layers.TimeDistributed):
        inside = [layer.layer]
    else:
        yield layer
        return
    for inner in inside:
        yield from _leaves(inner)


def _check(variable: Any, name: str, array: np.ndarray[Any, Any], owner: str) -> None:
    if tuple(array.shape) != tuple(variable.shape):
        raise ValueError(
            f"{owner}: {name} has shape {array.shape}, the layer wants {tuple(variable.shape)}"
        )
    # TensorFlow 1 numbered names it had seen before: kernel_1; Theano wrote b'rnn/kernel'_1.
    stored = name.rpartition("/")[2].partition(":")[0].replace("'", "")
    wanted = variable.name
    wanted = f"(depthwise_)?{wanted}" if wanted == "kernel" else re.escape(wanted)
    if not re.fullmatch(wanted + r"(_\d+)?", stored):
        raise ValueError(f"{owner}: {name} stands where the layer's {variable.name!r} is expected")

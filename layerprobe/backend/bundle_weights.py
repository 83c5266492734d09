"""The weights of a SavedModel folder put into a live model, by the names of their objects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import keras

from layerprobe.backend import compat_state
from layerprobe.backend.legacy import foreign
from layerprobe.modelfile.bundle import Bundle
from layerprobe.modelfile.saved_model import bundle_of, layer_nodes


def load_bundle_weights(model: Any, path: Path) -> None:
    """Assign the weights of a SavedModel folder.

    Args:
        model: A built Keras model.
        path: The folder.

    Raises:
        ValueError: A layer has a weight that the folder does not, or of another shape.
        ModelError: The checkpoint is damaged.
    """
    bundle = bundle_of(path)
    assigned = {id(variable) for variable in _assigned(model, 0, bundle)}
    for variable in (*model.trainable_weights, *model.non_trainable_weights):
        if id(variable) not in assigned:
            raise ValueError(f"there is no weight for {variable.path}")


def _assigned(layer: Any, node: int, bundle: Bundle) -> Iterator[Any]:
    """Assign the variables of an object to a layer; yield those of the layer."""
    if isinstance(layer, foreign.Unrun):
        return
    children = bundle.nodes[node].children
    for variable in compat_state.own_weights(layer):
        names = [name for name in (variable.name, f"depthwise_{variable.name}") if name in children]
        key = bundle.nodes[children[names[0]]].key if names else None
        if key is None:
            raise ValueError(f"layer {layer.name!r} has a weight {variable.name!r}, the file none")
        array = bundle.read(key)
        if tuple(array.shape) != tuple(variable.shape):
            raise ValueError(
                f"{key} has shape {array.shape}, {variable.path} {tuple(variable.shape)}"
            )
        variable.assign(array)
        yield variable
    held: Iterable[tuple[Any, int | None]]
    if isinstance(layer, keras.Model):
        inside = list(layer.layers)
        first = bool(inside) and isinstance(inside[0], keras.layers.InputLayer)
        held = zip(inside, layer_nodes(len(inside), bundle, node, has_input=first), strict=True)
    else:
        held = _attributes(layer, children, bundle)
    for inner, place in held:
        if place is not None:
            yield from _assigned(inner, place, bundle)


def _attributes(
    layer: Any, children: Mapping[str, int], bundle: Bundle
) -> Iterator[tuple[Any, int]]:
    """Yield the layers that a layer keeps as attributes, or in lists of them, and their objects."""
    for name, place in children.items():
        found = getattr(layer, name, None)
        if isinstance(found, keras.Layer):
            yield found, place
        elif isinstance(found, (list, tuple)):
            listed = bundle.nodes[place].children
            for number, inner in enumerate(found):
                if isinstance(inner, keras.Layer) and str(number) in listed:
                    yield inner, listed[str(number)]

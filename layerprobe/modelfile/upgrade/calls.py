"""Calls of layers as Keras 2 wrote them, in the form of Keras 3 where the old one does not do.

The old form is a list of [layer, call, output, keywords]; Keras 3 takes no tensors among its
keywords, and no states of recurrent layers among its tensors.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from layerprobe.modelfile.contents import Config
from layerprobe.modelfile.upgrade.walk import layers_in

_RECURRENT = frozenset({"LSTM", "GRU", "SimpleRNN", "RNN", "Bidirectional", "ConvLSTM2D"})
CONSTANT = "_CONSTANT_VALUE"  # stands where a layer's name would


def full_calls(config: Config) -> str:
    """Write the calls that need it in the form of Keras 3."""
    for model in (config, *layers_in(config)):
        inner = model["config"]
        if not isinstance(inner, dict) or "output_layers" not in inner:
            continue
        names = {layer["name"] for layer in inner["layers"]}
        for layer in inner["layers"]:
            nodes = layer.get("inbound_nodes") or []
            layer["inbound_nodes"] = [_full(layer, node, names) for node in nodes]
        for key in ("input_layers", "output_layers"):
            inner[key] = _one_or_several(inner[key])
    return ""


def _one_or_several(ends: Any) -> Any:
    """Return a model's only end as one: Keras 3 would take and give a list with one tensor."""
    return ends[0] if isinstance(ends, list) and len(ends) == 1 else ends


def entries_of(node: Any) -> list[Any]:
    """Return the [layer, call, output, keywords] of a call; operations of TensorFlow have one.

    Calls on tensors by name, or on lists of lists, have them deeper.
    """
    if isinstance(node, dict):
        return [] if "args" in node else [e for part in node.values() for e in entries_of(part)]
    if not isinstance(node, list) or not node:
        return []
    return [node] if isinstance(node[0], str) else [e for part in node for e in entries_of(part)]


def ends_of(structure: Any) -> list[Any]:
    """Return the [layer, call, output] of a model's inputs or outputs: one, several, or by name."""
    if isinstance(structure, dict):
        structure = list(structure.values())
    if structure and isinstance(structure[0], str):
        return [structure]
    return [end for inner in structure for end in ends_of(inner)]


def _full(layer: Config, node: Any, names: Collection[str]) -> Any:
    entries = entries_of(node)
    if not entries or any(not isinstance(entry, list) or len(entry) < 3 for entry in entries):
        return node
    kwargs: dict[str, Any] = {}
    for entry in entries:
        kwargs |= entry[3] if len(entry) > 3 and isinstance(entry[3], dict) else {}
    given = [_tensor(entry) for entry in entries]
    states = layer["class_name"] in _RECURRENT and len(given) > 1
    named = {key: _with_tensors(value, names) for key, value in kwargs.items()}
    if isinstance(node, dict) or node not in (entries, entries[0]):
        return {"args": [_structure(node)], "kwargs": named}
    if not states and named == kwargs:
        return node
    if states:
        named["initial_state"] = given[1:]
        given = given[:1]
    return {"args": [given[0] if len(given) == 1 else given], "kwargs": named}


def _structure(node: Any) -> Any:
    """Return a call's tensors by name, or in lists of lists, as Keras 3 has them."""
    if isinstance(node, dict):
        return {key: _structure(part) for key, part in node.items()}
    return _tensor(node) if isinstance(node[0], str) else [_structure(part) for part in node]


def is_reference(value: Any, names: Collection[str]) -> bool:
    """Tell whether a value among keywords stands for a tensor: [layer, call, output]."""
    if not isinstance(value, list) or len(value) not in (3, 4):
        return False
    name, call, output = value[:3]
    return isinstance(name, str) and name in names and type(call) is type(output) is int


def _with_tensors(value: Any, names: Collection[str]) -> Any:
    if is_reference(value, names):
        return _tensor(value)
    if isinstance(value, list):
        return [_with_tensors(item, names) for item in value]
    if isinstance(value, dict):
        return {key: _with_tensors(item, names) for key, item in value.items()}
    return value


def _tensor(entry: list[Any]) -> Config:
    # Keras 3 looks at the history alone, but wants a shape and a dtype beside it.
    history = {"shape": [None], "dtype": "float32", "keras_history": list(entry[:3])}
    return {"class_name": "__keras_tensor__", "config": history}

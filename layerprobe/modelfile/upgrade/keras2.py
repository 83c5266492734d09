"""Configs of Keras 2 in the words of Keras 3, step by step.

Each step takes a whole serialized model, changes it in place, and returns a note for the user if
that has any effect worth knowing.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

from layerprobe.modelfile.configs import sequential_input
from layerprobe.modelfile.contents import Config
from layerprobe.modelfile.upgrade.classes import CUDNN_LAYERS
from layerprobe.modelfile.upgrade.walk import layers_in, name_of

# The name under which `backend.loading` registers the hard_sigmoid of Keras 1 and 2.
HARD_SIGMOID_PACKAGE, HARD_SIGMOID_NAME = "layerprobe", "hard_sigmoid_keras2"
ACTIVATION_KEYS = ("activation", "recurrent_activation")


def _sequential_as_dict(config: Config) -> str:
    """Until Keras 2.2.2 a Sequential's config was the bare list of its layers."""
    for model in (config, *layers_in(config)):
        if model["class_name"] == "Sequential" and isinstance(model["config"], list):
            name = model.get("name", "sequential")
            model["config"] = {"name": name, "layers": model["config"]}
    return ""


def _functional_by_name(config: Config) -> str:
    """Until Keras 2.3 a Functional model was of class Model."""
    for model in (config, *layers_in(config)):
        if model["class_name"] == "Model":
            model["class_name"] = "Functional"
    return ""


def _explicit_input(config: Config) -> str:
    """Keras 2 kept a Sequential's input shape on its first layer, as `batch_input_shape`.

    Keras 3 reads that key with the batch in it, and so gives the model an axis too many.
    """
    for model in (config, *layers_in(config)):
        layers = model["config"].get("layers") or []
        if model["class_name"] == "Sequential" and layers:
            head = sequential_input(layers, model["config"])
            if head is not layers[0] and head["config"]["batch_shape"]:
                layers.insert(0, dict(head))
        for layer in layers:
            shape = layer["config"].pop("batch_input_shape", None) if layer["config"] else None
            if layer["class_name"] == "InputLayer" and shape is not None:
                layer["config"]["batch_shape"] = shape
    return ""


def _hard_sigmoid(config: Config) -> str:
    """Keras 1 and 2: clip(0.2 x + 0.5, 0, 1). Keras 3: relu6(x + 3) / 6."""
    changed = []
    for layer in layers_in(config):
        for key in ACTIVATION_KEYS:
            if isinstance(layer["config"], dict) and layer["config"].get(key) == "hard_sigmoid":
                layer["config"][key] = {
                    "module": "builtins",
                    "class_name": "function",
                    "config": HARD_SIGMOID_NAME,
                    "registered_name": f"{HARD_SIGMOID_PACKAGE}>{HARD_SIGMOID_NAME}",
                }
                changed.append(name_of(layer))
    names = ", ".join(dict.fromkeys(changed))
    return (
        f"hard_sigmoid of {names} computed as Keras 2 did: clip(0.2 x + 0.5, 0, 1)" if names else ""
    )


def _plain_arguments(config: Config) -> str:
    """Undo spellings that changed without changing a number.

    BatchNormalization's axis was a list of one; initializers named a dtype (TensorFlow 1.13 to
    2.2); recurrent layers had `time_major`; `input_length` and `ragged` were hints; a null dtype
    meant float32; and a GRU of before Keras 2.1 does not name `reset_after`, which it did not do.
    """
    for layer in layers_in(config):
        inner = layer["config"]
        if not isinstance(inner, dict):
            continue
        if isinstance(inner.get("axis"), list) and len(inner["axis"]) == 1:
            inner["axis"] = inner["axis"][0]
        for key, value in inner.items():
            if key.endswith("_initializer") and isinstance(value, dict):
                (value.get("config") or {}).pop("dtype", None)
        for key, no_op in (("time_major", False), ("input_length", inner.get("input_length"))):
            if key in inner and inner[key] == no_op:
                del inner[key]
        if "dtype" in inner and inner["dtype"] is None:
            del inner["dtype"]
        if layer["class_name"] == "GRU":
            inner.setdefault("reset_after", False)
    return ""


def _calls_from_zero(config: Config) -> str:
    """Keras 2 counted the calls of a nested model from 1 where its own graph was its call 0."""
    for model in (config, *layers_in(config)):
        inner = model["config"]
        if not isinstance(inner, dict) or "output_layers" not in inner:
            continue
        made = {layer["name"]: len(layer["inbound_nodes"]) for layer in inner["layers"]}
        taken = [edge for layer in inner["layers"] for n in layer["inbound_nodes"] for edge in n]
        taken += [*inner["input_layers"], *inner["output_layers"]]
        late = {name for name, number, *_ in taken if number >= max(made[name], 1)}
        for edge in taken:
            if edge[0] in late:
                edge[1] -= 1
    return ""


def _spatial_dropout(config: Config) -> str:
    """Keras 3 builds spatial dropout without `trainable` and `noise_shape`, which say nothing."""
    for layer in layers_in(config):
        if layer["class_name"].startswith("SpatialDropout"):
            layer["config"].pop("trainable", None)
            if layer["config"].get("noise_shape") is None:
                layer["config"].pop("noise_shape", None)
    return ""


def _plain_recurrences(config: Config) -> str:
    """Make LSTM and GRU of CuDNNLSTM and CuDNNGRU; `backend.weights` takes their weights over."""
    changed = []
    for layer in layers_in(config):
        if layer["class_name"] in CUDNN_LAYERS:
            layer["class_name"] = layer["class_name"].removeprefix("CuDNN")
            layer["config"] |= {"activation": "tanh", "recurrent_activation": "sigmoid"}
            if layer["class_name"] == "GRU":
                layer["config"]["reset_after"] = True
            changed.append(name_of(layer))
    names = ", ".join(dict.fromkeys(changed))
    return f"layers for cuDNN computed as plain ones, on any device: {names}" if names else ""


def _both_directions(config: Config) -> str:
    """Keras 2 turned the direction of a Bidirectional's second layer; Keras 3 sets it backwards."""
    for layer in layers_in(config):
        inner = layer["config"]
        if layer["class_name"] == "Bidirectional" and not inner.get("backward_layer"):
            forward = inner["layer"]["config"]
            if forward.get("go_backwards"):
                inner["backward_layer"] = copy.deepcopy(inner["layer"])
                turned = {"go_backwards": False, "name": f"backward_{forward.get('name')}"}
                inner["backward_layer"]["config"] |= turned
    return ""


STEPS: tuple[Callable[[Config], str], ...] = (
    _sequential_as_dict,
    _functional_by_name,
    _calls_from_zero,
    _explicit_input,
    _plain_recurrences,
    _hard_sigmoid,
    _plain_arguments,
    _spatial_dropout,
    _both_directions,
)

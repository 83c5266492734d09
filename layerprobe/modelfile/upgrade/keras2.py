"""Configs of Keras 2 in the words of Keras 3, step by step.

Each step takes a whole serialized model, changes it in place, and returns a note for the user if
that has any effect worth knowing.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

from layerprobe.modelfile.configs import sequential_input
from layerprobe.modelfile.contents import Config
from layerprobe.modelfile.slashes import without_slashes
from layerprobe.modelfile.upgrade.calls import ends_of, entries_of
from layerprobe.modelfile.upgrade.classes import CUDNN_LAYERS
from layerprobe.modelfile.upgrade.walk import layers_in, name_of

# The name under which `backend.loading` registers the hard_sigmoid of Keras 1 and 2.
HARD_SIGMOID_PACKAGE, HARD_SIGMOID_NAME = "layerprobe", "hard_sigmoid_keras2"
# Hints, and what a layer learns again when it is built.
_WITHOUT_MEANING = frozenset(
    {"input_length", "rng_type", "query_shape", "key_shape", "value_shape"}
)
_NO_OPS = {
    "time_major": False,
    "groups": 1,
    "ragged": False,
    "renorm": False,
    "virtual_batch_size": None,
    "adjustment": None,
    "num_constants": None,
    "zero_output_for_mask": False,
    "experimental_run_tf_function": False,
    "input_spec": None,
    "softmax_robust_masking": False,
}
_GROUPED = frozenset({"Conv1D", "Conv2D", "Conv3D"})  # those that have groups in Keras 3 too
# Of a kernel that they do not have: they have a depthwise and a pointwise one.
_WITHOUT_KERNEL = frozenset({"SeparableConv1D", "SeparableConv2D", "DepthwiseConv2D"})
_OF_KERNELS = frozenset({"kernel_initializer", "kernel_regularizer", "kernel_constraint"})
_WITHOUT_TRAINABLE = frozenset({"Discretization", "CategoryEncoding", "IntegerLookup"})
_LAYERS_AS_ACTIVATIONS = frozenset({"LeakyReLU", "ReLU", "ELU", "Softmax"})
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


def is_layer_activation(given: object) -> bool:
    """Tell whether an activation is one of Keras' own layers, as a serialized object."""
    return isinstance(given, dict) and given.get("class_name") in _LAYERS_AS_ACTIVATIONS


def _layers_as_activations(config: Config) -> str:
    """Name the module of layers given as activations, and LeakyReLU's slope as Keras 3 does."""
    for layer in layers_in(config):
        inner = layer["config"]
        for key in ACTIVATION_KEYS if isinstance(inner, dict) else ():
            if is_layer_activation(inner.get(key)):
                inner[key] |= {"module": "keras.layers", "registered_name": None}
                _negative_slope(inner[key])
        _negative_slope(layer)
    return ""


def _negative_slope(layer: Config) -> None:
    """LeakyReLU's slope was called alpha, and was 0.3 where nobody gave one."""
    if layer["class_name"] == "LeakyReLU" and isinstance(layer["config"], dict):
        layer["config"].setdefault("negative_slope", layer["config"].pop("alpha", 0.3))


def _plain_arguments(config: Config) -> str:
    """Undo spellings that changed without changing a number.

    BatchNormalization's axis was a list of one; initializers named a dtype (TensorFlow 1.13 to
    2.2); a null dtype meant float32; and a GRU of before Keras 2.1 does not name `reset_after`,
    which it did not do.
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
        if "dtype" in inner and inner["dtype"] is None:
            del inner["dtype"]
        if layer["class_name"] == "GRU":
            inner.setdefault("reset_after", False)
    return ""


def _without_no_ops(config: Config) -> str:
    """Leave out arguments that Keras 3 lacks, at the value that does nothing, and hints."""
    for layer in layers_in(config):
        class_name, inner = layer["class_name"], layer["config"]
        if not isinstance(inner, dict):
            continue
        for key in list(inner):
            no_op = key in _NO_OPS and inner[key] == _NO_OPS[key]
            if no_op and key == "groups":
                no_op = class_name not in _GROUPED
            others = class_name in _WITHOUT_KERNEL and key in _OF_KERNELS
            if no_op or others or key in _WITHOUT_MEANING:
                del inner[key]
    return ""


def _calls_from_zero(config: Config) -> str:
    """Keras 2 counted the calls of a nested model from 1 where its own graph was its call 0."""
    for model in (config, *layers_in(config)):
        inner = model["config"]
        if not isinstance(inner, dict) or "output_layers" not in inner:
            continue
        made = {layer["name"]: len(layer["inbound_nodes"]) for layer in inner["layers"]}
        nodes = [node for layer in inner["layers"] for node in layer["inbound_nodes"]]
        taken = [edge for node in nodes for edge in entries_of(node) if edge[0] in made]
        taken += [*ends_of(inner["input_layers"]), *ends_of(inner["output_layers"])]
        late = {name for name, number, *_ in taken if number >= max(made[name], 1)}
        for edge in taken:
            if edge[0] in late:
                edge[1] -= 1
    return ""


def _without_trainable(config: Config) -> str:
    """Keras 3 builds some layers without `trainable` and `noise_shape`, which say nothing there."""
    for layer in layers_in(config):
        class_name, inner = layer["class_name"], layer["config"]
        if class_name == "Discretization" and str(inner.get("dtype")).startswith("int"):
            del inner["dtype"]  # Keras 3 would cast the rows to it before it looks at them
        if class_name.startswith("SpatialDropout") or class_name in _WITHOUT_TRAINABLE:
            inner.pop("trainable", None)
        if class_name.startswith("SpatialDropout") and inner.get("noise_shape") is None:
            inner.pop("noise_shape", None)
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


def _without_modules(config: Config) -> str:
    """Archives of Keras 2.13 to 2.15 name modules that Keras 3 does not have."""
    for layer in (config, *layers_in(config)):
        if layer.get("module") in {"layerprobe", "custom"}:
            continue
        for key in ("module", "registered_name", "build_config", "compile_config"):
            layer.pop(key, None)
        inner = layer["config"]
        policy = inner.get("dtype") if isinstance(inner, dict) else None
        if isinstance(policy, dict) and isinstance(policy.get("config"), dict):
            inner["dtype"] = policy["config"].get("name", "float32")
    return ""


def _without_slashes(config: Config) -> str:
    """Keras 3 makes no layer with a "/" in its name; `backend.compat` gives it back."""
    for layer in (config, *layers_in(config)):
        inner = layer["config"]
        if isinstance(inner, dict) and "/" in str(inner.get("name")):
            inner["name"] = without_slashes(inner["name"])
    return ""


def _outside_training(config: Config) -> str:
    """Name layers that Keras 3 lacks by those that do the same outside training.

    SyncBatchNormalization learnt across devices; RandomHeight and RandomWidth stretched images.
    """
    for layer in layers_in(config):
        inner = layer["config"]
        if layer["class_name"] == "SyncBatchNormalization":
            layer["class_name"] = "BatchNormalization"
        elif layer["class_name"] in {"RandomHeight", "RandomWidth"}:
            layer["class_name"] = "Identity"
            for key in ("factor", "interpolation", "seed", "rng_type"):
                inner.pop(key, None)
    return ""


STEPS: tuple[Callable[[Config], str], ...] = (
    _without_modules,
    _outside_training,
    _sequential_as_dict,
    _functional_by_name,
    _calls_from_zero,
    _explicit_input,
    _plain_recurrences,
    _hard_sigmoid,
    _layers_as_activations,
    _plain_arguments,
    _without_no_ops,
    _without_trainable,
    _both_directions,
    _without_slashes,
)

"""Configs of older Kerases rewritten for Keras 3, as a chain of small functions.

The rule here: a model either computes what its original computed, or is refused with the reason.
So files older than Keras 3 are taken only if TensorFlow made them and every layer in them is
of a class known to compute the same in Keras 3 once the steps below are done. What each step undoes
is in its docstring; the notes tell the user which ones applied.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from layerprobe.errors import ModelError, TrustError
from layerprobe.modelfile.configs import contradictions_named, is_operation, sequential_input
from layerprobe.modelfile.contents import Config, Contents
from layerprobe.modelfile.graph import MODEL_CLASSES
from layerprobe.modelfile.masks import refuse_merged_masks
from layerprobe.modelfile.shapes import LAYER_CLASSES

# The name under which `backend.loading` registers the hard_sigmoid of Keras 1 and 2.
HARD_SIGMOID_PACKAGE, HARD_SIGMOID_NAME = "layerprobe", "hard_sigmoid_keras2"

# Classes that Keras 2 on TensorFlow and Keras 3 compute alike, layer by layer, once the steps below
# are done. Established by running both on real files and on recordings of the original Kerases.
SAME_IN_KERAS_3 = frozenset(
    """
    InputLayer Dense Activation Flatten Reshape Permute RepeatVector Dropout Embedding Masking
    Add Subtract Multiply Average Maximum Minimum Concatenate Dot
    Conv1D Conv2D Conv3D Conv2DTranspose Conv3DTranspose SeparableConv1D SeparableConv2D
    DepthwiseConv2D MaxPooling1D MaxPooling2D MaxPooling3D AveragePooling1D AveragePooling2D
    AveragePooling3D GlobalAveragePooling1D GlobalAveragePooling2D GlobalAveragePooling3D
    GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D ZeroPadding1D ZeroPadding2D
    ZeroPadding3D Cropping1D Cropping2D Cropping3D UpSampling1D UpSampling2D UpSampling3D
    BatchNormalization LayerNormalization PReLU LeakyReLU ELU ReLU Softmax GaussianNoise
    GaussianDropout AlphaDropout SimpleRNN LSTM GRU
    """.split()
)
# Layers that keras.applications defines for ConvNeXt and InceptionResNetV2.
_APPLICATION_CLASSES = frozenset({"LayerScale", "CustomScaleLayer"})
_CODE = frozenset({"Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"})
_ACTIVATION_KEYS = ("activation", "recurrent_activation")

# Classes that Keras itself once had; a file naming them does not bring code of its own along.
FORMER_CLASSES = frozenset(
    """
    CuDNNLSTM CuDNNGRU ThresholdedReLU LocallyConnected1D LocallyConnected2D Merge MaxoutDense
    Highway TimeDistributedDense Convolution1D Convolution2D Convolution3D AtrousConvolution1D
    AtrousConvolution2D Deconvolution2D Deconvolution3D SeparableConvolution1D
    SeparableConvolution2D ParametricSoftplus SReLU TensorFlowOpLayer TFOpLambda SlicingOpLambda
    ClassMethod InstanceProperty InstanceMethod
    """.split()
)


@dataclass(frozen=True)
class Upgraded:
    """A config that Keras 3 builds rightly, and what had to be changed for that."""

    config: Config
    notes: tuple[str, ...]


def upgrade(contents: Contents) -> Upgraded:
    """Return a model's config as Keras 3 has to read it.

    Raises:
        TrustError: A layer needs code that is not Keras' own.
        ModelError: The file is of a kind that is not known to be read rightly.
    """
    with contradictions_named():
        return _upgraded(contents)


def _upgraded(contents: Contents) -> Upgraded:
    _refuse_code(contents)
    if contents.major_version is not None and contents.major_version >= 3:
        return Upgraded(contents.config, ())
    _refuse_origin(contents)
    _refuse_unproven(contents)
    refuse_merged_masks(contents)
    config = copy.deepcopy(contents.config)
    notes = [note for step in _STEPS if (note := step(config))]
    return Upgraded(config, tuple(notes))


def layers_in(config: Config) -> Iterator[Config]:
    """Yield every serialized layer inside a serialized model, wrapped and nested ones included."""
    inner = config.get("config")
    listed = inner if isinstance(inner, list) else (inner or {}).get("layers", ())
    for layer in listed or ():
        yield from _with_wrapped(layer)


def _with_wrapped(layer: Config) -> Iterator[Config]:
    yield layer
    yield from layers_in(layer)
    inner = layer.get("config")
    if isinstance(inner, dict):
        for key in ("layer", "forward_layer", "backward_layer", "cell"):
            if isinstance(inner.get(key), dict) and "class_name" in inner[key]:
                yield from _with_wrapped(inner[key])
        for cell in inner.get("cells") or ():
            if isinstance(cell, dict) and "class_name" in cell:
                yield from _with_wrapped(cell)


def _name(layer: Config) -> str:
    inner = layer.get("config")
    return str(layer.get("name") or (inner.get("name", "") if isinstance(inner, dict) else ""))


def _refuse_code(contents: Contents) -> None:
    for layer in layers_in(contents.config):
        class_name = str(layer.get("class_name"))
        if class_name in _CODE:
            what = f"is a {class_name}: code that its author wrote"
        elif is_operation(layer) or _is_keras_own(layer, class_name) or _was_keras_own(layer):
            continue
        else:
            what = f"is of a class that is not Keras' own: {class_name!r}"
        raise TrustError(
            f"{contents.path}: layer {_name(layer)!r} {what}.",
            expected="layers whose code is part of Keras",
            fix="list-layers lists this model; extract runs no code that a file brings along.",
            layer=_name(layer),
            class_name=class_name,
        )


def _is_keras_own(layer: Config, class_name: str) -> bool:
    module = str(layer.get("module") or "keras")
    if class_name in _APPLICATION_CLASSES:
        return module.startswith("keras.src.applications.")
    known = class_name in LAYER_CLASSES or class_name in MODEL_CLASSES
    return known and (module == "keras" or module.startswith("keras."))


def _was_keras_own(layer: Config) -> bool:
    return not layer.get("module") and layer["class_name"] in FORMER_CLASSES


def _refuse_origin(contents: Contents) -> None:
    version = contents.keras_version
    if contents.major_version != 2:
        raise ModelError(
            f"{contents.path} was written by Keras {version or '1 (it names no version)'}.",
            expected="a file of Keras 2 or 3",
            fix="list-layers lists it; how it computed is not reproduced.",
            keras_version=version,
        )
    if contents.backend != "tensorflow":
        raise ModelError(
            f"{contents.path} was made by Keras {version} on {contents.backend or 'no engine'}"
            ", which computed convolutions, padding and recurrent layers differently.",
            expected="a model made on TensorFlow, or by Keras 3",
            fix="list-layers lists it; extract refuses rather than give other numbers.",
            backend=contents.backend,
        )
    if contents.format == "keras":
        raise ModelError(
            f"{contents.path} is a .keras archive of Keras {version}, which kept its weights in an "
            "order of its own.",
            expected="a .keras archive of Keras 3, or an .h5 file",
            fix="Load it with that Keras and save it as .h5.",
            keras_version=version,
        )


def _refuse_unproven(contents: Contents) -> None:
    """Refuse layers of a Keras 2 file that are not known to compute the same in Keras 3."""
    for layer in layers_in(contents.config):
        class_name = layer["class_name"]
        inner = layer["config"] if isinstance(layer["config"], dict) else {}
        reason = ""
        if class_name not in SAME_IN_KERAS_3 and class_name not in MODEL_CLASSES:
            reason = f"class {class_name}"
        elif (
            class_name.startswith("UpSampling")
            and inner.get("interpolation", "nearest") != "nearest"
        ):
            reason = f"{inner['interpolation']} interpolation"
        elif any(not isinstance(inner.get(key, ""), str) for key in _ACTIVATION_KEYS):
            reason = "an activation that is not given by name"
        elif any(_holds_tensors(node) for node in layer.get("inbound_nodes", ())):
            reason = "tensors among the keyword arguments of its call"
        if reason:
            raise ModelError(
                f"{contents.path}, by Keras {contents.keras_version}: layer {_name(layer)!r} has "
                f"{reason}, which is not known to compute the same in Keras 3.",
                fix="list-layers lists it; extract refuses rather than give other numbers.",
                layer=_name(layer),
                class_name=class_name,
            )


def _holds_tensors(node: Any) -> bool:
    entries = node if isinstance(node, list) else []
    kwargs = [
        e[3] for e in entries if isinstance(e, list) and len(e) > 3 and isinstance(e[3], dict)
    ]
    return any(isinstance(value, (list, dict)) for given in kwargs for value in given.values())


# The steps. Each takes a whole serialized model, changes it in place, and returns a note for the
# user if that has any effect worth knowing.


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
        for key in _ACTIVATION_KEYS:
            if isinstance(layer["config"], dict) and layer["config"].get(key) == "hard_sigmoid":
                layer["config"][key] = {
                    "module": "builtins",
                    "class_name": "function",
                    "config": HARD_SIGMOID_NAME,
                    "registered_name": f"{HARD_SIGMOID_PACKAGE}>{HARD_SIGMOID_NAME}",
                }
                changed.append(_name(layer))
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


_STEPS: tuple[Callable[[Config], str], ...] = (
    _sequential_as_dict,
    _functional_by_name,
    _explicit_input,
    _hard_sigmoid,
    _plain_arguments,
)

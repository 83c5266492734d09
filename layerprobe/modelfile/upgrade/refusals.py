"""What is not read, since it needs code or is not known to compute the same: why."""

from __future__ import annotations

from layerprobe.errors import ModelError, TrustError
from layerprobe.modelfile.configs import is_operation
from layerprobe.modelfile.contents import Config, Contents
from layerprobe.modelfile.graph import MODEL_CLASSES
from layerprobe.modelfile.masks import refuse_other_masks
from layerprobe.modelfile.reading import ORIGINS
from layerprobe.modelfile.shapes import LAYER_CLASSES
from layerprobe.modelfile.upgrade.classes import (
    APPLICATION_CLASSES,
    CODE,
    CUDNN_LAYERS,
    FORMER_CLASSES,
    FORMER_LAYERS,
    SAME_IN_KERAS_3,
)
from layerprobe.modelfile.upgrade.keras2 import ACTIVATION_KEYS, is_layer_activation
from layerprobe.modelfile.upgrade.operations import KINDS, unknown_operation
from layerprobe.modelfile.upgrade.walk import layers_in, name_of

_KNOWN = SAME_IN_KERAS_3 | FORMER_LAYERS | CUDNN_LAYERS | MODEL_CLASSES | frozenset(KINDS)
_KERAS = frozenset({"keras", "tf_keras"})
_PADDINGS = frozenset({"valid", "same", "causal"})


def refuse_code(contents: Contents) -> None:
    """Refuse layers that need code which is not Keras' own.

    Raises:
        TrustError: There is one.
    """
    for layer in layers_in(contents.config):
        class_name = str(layer.get("class_name"))
        if class_name in CODE:
            what = f"is a {class_name}: code that its author wrote"
        elif class_name == "Merge" and not _merges_cosines(layer):
            what = "is a Merge with code that its author wrote"
        elif is_operation(layer) or _is_keras_own(layer, class_name) or _was_keras_own(layer):
            continue
        else:
            what = f"is of a class that is not Keras' own: {class_name!r}"
        raise TrustError(
            f"{contents.path}: layer {name_of(layer)!r} {what}.",
            expected="layers whose code is part of Keras",
            fix="list-layers lists this model; extract runs no code that a file brings along.",
            layer=name_of(layer),
            class_name=class_name,
        )


def _is_keras_own(layer: Config, class_name: str) -> bool:
    module = str(layer.get("module") or "keras")
    if class_name in APPLICATION_CLASSES:
        return module.startswith("keras.src.applications.")
    known = class_name in LAYER_CLASSES or class_name in MODEL_CLASSES
    return known and module.partition(".")[0] in _KERAS


def _was_keras_own(layer: Config) -> bool:
    module = str(layer.get("module") or "keras")
    return module.partition(".")[0] in _KERAS and layer["class_name"] in FORMER_CLASSES


def refuse_origin(contents: Contents, made_on: str | None) -> None:
    """Refuse files of versions and engines whose arithmetic is not known.

    Raises:
        ModelError: It is one.
    """
    version = contents.keras_version
    if contents.major_version != 2 and not contents.keras1:
        raise ModelError(
            f"{contents.path} was written by Keras {version or '1 (it names no version)'}.",
            expected="a file of Keras 1, 2 or 3",
            fix="list-layers lists it; how it computed is not reproduced.",
            keras_version=version,
        )
    if made_on not in ORIGINS:
        raise ModelError(
            f"{contents.path} was made by Keras {version} on {contents.backend or 'no engine'}"
            ", which computed convolutions, padding and recurrent layers differently.",
            expected=f"a model made on {', '.join(ORIGINS)}, or by Keras 3",
            fix="list-layers lists it. --source-backend reads it as one of these engines would.",
            backend=contents.backend,
        )


def refuse_unproven(config: Config, contents: Contents) -> None:
    """Refuse layers that are not known to compute what they did.

    Raises:
        ModelError: There is one.
    """
    for layer in layers_in(config):
        reason = _unproven(layer)
        if reason:
            raise ModelError(
                f"{contents.path}, by Keras {contents.keras_version or 1}: layer "
                f"{name_of(layer)!r} has {reason}, which is not known to compute the same in "
                "Keras 3.",
                fix="list-layers lists it; extract refuses rather than give other numbers.",
                layer=name_of(layer),
                class_name=layer["class_name"],
            )
    refuse_other_masks(contents)


def _unproven(layer: Config) -> str:
    """Return what of a layer is not known, or nothing."""
    class_name = layer["class_name"]
    inner = layer["config"] if isinstance(layer["config"], dict) else {}
    if class_name not in _KNOWN:
        return f"class {class_name}"
    return unknown_operation(layer) or _unproven_settings(class_name, inner)


def _unproven_settings(class_name: str, inner: Config) -> str:
    for key in ACTIVATION_KEYS:
        given = inner.get(key)
        if not isinstance(given, (str, type(None))) and not is_layer_activation(given):
            return "an activation that is neither given by name nor by a layer"
    if inner.get("num_constants"):
        return "constants that are given to its cells"
    padding = inner.get("padding")
    if isinstance(padding, str) and padding not in _PADDINGS:
        return f"padding {padding!r}"
    if class_name.startswith("LocallyConnected") and (
        inner.get("implementation", 1) != 1 or padding != "valid"
    ):
        return f"implementation {inner.get('implementation')} with padding {padding!r}"
    return ""


def _merges_cosines(layer: Config) -> bool:
    return isinstance(layer["config"], dict) and layer["config"].get("mode") == "cos"

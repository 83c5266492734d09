"""What is not read, since it needs code or is not known to compute the same: why."""

from __future__ import annotations

from layerprobe.errors import ModelError
from layerprobe.modelfile.contents import Config, Contents
from layerprobe.modelfile.graph import MODEL_CLASSES
from layerprobe.modelfile.reading import ORIGINS
from layerprobe.modelfile.upgrade.classes import (
    COMPARED_LATE,
    COMPARED_SINCE,
    CUDNN_LAYERS,
    FORMER_LAYERS,
    OF_TRAINING,
    SAME_IN_KERAS_3,
)
from layerprobe.modelfile.upgrade.keras2 import ACTIVATION_KEYS, is_layer_activation
from layerprobe.modelfile.upgrade.operations import KINDS, unknown_operation
from layerprobe.modelfile.upgrade.origin import version_of
from layerprobe.modelfile.upgrade.walk import layers_in, name_of

_STAND_INS = frozenset({"Formula", "Unrun"})  # for layers that need code
_KNOWN = (
    SAME_IN_KERAS_3
    | FORMER_LAYERS
    | CUDNN_LAYERS
    | MODEL_CLASSES
    | {*KINDS, *_STAND_INS, *OF_TRAINING}
)
_PADDINGS = frozenset({"valid", "same", "causal"})


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
        reason = "" if layer.get("module") == "custom" else _unproven(layer)
        if layer["class_name"] in COMPARED_LATE and version_of(contents) < COMPARED_SINCE:
            reason = f"class {layer['class_name']} of before Keras 2.15"
        if reason:
            raise ModelError(
                f"{contents.path}, by Keras {contents.keras_version or 1}: layer "
                f"{name_of(layer)!r} has {reason}, which is not known to compute the same in "
                "Keras 3.",
                fix="list-layers lists it; extract refuses rather than give other numbers.",
                layer=name_of(layer),
                class_name=layer["class_name"],
            )


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

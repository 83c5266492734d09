"""What a layer meant on the engine that made the model, and the layer of ours that computes it.

Facts: keras 2.0.9 to 2.3.1, keras/backend/theano_backend.py; run on Theano 1.0.5 and compared, see
tests/test_golden.py.
"""

from __future__ import annotations

from layerprobe.errors import ModelError
from layerprobe.modelfile.contents import Config, Contents
from layerprobe.modelfile.upgrade.walk import layers_in, name_of

ORIGINS = ("tensorflow", "theano")
PACKAGE = "layerprobe"

_CONVOLUTIONS = frozenset(
    """
    Conv1D Conv2D Conv3D DepthwiseConv2D SeparableConv1D SeparableConv2D Conv2DTranspose
    Conv3DTranspose
    """.split()
)
_AVERAGES = frozenset({"AveragePooling1D", "AveragePooling2D", "AveragePooling3D"})
_POOLING = _AVERAGES | {"MaxPooling1D", "MaxPooling2D", "MaxPooling3D"}
_FLIPPED = _CONVOLUTIONS - {"DepthwiseConv2D", "SeparableConv1D", "SeparableConv2D"}


def use_origin(config: Config, origin: str, contents: Contents) -> list[str]:
    """Ask for our own layers where Keras 3 computes something else; return notes for the user.

    Args:
        config: A model in the words of Keras 3, which is changed.
        origin: One of `ORIGINS`.
        contents: The file.

    Raises:
        ModelError: What the engine computed is not known.
    """
    turned, placed, flipped = [], [], []
    for layer in layers_in(config):
        class_name, inner = layer["class_name"], layer["config"]
        if not isinstance(inner, dict):
            continue
        elsewhere = origin != "tensorflow" and inner.get("padding") == "same"
        first = inner.get("data_format") == "channels_first"
        if class_name == "Bidirectional":
            _ours(layer)
        elif class_name in _CONVOLUTIONS | _POOLING and (first or elsewhere):
            _ours(layer, origin=origin)
            turned += [name_of(layer)] if first else []
            placed += [name_of(layer)] if elsewhere else []
            if class_name in _AVERAGES and elsewhere:
                inner["counts_padding"] = _counts_padding(class_name, contents)
        if origin == "theano" and class_name in _FLIPPED:
            flipped.append(name_of(layer))
    return [
        f"{what}: {', '.join(dict.fromkeys(names))}"
        for what, names in (
            ("channels_first computed with the channels last inside", turned),
            (f"padding 'same' placed as on {origin.capitalize()}", placed),
            ("kernels turned round, since Theano convolved", flipped),
        )
        if names
    ]


def _ours(layer: Config, **arguments: str) -> None:
    layer["module"] = PACKAGE
    layer["registered_name"] = f"{PACKAGE}>{layer['class_name']}"
    layer["config"].update(arguments)


def _counts_padding(class_name: str, contents: Contents) -> bool:
    """Tell whether a mean on Theano was over the zeros of the padding too: until Keras 2.1.4."""
    version = tuple(int(part) for part in (contents.keras_version or "").split(".")[:3])
    if version >= (2, 1, 5):
        return False
    if class_name != "AveragePooling3D" and version >= (2, 0, 9):
        return True
    raise ModelError(
        f"{contents.path}: what {class_name} with padding 'same' meant to Keras "
        f"{contents.keras_version} on Theano is not known.",
        fix="list-layers lists it; extract refuses rather than give other numbers.",
        class_name=class_name,
    )

"""Layers of ours where the engine that computes has none that does, or has one that errs.

Found by running Keras 3.15.1 on each engine beside the others: on TensorFlow channels_first
convolutions add their bias along the wrong axis, or do not run on CPU; on PyTorch AveragePooling
with padding 'same' counts the padding, and LayerNormalization takes the last axes always.
"""

from __future__ import annotations

from collections.abc import Iterator

from layerprobe.modelfile.contents import Config, Contents
from layerprobe.modelfile.upgrade.origin import PACKAGE, averages, channels_last_inside, use_ours
from layerprobe.modelfile.upgrade.walk import layers_in, name_of

__all__ = ["as_torch_needs", "channels_last_inside"]


def as_torch_needs(config: Config, contents: Contents) -> list[str]:
    """Ask for our own layers where Keras on PyTorch computes something else; return a note."""
    found = dict.fromkeys(_on_torch(config, contents))
    told = ", ".join(found)
    return (
        [f"computed by layers of layerprobe, where Keras on PyTorch errs: {told}"] if told else []
    )


def _on_torch(config: Config, contents: Contents) -> Iterator[str]:
    for layer in layers_in(config):
        inner = layer["config"]
        if not isinstance(inner, dict) or layer.get("module") == PACKAGE:
            continue
        if averages(layer) and contents.backend != "torch":
            use_ours(layer, origin="tensorflow")
            yield name_of(layer)
        others = inner.get("axis", -1) not in (-1, [-1]) and not inner.get("rms_scaling")
        if layer["class_name"] == "LayerNormalization" and others:
            use_ours(layer)
            yield name_of(layer)

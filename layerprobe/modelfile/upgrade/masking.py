"""Merging layers of ours, where masks of time steps may meet; see `modelfile.masks`."""

from __future__ import annotations

from layerprobe.modelfile.contents import Config, Contents
from layerprobe.modelfile.masks import MERGES
from layerprobe.modelfile.upgrade.origin import PACKAGE, ours
from layerprobe.modelfile.upgrade.walk import layers_in, makes_mask


def merge_masks(config: Config, contents: Contents) -> None:
    """Ask for layers that make of several masks what Keras 2 made of them."""
    if contents.keras1 or not any(map(makes_mask, layers_in(config))):
        return
    for layer in layers_in(config):
        if layer["class_name"] in MERGES and layer.get("module") != PACKAGE:
            ours(layer)

"""Sequential models that were saved without an input shape: the shape from their first weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from layerprobe.modelfile.contents import Contents
from layerprobe.modelfile.weights import LegacySizes

# How many times its units a layer's kernel is wide.
_WIDTHS = {"Dense": 1, "SimpleRNN": 1, "GRU": 3, "LSTM": 4}
_RANKS = {f"Conv{rank}D": rank for rank in (1, 2, 3)}


def with_input_shape(contents: Contents) -> Contents:
    """Return a file's contents, the input's shape filled in if the first kernel tells it."""
    inner = contents.config.get("config")
    listed = inner.get("layers") if isinstance(inner, dict) else inner
    if contents.config.get("class_name") != "Sequential" or not listed:
        return contents
    first = listed[0]
    if not isinstance(first, dict) or not isinstance(first.get("config"), dict):
        return contents
    settings = inner if isinstance(inner, dict) else {}
    known = settings.get("build_input_shape") or first["config"].get("batch_input_shape")
    if known or first.get("class_name") == "InputLayer":
        return contents
    shape = _shape(first["class_name"], first["config"], _kernel_size(contents, first["config"]))
    if shape is None:
        return contents
    named = {**first, "config": {**first["config"], "batch_input_shape": shape}}
    layers = [named, *listed[1:]]
    config = {**contents.config}
    config["config"] = {**inner, "layers": layers} if isinstance(inner, dict) else layers
    told = f"the input's shape is not saved; {shape} follows from the first layer's weights"
    return replace(contents, config=config, notes=(*contents.notes, told))


def _kernel_size(contents: Contents, config: Mapping[str, Any]) -> int:
    if not isinstance(contents.weights, LegacySizes):
        return 0
    entries = contents.weights.layers.get(str(config.get("name")), ())
    sizes = [size for name, size in entries if "/kernel" in f"/{name}"]
    return sizes[0] if len(sizes) == 1 else 0


def _shape(class_name: str, config: Mapping[str, Any], kernel: int) -> list[int | None] | None:
    if class_name == "Embedding":
        return [None, None]
    try:
        if class_name in _WIDTHS:
            size, rest = divmod(kernel, _WIDTHS[class_name] * config["units"])
            shape = [None, size] if class_name == "Dense" else [None, None, size]
        elif class_name in _RANKS and config.get("data_format") != "channels_first":
            size, rest = divmod(kernel, math.prod(config["kernel_size"]) * config["filters"])
            shape = [None, *[None] * _RANKS[class_name], size]
        else:
            return None
    except (KeyError, TypeError, ZeroDivisionError):
        return None
    return shape if size and not rest else None

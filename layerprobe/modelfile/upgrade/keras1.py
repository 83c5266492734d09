"""Configs of Keras 1 in the words of Keras 2, before anything else is made of them.

What has no words in Keras 2 stays as it is: the listing shows it, and `upgrade` refuses it or has
a layer of our own for it. Source of the names: keras 2.3.1, keras/legacy/interfaces.py.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from layerprobe.modelfile.configs import sequential_input
from layerprobe.modelfile.contents import Config, Contents
from layerprobe.modelfile.upgrade.walk import layers_in

UNDECIDED = "undecided"  # a data_format that neither its layer nor any other tells

_CLASSES = {
    **{f"Convolution{rank}D": f"Conv{rank}D" for rank in (1, 2, 3)},
    **{f"AtrousConvolution{rank}D": f"Conv{rank}D" for rank in (1, 2)},
    "SeparableConvolution2D": "SeparableConv2D",
    "Deconvolution2D": "Conv2DTranspose",
    "TimeDistributedDense": "Dense",
}
_MERGES = {
    "sum": "Add",
    "mul": "Multiply",
    "ave": "Average",
    "max": "Maximum",
    "concat": "Concatenate",
    "dot": "Dot",
}
_ARGUMENTS = {
    "nb_filter": "filters",
    "filter_length": "kernel_size",
    "border_mode": "padding",
    "subsample": "strides",
    "subsample_length": "strides",
    "stride": "strides",
    "atrous_rate": "dilation_rate",
    "pool_length": "pool_size",
    "bias": "use_bias",
    "dim_ordering": "data_format",
    "inner_activation": "recurrent_activation",
    "dropout_W": "dropout",
    "dropout_U": "recurrent_dropout",
    "p": "rate",
    "sigma": "stddev",
}
_ORDERINGS = {"th": "channels_first", "tf": "channels_last"}
# Arguments that say how weights begin, how a layer was computed, or what the config says elsewhere.
_SAYING_NOTHING = frozenset(
    """
    init inner_init forget_bias_init beta_init gamma_init t_left_init a_left_init t_right_init
    a_right_init alpha_init consume_less input_dtype input_length nb_feature_init
    """.split()
)
_TRAINING = frozenset(
    """
    W_regularizer U_regularizer b_regularizer activity_regularizer beta_regularizer
    gamma_regularizer W_constraint U_constraint b_constraint
    """.split()
)
# Those that had an axis for the channels and did not say which.
_SILENT = frozenset(
    f"{kind}{rank}D" for kind in ("ZeroPadding", "Cropping", "UpSampling") for rank in (2, 3)
)
_SPEAKING = frozenset(
    """
    nb_filter border_mode subsample output_dim inner_activation W_regularizer input_dtype
    dim_ordering pool_length consume_less filter_length
    """.split()
)


def translated(contents: Contents) -> Contents:
    """Return a file's contents with a config of Keras 1 in the words of Keras 2.

    Each layer that gets another class keeps the name it had, as `saved_as`.
    """
    if not _is_keras1(contents):
        return contents
    config = copy.deepcopy(contents.config)
    notes = [note for step in STEPS if (note := step(config))]
    return replace(contents, config=config, keras1=True, notes=(*contents.notes, *notes))


def _is_keras1(contents: Contents) -> bool:
    """Tell whether Keras 1 wrote a file: by its version, or by its words where it names none."""
    if contents.format == "keras" or contents.major_version not in (None, 1):
        return False
    if contents.major_version == 1:
        return True
    inner = contents.config.get("config")
    listed = inner if isinstance(inner, list) else inner.get("layers") if inner else None
    layers = [item.get("config") for item in listed or () if isinstance(item, dict)]
    return contents.keras_version is None and any(
        isinstance(layer, dict) and not _SPEAKING.isdisjoint(layer) for layer in layers
    )


def _merged_chains(config: Config) -> str:
    """Make a graph of a Sequential whose first layer merges others.

    Keras 1 kept the models it merges in that layer's config.
    """
    for model in (*layers_in(config), config):
        listed = model["config"]
        if model["class_name"] == "Sequential" and isinstance(listed, list) and _merging(listed):
            entries: list[Config] = []
            end = _chained(listed, entries)
            model["class_name"] = "Model"
            model["saved_as"] = "Sequential"
            heads = [e for e in entries if not e["inbound_nodes"]]
            model["config"] = {
                "name": model.get("name", "sequential"),
                "layers": entries,
                "input_layers": [[head["name"], 0, 0] for head in heads],
                "output_layers": [[end, 0, 0]],
            }
    return ""


def _merging(listed: list[Any]) -> bool:
    """Tell whether a chain begins with branches that are chains themselves."""
    head = listed[0] if listed else {}
    if head.get("class_name") != "Merge" or not head["config"].get("layers"):
        return False
    return all(
        isinstance(branch["config"], list) and branch["class_name"] == "Sequential"
        for branch in head["config"]["layers"]
    )


def _chained(listed: list[Any], entries: list[Config]) -> str:
    """Add a chain's layers to a graph's; return the name of its last."""
    if _merging(listed):
        branches = listed[0]["config"].pop("layers")
        ends = [_chained(branch["config"], entries) for branch in branches]
        rest = listed
    else:
        head = sequential_input(listed, {})
        entries.append({**head, "name": head["config"]["name"], "inbound_nodes": []})
        ends = [head["config"]["name"]]
        rest = listed[1:] if head is listed[0] else listed
    for layer in rest:
        name = layer["config"]["name"]
        nodes = [[[end, 0, 0] for end in ends]]
        entries.append({**layer, "name": name, "inbound_nodes": nodes})
        ends = [name]
    return str(ends[0])


def _renamed_arguments(config: Config) -> str:
    """Give arguments the names and the forms of Keras 2."""
    for layer in layers_in(config):
        inner = layer["config"]
        if not isinstance(inner, dict) or "layers" in inner:
            continue
        class_name = layer["class_name"]
        if class_name == "InputLayer" and "input_dtype" in inner:
            inner["dtype"] = inner["input_dtype"]
        old = {k: v for k, v in inner.items() if k not in _SAYING_NOTHING}
        new = {_ARGUMENTS.get(key, key): value for key, value in old.items()}
        for sizes in (("nb_row", "nb_col"), ("kernel_dim1", "kernel_dim2", "kernel_dim3")):
            if sizes[0] in new:
                new["kernel_size"] = [new.pop(size) for size in sizes]
        if class_name == "UpSampling1D" and "length" in new:
            new["size"] = new.pop("length")
        layer["config"] = new
        _reformed(class_name, new)
    return ""


def _reformed(class_name: str, config: Config) -> None:
    if class_name != "Embedding":
        config.pop("input_dim", None)
        if "output_dim" in config:
            config["units"] = config.pop("output_dim")
    if "data_format" in config:
        config["data_format"] = _ORDERINGS.get(config["data_format"], UNDECIDED)
    if class_name.startswith("ZeroPadding"):
        config["padding"] = _pads(config.get("padding"))
    if class_name == "BatchNormalization" and config.get("mode") == 0:
        del config["mode"]


def _pads(value: Any) -> Any:
    """Return pads as pairs: Keras 1 also took them all in a row, or by name."""
    if isinstance(value, Mapping):
        value = [
            value.get(f"{side}_pad", 0)
            for side in ("top", "bottom", "left", "right")
            if f"{side}_pad" in value or "top_pad" in value or "bottom_pad" in value
        ]
    if isinstance(value, list) and len(value) == 4:
        return [value[:2], value[2:]]
    return value


def _renamed_classes(config: Config) -> str:
    """Give classes the names that Keras 2 had for them."""
    renamed: dict[str, str] = {}
    for layer in layers_in(config):
        before, inner = layer["class_name"], layer["config"]
        after = str(_CLASSES.get(before, before))
        if before == "Merge" and inner.get("mode") in _MERGES:
            after = _MERGES[inner["mode"]]
            axes = {"concat": {"axis": inner["concat_axis"]}, "dot": {"axes": inner["dot_axes"]}}
            layer["config"] = _kept(inner, "name trainable") | axes.get(inner["mode"], {})
        elif before == "Merge" and inner.get("mode") == "cos":
            layer["config"] = _kept(inner, "name trainable mode dot_axes")
        if after != before:
            layer["class_name"], layer["saved_as"] = after, before
            renamed[before] = after
    told = ", ".join(f"{before} as {after}" for before, after in renamed.items())
    return f"layers of Keras 1 read as their successors: {told}" if told else ""


def _kept(config: Config, keys: str) -> Config:
    return {key: config[key] for key in keys.split() if key in config}


def _without_training(config: Config) -> str:
    """Leave out what Keras 1 said about training in words of its own."""
    lost = []
    for layer in layers_in(config):
        inner = layer["config"] if isinstance(layer["config"], dict) else {}
        found = [key for key in _TRAINING if key in inner and inner.pop(key) is not None]
        if layer["class_name"] == "Embedding" and inner.pop("dropout", 0):
            found.append("dropout of words")
        lost += [f"{inner.get('name')} ({', '.join(sorted(found))})"] if found else []
    told = ", ".join(lost)
    return f"left out, since it matters to training alone: {told}" if told else ""


def _channels_told(config: Config) -> str:
    """Give layers that do not say where their channels are what the others say."""
    layers = [layer for layer in layers_in(config) if isinstance(layer["config"], dict)]
    formats = {str(layer["config"].get("data_format", UNDECIDED)) for layer in layers}
    formats.discard(UNDECIDED)
    silent = [layer for layer in layers if layer["class_name"] in _SILENT]
    said = formats.pop() if len(formats) == 1 else UNDECIDED
    for layer in silent:
        layer["config"].setdefault("data_format", said)
    names = ", ".join(str(layer["config"].get("name")) for layer in silent)
    if not names or said == UNDECIDED:
        return ""
    return f"{names} taken as {said}, as the other layers of the file are"


STEPS: tuple[Callable[[Config], str], ...] = (
    _merged_chains,
    _renamed_arguments,
    _renamed_classes,
    _without_training,
    _channels_told,
)

"""Reader of HDF5 model files (.h5, .hdf5): config in an attribute, weights by layer name."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py

from layerprobe.errors import ModelError, TrustError
from layerprobe.modelfile.audit.findings import Finding
from layerprobe.modelfile.contents import Contents, WeightSizes, parse_config
from layerprobe.modelfile.hdf5_entries import dataset_sizes, survey
from layerprobe.modelfile.jsontext import MAX_CONFIG_BYTES, parse_json
from layerprobe.modelfile.weights import Keras3Sizes, LegacySizes, one_layout
from layerprobe.modelfile.window import FileWindow

# What h5py raises on damaged bytes.
_DAMAGE = (OSError, RuntimeError, KeyError, TypeError, ValueError, AttributeError)
_PLAIN = (h5py.h5t.TypeStringID, h5py.h5t.TypeIntegerID, h5py.h5t.TypeFloatID)
_SHOWN = 12  # tensors that a message lists
SIGNATURE = b"\x89HDF\r\n\x1a\n"


def read(path: Path, described: Contents | None = None) -> Contents:
    """Return the contents of an HDF5 model file.

    Args:
        path: The file.
        described: An architecture, for a file that holds weights alone.

    Raises:
        ModelError: The file is damaged, holds weights alone, or is no model.
        TrustError: It holds links to other places.
    """
    try:
        with _opened(path) as file:
            if "model_config" not in file.attrs:
                if described is None or not _holds_weights(file):
                    raise _without_config(file, path)
                return _weights_for(described, file, path)
            config = parse_config(_config_text(file, "model_config", path), path)
            # All of the file is looked at, not the weights alone: names in it may be absolute.
            sizes = dataset_sizes(file)
            weights = file.get("model_weights")
            return Contents(
                path=path,
                format="hdf5",
                config=config,
                keras_version=_attribute(file, weights, "keras_version"),
                backend=_attribute(file, weights, "backend"),
                weights=None if weights is None else _sizes(weights, sizes),
            )
    except _DAMAGE as error:
        raise damaged(path, error) from error


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    with (
        path.open("rb") as file,
        FileWindow(file, 0, path.stat().st_size) as window,
        h5py.File(window, "r") as found,
    ):
        yield found


def damaged(path: Path, error: BaseException) -> ModelError:
    """Return the error of a file that cannot be read."""
    return ModelError(
        f"{path} is a damaged HDF5 file: {error}",
        fix="It may be cut short; get it again from where it came from.",
        path=str(path),
    )


def findings(path: Path) -> list[Finding]:
    """Judge an HDF5 file by its entries, before anything in it is read.

    Raises:
        ModelError: It is cut short or damaged.
    """
    try:
        with _opened(path) as file, path.open("rb") as same:
            return survey(file, same).findings
    except _DAMAGE as error:
        raise damaged(path, error) from error


def training_config(path: Path) -> Any:
    """Return what a file says about its training, None if that is nothing or cannot be read.

    Raises:
        ModelError: Others can read it, and each another thing.
    """
    try:
        with _opened(path) as file:
            if "training_config" not in file.attrs:
                return None
            text = _config_text(file, "training_config", path)
            return parse_json(text, path, "The training config")
    except _DAMAGE:
        return None
    except ModelError as error:
        if "rule" in error.fields:
            raise
        return None


def _config_text(file: h5py.File, name: str, path: Path) -> str:
    """Return an attribute that holds text, if it is not larger than any config."""
    identity = file.attrs.get_id(name)
    shape = identity.shape
    count = 0 if shape is None else math.prod(shape)
    size = identity.get_storage_size() if count else 0
    if size > MAX_CONFIG_BYTES or count != 1:
        raise ModelError(
            f"The model config in {path} takes {size:,} bytes in {count:,} texts.",
            expected=f"one text of at most {MAX_CONFIG_BYTES:,}",
            path=str(path),
            rule="config-size",
        )
    return _text(_value(file, name))


def _value(group: h5py.Group, name: str) -> Any:
    """Return an attribute that is text, texts or numbers.

    HDF5 crashes on damaged types that are made of others.

    Raises:
        TypeError: It is anything else.
    """
    kind = type(group.attrs.get_id(name).get_type())
    if kind not in _PLAIN:
        raise TypeError(f"the attribute {name} is no text")
    return group.attrs[name]


def attribute_list(group: h5py.Group, name: str) -> list[str]:
    """Return a list of names kept in an attribute, or in numbered parts of it when it is long."""
    if name in group.attrs:
        return [_text(value) for value in _value(group, name)]
    names: list[str] = []
    number = 0
    while f"{name}{number}" in group.attrs:
        names += [_text(value) for value in _value(group, f"{name}{number}")]
        number += 1
    return names


def _text(value: object) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


def _attribute(file: h5py.File, weights: h5py.Group | None, name: str) -> str | None:
    """Return an attribute of the file, or of its weights, where some versions put it."""
    for place in (file, weights):
        if place is not None and name in place.attrs:
            return _text(_value(place, name))
    return None


def _sizes(
    weights: h5py.Group, sizes: Mapping[str, int], root: str = "model_weights/"
) -> LegacySizes:
    layers: dict[str, tuple[tuple[str, int], ...]] = {}
    for layer in attribute_list(weights, "layer_names"):
        prefix = f"{root}{layer}/"
        names = [n.removeprefix(prefix) for n in sizes if n.startswith(prefix)]
        layers[layer] = tuple((name, sizes[prefix + name]) for name in names)
    return LegacySizes(layers)


def _tensors(file: h5py.File) -> str:
    """Return the first tensors of a file of weights, as the end of a message."""
    try:
        sizes = dataset_sizes(file)
    except TrustError:  # what links lead to is not looked at
        return ""
    shown = [f"{name} {file[name].shape}" for name in list(sizes)[:_SHOWN]]
    rest = [f"and {len(sizes) - _SHOWN} more"] if len(sizes) > _SHOWN else []
    return "".join(f"\n  {line}" for line in ("It holds:", *shown, *rest))


def _holds_weights(file: h5py.File) -> bool:
    kinds = {"layers", "_layer_checkpoint_dependencies"}
    return bool({"layer_names", "nb_layers"} & set(file.attrs) or kinds & set(file))


def _weights_for(described: Contents, file: h5py.File, path: Path) -> Contents:
    """Return the contents of a file of weights, with the layers that are described elsewhere.

    Keras 0 and 1 named neither version nor engine there; the architecture may.
    """
    sizes = dataset_sizes(file)
    named = "layer_names" in file.attrs or "layer_names0" in file.attrs
    if named:
        weights: WeightSizes = _sizes(file, sizes, "")
    else:
        weights = Keras3Sizes({one_layout(name): size for name, size in sizes.items()})
    told = f"layers described by {described.path}"
    return replace(
        described,
        path=path,
        format="hdf5" if named else "weights",
        keras_version=_attribute(file, None, "keras_version") or described.keras_version,
        backend=_attribute(file, None, "backend") or described.backend,
        weights=weights,
        notes=(told,),
    )


def _without_config(file: h5py.File, path: Path) -> ModelError:
    """Say what an HDF5 file without a model config is instead."""
    members = list(file)  # asking `in file` would follow links
    if _holds_weights(file):
        return ModelError(
            f"{path} holds weights but no architecture.",
            expected="a whole model, as written by model.save('model.keras')",
            fix="Say where its layers are described: --architecture model.json, or another model "
            f"of the same layers.{_tensors(file)}",
            path=str(path),
            rule="",
        )
    names = ", ".join(members[:5]) or "nothing"
    return ModelError(
        f"{path} is an HDF5 file but not a Keras model; it holds {names}.",
        expected="an attribute model_config, as written by model.save(...)",
        fix="Rows of data go to --input." if members else "",
        path=str(path),
        rule="",
    )

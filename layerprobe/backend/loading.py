"""From a model file to a live Keras model: the upgraded config built, the weights put in.

Nothing that the file brings along is run: layers come from Keras alone (`modelfile.upgrade` has
refused everything else), and Keras loads in safe mode. Only where the caller trusts the file, by
its hash, its Lambda layers run.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial as partial_of
from pathlib import Path
from typing import Any

import keras

from layerprobe.backend import compat, compat_operations, compat_state, legacy  # noqa: F401 - registers layers
from layerprobe.backend.archive_weights import load_archive_weights
from layerprobe.backend.bundle_weights import load_bundle_weights
from layerprobe.backend.complaints import in_one_line
from layerprobe.backend.model import Model
from layerprobe.backend.own_classes import classes_in
from layerprobe.backend.weights import load_hdf5_weights
from layerprobe.errors import ModelError, TrustError
from layerprobe.modelfile import ModelFile
from layerprobe.modelfile.configs import is_operation
from layerprobe.modelfile.contents import Config, Contents
from layerprobe.modelfile.graph import MODEL_CLASSES
from layerprobe.modelfile.reading import Reading
from layerprobe.modelfile.upgrade import AS_SAVED, Upgraded, engine, origin, upgrade
from layerprobe.modelfile.upgrade.pruning import pruned
from layerprobe.modelfile.upgrade.walk import layers_in


def build(
    file: ModelFile,
    *,
    runs_channels_first: bool,
    reading: Reading = AS_SAVED,
    custom_objects: str | Path | None = None,
) -> Model:
    """Return the live model of a model file.

    Args:
        file: The file's description.
        reading: How to read it, where that is not as it says.
        custom_objects: A Python file of the user's with classes that the model needs.
        runs_channels_first: Whether the engine computes channels_first convolutions rightly.

    Raises:
        TrustError: The model needs code that is not Keras' own.
        ModelError: It cannot be read rightly, or its weights do not fit its layers.
    """
    custom = {} if custom_objects is None else classes_in(Path(custom_objects))
    reading = replace(reading, custom_classes=frozenset(custom))
    if file.contents.weights is None:
        raise ModelError(
            f"{file.path} holds no weights, only an architecture.",
            expected="a model with its weights",
            fix="Get the whole folder again from where it came from, with its variables."
            if file.format == "saved_model"
            else f"Give the file of weights as the model, and: --architecture {file.path}",
            path=str(file.path),
        )
    upgraded = upgrade(file.contents, reading)
    try:
        return _built(
            file,
            upgraded,
            custom,
            runs_channels_first=runs_channels_first,
            # Only the caller's word, tied to the file's bytes, switches Keras' protection off.
            trust=reading.trust,
        )
    except ModelError:
        if not upgraded.unrun:
            raise
        return _built_without(file, upgraded, custom, reading, runs_channels_first)


def _built_without(
    file: ModelFile,
    upgraded: Upgraded,
    custom: Mapping[str, Any],
    reading: Reading,
    runs_channels_first: bool,
) -> Model:
    """Return the live model of a file without what depends on layers that cannot be computed."""
    left = pruned(file.contents.config, list(upgraded.unrun))
    if left is None:
        raise next(iter(upgraded.unrun.values()))
    config, gone = left
    part = replace(file, contents=replace(file.contents, config=config))
    again = upgrade(part.contents, replace(reading, lambdas={}))
    model = _built(part, again, custom, runs_channels_first=runs_channels_first, partial=True)
    first = next(iter(upgraded.unrun.values()))
    return Model(model.keras, file.table, again.notes, {(name,): first for name in gone})


def _built(
    file: ModelFile,
    upgraded: Upgraded,
    custom: Mapping[str, Any],
    *,
    runs_channels_first: bool,
    partial: bool = False,
    trust: str | None = None,
) -> Model:
    safe_mode = trust is None
    if not runs_channels_first:
        upgraded = _with_channels_last(file, upgraded)
        _refuse_channels_first(file, upgraded.config)
    if keras.backend.backend() == "torch":
        upgraded = _changed(upgraded, engine.as_torch_needs, file)
    try:
        if file.format == "keras" and upgraded.config is file.contents.config and not partial:
            load = partial_of(compat.load_archive, safe_mode=safe_mode)
            model = file.judged.load(file.path, load, trust)
        elif file.format == "saved_model":
            model = _from_config(upgraded.config, custom, safe_mode=safe_mode)
            load_bundle_weights(model, file.path)
        elif file.format in {"keras", "weights"}:
            model = _from_config(upgraded.config, custom, safe_mode=safe_mode)
            load_archive_weights(model, file.path)
        else:
            model = _from_config(upgraded.config, custom, safe_mode=safe_mode)
            load_hdf5_weights(
                model,
                file.path,
                flips=upgraded.flips,
                keras1=upgraded.keras1,
                partial=partial,
            )
        _settle(model)
    except TrustError:
        raise
    except Exception as error:
        raise _not_built(file, error) from error
    return Model(model, file.table, upgraded.notes, upgraded.unrun, upgraded.config)


def _settle(model: Any) -> None:
    """Let layers make of their weights what they compute with, as Keras does when it loads them."""
    for layer in compat_state.layers_inside(model):
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()


def _from_config(config: Config, custom: Mapping[str, Any], *, safe_mode: bool) -> Any:
    config = with_modules(copy.deepcopy(config))
    return keras.saving.deserialize_keras_object(
        config, custom_objects=dict(custom), safe_mode=safe_mode
    )


def with_modules(config: Config) -> Config:
    """Name the module of every layer, as Keras 3 wants it; HDF5 files leave it out."""
    for layer in (config, *layers_in(config)):
        if layer.get("module"):
            continue
        class_name = layer["class_name"]
        if is_operation(layer):
            layer["module"] = compat_operations.operation_module(class_name)
        elif class_name == "Functional":
            layer["module"] = "keras.src.models.functional"
        else:
            layer["module"] = "keras" if class_name in MODEL_CLASSES else "keras.layers"
        layer.setdefault("registered_name", class_name if is_operation(layer) else None)
    return config


def _with_channels_last(file: ModelFile, upgraded: Upgraded) -> Upgraded:
    """Rewrite channels_first convolutions and pooling of Keras 3; older ones are already."""
    return _changed(upgraded, engine.channels_last_inside, file) if upgraded.as_saved else upgraded


def _changed(
    upgraded: Upgraded, change: Callable[[Config, Contents], list[str]], file: ModelFile
) -> Upgraded:
    config = copy.deepcopy(upgraded.config)
    notes = change(config, file.contents)
    if not notes:
        return upgraded
    return replace(upgraded, config=config, notes=(*upgraded.notes, *notes))


def _refuse_channels_first(file: ModelFile, config: Config) -> None:
    for layer in layers_in(config):
        inner = layer["config"] if layer.get("module") != origin.PACKAGE else {}
        first = isinstance(inner, dict) and inner.get("data_format") == "channels_first"
        if first and "Conv" in layer["class_name"]:
            raise ModelError(
                f"{file.path}: layer {inner.get('name')!r} is a channels_first convolution, which "
                "Keras on TensorFlow computes wrongly or, on CPU, not at all.",
                fix="Use another engine: --backend jax or --backend torch.",
                layer=inner.get("name"),
            )


def _not_built(file: ModelFile, error: Exception) -> ModelError | TrustError:
    """Turn what Keras says into one sentence; its messages can run to pages of config."""
    reason = in_one_line(error)
    kind: type[ModelError | TrustError] = ModelError
    if "safe_mode" in str(error) or "Could not locate" in str(error):
        kind = TrustError
    newer = ""
    if file.keras_version and _version(file.keras_version) > _version(keras.__version__):
        newer = f" It was written by Keras {file.keras_version}; here is {keras.__version__}."
    return kind(
        f"Keras cannot build the model of {file.path}: {reason}{newer}",
        fix="list-layers still lists its layers.",
        path=str(file.path),
        keras_version=file.keras_version,
    )


def _version(text: str) -> tuple[int, ...]:
    return tuple(_numbers(text))


def _numbers(text: str) -> Iterator[int]:
    for part in text.split(".")[:2]:
        yield int(part) if part.isdecimal() else 0

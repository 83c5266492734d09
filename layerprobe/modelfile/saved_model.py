"""Reader of SavedModel folders that Keras wrote: the config from their metadata, no graph is run.

TensorFlow 2.5 and later keep the config of each object in keras_metadata.pb, earlier ones in
saved_model.pb. Sources: tensorflow/core/protobuf/saved_object_graph.proto and
tf_keras/protobuf/saved_metadata.proto.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from layerprobe.errors import ModelError
from layerprobe.modelfile.audit.findings import Finding
from layerprobe.modelfile.audit.folders import folder_findings
from layerprobe.modelfile.audit.graphs import saved_model_findings
from layerprobe.modelfile.bundle import Bundle
from layerprobe.modelfile.contents import Config, Contents, parse_config
from layerprobe.modelfile.jsontext import MAX_CONFIG_BYTES
from layerprobe.modelfile.weights import LegacySizes
from layerprobe.modelfile.wire import fields, messages, text, whole

_Found = TypeVar("_Found")

GRAPH, METADATA = "saved_model.pb", "keras_metadata.pb"
_VARIABLES = "variables/variables"


def read(path: Path) -> Contents:
    """Return the contents of a SavedModel folder.

    Raises:
        ModelError: Keras did not write it, or it is damaged.
    """
    try:
        return _read(path)
    except (ValueError, OSError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise damaged(path, error) from error


def damaged(path: Path, error: Exception) -> ModelError:
    """Return the error of a folder that cannot be read."""
    return ModelError(
        f"{path} is a damaged SavedModel: {type(error).__name__}: {error}.",
        fix="Get the whole folder again from where it came from.",
        path=str(path),
    )


def _read(path: Path) -> Contents:
    told = _metadata(path)
    if told is None:
        raise ModelError(
            f"{path} is a SavedModel that does not describe layers: it holds graphs of TensorFlow "
            "alone.",
            expected="a SavedModel that Keras wrote, with its config",
            fix="Get the whole folder again, if it had a keras_metadata.pb; else save the model in "
            "the program that made it: model.save('model.keras').",
            path=str(path),
            rule="",
        )
    found = parse_config(told, path)
    config = _plain({key: found[key] for key in ("class_name", "config") if key in found})
    held = Path(f"{path / _VARIABLES}.index").exists()
    return Contents(
        path=path,
        format="saved_model",
        config=config,
        keras_version=found.get("keras_version") or "2",
        backend="tensorflow",
        weights=LegacySizes(dict(_sizes(config, bundle_of(path)))) if held else None,
        notes=() if held else (f"{_VARIABLES}.index is missing, and with it all weights",),
    )


def bundle_of(path: Path) -> Bundle:
    """Return the checkpoint of a SavedModel folder."""
    return Bundle(path / _VARIABLES)


def _metadata(path: Path) -> str | None:
    """Return what the folder tells of its first object: the JSON of a model's config."""
    file = path / METADATA
    if file.is_file():
        nodes = [fields(node) for node in messages(fields(_bytes(file)), 1)]
        told = _only(path, METADATA, [found for found in nodes if whole(found, 2) == 0])
        return text(told, 5) or None if told else None
    meta = messages(fields(_bytes(path / GRAPH)), 2)
    graphs = messages(fields(meta[0]), 7) if meta else []
    objects = messages(fields(graphs[0]), 1) if graphs else []
    user = _only(path, GRAPH, messages(fields(objects[0]), 4)) if objects else None
    said = text(fields(user), 3) if user else ""
    return said if said.lstrip().startswith("{") and '"class_name"' in said else None


def _only(path: Path, name: str, found: list[_Found]) -> _Found | None:
    """Return the one thing that describes the model: of several, each reader takes another."""
    if len(found) > 1:
        raise ModelError(
            f"The model config in {path / name} is there {len(found)} times.",
            expected="one description, as model.save(...) writes it",
            fix="Get the whole folder again from a source you trust.",
            path=str(path),
            rule="duplicate-keys",
        )
    return found[0] if found else None


def _bytes(path: Path) -> bytes:
    if path.stat().st_size > 4 * MAX_CONFIG_BYTES:
        raise ValueError(f"{path.name} takes {path.stat().st_size:,} bytes")
    return path.read_bytes()


def _plain(value: Any) -> Any:
    """Return a config with lists in place of the tuples that SavedModels spell out."""
    if isinstance(value, dict):
        if value.get("class_name") == "__tuple__" and "items" in value:
            return [_plain(item) for item in value["items"]]
        if value.get("class_name") == "TensorShape" and "items" in value:
            return [_plain(item) for item in value["items"]]
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


def layer_nodes(count: int, bundle: Bundle, node: int, *, has_input: bool) -> list[int | None]:
    """Return the objects that are the layers of a model, in their order.

    Args:
        count: How many layers there are.
        bundle: The checkpoint.
        node: The model.
        has_input: Whether the first layer is an input, which a Sequential did not save.
    """
    children = bundle.nodes[node].children
    numbered = [children.get(f"layer-{number}") for number in range(count)]
    if has_input and numbered[-1] is None and len(numbered) > 1:
        return [None, *numbered[:-1]]
    return numbered


def _sizes(config: Config, bundle: Bundle) -> Iterator[tuple[str, tuple[tuple[str, int], ...]]]:
    inner = config.get("config")
    layers = inner.get("layers") if isinstance(inner, dict) else None
    if not layers:
        return
    first = layers[0].get("class_name") == "InputLayer"
    for layer, node in zip(
        layers, layer_nodes(len(layers), bundle, 0, has_input=first), strict=True
    ):
        if node is not None:
            keys = dict.fromkeys(_keys(bundle, node, set()))
            entries = ((key, math.prod(bundle.entries[key].shape)) for key in keys)
            yield str(layer["config"]["name"]), tuple(entries)


def _keys(bundle: Bundle, node: int, seen: set[int]) -> Iterator[str]:
    """Yield the keys of the variables that an object holds."""
    if node in seen:
        return
    seen.add(node)
    found = bundle.nodes[node]
    if found.key is not None:
        yield found.key
    for name, child in found.children.items():
        if name not in {"keras_api", "variables", "trainable_variables", "non_trainable_variables"}:
            yield from _keys(bundle, child, seen)


def findings(path: Path) -> list[Finding]:
    """Judge a SavedModel folder: its files, and the operations of its graphs.

    Raises:
        ModelError: Its graph is damaged.
    """
    found = folder_findings(path)
    if any(finding.rule.closed for finding in found):
        return found
    try:
        return [*found, *saved_model_findings(_bytes(path / GRAPH))]
    except (ValueError, OSError) as error:
        raise damaged(path, error) from error


def is_saved_model(path: Path) -> bool:
    """Tell whether a folder is a SavedModel."""
    return (path / GRAPH).is_file()

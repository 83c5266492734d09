"""Sizes that a model claims: more weights than its file holds, more output than memory does."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from layerprobe.modelfile.audit.findings import Finding, short

if TYPE_CHECKING:
    from layerprobe.layers import LayerTable
    from layerprobe.modelfile.graph import Graph, Layer

_MOST_ROW_BYTES = 8 << 30
# Weights a loader would make: more than this and than so many times what the file holds.
_MOST_WEIGHTS, _MOST_TIMES = 64 << 20, 8
_MOST_BARE = 1 << 34  # of an architecture, whose weights lie elsewhere
# The last size of a layer output, by the call and the output's number.
_Last = Mapping[tuple[tuple[str, int], int], "int | None"]
_GATES = {"SimpleRNN": 1, "GRU": 3, "LSTM": 4}


def size_findings(graph: Graph, table: LayerTable, stored: int | None) -> list[Finding]:
    """Judge what a model would take.

    Args:
        graph: The model.
        table: Its layer outputs.
        stored: How many numbers the file holds; None for an architecture alone.
    """
    found = list(_outputs(table))
    last = {
        (row.path[0], row.output): row.output_shape[-1]
        for row in table
        if len(row.path) == 1 and row.output_shape
    }
    counts = {_at(path): count for path, count in _weights(graph, (), last)}
    most = _MOST_BARE if stored is None else max(_MOST_WEIGHTS, _MOST_TIMES * stored)
    for where, count in counts.items():
        if count > most:
            found.append(Finding("weights-bomb", where, _claims(count, stored)))
            return found
    if sum(counts.values()) > most:
        found.append(Finding("weights-bomb", "the model", _claims(sum(counts.values()), stored)))
    return found


def _claims(count: int, stored: int | None) -> str:
    held = "" if stored is None else f", the file holds {stored:,}"
    return f"it takes at least {count:,} weights{held}"


def _outputs(table: LayerTable) -> Iterator[Finding]:
    for row in table:
        shape = row.output_shape
        if shape is None:
            continue
        size = 4 * math.prod(n for n in shape if n is not None)
        if size > _MOST_ROW_BYTES:
            what = f"its output takes at least {size:,} bytes"
            yield Finding("activation-bomb", f"layer {short(row.address)!r}", what)
            return


def _weights(
    graph: Graph, path: tuple[str, ...], last: _Last
) -> Iterator[tuple[tuple[str, ...], int]]:
    """Yield for each layer at least how many weights it has."""
    for layer in graph.layers.values():
        here = (*path, layer.name)
        if layer.model is not None:
            yield from _weights(layer.model, here, last)
        else:
            yield here, _least(layer, _channels(layer, path, last))


def _channels(layer: Layer, path: tuple[str, ...], last: _Last) -> int:
    """Return the last size of what a layer takes, 1 if it is not known."""
    if path or not layer.calls or not layer.calls[0].positional_edges:
        return 1
    edge = layer.calls[0].positional_edges[0]
    return last.get(((edge.layer, edge.call), edge.output)) or 1


def _least(layer: Layer, channels: int) -> int:
    """Return at least how many weights a layer has."""
    config, kind = layer.config, layer.class_name
    units = _number(config, "units", "output_dim", "filters", "nb_filter")
    if kind == "Embedding":
        return _number(config, "input_dim") * units
    if kind in _GATES:
        return _GATES[kind] * units * (units + channels)
    if "Conv" in kind:
        return units * _window(config) * _depth(kind, config, channels)
    if kind.endswith("Normalization"):
        return channels
    return units * (channels if kind == "Dense" else 1)


def _window(config: Mapping[str, Any]) -> int:
    window = config.get("kernel_size")
    return math.prod(_whole(size) for size in (window if isinstance(window, list) else [window]))


def _depth(kind: str, config: Mapping[str, Any], channels: int) -> int:
    """Return over how many channels each filter of a convolution goes."""
    if "Separable" in kind or "Depthwise" in kind or config.get("data_format") == "channels_first":
        return 1
    return max(1, channels // max(1, _number(config, "groups")))


def _number(config: Mapping[str, Any], *keys: str) -> int:
    return next((_whole(config[key]) for key in keys if config.get(key) is not None), 0)


def _whole(value: Any) -> int:
    sound = isinstance(value, (int, float)) and 0 < value < math.inf
    return min(int(value), 1 << 62) if sound else 1


def _at(path: tuple[str, ...]) -> str:
    return f"layer {short('/'.join(path))!r}"

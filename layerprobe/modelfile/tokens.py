"""Which inputs are token numbers, and how many tokens there are: found by following the graph."""

from __future__ import annotations

from collections import deque

from layerprobe.layers import LayerTable
from layerprobe.modelfile.graph import Graph, Layer

# Layers that pass their input's values on, at most rearranged.
_PASS_ON = frozenset(
    """
    InputLayer Identity Dropout SpatialDropout1D Flatten Reshape Permute RepeatVector Masking
    Concatenate Cropping1D
    """.split()
)
_LIMIT_KEYS = {"Embedding": "input_dim", "ReversibleEmbedding": "input_dim"}
_LIMIT_KEYS["CategoryEncoding"] = "num_tokens"


def token_limit(table: LayerTable, graph: Graph, address: str) -> int | None:
    """Return how many different token numbers a tensor may hold, or None if it is no token number.

    Args:
        table: The model's layer outputs.
        graph: The same model's graph.
        address: The tensor, such as an input's address.
    """
    consumers: dict[str, list[int]] = {}
    for position, row in enumerate(table):
        for source in row.inbound:
            consumers.setdefault(source, []).append(position)
    limits = []
    waiting, seen = deque([address]), {address}
    while waiting:
        for position in consumers.get(waiting.popleft(), ()):
            row = table[position]
            if row.class_name in _LIMIT_KEYS:
                config = layer_at(graph, row.path).config
                limits.append(int(config[_LIMIT_KEYS[row.class_name]]))
            elif row.class_name in _PASS_ON and row.address not in seen:
                seen.add(row.address)
                waiting.append(row.address)
    return min(limits, default=None)


def layer_at(graph: Graph, path: tuple[tuple[str, int], ...]) -> Layer:
    """Return the layer that a path of (layer name, call number) leads to."""
    for name, _ in path[:-1]:
        inner = graph.layers[name].model
        if inner is not None:
            graph = inner
    return graph.layers[path[-1][0]]

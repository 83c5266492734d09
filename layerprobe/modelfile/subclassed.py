"""Subclassed models: code says how their layers are called, and the file only that they are there.

What can be listed are the models among their settings, and else the groups of their weights.
"""

from __future__ import annotations

from layerprobe.modelfile.configs import contradictions_named, has_graph, parse
from layerprobe.modelfile.contents import Contents
from layerprobe.modelfile.graph import Call, Graph, Layer
from layerprobe.modelfile.weights import Keras3Sizes

_NO_LAYERS = frozenset(
    {"layers", "optimizer", "_metrics", "vars", "seed_generator", "compiled_metrics"}
)
UNKNOWN = "?"


def graph_of_parts(contents: Contents) -> Graph | None:
    """Return the layers that a subclassed model is known to have; None if there are none."""
    inner = contents.config.get("config")
    layers: dict[str, Layer] = {}
    with contradictions_named():
        for name, value in (inner if isinstance(inner, dict) else {}).items():
            if isinstance(value, dict) and has_graph(value):
                layers[name] = Layer(
                    name, str(value["class_name"]), value["config"], (_CALL,), model=parse(value)
                )
    if isinstance(contents.weights, Keras3Sizes):
        groups = dict.fromkeys(name.partition("/")[0] for name in contents.weights.sizes)
        for name in groups:
            if name not in _NO_LAYERS and name not in layers:
                layers[name] = Layer(name, UNKNOWN, {}, (_CALL,))
    if not layers:
        return None
    return Graph(
        name=str(contents.config["class_name"]),
        class_name=str(contents.config["class_name"]),
        layers=layers,
        inputs=(),
        outputs=(),
    )


_CALL = Call((), {})

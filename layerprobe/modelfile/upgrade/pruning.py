"""A model without some of its layers and all that depends on them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from layerprobe.modelfile.configs import parse
from layerprobe.modelfile.contents import Config
from layerprobe.modelfile.graph import Graph
from layerprobe.modelfile.upgrade.walk import name_of

_NEVER = 1 << 30


def pruned(config: Config, paths: Sequence[tuple[str, ...]]) -> tuple[Config, list[str]] | None:
    """Return a model without some layers and all that depends on them.

    Args:
        config: The model, as its file has it.
        paths: The layers; of one inside a model, that whole model goes.

    Returns:
        The config, and the names of layers of which a call is gone; inputs at least are left. None
        if the shape of an input is not known.
    """
    graph = parse(config)
    dead = _first_dead_calls(graph, {path[0] for path in paths})
    kept = {name: dead.get(name, len(layer.calls)) for name, layer in graph.layers.items()}
    if not any(count and not graph.layers[name].is_input for name, count in kept.items()):
        alone = _inputs_alone(graph)
        return None if alone is None else (alone, sorted(dead))
    inner = config["config"]
    listed = inner if isinstance(inner, list) else inner["layers"]
    layers = [item for item in listed if kept.get(name_of(item), 0)]
    if config["class_name"] == "Sequential":
        left: Any = layers if isinstance(inner, list) else {**inner, "layers": layers}
    else:
        cut = [
            {**item, "inbound_nodes": item["inbound_nodes"][: kept[name_of(item)]]}
            if name_of(item) in dead
            else item
            for item in layers
        ]
        left = {**inner, "layers": cut, "output_layers": list(_ends(graph, kept))}
    return {**config, "config": left}, sorted(dead)


def _inputs_alone(graph: Graph) -> Config | None:
    """Return a model that puts out its inputs, None if a shape is not known."""
    inputs = [layer for layer in graph.layers.values() if layer.is_input]
    layers = [
        {"class_name": "InputLayer", "name": i.name, "config": dict(i.config), "inbound_nodes": []}
        for i in inputs
    ]
    shapes = [i.config.get("batch_shape") or i.config.get("batch_input_shape") for i in inputs]
    ends = [[i.name, 0, 0] for i in inputs]
    inner = {"name": graph.name, "layers": layers, "input_layers": ends, "output_layers": ends}
    return {"class_name": "Functional", "config": inner} if all(shapes) else None


def _first_dead_calls(graph: Graph, gone: Collection[str]) -> dict[str, int]:
    """Return the first call of each layer that needs what is gone; later ones go with it."""
    dead = dict.fromkeys(gone, 0)
    changed = True
    while changed:
        changed = False
        for name, layer in graph.layers.items():
            for number, call in enumerate(layer.calls[: dead.get(name, _NEVER)]):
                if any(edge.call >= dead.get(edge.layer, _NEVER) for edge in call.edges):
                    dead[name], changed = number, True
                    break
    return dead


def _ends(graph: Graph, kept: Mapping[str, int]) -> Iterator[list[Any]]:
    """Yield what nobody takes any more, so that Keras keeps all that leads there."""
    used = {
        (edge.layer, edge.call)
        for name, layer in graph.layers.items()
        for call in layer.calls[: kept[name]]
        for edge in call.edges
    }
    for name, layer in graph.layers.items():
        for number in range(kept[name]):
            if (name, number) not in used and not layer.is_input:
                yield [name, number + (name in graph.counted_from_one), 0]

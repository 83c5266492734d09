"""From a serialized model to its graph, for every dialect of Keras.

Sequential models become chains. Calls are read in two dialects (see `_call`): the objects of
Keras 3 and the nested lists of Keras 1 and 2.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from layerprobe.errors import ModelError
from layerprobe.modelfile.graph import MODEL_CLASSES, Call, Edge, Graph, Layer
from layerprobe.modelfile.shapes import LAYER_CLASSES

# Names that Keras 3 has given to a layer and to an operation.
OPERATIONS_TOO = frozenset(
    "Add Average Concatenate Dot Maximum Minimum Multiply Reshape Softmax Subtract".split()
)
_HAVE_NODE_0 = frozenset({"Functional", "Model"})


def has_graph(config: Mapping[str, Any]) -> bool:
    """Tell whether a serialized layer is a model whose layers the config lists."""
    inner = config.get("config")
    layers = inner.get("layers") if isinstance(inner, dict) else inner
    return str(config.get("class_name")) in MODEL_CLASSES and isinstance(layers, list)


def is_operation(data: Mapping[str, Any]) -> bool:
    """Tell whether a serialized layer is a bare Keras 3 operation such as `x + 1`.

    In .keras archives its module says so. In .h5 files there is no module, and `Add` may be either;
    but only Keras 3 has operations, and most layers say whether they are trainable. Of those that
    do not, such as SpatialDropout2D, none has an operation's name.
    """
    module = data.get("module")
    if module is not None:
        return str(module).startswith("keras.src.ops.")
    inner = data.get("config")
    if not isinstance(inner, dict) or {"trainable", "layers"} & set(inner):
        return False
    class_name = data.get("class_name")
    keras3 = any("args" in node for node in data.get("inbound_nodes", ()))
    return keras3 and (class_name in OPERATIONS_TOO or class_name not in LAYER_CLASSES)


def parse(config: Mapping[str, Any]) -> Graph:
    """Return the graph of a serialized model.

    Args:
        config: `{"class_name": …, "config": …}` as any Keras from 1 to 3 writes it.

    Raises:
        ModelError: The config is of a subclassed model, or is inconsistent in itself.
    """
    if not has_graph(config):
        raise ModelError(
            f"A model of class {config.get('class_name')!r} does not list its layers in its file.",
            expected="a Sequential or Functional model",
            fix="A subclassed model is defined by Python code; export its graph, or save its "
            "sub-models one by one.",
            rule="subclassed-model",
        )
    inner = config["config"]
    with contradictions_named():
        if config["class_name"] == "Sequential":
            return _sequential(inner, config)
        return _functional(inner, config)


@contextmanager
def contradictions_named() -> Iterator[None]:
    """Say of a config that it is damaged, where reading it on would raise anything else.

    Raises:
        ModelError: In place of what junk in a config raises in code that takes it for sound.
    """
    try:
        yield
    except (
        *(KeyError, TypeError, IndexError, AttributeError, ValueError),
        RecursionError,  # models nested a thousand deep
    ) as error:
        raise ModelError(
            f"The model config contradicts itself: {type(error).__name__}: {error}.",
            fix="The file is damaged or was edited; get it again from where it came from.",
        ) from error


def _layer(data: Mapping[str, Any], calls: tuple[Call, ...]) -> Layer:
    inner = data["config"]
    if not isinstance(inner, dict) and data["class_name"] != "Sequential":
        raise TypeError(f"the config of a {data['class_name']} is {inner!r:.40}")
    name = data.get("name") or (inner["name"] if isinstance(inner, dict) else "")
    return Layer(
        name=str(name),
        class_name=str(data["class_name"]),
        config=inner if isinstance(inner, dict) else {},
        calls=calls,
        is_operation=is_operation(data),
        model=parse(data) if has_graph(data) else None,
        saved_as=str(data.get("saved_as", "")),
    )


def _sequential(inner: Any, data: Mapping[str, Any]) -> Graph:
    listed = inner if isinstance(inner, list) else inner["layers"]
    settings = {} if isinstance(inner, list) else inner
    head = _layer(sequential_input(listed, settings), (Call((), {}),))
    layers: dict[str, Layer] = {head.name: head}
    edge = Edge(head.name, 0, 0)
    for item in listed[1:] if listed and listed[0]["class_name"] == "InputLayer" else listed:
        layer = _layer(item, (Call((edge,), {}),))
        if layer.name in layers:
            raise KeyError(f"two layers are named {layer.name!r}")
        layers[layer.name] = layer
        edge = Edge(layer.name, 0, 0)
    name = settings.get("name") or data.get("name") or "sequential"
    first = Edge(head.name, 0, 0)
    return Graph(name, "Sequential", layers, (first,), (edge,), settings.get("trainable", True))


def sequential_input(
    listed: Sequence[Mapping[str, Any]], settings: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Return the InputLayer of a Sequential, made up where the config has none.

    Keras 1 and 2 kept the input's shape on the first layer, as `batch_input_shape`, and called the
    input after that layer. The shape is None where the file does not say it.

    Args:
        listed: The serialized layers.
        settings: The rest of the Sequential's config.
    """
    if listed and listed[0]["class_name"] == "InputLayer":
        return listed[0]
    first = listed[0]["config"] if listed and isinstance(listed[0]["config"], dict) else {}
    embeds = bool(listed) and listed[0]["class_name"] == "Embedding"
    dtype = first.get("dtype")
    config = {
        "name": f"{first.get('name', 'sequential')}_input",
        "batch_shape": first.get("batch_input_shape") or settings.get("build_input_shape"),
        "dtype": "int32" if embeds else dtype if isinstance(dtype, str) else "float32",
    }
    return {"class_name": "InputLayer", "config": config}


def _functional(inner: Mapping[str, Any], data: Mapping[str, Any]) -> Graph:
    layers: dict[str, Layer] = {}
    names = {str(item.get("name")) for item in inner["layers"]}
    for item in inner["layers"]:
        calls = tuple(_call(node, names) for node in item.get("inbound_nodes", ()) if node)
        layer = _layer(item, calls or (Call((), {}),))
        if layer.name in layers:
            raise KeyError(f"two layers are named {layer.name!r}")
        layers[layer.name] = layer
    ends = {key: _end_edges(inner[key]) for key in ("input_layers", "output_layers")}
    keras3 = any(
        "args" in node for item in inner["layers"] for node in item.get("inbound_nodes", ())
    )
    layers, ends, from_one = _count_calls_from_zero(layers, ends, keras3=keras3)
    edges = [e for layer in layers.values() for call in layer.calls for e in call.edges]
    stored = {(e.layer, e.call, e.output): e for e in edges if e.shape is not None}
    for edge in (*ends["input_layers"], *ends["output_layers"], *edges):
        if not 0 <= edge.call < len(layers[edge.layer].calls) or edge.output < 0:
            raise IndexError(f"there is no call {edge.call} of layer {edge.layer!r}")
    return Graph(
        name=str(inner.get("name") or data.get("name") or "model"),
        class_name="Functional",
        layers=layers,
        inputs=tuple(ends["input_layers"]),
        outputs=tuple(ends["output_layers"]),
        trainable=inner.get("trainable", True) is not False,
        stored=stored,
        counted_from_one=frozenset(from_one),
    )


def _call(node: Any, names: Collection[str]) -> Call:
    if "args" in node:
        kwargs = _with_edges(node["kwargs"])
        if not isinstance(kwargs, dict):
            raise TypeError(f"keyword arguments are {kwargs!r:.40}")
        return Call(tuple(_with_edges(node["args"])), kwargs)
    edges = []
    kwargs = {}
    for entry in _legacy_entries(node):
        if entry[0] != "_CONSTANT_VALUE":  # of an operation of TensorFlow
            edges.append(Edge(str(entry[0]), int(entry[1]), int(entry[2])))
        if len(entry) > 3 and isinstance(entry[3], Mapping):
            kwargs.update(_with_references(entry[3], names))
    return Call((edges[0] if len(edges) == 1 else edges,), kwargs)


def _legacy_entries(node: Any) -> Iterator[Sequence[Any]]:
    """Yield the [layer, call, output, kwargs] entries of a call as Keras 1 and 2 wrote them."""
    if isinstance(node, Mapping):
        node = list(node.values())
    if node and isinstance(node[0], str):
        yield node
        return
    for entry in node:
        yield from _legacy_entries(entry)


def _with_references(value: Any, names: Collection[str]) -> Any:
    """Return keyword arguments of Keras 2 with what stands for tensors, [layer, call, output]."""
    if isinstance(value, list):
        if len(value) in (3, 4) and isinstance(value[0], str) and value[0] in names:
            return Edge(value[0], int(value[1]), int(value[2]))
        return [_with_references(item, names) for item in value]
    if isinstance(value, Mapping):
        return {key: _with_references(item, names) for key, item in value.items()}
    return value


def _with_edges(value: Any) -> Any:
    """Return arguments of a Keras 3 call with its serialized tensors as edges."""
    if isinstance(value, (list, tuple)):  # a tuple where the config never was JSON
        return [_with_edges(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    if value.get("class_name") == "__keras_tensor__":
        return _tensor(value["config"])
    if value.get("class_name") == "__tuple__" and "items" in value:
        return tuple(_with_edges(value["items"]))
    return {key: _with_edges(item) for key, item in value.items()}


def _tensor(config: Mapping[str, Any]) -> Edge:
    layer, call, output = config["keras_history"]
    shape, dtype = tuple(config["shape"]), config["dtype"]
    if any(size is not None and (type(size) is not int or size < 0) for size in shape):
        raise ValueError(f"a tensor has the shape {shape!r:.80}")
    if not isinstance(dtype, str):
        raise TypeError(f"a tensor has the dtype {dtype!r:.40}")
    return Edge(str(layer), int(call), int(output), shape, dtype)


def _end_edges(structure: Any) -> list[Edge]:
    """Return the model's inputs or outputs, flattened in Keras' order."""
    if isinstance(structure, Mapping):
        return [edge for key in sorted(structure) for edge in _end_edges(structure[key])]
    if len(structure) == 3 and isinstance(structure[0], str):
        return [Edge(structure[0], int(structure[1]), int(structure[2]))]
    return [edge for item in structure for edge in _end_edges(item)]


def _count_calls_from_zero(
    layers: Mapping[str, Layer], ends: Mapping[str, list[Edge]], *, keras3: bool
) -> tuple[dict[str, Layer], dict[str, list[Edge]], set[str]]:
    """Undo an offset: to Keras 1 and 2 the building of a nested model was already its call 0.

    Keras 3 keeps that habit in `output_layers` alone, and for Functional models alone. In older
    files it depends on how the nested model was made; a reference past the last call shows it.
    """
    if keras3:
        in_calls: set[str] = set()
        in_ends = {name for name, layer in layers.items() if layer.class_name in _HAVE_NODE_0}
    else:
        edges = [e for layer in layers.values() for call in layer.calls for e in call.edges]
        edges += [e for listed in ends.values() for e in listed]
        in_calls = in_ends = {
            e.layer for e in edges if layers[e.layer].model and e.call >= len(layers[e.layer].calls)
        }
    fixed = {
        name: replace(
            layer,
            calls=tuple(
                Call(_moved(c.args, in_calls), _moved(c.kwargs, in_calls)) for c in layer.calls
            ),
        )
        for name, layer in layers.items()
    }
    moved = {key: [_moved(e, in_ends) for e in listed] for key, listed in ends.items()}
    return fixed, moved, in_ends


def _moved(value: Any, names: Collection[str]) -> Any:
    """Return a structure in which the edges from the named layers count their calls one lower."""
    if isinstance(value, Edge):
        return value._replace(call=value.call - 1) if value.layer in names else value
    if isinstance(value, Mapping):
        return {key: _moved(item, names) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_moved(item, names) for item in value)
    return value

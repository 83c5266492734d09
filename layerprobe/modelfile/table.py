"""From a model's graph to the table of its layer outputs: addresses, shapes, dtypes, sizes.

A tensor's shape and dtype are what the layer's own rule says a run gives (`shapes.infer`), filled
up with what the file says (Keras 3 writes its own inference on every edge). The rule comes first
because Keras' inference is wrong in places: integers that pass a layer, for one, it calls floats.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from layerprobe.addresses import quote
from layerprobe.errors import ModelError, TrustError
from layerprobe.layers import LayerOutput, LayerTable, TensorSpec
from layerprobe.modelfile.configs import contradictions_named, has_graph, parse
from layerprobe.modelfile.graph import Edge, Graph, Layer
from layerprobe.modelfile.insides import insides
from layerprobe.modelfile.shapes import Tensor, infer

_Call = tuple[str, int]  # a layer's name and which of its calls
_UNKNOWN = Tensor(None, None)

# Models inside models that are called twice double their rows at every level, so that a small file
# can describe more rows than fit in memory. Real models have some thousands.
_MAX_ROWS = 1_000_000


class _Value(NamedTuple):
    """A tensor of the whole model: what is known of it, and the address that yields it."""

    tensor: Tensor
    address: str


@dataclass(frozen=True)
class Listing:
    """A model's table with its inputs and outputs.

    Attributes:
        table: All layer outputs.
        inputs: Name, shape and dtype of each model input, in the model's order.
        outputs: Address, shape and dtype of each model output, in the model's order.
    """

    table: LayerTable
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


def listing(graph: Graph, params: Mapping[tuple[str, ...], int | None]) -> Listing:
    """Return the table of a model's layer outputs.

    Args:
        graph: The model.
        params: Number of weights by path of layer names; a layer that is missing has unknown many.

    Raises:
        ModelError: The graph contradicts itself.
        TrustError: It has rows out of all proportion.
    """
    if (count := _row_count(graph)) > _MAX_ROWS:
        raise TrustError(
            f"The model config describes {count:,} layer outputs.",
            expected=f"at most {_MAX_ROWS:,}",
            count=count,
            rule="too-many-layers",
        )
    level = _Level(graph, params)
    with contradictions_named():
        ends = level.expand()
    first = {row.path: row for row in level.rows if row.depth == 0 and row.output == 0}
    inputs = (first[(edge.layer, 0),] for edge in graph.inputs)
    return Listing(
        table=LayerTable(tuple(level.rows), tuple(level.insides), level.closed),
        inputs=tuple(TensorSpec(row.address, row.output_shape, row.dtype) for row in inputs),
        outputs=tuple(TensorSpec(end.address, *end.tensor) for end in ends),
    )


@dataclass
class _Level:
    """One graph, as called once: the outermost model, or one call of a model inside it.

    Attributes:
        path: The way here, empty for the outermost model.
        prefix: The same as the beginning of an address, with its last "/".
        arguments: What the call feeds to the graph's inputs; empty for the outermost model.
        trainable: Whether all models around are.
        rows: The rows found, in the order of the listing.
        insides: What their layers compute on their way, in the order of the graph.
        closed: Why others do not give theirs, by path.
    """

    graph: Graph
    params: Mapping[tuple[str, ...], int | None]
    path: tuple[_Call, ...] = ()
    prefix: str = ""
    arguments: Sequence[_Value] = ()
    trainable: bool = True
    rows: list[LayerOutput] = field(default_factory=list)
    insides: list[LayerOutput] = field(default_factory=list)
    closed: dict[tuple[_Call, ...], str] = field(default_factory=dict)
    _values: dict[_Call, list[_Value]] = field(default_factory=dict)

    def expand(self) -> list[_Value]:
        """Fill `rows` and return what the graph puts out."""
        numbers = {layer.name: i for i, layer in enumerate(self.graph.counted())}
        widths = _widths(self.graph)
        blocks: dict[_Call, list[LayerOutput]] = {}
        for layer, number in _in_order(self.graph):
            here = (layer.name, number)
            sources = self._sources(layer, number)
            inner = self._inner(layer, number, sources)
            tensors = self._outputs(layer, number, sources, inner)
            tensors += [_UNKNOWN] * (widths.get(here, 1) - len(tensors))
            made = [
                LayerOutput(
                    address=self._address(layer, number) + (f":{output}" if output else ""),
                    index=None if self.path else numbers.get(layer.name),
                    path=(*self.path, here),
                    output=output,
                    class_name=layer.saved_as or layer.class_name,
                    output_shape=tensor.shape,
                    dtype=tensor.dtype,
                    params=self._params(layer),
                    trainable=self._trains(layer),
                    inbound=tuple(source.address for source in sources),
                )
                for output, tensor in enumerate(self._with_stored(here, tensors))
            ]
            blocks[here] = made + (inner.rows if inner else [])
            self._note_insides(layer, number, made[0])
            self._values[here] = [
                _Value(Tensor(row.output_shape, row.dtype), row.address) for row in made
            ]
        for layer in self.graph.layers.values():
            for number in range(len(layer.calls)):
                self.rows += blocks[layer.name, number]
        return [self._value(edge) for edge in self.graph.outputs]

    def _value(self, edge: Edge) -> _Value:
        return self._values[edge.layer, edge.call][edge.output]

    def _params(self, layer: Layer) -> int | None:
        return self.params.get((*(name for name, _ in self.path), layer.name))

    def _trains(self, layer: Layer) -> bool:
        return self.trainable and layer.config.get("trainable", True) is not False

    def _address(self, layer: Layer, number: int) -> str:
        call = f"@{number}" if len(layer.calls) > 1 else ""
        return f"{self.prefix}{quote(layer.name)}{call}"

    def _sources(self, layer: Layer, number: int) -> list[_Value]:
        """Return the tensors a call takes; for the input of a nested model, what is fed to it."""
        if not layer.is_input:
            return [self._value(edge) for edge in layer.calls[number].edges]
        fed = [edge.layer for edge in self.graph.inputs]
        position = fed.index(layer.name) if layer.name in fed else len(self.arguments)
        return list(self.arguments[position : position + 1])

    def _inner(self, layer: Layer, number: int, sources: Sequence[_Value]) -> _Level | None:
        if layer.model is None:
            return None
        return _Level(
            layer.model,
            self.params,
            path=(*self.path, (layer.name, number)),
            prefix=self._address(layer, number) + "/",
            arguments=sources[: len(layer.model.inputs)],
            trainable=self._trains(layer),
            insides=self.insides,
            closed=self.closed,
        )

    def _note_insides(self, layer: Layer, number: int, row: LayerOutput) -> None:
        """Note the insides of a call, whose first output has a row, or why it gives none."""
        if layer.is_input or layer.is_operation:
            return
        arguments, kwargs = self._taken(layer, number)
        found = insides(layer.class_name, layer.config, arguments, kwargs)
        if isinstance(found, str):
            self.closed |= {row.path: found} if found else {}
            return
        for name, (shape, dtype) in found.items():
            made = replace(row, address=f"{row.address}:{name}", inside=name)
            self.insides.append(replace(made, output_shape=shape, dtype=dtype))

    def _taken(self, layer: Layer, number: int) -> tuple[list[Tensor], Mapping[str, Any]]:
        """Return what is known of the tensors a call takes, by position and by name."""
        call = layer.calls[number]
        arguments = [self._value(edge).tensor for edge in call.positional_edges]
        return arguments, self._tensors_in(call.kwargs)

    def _outputs(
        self, layer: Layer, number: int, sources: Sequence[_Value], inner: _Level | None
    ) -> list[Tensor]:
        if inner is not None:
            return [value.tensor for value in inner.expand()]
        if layer.is_input:
            return [_merged(_declared(layer), sources[0].tensor if sources else _UNKNOWN)]
        if layer.is_operation:
            return [_UNKNOWN]
        arguments, kwargs = self._taken(layer, number)
        found = infer(layer.class_name, layer.config, arguments, kwargs, _infer_nested)
        return [_UNKNOWN] if found is None else list(found)

    def _tensors_in(self, value: Any) -> Any:
        """Return a structure with its edges replaced by what is known of the tensors."""
        if isinstance(value, Edge):
            return self._value(value).tensor
        if isinstance(value, Mapping):
            return {key: self._tensors_in(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._tensors_in(item) for item in value]
        return value

    def _with_stored(self, call: _Call, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Return tensors with what the file says about them filled in."""
        stored = (self.graph.stored.get((*call, i)) for i in range(len(tensors)))
        return [
            _merged(tensor, Tensor(edge.shape, edge.dtype)) if edge else tensor
            for edge, tensor in zip(stored, tensors, strict=True)
        ]


def _declared(layer: Layer) -> Tensor:
    return (infer("InputLayer", layer.config, []) or [_UNKNOWN])[0]


def _merged(first: Tensor, second: Tensor) -> Tensor:
    """Return one tensor's facts from two sources, the first one's where both speak."""
    if first.shape is None or second.shape is None or len(first.shape) != len(second.shape):
        shape = first.shape if first.shape is not None else second.shape
    else:
        pairs = zip(first.shape, second.shape, strict=True)
        shape = tuple(b if a is None else a for a, b in pairs)
    return Tensor(shape, first.dtype or second.dtype)


def _infer_nested(
    class_name: str, config: Mapping[str, Any], inputs: Sequence[Tensor]
) -> list[Tensor] | None:
    """Infer a model that a wrapper such as TimeDistributed holds."""
    serialized = {"class_name": class_name, "config": config}
    if not has_graph(serialized):
        return None
    level = _Level(parse(serialized), {}, arguments=[_Value(tensor, "") for tensor in inputs])
    return [value.tensor for value in level.expand()]


def _widths(graph: Graph) -> dict[_Call, int]:
    """Return how many outputs of each call the graph refers to at least."""
    widths: dict[_Call, int] = {}
    calls = (call for layer in graph.layers.values() for call in layer.calls)
    for edge in (*graph.outputs, *(edge for call in calls for edge in call.edges)):
        key = (edge.layer, edge.call)
        widths[key] = max(widths.get(key, 1), edge.output + 1)
    return widths


def _row_count(graph: Graph) -> int:
    """Return how many rows a graph has, without making any."""
    widths = _widths(graph)
    count = 0
    for layer in graph.layers.values():
        calls = range(len(layer.calls))
        count += sum(widths.get((layer.name, call), 1) for call in calls)
        if layer.model is not None:
            count += len(calls) * (_row_count(layer.model) + len(layer.model.outputs))
    return count


def _in_order(graph: Graph) -> Iterator[tuple[Layer, int]]:
    """Yield every call of every layer after the calls it takes its input from."""
    waiting = [
        (layer, number) for layer in graph.layers.values() for number in range(len(layer.calls))
    ]
    done: set[_Call] = set()
    while waiting:
        later = []
        for layer, number in waiting:
            if all((e.layer, e.call) in done for e in layer.calls[number].edges):
                done.add((layer.name, number))
                yield layer, number
            else:
                later.append((layer, number))
        if len(later) == len(waiting):
            names = ", ".join(layer.name for layer, _ in later[:5])
            raise ModelError(
                f"The model's graph has a loop or a missing part at: {names}.",
                fix="The file is damaged or was edited; get it again from where it came from.",
            )
        waiting = later

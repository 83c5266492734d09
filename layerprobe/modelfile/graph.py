"""A model as a graph of layer calls: plain data, without Keras.

A `Graph` holds the layers in the order of the config, a layer its calls, a call its tensors.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from layerprobe.layers import Shape

MODEL_CLASSES = frozenset({"Functional", "Model", "Sequential"})


class Edge(NamedTuple):
    """A tensor between two calls: the producing layer, which of its calls, which output.

    `shape` and `dtype` are what the file says about the tensor, None where it says nothing.
    """

    layer: str
    call: int
    output: int
    shape: Shape | None = None
    dtype: str | None = None


@dataclass(frozen=True)
class Call:
    """One call of a layer: its positional and keyword arguments, with tensors as `Edge`."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]

    @property
    def positional_edges(self) -> list[Edge]:
        """The tensors of the positional arguments, flattened in order."""
        return list(edges_of(self.args))

    @property
    def edges(self) -> list[Edge]:
        """All tensors the call takes, positional ones first."""
        return list(edges_of((self.args, self.kwargs)))


@dataclass(frozen=True)
class Layer:
    """A layer of a graph.

    `is_operation` is true for a bare operation such as `x + 1`, which `model.layers` does not
    count; `model` is set when the layer is itself a model with a graph. `saved_as` is the
    class that the file names, where `class_name` is its successor.
    """

    name: str
    class_name: str
    config: Mapping[str, Any]
    calls: tuple[Call, ...]
    is_operation: bool = False
    model: Graph | None = None
    saved_as: str = ""

    @property
    def is_input(self) -> bool:
        """Whether this is an InputLayer."""
        return self.class_name == "InputLayer"


@dataclass(frozen=True)
class Graph:
    """A model: its layers by name in the order of the config, its inputs and outputs.

    `counted_from_one` names layers whose calls the config counts from 1 where it lists outputs.
    """

    name: str
    class_name: str
    layers: Mapping[str, Layer]
    inputs: tuple[Edge, ...]
    outputs: tuple[Edge, ...]
    trainable: bool = True
    stored: Mapping[tuple[str, int, int], Edge] = field(default_factory=dict)
    counted_from_one: frozenset[str] = frozenset()

    def counted(self) -> list[Layer]:
        """Return the layers as `model.layers` counts them."""
        return [
            layer
            for layer in self.layers.values()
            if not layer.is_operation and not (layer.is_input and self.class_name == "Sequential")
        ]


def edges_of(structure: Any) -> Iterator[Edge]:
    """Yield the edges in a nested structure of tuples, lists and dicts, in Keras' order."""
    if isinstance(structure, Edge):
        yield structure
    elif isinstance(structure, Mapping):
        # Keras flattens a dict of tensors by sorted key.
        for key in sorted(structure):
            yield from edges_of(structure[key])
    elif isinstance(structure, (list, tuple)):
        for item in structure:
            yield from edges_of(item)

"""Tensors and calls of a Keras graph, numbered by how they are computed.

A tensor is identified by how it is computed (operation, arguments, and the tensors it takes, by
the same rule), not by its object. Three things then come out right by themselves: an inner layer of
a model that is called twice is two tensors, because what it takes differs; a tensor left over from
an earlier state of a growing Sequential is the same as its successor; nothing is computed twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from layerprobe.backend import compat, compat_operations

Within = tuple[Any, ...]  # the nodes of nested models' calls, outermost first


class Symbol(compat.KerasTensor):  # type: ignore[misc]
    """A tensor of a model's graph; Keras' operations and layers take it like any of theirs.

    Attributes:
        tensor: Keras' own symbolic tensor; inside a shared model several symbols have the same.
        within: The calls of the nested models it lies in, outermost first.
        address: Its name for people.
        model: The `layerprobe.backend.Model` it belongs to, if any.
        shape: The batch first, None where it varies.
        dtype: Name of the dtype.
    """

    def __init__(
        self, tensor: Any, within: tuple[Any, ...] = (), address: str = "", model: Any = None
    ) -> None:
        super().__init__(tensor.shape, tensor.dtype, sparse=tensor.sparse, name=tensor.name)
        self.tensor = tensor
        self.within = within
        self.address = address
        self.model = model
        compat.share_history(tensor, self)

    def __repr__(self) -> str:
        return f"<Symbol {self.address or self.name} {self.shape} {self.dtype}>"


class Call(Protocol):
    """Something that runs: a layer or operation, or the way into a nested model."""

    def run(self, taken: Sequence[Any], *, training: bool) -> list[Any]:
        """Return the flat results for the flat values it takes."""
        ...


class Special(compat.Operation):  # type: ignore[misc]
    """An operation of ours in a Keras graph: no layer computes it, it runs as itself.

    Attributes:
        identity: Two operations of one identity compute the same from the same tensors.
    """

    identity: tuple[Any, ...]

    def run(self, taken: Sequence[Any], *, training: bool) -> list[Any]:
        """Return the flat results for the flat values it takes; see `Call.run`."""
        raise NotImplementedError

    def tensors(self, taken: Sequence[Any], specs: Sequence[Any]) -> list[Any]:
        """Return the symbolic results of applying this to symbolic tensors.

        Args:
            taken: The symbolic tensors it takes, maybe none.
            specs: Shape and dtype of each result.
        """
        results = [compat.KerasTensor(spec.shape, spec.dtype) for spec in specs]
        compat.record(self, taken, results)
        return results


@dataclass(frozen=True, eq=False)
class LayerCall:
    """One node of the Keras graph.

    `masked` are the positions of the tensors whose masks are taken besides.
    """

    operation: Any
    node: Any
    masked: tuple[int, ...]
    takes_training: bool

    @classmethod
    def of(cls, node: Any) -> LayerCall:
        """Return the call that a node of the graph records."""
        masked = tuple(position for position, _ in compat.masks_carried(node))
        return cls(node.operation, node, masked, compat_operations.takes_training(node.operation))

    @property
    def identity(self) -> tuple[Any, ...]:
        """Two calls of one identity compute the same from the same tensors."""
        return id(self.operation), compat.fixed_arguments(self.node)

    def arguments(self, taken: Sequence[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments of the call, from its tensors and then the masks they carry."""
        symbols = self.node.input_tensors
        for position, mask in zip(self.masked, taken[len(symbols) :], strict=True):
            compat.attach_mask(taken[position], mask)
        tensors = {id(t): value for t, value in zip(symbols, taken, strict=False)}
        return compat.fill_in(self.node, tensors)

    def run(self, taken: Sequence[Any], *, training: bool) -> list[Any]:
        """Call the layer as the node did, on the values taken: its tensors, then their masks."""
        args, kwargs = self.arguments(taken)
        if self.takes_training:
            # Keras' own predict sets it on every layer, even where the model was built otherwise.
            kwargs["training"] = training
        return compat.flatten(self.operation(*args, **kwargs))


@dataclass(frozen=True, eq=False)
class Entry:
    """The way into a nested model: an outer value in the dtype, rank and mask of its input."""

    tensor: Any

    def run(self, taken: Sequence[Any], *, training: bool) -> list[Any]:  # noqa: ARG002
        """Return the value (and then its mask, if one is taken) as the nested model's input."""
        if taken[0] is None:  # an optional input that was left out
            return [None]
        return [compat.enter(self.tensor, taken[0], taken[1] if len(taken) > 1 else None)]


class Tracer:
    """Numbers tensors by how they are computed.

    Attributes:
        calls: The distinct calls met, by number.
        takes: For each call, the numbers of the tensors it takes.
        gives: For each call, the number of each of its outputs that was met.
        maker: For each tensor, the call that makes it; None for a model input.
        spoken: For each tensor, where it was first met, to speak of it.
    """

    def __init__(self, symbols: Iterable[Symbol]) -> None:
        self.calls: list[Call] = []
        self.takes: list[tuple[int, ...]] = []
        self.gives: list[dict[int, int]] = []
        self.maker: list[int | None] = []
        self.spoken: list[Symbol] = []
        self._call_numbers: dict[Any, int] = {}
        self._roots: dict[int, int] = {}
        self._known: dict[tuple[tuple[int, ...], int], int] = {}
        models = {id(s.model): s.model for s in symbols if s.model is not None}
        self._models = list(models.values())
        self._entered = {
            _ids(s.within[: depth + 1])
            for s in _with_those_below(symbols)
            for depth in range(len(s.within))
        }

    def identify(self, within: Within, tensor: Any) -> int:
        """Return the number of a tensor; the same for all tensors computed alike."""
        # An explicit stack: real models are deeper than Python's own allows.
        stack = [(within, tensor)]
        while stack:
            here = stack[-1]
            needed = self._needs(*here)
            unknown = [place for place in needed if _key(*place) not in self._known]
            if unknown:
                stack += unknown
                continue
            stack.pop()
            if _key(*here) not in self._known:
                numbers = [self._known[_key(*place)] for place in needed]
                self._known[_key(*here)] = self._number(*here, numbers)
        return self._known[_key(within, tensor)]

    def name(self, number: int) -> str:
        """Return how to speak of a tensor: its address, or else its layer's name."""
        symbol = self.spoken[number]
        for model in self._models:
            address = model.address_of(symbol.within, symbol.tensor)
            if address:
                return str(address)
        operation, _, output = compat.history(symbol.tensor)
        path = [node.operation.name for node in symbol.within] + [operation.name]
        return "/".join(path) + (f":{output}" if output else "")

    def _needs(self, within: Within, tensor: Any) -> list[tuple[Within, Any]]:
        """Return the tensors that one is directly made of, with where they lie."""
        if isinstance(tensor, Symbol):
            return [(tensor.within, tensor.tensor)]
        operation, node, output = compat.history(tensor)
        if isinstance(operation, Special):
            return [(within, taken) for taken in node.input_tensors]
        if node.is_input:
            return self._outside(within, tensor) if within else []
        if _ids((*within, node)) in self._entered:
            return [((*within, node), compat.graph_outputs(compat.inlined(operation))[output])]
        masks = [mask for _, mask in compat.masks_carried(node)]
        return [(within, taken) for taken in (*node.input_tensors, *masks)]

    def _outside(self, within: Within, tensor: Any) -> list[tuple[Within, Any]]:
        """Return what the call of a nested model feeds to one of its inputs, and the mask."""
        node = within[-1]
        inputs = compat.graph_inputs(compat.inlined(node.operation))
        position = next(i for i, candidate in enumerate(inputs) if candidate is tensor)
        masks = compat.masks_fed(node)
        found = [compat.arguments_fed(node)[position]]
        if masks and masks[position] is not None:
            found.append(masks[position])
        return [(within[:-1], outer) for outer in found]

    def _number(self, within: Within, tensor: Any, needed: list[int]) -> int:
        if isinstance(tensor, Symbol):
            return needed[0]
        operation, node, output = compat.history(tensor)
        call: Call
        key: tuple[Any, ...]
        if isinstance(operation, Special):
            call, key = operation, operation.identity
        elif node.is_input:
            if not within:
                if id(tensor) not in self._roots:
                    self._roots[id(tensor)] = self._new_tensor(within, tensor, None)
                return self._roots[id(tensor)]
            outer = self.spoken[needed[0]].tensor
            if (
                len(needed) == 1
                and outer.dtype == tensor.dtype
                and len(outer.shape) == len(tensor.shape)
            ):
                return needed[0]
            call, output = Entry(tensor), 0
            key = (id(tensor),)
        elif _ids((*within, node)) in self._entered:
            return needed[0]
        else:
            call = LayerCall.of(node)
            key = call.identity
        number = self._call_numbers.setdefault((key, tuple(needed)), len(self.calls))
        if number == len(self.calls):
            self.calls.append(call)
            self.takes.append(tuple(needed))
            self.gives.append({})
        if output not in self.gives[number]:
            self.gives[number][output] = self._new_tensor(within, tensor, number)
        return self.gives[number][output]

    def _new_tensor(self, within: Within, tensor: Any, maker: int | None) -> int:
        self.maker.append(maker)
        self.spoken.append(Symbol(tensor, within))
        return len(self.maker) - 1


def _with_those_below(symbols: Iterable[Symbol]) -> Iterator[Symbol]:
    """Yield symbols, and those that the outer graph computes them from."""
    seen: set[int] = set()
    waiting: list[Any] = list(symbols)
    while waiting:
        tensor = waiting.pop()
        if id(tensor) in seen:
            continue
        seen.add(id(tensor))
        if isinstance(tensor, Symbol):
            yield tensor
            # What lies inside a nested model was made before any symbol of it.
            waiting += [] if tensor.within else [tensor.tensor]
        else:
            waiting += compat.history(tensor)[1].input_tensors


def _ids(nodes: Within) -> tuple[int, ...]:
    return tuple(id(node) for node in nodes)


def _key(within: Within, tensor: Any) -> tuple[tuple[int, ...], int]:
    return _ids(within), id(tensor)

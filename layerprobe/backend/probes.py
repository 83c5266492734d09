"""Addresses inside layers and models that have no graph: `probe` and `subclassed`."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from typing import Any

from layerprobe.addresses import parse, quote
from layerprobe.backend import compat, compat_calls, compat_state
from layerprobe.backend.calls import Symbol, Within
from layerprobe.backend.complaints import in_one_line
from layerprobe.backend.interception import (
    Survey,
    Tap,
    Target,
    call_of,
    survey,
)
from layerprobe.backend.missing import never_executed, not_capturable
from layerprobe.errors import BackendError, LayerNotFound, LayerprobeError


def probe(tensor: Any, address: str) -> Symbol:
    """Return a symbolic tensor for what a layer inside a call returns.

    The call is that of a layer without a graph: of a subclassed model, of a layer of one's own, of
    MultiHeadAttention. The function runs it once for all that is wanted inside, and no further than
    the last of it, unless its own outputs are wanted too.

    Args:
        tensor: A symbolic output of the call: `y = net(keras.Input((4,)))`, `model["encoder"]`.
        address: `PATH@CALL:OUTPUT`: the names of the layers inside each other, or of the attributes
            that hold them, with "/" between; which call of the last one, in the order in which
            they happen (it may be left out if there is but one); which of its outputs, by default
            the first. Example: "block/dense@1".

    Raises:
        LayerNotFound: There is no such layer, or it is called several times.
        BackendError: It is not called, or what it returns cannot be captured: it runs inside a
            loop or a branch of the engine.

    Example:
        >>> import keras, numpy as np
        >>> from layerprobe import backend as K
        >>> class Net(keras.Model):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.dense = keras.layers.Dense(3)
        ...     def call(self, x):
        ...         return keras.ops.sum(self.dense(self.dense(x)), axis=-1)
        >>> x = keras.Input((3,))
        >>> y = Net()(x)
        >>> inside = K.function([x], [K.probe(y, "dense@1"), y])
        >>> [result.shape for result in inside([np.ones((2, 3))])]
        [(2, 3), (2,)]
    """
    return _probe(tensor, address, None)


class Subclassed:
    """A model without a graph, with addresses for what is called inside of it.

    Attributes:
        keras: The Keras model.
        inputs: Its symbolic inputs, flat.
        outputs: Its symbolic outputs, flat.
    """

    def __init__(self, keras_model: Any, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
        self.keras = keras_model
        self.inputs = [Symbol(t, (), quote(t.name), self) for t in inputs]
        self.outputs = [
            Symbol(t, (), quote(keras_model.name) + (f":{i}" if i else ""), self)
            for i, t in enumerate(outputs)
        ]

    @property
    def addresses(self) -> list[str]:
        """The addresses of all outputs of all calls inside that can be captured."""
        _, node, _ = compat.history(self.outputs[0].tensor)
        return list(_addresses(self.keras, _survey(node)))

    def __getitem__(self, address: str) -> Symbol:
        """Return the symbolic tensor of what a layer inside returns; see `probe`."""
        return _probe(self.outputs[0], address, self)

    def address_of(self, within: Within, tensor: Any) -> str | None:
        """Return how to speak of a symbolic tensor of this model, or None if it is none."""
        for symbol in (*self.inputs, *self.outputs):
            if not within and symbol.tensor is tensor:
                return symbol.address
        operation = compat.history(tensor)[0]
        return operation.target.path if isinstance(operation, Tap) else None


def subclassed(keras_model: Any, example: Any) -> Subclassed:
    """Return a model without a graph, with addresses for what is called inside of it.

    Args:
        keras_model: A subclassed `keras.Model` or layer.
        example: What it is called on, nested as it takes it: arrays with rows first, whose number
            may then vary; or symbolic tensors.

    Raises:
        BackendError: It cannot be called on such tensors, or has a graph and needs none of this.

    Example:
        >>> net = subclassed(MyNet(), np.zeros((1, 32, 32, 3)))  # doctest: +SKIP
        >>> net.addresses  # doctest: +SKIP
        ['block/conv', 'block/norm@0', 'block/norm@1', 'head']
        >>> K.function(net.inputs, ["block/norm@1"])([images])  # doctest: +SKIP
    """
    given = compat.mapped(_as_input, example)
    try:
        outputs = compat.flatten(keras_model(given))
    except LayerprobeError:
        raise
    except Exception as error:  # whatever the model's own code raises
        raise BackendError(
            f"{keras_model.name} cannot be called on symbolic tensors: {in_one_line(error)}",
            expected="a call written in layers and keras.ops, and an example it can be called on",
        ) from error
    _refuse_graph(keras_model)
    return Subclassed(keras_model, compat.flatten(given), outputs)


def _probe(tensor: Any, address: str, model: Subclassed | None) -> Symbol:
    within = tensor.within if isinstance(tensor, Symbol) else ()
    around = tensor.address if isinstance(tensor, Symbol) and model is None else ""
    operation, node, _ = compat.history(tensor.tensor if isinstance(tensor, Symbol) else tensor)
    _refuse_graph(operation)
    call, taken = call_of(node)
    target, spec = _resolved(operation, _survey(node), address)
    result = Tap(call, target).tensors(taken, [spec])[0]
    name = f"{around}/{target.path}" if around else target.path
    return Symbol(result, within, name, model or getattr(tensor, "model", None))


def _refuse_graph(operation: Any) -> None:
    if compat.inlined(operation) is not None:
        raise BackendError(
            f"{operation.name} has a graph of its own.",
            expected="a layer or a model whose inside Keras does not know",
            fix="Take its tensors themselves: layer.output, or model['address'] of a loaded model.",
        )
    if not compat_state.is_layer(operation):
        raise BackendError(
            f"{operation.name} is no layer: there is nothing inside.",
            expected="the output of a layer or a model without a graph",
        )


def _survey(node: Any) -> Survey:
    try:
        return survey(node)
    except Exception as error:  # whatever the model's own code raises
        raise BackendError(
            f"{node.operation.name} fails when it is run to see inside: {in_one_line(error)}"
        ) from error


def _resolved(outer: Any, found: Survey, address: str) -> tuple[Target, Any]:
    """Return what an address means, and the shape and dtype of it."""
    elements, output = parse(address) or ([], 0)
    inner = any(call is not None for _, call in elements[:-1])
    if not elements or inner or isinstance(output, str):
        raise LayerNotFound(
            f"{address!r} is no address inside {outer.name}.",
            expected="names with '/' between, then '@' and a call number, ':' and an output number",
            address=address,
        )
    layer = outer
    for depth, (name, _) in enumerate(elements):
        inside = compat_calls.sublayer(layer, name)
        if len(inside) != 1:
            raise _not_found(outer, found, address, len(inside))
        layer = inside[0]
        if compat_calls.loops(layer) and depth + 1 < len(elements):
            why = f"it runs in the loop over time of {layer.name}; unroll=True would unroll it"
            raise not_capturable(address, why)
    return _of_layer(layer, found, address, elements[-1][1], output)


def _of_layer(
    layer: Any, found: Survey, address: str, number: int | None, output: int
) -> tuple[Target, Any]:
    if id(layer) in found.looped:
        raise not_capturable(address, found.looped[id(layer)])
    calls = found.calls[id(layer)]
    if number is None and len(calls) > 1:
        path = address.partition(":")[0]
        some = ", ".join(f"{path}@{n}" for n in range(min(len(calls), 8)))
        raise LayerNotFound(
            f"{address!r} is called {len(calls)} times.",
            expected=f"one of {some}{', …' if len(calls) > 8 else ''}",
            address=address,
        )
    if (number or 0) >= len(calls):
        raise never_executed(address, len(calls))
    specs = calls[number or 0]
    spec = specs[output] if output < len(specs) else None
    if spec is None:
        raise LayerNotFound(
            f"{address!r} is no tensor: the call has {len(specs)} outputs.",
            expected="the number of an output that is a tensor",
            address=address,
        )
    target = Target(layer, number or 0, output, address)
    return target, compat.KerasTensor(spec[0], spec[1], sparse=spec[2])


def _not_found(outer: Any, found: Survey, address: str, count: int) -> LayerNotFound:
    known = list(_addresses(outer, found))
    near = difflib.get_close_matches(address, known, n=3) or known[:3]
    what = "names several layers of" if count else "is no layer inside"
    return LayerNotFound(
        f"{address!r} {what} {outer.name}.",
        expected="a path of names of layers, or of the attributes that hold them",
        fix=f"Near it: {', '.join(near)}." if near else "",
        address=address,
        near=near,
    )


def _addresses(outer: Any, found: Survey) -> Iterator[str]:
    """Yield the addresses of all that can be captured, each layer's by the first way to it."""
    seen: set[int] = set()
    waiting = [(layer, quote(layer.name)) for layer in compat_calls.sublayers(outer)]
    while waiting:
        layer, path = waiting.pop(0)
        if id(layer) in seen:
            continue
        seen.add(id(layer))
        calls = [] if id(layer) in found.looped else found.calls[id(layer)]
        for number, specs in enumerate(calls):
            at = f"{path}@{number}" if len(calls) > 1 else path
            yield from (f"{at}:{i}" if i else at for i, spec in enumerate(specs) if spec)
        inside = [] if compat_calls.loops(layer) else compat_calls.sublayers(layer)
        waiting = [(inner, f"{path}/{quote(inner.name)}") for inner in inside] + waiting


def _as_input(leaf: Any) -> Any:
    """Return a symbolic tensor for an example."""
    if compat.is_symbolic(leaf):
        return leaf
    shape, dtype = tuple(leaf.shape), str(leaf.dtype)
    return compat.new_input((None, *shape[1:]), dtype=None if dtype == "float64" else dtype)

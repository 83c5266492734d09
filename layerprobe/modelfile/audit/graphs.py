"""TensorFlow's graphs judged by their operations, from the bytes alone; none is run.

Sources: tensorflow/core/framework/{graph,node_def,function,tensor}.proto and
core/protobuf/{saved_model,meta_graph,saver}.proto.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from layerprobe.modelfile.audit.findings import Finding, short
from layerprobe.modelfile.audit.ops import COMPUTE, PYTHON, SAVING, does_io
from layerprobe.modelfile.wire import Fields, fields, messages, text, whole

_SHOWN = 5
_MOST_EXPANSION, _SMALL = 200, 16 << 20
_FUNCTION, _FUNCTIONS = b"\x52", b"\x4a"  # what the fields of functions begin with


@dataclass(frozen=True)
class Node:
    """An operation of a graph: its name, its kind, what it takes, the functions it calls."""

    name: str
    op: str
    inputs: tuple[str, ...]
    calls: frozenset[str]
    attributes: Mapping[str, bytes]


@dataclass(frozen=True)
class Graph:
    """The operations of a graph, and those of its functions by name."""

    nodes: tuple[Node, ...]
    functions: Mapping[str, tuple[Node, ...]]


def graph_of(data: bytes) -> Graph:
    """Return a graph.

    Raises:
        ValueError: The bytes are none.
    """
    found = fields(data)
    functions = {}
    for library in messages(found, 2):
        for function in messages(fields(library), 1):
            inner = fields(function)
            name = text(fields(b"".join(messages(inner, 1))), 1)
            functions[name] = tuple(_node(node) for node in messages(inner, 3))
    return Graph(tuple(_node(node) for node in messages(found, 1)), functions)


def saved_model_findings(data: bytes) -> list[Finding]:
    """Judge the graphs of a saved_model.pb.

    Raises:
        ValueError: The bytes are none.
    """
    found: list[Finding] = []
    for meta in messages(fields(data), 2):
        inner = fields(meta)
        for asset in messages(inner, 6):
            name = text(fields(asset), 2)
            if name.startswith("/") or ".." in name.replace("\\", "/").split("/"):
                found.append(Finding("graph-asset", "an asset", f"its name is {short(name)!r}"))
        for data_of_graph in messages(inner, 2):
            graph = graph_of(data_of_graph)
            found += graph_findings(graph, _saving(graph, inner))
    return found


def graph_findings(graph: Graph, saving: frozenset[str] = frozenset()) -> list[Finding]:
    """Judge a graph.

    Args:
        graph: The graph.
        saving: Names of the nodes and functions that save and restore the variables.
    """
    found: dict[str, Counter[str]] = {}
    bombs: list[Finding] = []
    parts = {"": graph.nodes, **graph.functions}
    for function, nodes in parts.items():
        for node in nodes:
            allowed = node.op in SAVING and (function or node.name) in saving
            if not (allowed or node.op in COMPUTE or node.op in graph.functions):
                found.setdefault(_kind(node.op), Counter())[node.op] += 1
            bombs += _bomb(node)
    told = [Finding(rule, "the graph", _listed(ops)) for rule, ops in found.items()]
    return told + bombs[:_SHOWN]


def _kind(op: str) -> str:
    if op in PYTHON:
        return "graph-python"
    return "graph-io" if does_io(op) else "graph-operation"


def _listed(ops: Counter[str]) -> str:
    shown = ", ".join(f"{short(op)} ({count})" for op, count in ops.most_common(_SHOWN))
    more = f" and {len(ops) - _SHOWN} more" if len(ops) > _SHOWN else ""
    return f"it holds {shown}{more}"


def _node(data: bytes) -> Node:
    found = fields(data)
    attributes = {}
    for entry in messages(found, 5):
        pair = fields(entry)
        attributes[text(pair, 1)] = b"".join(messages(pair, 2))
    calls = frozenset(name for value in attributes.values() for name in _called(value))
    return Node(
        text(found, 1),
        text(found, 2),
        tuple(name.decode("utf-8", "replace") for name in messages(found, 3)),
        calls | {text(found, 2)},
        attributes,
    )


def _called(value: bytes) -> Iterator[str]:
    """Yield the functions that an attribute names, alone or in a list."""
    if _FUNCTION not in value and _FUNCTIONS not in value:
        return  # nearly all: parsing each takes most of the time
    try:
        found = fields(value)
        for function in messages(found, 10):
            yield text(fields(function), 1)
        for listed in messages(found, 1):
            for function in messages(fields(listed), 9):
                yield text(fields(function), 1)
    except ValueError:
        return  # an attribute of bytes of its own


def _saving(graph: Graph, meta: Fields) -> frozenset[str]:
    """Return the nodes and functions of which the saver consists, and nothing else.

    The saver's own tensors say where it begins; graphs of TensorFlow 1 hold those of several. What
    also leads to a signature's output or to an operation that loading runs, or is called from
    elsewhere, is no part of it, so that nobody can hide there.
    """
    nodes = {node.name: node for node in graph.nodes}
    saver = fields(b"".join(messages(meta, 3)))
    ends = {_bare(text(saver, number)) for number in (1, 2, 3)} - {""}
    own = {*_before(ends, nodes), *(node.name for node in graph.nodes if node.op in SAVING)}
    taken = {_bare(name) for signature in messages(meta, 5) for name in _ends(signature)}
    taken |= {_bare(name) for collection in messages(meta, 4) for name in _listed_in(collection)}
    own -= set(_before(taken, nodes))
    inside = set(_calls((called for name in own for called in nodes[name].calls), graph))
    others = [node for node in graph.nodes if node.name not in own]
    # Methods of the program's objects, which call functions without a node of the graph.
    methods = [
        text(fields(entry), 1)
        for objects in messages(meta, 7)
        for entry in messages(fields(objects), 2)
    ]
    outside = set(_calls([*methods, *(name for node in others for name in node.calls)], graph))
    return frozenset(own | (inside - outside))


def _before(names: Iterable[str], nodes: Mapping[str, Node]) -> Iterator[str]:
    waiting, seen = list(names), set()
    while waiting:
        name = waiting.pop()
        if name in seen or name not in nodes:
            continue
        seen.add(name)
        yield name
        waiting += [_bare(given) for given in nodes[name].inputs]


def _calls(names: Iterable[str], graph: Graph) -> Iterator[str]:
    waiting, seen = list(names), set()
    while waiting:
        name = waiting.pop()
        if name not in seen and name in graph.functions:
            seen.add(name)
            yield name
            waiting += [called for node in graph.functions[name] for called in node.calls]


def _ends(signature: bytes) -> Iterator[str]:
    """Yield the tensors that a signature returns."""
    for definition in messages(fields(signature), 2):
        for output in messages(fields(definition), 2):
            for tensor in messages(fields(output), 2):
                yield text(fields(tensor), 1)


def _listed_in(collection: bytes) -> Iterator[str]:
    """Yield the operations that a collection names."""
    for definition in messages(fields(collection), 2):
        for listed in messages(fields(definition), 1):
            yield from (name.decode("utf-8", "replace") for name in messages(fields(listed), 1))


def _bare(tensor: str) -> str:
    return tensor.removeprefix("^").partition(":")[0]


def _bomb(node: Node) -> Iterator[Finding]:
    """Compare what a constant declares with what it stores: one value may stand for all."""
    for tensor in messages(_attribute(node, "value"), 8):
        found = fields(tensor)
        sizes = [whole(fields(d), 1) for s in messages(found, 2) for d in messages(fields(s), 2)]
        declared = 4 * math.prod(sizes)
        if declared > max(_SMALL, _MOST_EXPANSION * len(tensor)):
            what = f"declares {declared:,} bytes, stores {len(tensor):,}"
            yield Finding("graph-bomb", f"constant {short(node.name)!r}", what)


def _attribute(node: Node, name: str) -> Fields:
    if node.op != "Const":
        return {}
    return fields(node.attributes.get(name, b""))

"""SavedModels and frozen graphs, their protocol buffers written by hand: no TensorFlow."""

from __future__ import annotations

from hostile import REFUSE, TRUST, Case


def varint(value):
    """Return a number in the variable length of protocol buffers."""
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


def field(number, value):
    """Return a field: a number, text, or a message."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def entry(key, value):
    """Return an entry of a map."""
    return field(1, key) + field(2, value)


def node(name, op, *inputs, calls=""):
    """Return an operation, maybe with the function it calls."""
    called = field(5, entry("f", field(10, field(1, calls)))) if calls else b""
    given = b"".join(field(3, one) for one in inputs)
    return field(1, name) + field(2, op) + given + called


def function(name, *nodes):
    """Return a function of a graph's library."""
    return field(1, field(1, name)) + b"".join(field(3, one) for one in nodes)


def graph(nodes, functions=()):
    """Return a graph."""
    library = field(2, b"".join(field(1, one) for one in functions)) if functions else b""
    return b"".join(field(1, one) for one in nodes) + library


def saved_model(place, inner, *, saver=b"", output="x:0", more=b""):
    """Write a SavedModel folder of one graph, with a signature that returns one tensor."""
    folder = place.folder / "saved"
    (folder / "variables").mkdir(parents=True)
    tensor = field(2, entry("y", field(1, output)))
    meta = field(2, inner) + saver + field(5, entry("serving_default", tensor)) + more
    (folder / "saved_model.pb").write_bytes(field(1, 1) + field(2, meta))
    return folder


def holding(op):
    """Return a maker of a SavedModel whose graph holds an operation."""
    return lambda place: saved_model(place, graph([node("x", op)]))


def in_function(op):
    """Return a maker of a SavedModel with the operation in a function of a function."""
    library = [function("f", node("a", "PartitionedCall", calls="g")), function("g", node("b", op))]
    return lambda place: saved_model(
        place, graph([node("x", "StatefulPartitionedCall", calls="f")], library)
    )


def _saver():
    return field(3, field(1, "name:0") + field(2, "save:0") + field(3, "restore"))


def disguised(place):
    """Hide a write in a function named like the saver's, which the signature calls."""
    library = [function("__inference__traced_save_9", node("w", "SaveV2"))]
    nodes = [
        node("name", "Placeholder"),
        node("x", "StatefulPartitionedCall", calls="__inference__traced_save_9"),
        node("save", "StatefulPartitionedCall", "name", calls="__inference__traced_save_9"),
        node("restore", "NoOp"),
    ]
    return saved_model(place, graph(nodes, library), saver=_saver())


def method(place):
    """Call the saver's function as a method of the program's objects."""
    library = [function("s", node("w", "SaveV2"))]
    nodes = [
        node("x", "Placeholder"),
        node("name", "Placeholder"),
        node("save", "StatefulPartitionedCall", "name", calls="s"),
        node("restore", "NoOp"),
    ]
    objects = field(7, field(2, entry("s", b"")))
    return saved_model(place, graph(nodes, library), saver=_saver(), more=objects)


def behind_signature(place):
    """Let the signature's output wait for a node that saves."""
    nodes = [node("x", "Identity", "^w"), node("w", "SaveV2")]
    return saved_model(place, graph(nodes))


def at_loading(place):
    """Let loading run a node that saves."""
    main = field(4, entry("saved_model_main_op", field(1, field(1, "w"))))
    nodes = [node("x", "Placeholder"), node("w", "SaveV2")]
    return saved_model(place, graph(nodes), more=main)


def asset(place):
    """Name an asset outside of the folder."""
    file = field(6, field(1, b"") + field(2, "../../secret"))
    return saved_model(place, graph([node("x", "Placeholder")]), more=file)


def bomb(place):
    """Declare a constant of petabytes by one value."""
    shape = field(2, field(2, field(1, 1 << 50)))
    constant = node("x", "Const") + field(5, entry("value", field(8, field(1, 1) + shape)))
    return saved_model(place, graph([constant]))


def frozen(op):
    """Return a maker of a frozen graph with an operation."""

    def made(place):
        path = place.folder / "frozen.pb"
        path.write_bytes(graph([node("x", "Placeholder"), node("y", op, "x")]))
        return path

    return made


_IO = """
    ReadFile WriteFile MatchingFiles PrintV2 SaveV2 RestoreV2 TextFileDatasetV2 TFRecordDatasetV2
    InitializeTableFromTextFileV2 LoadDataset SaveDatasetV2 WholeFileReaderV2 DebugIdentityV2
    WriteSummary FixedUnigramCandidateSampler DecodeProtoV2 RemoteCall _Send IteratorV2
    """.split()
CASES = [
    *(Case(f"{op} in a graph", TRUST, "graph-io", holding(op)) for op in _IO),
    *(Case(f"{op} in a graph", TRUST, "graph-python", holding(op))
      for op in ("PyFunc", "EagerPyFunc", "PyFuncStateless")),
    Case("unknown operation", TRUST, "graph-operation", holding("TheirCustomKernel")),
    Case("write in a function", TRUST, "graph-io", in_function("WriteFile")),
    Case("python in a function", TRUST, "graph-python", in_function("EagerPyFunc")),
    Case("write named like the saver", TRUST, "graph-io", disguised),
    Case("saver called as a method", TRUST, "graph-io", method),
    Case("write behind a signature", TRUST, "graph-io", behind_signature),
    Case("write at loading", TRUST, "graph-io", at_loading),
    Case("asset outside", REFUSE, "graph-asset", asset),
    Case("constant of petabytes", REFUSE, "graph-bomb", bomb),
    Case("frozen graph that writes", TRUST, "graph-io", frozen("WriteFile")),
    Case("frozen graph with python", TRUST, "graph-python", frozen("PyFunc")),
]  # fmt: skip

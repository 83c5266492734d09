"""Graphs are read from the configs of every Keras, and damaged ones are refused as such."""

from __future__ import annotations

import copy
import json

import pytest
from model_files import (
    INPUT,
    called,
    dense,
    functional,
    merge,
    old,
    old_model,
    sequential,
    tensor,
    write_h5,
    write_keras,
)

import layerprobe
from layerprobe.errors import LayerprobeError, ModelError, TrustError
from layerprobe.modelfile import configs
from layerprobe.modelfile.graph import Edge


def listed(config, tmp_path):
    """Return the listing of a model without weights."""
    return layerprobe.list_layers(write_h5(tmp_path / "m.h5", config, {}))


def lines(model):
    """Return index, address, shape and sources of every row."""
    return [(row.index, row.address, row.output_shape, row.inbound) for row in model.table]


def test_calls_of_keras_2_are_lists(tmp_path):
    """Layer, call, output and keyword arguments of each input are read from nested lists."""
    config = old_model(
        old(dense("a"), [["rows", 0, 0, {}]], [["a", 0, 0, {}]]),
        old(merge("sum"), [["a", 0, 0, {}], ["a", 1, 0, {"training": False}]]),
        outputs=[["sum", 0, 0], ["a", 0, 0]],
    )
    model = listed(config, tmp_path)
    assert lines(model) == [
        (0, "rows", (None, 3), ()),
        (1, "a@0", (None, 2), ("rows",)),
        (1, "a@1", (None, 2), ("a@0",)),
        (2, "sum", (None, 2), ("a@0", "a@1")),
    ]
    assert [spec.name for spec in model.outputs] == ["sum", "a@0"]
    assert model.graph.layers["sum"].calls[0].kwargs == {"training": False}


def test_a_single_input_may_stand_by_itself(tmp_path):
    """One input need not be a list of inputs, and inputs may be given by name."""
    config = old_model(
        old(dense("a"), ["rows", 0, 0, {}]),
        old(merge("sum"), {"y": ["rows", 0, 0, {}], "x": ["a", 0, 0, {}]}),
        outputs=[["sum", 0, 0]],
    )
    assert [row.inbound for row in listed(config, tmp_path).table][1:] == [
        ("rows",),
        ("rows", "a"),
    ]


@pytest.mark.parametrize("offset", [0, 1])
def test_nested_models_of_keras_2_may_count_calls_from_one(offset, tmp_path):
    """To some versions the building of a nested model was its call 0; a reference shows it."""
    inner = old_model(old(dense("in"), [["rows", 0, 0, {}]]), outputs=[["in", 0, 0]], name="net")
    config = old_model(
        old(inner, [["rows", 0, 0, {}]], [["net", offset, 0, {}]]),
        old(merge("sum"), [["net", offset, 0, {}], ["net", 1 + offset, 0, {}]]),
        outputs=[["net", 1 + offset, 0]],
    )
    model = listed(config, tmp_path)
    assert [(row.address, row.inbound) for row in model.table] == [
        ("rows", ()),
        ("net@0", ("rows",)),
        ("net@0/rows", ("rows",)),
        ("net@0/in", ("net@0/rows",)),
        ("net@1", ("net@0",)),
        ("net@1/rows", ("net@0",)),
        ("net@1/in", ("net@1/rows",)),
        ("sum", ("net@0", "net@1")),
    ]
    assert [spec.name for spec in model.outputs] == ["net@1"]


def test_keras_3_counts_from_one_at_the_outputs_alone(tmp_path):
    """In `output_layers` call 1 of a Functional model is its first, of a Sequential its second."""
    inner = functional(called(dense("in"), tensor("rows")), outputs=[["in", 0, 0]], name="net")
    twice = (tensor("rows"), tensor("net", shape=(None, 2)))
    model = listed(functional(called(inner, *twice), outputs=[["net", 1, 0]]), tmp_path)
    assert [spec.name for spec in model.outputs] == ["net@0"]
    chain = sequential(INPUT, dense("in"), name="net")
    model = listed(functional(called(chain, *twice), outputs=[["net", 1, 0]]), tmp_path)
    assert [spec.name for spec in model.outputs] == ["net@1"]


@pytest.mark.parametrize(
    ("layers", "name", "shape", "dtype"),
    [
        ([INPUT, dense()], "rows", (None, 3), "float32"),
        ([dense(batch_input_shape=[None, 5])], "dense_input", (None, 5), "float32"),
        ([dense(batch_input_shape=[7, 5], dtype="float16")], "dense_input", (7, 5), "float16"),
        ([dense()], "dense_input", None, "float32"),
        (
            [{"class_name": "Embedding",
              "config": {"name": "e", "input_dim": 9, "output_dim": 2,
                         "batch_input_shape": [None, 4], "dtype": "float32"}}],
            "e_input", (None, 4), "int32",
        ),
        ([], "sequential_input", None, "float32"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("bare", [True, False])
def test_every_sequential_has_an_input(layers, name, shape, dtype, bare, tmp_path):
    """Where the config has no InputLayer its shape and name come from the first layer."""
    config = {"class_name": "Sequential", "config": layers if bare else {"layers": layers}}
    model = listed(config, tmp_path)
    assert [(s.name, s.shape, s.dtype) for s in model.inputs] == [(name, shape, dtype)]
    # model.layers of Keras does not count a Sequential's InputLayer.
    assert [row.index for row in model.table] == [None, *range(len(model.table) - 1)]


def test_operations_are_no_layers(tmp_path):
    """A bare operation has a row but no number, by its module or, without one, by its config."""
    operation = {"class_name": "Add", "config": {"name": "plus"}}
    config = functional(
        called(operation | {"module": "keras.src.ops.numpy"}, tensor("rows")),
        called(merge("sum") | {"module": "keras.layers"}, tensor("plus")),
        outputs=[["sum", 0, 0]],
    )
    assert [(r.index, r.address) for r in listed(config, tmp_path).table] == [
        (0, "rows"),
        (None, "plus"),
        (1, "sum"),
    ]
    for layer in config["config"]["layers"]:
        layer.pop("module", None)
    assert [row.index for row in listed(config, tmp_path).table] == [0, None, 1]


def test_only_the_trainable_in_the_trainable_is_trainable(tmp_path):
    """A layer counts as trainable if it and every model around it are."""
    frozen = sequential(INPUT, dense("in"), name="net")
    frozen["config"]["trainable"] = False
    config = functional(
        called(dense("a", trainable=False), tensor("rows")),
        called(frozen, tensor("a")),
        called(dense("b"), tensor("net")),
        outputs=[["b", 0, 0]],
    )
    trainable = {row.address: row.trainable for row in listed(config, tmp_path).table}
    assert trainable == {
        "rows": True, "a": False, "net": False, "net/rows": False, "net/in": False, "b": True,
    }  # fmt: skip


TWO = (called(dense("a"), tensor("b")), called(dense("b"), tensor("a")))
DAMAGED = {
    "a loop": (functional(*TWO, outputs=[["b", 0, 0]]), "a loop or a missing part at: a, b"),
    "no such layer": (functional(outputs=[["gone", 0, 0]]), "contradicts itself: KeyError: 'gone'"),
    "no such source": (
        functional(called(dense(), tensor("gone")), outputs=[["dense", 0, 0]]),
        "contradicts itself: KeyError: 'gone'",
    ),
    "no such call": (
        functional(called(dense(), tensor("rows", 1)), outputs=[["dense", 0, 0]]),
        "there is no call 1 of layer 'rows'",
    ),
    "a negative output": (
        functional(called(dense(), tensor("rows", 0, -1)), outputs=[["dense", 0, 0]]),
        "contradicts itself",
    ),
    "twins": (
        functional(*2 * [called(dense(), tensor("rows"))], outputs=[["dense", 0, 0]]),
        "two layers are named 'dense'",
    ),
    "twins in a chain": (sequential(INPUT, dense(), dense()), "two layers are named 'dense'"),
    "no class": (sequential({"config": {"name": "a"}}), "itself: KeyError: 'class_name'"),
    "a subclass": ({"class_name": "VAE", "config": {}}, "of class 'VAE' does not list its layers"),
    "a subclass of Model": ({"class_name": "Model", "config": {"name": "m"}}, "does not list"),
}


@pytest.mark.parametrize("kind", DAMAGED)
@pytest.mark.parametrize("write", [write_h5, write_keras])
def test_graphs_that_make_no_sense_are_refused(kind, write, tmp_path):
    """The error names the layer, ends with 65, and comes when the file is opened."""
    config, said = DAMAGED[kind]
    with pytest.raises(ModelError) as caught:
        layerprobe.list_layers(write(tmp_path / "m", config))
    assert said in str(caught.value)
    assert caught.value.exit_code == 65


def test_models_nested_without_end_are_refused(tmp_path):
    """A thousand models in one another, as no program writes them, are damage and no crash."""
    opening = '{"class_name": "Sequential", "config": {"name": "net", "layers": ['
    found = {}
    for depth in (10, 50, 100, 200, 300, 320, 340, 1000, 100_000):
        config = opening * depth + json.dumps(dense()) + "]}}" * depth
        try:
            found[depth] = len(listed(config, tmp_path).table)
        except ModelError:
            found[depth] = 0
    assert (found[10], found[50]) == (20, 100)
    assert found[1000] == found[100_000] == 0


@pytest.mark.parametrize("by", ["calls", "outputs"])
def test_small_files_of_endless_rows_are_refused(by, tmp_path):
    """Rows out of all proportion end with 77 before any is made: doubled models, huge numbers."""
    if by == "outputs":
        config = functional(called(dense(), tensor("rows")), outputs=[["dense", 0, 10**12]])
    else:
        config = sequential(INPUT, dense())
        for depth in range(40):
            inner = config | {"config": config["config"] | {"name": f"n{depth}"}}
            twice = called(inner, tensor("rows"), tensor("rows"))
            config = functional(twice, outputs=[["rows", 0, 0]])
    with pytest.raises(TrustError, match=r"describes [0-9,]+ layer outputs") as caught:
        layerprobe.list_layers(write_h5(tmp_path / "m.h5", config, {}))
    assert caught.value.exit_code == 77


JUNK = (None, True, -1, 10**9, 1.5, "x", [], {}, [None], [["x", "y", "z"]], {"class_name": "x"})
SAMPLE = functional(
    called(sequential(INPUT, dense("in"), name="net"), tensor("rows"), tensor("rows")),
    called(merge("sum"), [tensor("net", 0, shape=(None, 2)), tensor("net", 1, shape=(None, 2))]),
    outputs=[["sum", 0, 0], ["net", 0, 0]],
)
OLD_SAMPLE = old_model(
    old(dense("a"), [["rows", 0, 0, {"training": False}]]), outputs=[["a", 0, 0]]
)


def spoiled(config):
    """Yield the config with each of its values replaced by junk, and left out, one at a time."""

    def walk(node):
        keys = list(node) if isinstance(node, dict) else range(len(node))
        for key in keys:
            yield node, key
            if isinstance(node[key], (dict, list)):
                yield from walk(node[key])

    config = copy.deepcopy(config)
    for node, key in walk(config):
        kept = node[key]
        for junk in JUNK:
            node[key] = junk
            yield config
        node[key] = kept


@pytest.mark.parametrize("config", [SAMPLE, OLD_SAMPLE, sequential()], ids=["3", "2", "chain"])
def test_junk_anywhere_raises_nothing_else(config, tmp_path):
    """Whatever stands in the place of any value, a listing comes out as JSON, or our errors."""
    path = write_h5(tmp_path / "m.h5", config, {})
    contents = layerprobe.list_layers(path).contents
    outcomes = {True: 0, False: 0}
    for junk in spoiled(config):
        object.__setattr__(contents, "config", copy.deepcopy(junk))
        try:
            json.dumps(layerprobe.ModelFile(contents).to_json())
        except LayerprobeError:
            outcomes[False] += 1
        else:
            outcomes[True] += 1
    assert min(outcomes.values()) > 20


def test_tensors_keep_what_the_file_says_of_them():
    """Shape and dtype on an edge of Keras 3 are kept with it, tuples and dicts around it too."""
    node = {
        "args": [{"class_name": "__tuple__", "items": [tensor("rows"), {"b": tensor("a", 1, 2)}]}],
        "kwargs": {"mask": None},
    }
    config = functional(
        called(dense("a"), tensor("rows"), tensor("rows"))
        | {"inbound_nodes": 2 * [{"args": [tensor("rows")], "kwargs": {}}]},
        merge("sum") | {"inbound_nodes": [node]},
        outputs=[["sum", 0, 0]],
    )
    call = configs.parse(config).layers["sum"].calls[0]
    assert call.args == (
        (
            Edge("rows", 0, 0, (None, 3), "float32"),
            {"b": Edge("a", 1, 2, (None, 3), "float32")},
        ),
    )
    assert call.kwargs == {"mask": None}

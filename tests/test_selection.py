"""Selecting rows: every address finds its row, and a wrong one says what is near."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest
from address_names import ANY_NAME
from hypothesis import given
from hypothesis import strategies as st

from layerprobe.addresses import quote
from layerprobe.errors import LayerNotFound
from layerprobe.layers import LayerOutput, LayerTable


def row(
    address: str,
    index: int | None = None,
    *,
    path: Sequence[tuple[str, int]] = (),
    output: int = 0,
    class_name: str = "Dense",
) -> LayerOutput:
    """Return a row of which only what selection looks at is told."""
    return LayerOutput(
        address=address,
        index=index,
        path=tuple(path) or ((address, 0),),
        output=output,
        class_name=class_name,
        output_shape=(None, 4),
        dtype="float32",
        params=0,
        trainable=True,
        inbound=(),
    )


# Two images through one encoder, a recurrent layer with three outputs, a model called twice.
TABLE = LayerTable(
    (
        row("left", 0, class_name="InputLayer"),
        row("right", 1, class_name="InputLayer"),
        row("encoder@0", 2, path=[("encoder", 0)], class_name="Functional"),
        row("encoder@0/conv1", path=[("encoder", 0), ("conv1", 0)], class_name="Conv2D"),
        row("encoder@0/deep/conv1", path=[("encoder", 0), ("deep", 0), ("conv1", 0)]),
        row("encoder@0/deep/twice@0", path=[("encoder", 0), ("deep", 0), ("twice", 0)]),
        row("encoder@0/deep/twice@1", path=[("encoder", 0), ("deep", 0), ("twice", 1)]),
        row("encoder@1", 2, path=[("encoder", 1)], class_name="Functional"),
        row("encoder@1/conv1", path=[("encoder", 1), ("conv1", 0)], class_name="Conv2D"),
        row("encoder@1/deep/conv1", path=[("encoder", 1), ("deep", 0), ("conv1", 0)]),
        row("encoder@1/deep/twice@0", path=[("encoder", 1), ("deep", 0), ("twice", 0)]),
        row("encoder@1/deep/twice@1", path=[("encoder", 1), ("deep", 0), ("twice", 1)]),
        row("lstm", 3, class_name="LSTM"),
        row("lstm:1", 3, path=[("lstm", 0)], output=1, class_name="LSTM"),
        row("lstm:2", 3, path=[("lstm", 0)], output=2, class_name="LSTM"),
        row("block1%2Fconv", 4, path=[("block1/conv", 0)], class_name="Conv2D"),
        row("%33", 5, path=[("3", 0)]),
        row("%61ll", 6, path=[("all", 0)]),
        row("a.b", 7),
        row("add", None, class_name="Add"),
    )
)


def selected(*patterns: str) -> list[str]:
    """Return the addresses that patterns select from TABLE."""
    return [found.address for found in TABLE.select(patterns)]


def refused(pattern: str, table: LayerTable = TABLE) -> LayerNotFound:
    """Return the error that a pattern ends in."""
    with pytest.raises(LayerNotFound) as caught:
        table.select([pattern])
    return caught.value


@given(st.lists(ANY_NAME, unique=True, min_size=1, max_size=8))
def test_layers_of_any_names_can_be_selected_one_by_one(names):
    """Each row is found by its address alone, even if names look like other forms of address."""
    table = LayerTable(tuple(row(quote(n), i, path=[(n, 0)]) for i, n in enumerate(names)))
    for at, name in enumerate(names):
        assert [found.path for found in table.select([quote(name)])] == [((name, 0),)]
        assert table.find(str(at)) is table[at]
        assert table.find(str(at - len(names))) is table[at]


@pytest.mark.parametrize("address", ["9" * 5000, "-" + "9" * 5000, f"a@{'9' * 5000}", "lstm:99999"])
def test_numbers_out_of_all_range_name_nothing(address):
    """Numbers longer than Python converts are not found like any other wrong number."""
    assert refused(address).exit_code == 2


@pytest.mark.parametrize(
    ("pattern", "addresses"),
    [
        ("0", ["left"]),
        ("-8", ["left"]),
        ("-1", ["a.b"]),
        ("5", ["%33"]),
        ("%33", ["%33"]),
        ("%61ll", ["%61ll"]),
        ("lstm", ["lstm"]),
        ("3", ["lstm"]),
        ("lstm:0", ["lstm"]),
        ("lstm:1", ["lstm:1"]),
        ("lstm@0:2", ["lstm:2"]),
        ("left@0", ["left"]),
        ("encoder@1", ["encoder@1"]),
        ("encoder@1/deep/twice@0", ["encoder@1/deep/twice@0"]),
        ("block1%2Fconv", ["block1%2Fconv"]),
        ("block1%2fconv", ["block1%2Fconv"]),
        ("add", ["add"]),
    ],
)
def test_an_address_selects_one_row(pattern, addresses):
    """Numbers count layers as Keras does; names, paths, calls and outputs pick one of them."""
    assert selected(pattern) == addresses
    assert TABLE.find(pattern).address == addresses[0]


@pytest.mark.parametrize(
    ("glob", "addresses"),
    [
        ("l*", ["left", "lstm", "lstm:1", "lstm:2"]),
        ("l???", ["left", "lstm"]),
        ("lstm:?", ["lstm:1", "lstm:2"]),
        ("lstm:[12]", ["lstm:1", "lstm:2"]),
        ("lstm:[!1]", ["lstm:2"]),
        ("encoder@*", ["encoder@0", "encoder@1"]),
        ("*/conv1", ["encoder@0/conv1", "encoder@1/conv1"]),
        ("encoder@0[!x]conv1", None),
        ("encoder@0?conv1", None),
        ("encoder@1/**", [a.address for a in TABLE if a.address.startswith("encoder@1/")]),
        ("**/conv1", [a.address for a in TABLE if a.address.endswith("/conv1")]),
        ("a.*", ["a.b"]),
        ("?.b", ["a.b"]),
        ("[a-b]*", ["block1%2Fconv", "a.b", "add"]),
        ("[^a]*", ["a.b", "add"]),
        (r"[\w]*", None),
        ("[", None),
    ],
)
def test_globs_stay_inside_one_element(glob, addresses):
    """`*`, `?` and `[]` never match "/", `**` does, and regular expressions have no say in them."""
    if addresses is None:
        assert refused(glob).exit_code == 2
    else:
        assert selected(glob) == addresses


@pytest.mark.parametrize(
    ("pattern", "addresses"),
    [
        ("re:^l", ["left", "lstm", "lstm:1", "lstm:2"]),
        ("re:conv1$", [a.address for a in TABLE if a.address.endswith("conv1")]),
        ("re:.", [a.address for a in TABLE]),
        ("class:Conv2D", ["encoder@0/conv1", "encoder@1/conv1", "block1%2Fconv"]),
        ("class:LSTM", ["lstm", "lstm:1", "lstm:2"]),
        ("all", [a.address for a in TABLE]),
    ],
)
def test_expressions_and_classes_select_every_match(pattern, addresses):
    """`re:` searches addresses, `class:` compares classes, `all` takes every row."""
    assert selected(pattern) == addresses


def test_rows_come_in_the_order_they_are_first_named():
    """The order is that of the patterns, then that of the table, and each row comes once."""
    assert selected("lstm:2", "l*", "0", "right", "lstm") == [
        "lstm:2",
        "left",
        "lstm",
        "lstm:1",
        "right",
    ]
    assert selected() == []


@pytest.mark.parametrize(
    ("pattern", "calls"),
    [
        ("encoder", ["encoder@0", "encoder@1"]),
        ("2", ["encoder@0", "encoder@1"]),
        ("-6", ["encoder@0", "encoder@1"]),
        ("encoder/conv1", ["encoder@0/conv1", "encoder@1/conv1"]),
        ("encoder@1/deep/twice", ["encoder@1/deep/twice@0", "encoder@1/deep/twice@1"]),
        ("encoder/deep/twice@1", ["encoder@0/deep/twice@1", "encoder@1/deep/twice@1"]),
        (
            "encoder/deep/twice",
            [f"encoder@{i}/deep/twice@{j}" for i in (0, 1) for j in (0, 1)],
        ),
    ],
)
def test_a_layer_called_twice_needs_its_call(pattern, calls):
    """The error lists the calls, and the pattern that it proposes selects exactly those."""
    error = refused(pattern)
    assert error.exit_code == 2
    assert error.fields == {"address": pattern, "candidates": calls}
    assert all(call in str(error) for call in calls)
    proposed = re.search(r"'(re:.*)'", str(error))
    assert proposed
    assert selected(proposed[1]) == calls


def test_the_proposal_keeps_to_one_output():
    """Of a layer with several outputs, the proposed pattern takes the one asked for."""
    twice = LayerTable(
        tuple(
            row(f"a%2Eb@{call}" + (f":{output}" if output else ""), 0,
                path=[("a.b", call)], output=output)
            for call in (0, 1)
            for output in (0, 1)
        )
    )  # fmt: skip
    proposed = re.search(r"'(re:.*)'", str(refused("a.b:1", twice)))
    assert proposed
    assert [r.address for r in twice.select([proposed[1]])] == ["a%2Eb@0:1", "a%2Eb@1:1"]


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("lstn", "closest: lstm"),
        ("lft", "closest: left"),
        ("block1/conv", "block1%2Fconv"),
        ("conv1", "encoder@0/conv1"),
        ("lstm:3", "lstm:1"),
        ("class:Conv", "Conv2D"),
        ("class:conv2d", "Conv2D"),
        ("class:Nothing", "closest: Add, Conv2D, Dense, Functional, InputLayer, LSTM"),
        ("8", "a number from -8 to 7"),
        ("-9", "a number from -8 to 7"),
        ("re:(", "cannot be understood: missing )"),
        ("re:a{99999999999999999999}", "cannot be understood"),
        ("re:^nothing", "No layer matches 're:^nothing'"),
        ("[z-a]*", "cannot be understood: bad character range"),
        ("[!]", "No layer matches"),
        ("nothing*", "No layer matches 'nothing*'"),
        ("", "No layer matches ''"),
        ("%ff", "No layer matches"),
        ("left@x", "closest: left"),
    ],
)
def test_what_is_not_found_names_what_is_near(pattern, said):
    """The error ends with exit code 2, says what was asked for, and what there is instead."""
    error = refused(pattern)
    assert said in str(error)
    assert error.exit_code == 2
    assert error.fields["address"] == pattern
    assert isinstance(error, KeyError)
    assert "\\n" not in str(error)


def test_nearest_names_come_best_first_and_few():
    """Of many alike, five are named, the most alike first."""
    table = LayerTable(tuple(row(f"conv_{i}", i) for i in range(40)))
    error = refused("conv_7x", table)
    candidates = error.fields["candidates"]
    assert isinstance(candidates, list)
    assert candidates[0] == "conv_7"
    assert len(candidates) == 5
    assert "40 layer outputs" in str(error)


def test_a_table_is_a_sequence():
    """Rows are counted, indexed, sliced and walked like those of any sequence."""
    assert len(TABLE) == len(list(TABLE)) == len(TABLE.rows)
    assert TABLE[0].address == "left"
    assert TABLE[-1].address == "add"
    assert [found.address for found in TABLE[1:3]] == ["right", "encoder@0"]
    assert (TABLE[6].name, TABLE[6].depth) == ("twice", 2)
    assert TABLE.find("block1%2Fconv").name == "block1/conv"

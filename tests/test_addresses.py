"""Addresses: every name has one, and it can be taken apart again."""

from __future__ import annotations

import pytest
from address_names import ANY_NAME
from hypothesis import given
from hypothesis import strategies as st

from layerprobe.addresses import is_glob, is_index, parse, quote
from layerprobe.layers import TensorSpec, itemsize


@given(ANY_NAME)
def test_quoting_a_name_loses_nothing_and_shows_nothing(name):
    """Any name comes back from its address, which is printable and holds no sign of the grammar."""
    quoted = quote(name)
    assert parse(quoted) == ([(name, None)], 0)
    assert quoted.isprintable()
    assert not set(quoted) & set("/@:*?[]! \t\n\x1b")
    assert quoted != "all"
    assert not quoted.startswith("-")
    assert not is_index(quoted)
    assert not is_glob(quoted)


@given(st.lists(st.tuples(ANY_NAME, st.integers(0, 99)), min_size=1, max_size=4), st.integers(0, 9))
def test_an_address_of_any_path_is_taken_apart_again(path, output):
    """Names, call numbers and output number of a path come back, whatever the names are."""
    address = "/".join(f"{quote(name)}@{call}" for name, call in path)
    assert parse(f"{address}:{output}") == (path, output)


@pytest.mark.parametrize(
    "address", ["a@", "a@x", "a@-1", "a@1.0", "a:", "a:h", "a:-1", "a:1:2", "%ff", "%C3", "a@²"]
)
def test_malformed_addresses_name_nothing(address):
    """An address that the grammar does not know is not found; it is no crash and no other layer."""
    assert parse(address) is None


def test_sizes_of_elements_and_rows():
    """A row's bytes are its elements times their size; what is not known makes it None."""
    known = {"float16": 2, "float32": 4, "float64": 8, "int8": 1, "uint16": 2, "int64": 8}
    known |= {"bool": 1, "bfloat16": 2, "complex64": 8, "float8_e4m3fn": 1}
    assert {dtype: itemsize(dtype) for dtype in known} == known
    assert [itemsize(dtype) for dtype in ("string", "resource", "", "float", None)] == [None] * 5
    specs = {
        (None, 3, 5): 60,
        (2, 3): 12,
        (None,): 4,
        (None, 0): 0,
        (None, None, 5): None,
        (): None,
        None: None,
    }
    assert {s: TensorSpec("x", s, "float32").bytes_per_row for s in specs} == specs
    assert TensorSpec("x", (None, 3), None).bytes_per_row is None

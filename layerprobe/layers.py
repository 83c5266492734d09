"""Layer outputs as rows of a table, and how they are selected by address.

The unit is one output of one *call* of a layer, never "a layer": a layer may be called several
times and may return several tensors, and `layer.output` of Keras 3 then silently means the first.
This file is plain data: no framework and no NumPy, so that listing a model costs next to nothing.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import overload

from layerprobe.addresses import glob_to_regex, is_glob, is_index, parse
from layerprobe.errors import LayerNotFound

Shape = tuple[int | None, ...]

_ITEM_BYTES = {"bool": 1, "bfloat16": 2, "float8_e4m3fn": 1, "float8_e5m2": 1, "int4": 1}
_DTYPE_BITS = re.compile(r"(?:u?int|float|complex)(\d+)\Z")


def itemsize(dtype: str | None) -> int | None:
    """Return the bytes of one element of a dtype given by name, or None if it has no fixed size.

    Example:
        >>> itemsize("float32"), itemsize("bfloat16"), itemsize("string")
        (4, 2, None)
    """
    if dtype is None:
        return None
    if dtype in _ITEM_BYTES:
        return _ITEM_BYTES[dtype]
    match = _DTYPE_BITS.match(dtype)
    return int(match[1]) // 8 if match else None


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """The name, shape and dtype of a tensor, known without running anything.

    Attributes:
        name: An input's name, or an output's address.
        shape: With the batch first; None for a dimension (or a whole shape) that is not known.
        dtype: A dtype name such as "float32", or None if it is not known.
    """

    name: str
    shape: Shape | None
    dtype: str | None

    @property
    def bytes_per_row(self) -> int | None:
        """Bytes of one row (one sample), or None if the shape or the dtype is not fully known."""
        size = itemsize(self.dtype)
        if self.shape is None or size is None or not self.shape:
            return None
        for dimension in self.shape[1:]:
            if dimension is None:
                return None
            size *= dimension
        return size


@dataclass(frozen=True, slots=True)
class LayerOutput:
    """One output of one call of one layer: a row of the listing.

    Attributes:
        address: What `extract --layer` accepts, and the name of the dataset in a dump.
        index: The number in `model.layers`; None inside nested models and for bare operations.
        path: The way to the call: a (layer name, call number) for every level, outermost first.
        output: Which of the call's outputs this is, from 0.
        class_name: The layer's class, such as "Conv2D".
        output_shape: With the batch first; None where it cannot be known from the file.
        dtype: Name of the output's dtype, or None.
        params: Number of weights of the layer, its sub-layers included; None if the file does not
            tell them apart.
        trainable: Whether the layer and every model around it is trainable.
        inbound: Addresses this call takes its input from.
    """

    address: str
    index: int | None
    path: tuple[tuple[str, int], ...]
    output: int
    class_name: str
    output_shape: Shape | None
    dtype: str | None
    params: int | None
    trainable: bool
    inbound: tuple[str, ...]

    @property
    def name(self) -> str:
        """The layer's own name, as it stands in the file."""
        return self.path[-1][0]

    @property
    def depth(self) -> int:
        """How many models this row lies inside of, the outermost not counted."""
        return len(self.path) - 1

    @property
    def bytes_per_row(self) -> int | None:
        """Bytes that one row of this output takes uncompressed, or None if that is not known."""
        return TensorSpec(self.address, self.output_shape, self.dtype).bytes_per_row

    def to_json(self) -> dict[str, object]:
        """Return the row as `list-layers --json` prints it."""
        return {
            "index": self.index,
            "address": self.address,
            "name": self.name,
            "class_name": self.class_name,
            "output_shape": None if self.output_shape is None else list(self.output_shape),
            "dtype": self.dtype,
            "params": self.params,
            "trainable": self.trainable,
            "bytes_per_row": self.bytes_per_row,
            "inbound": list(self.inbound),
        }


@dataclass(frozen=True)
class LayerTable(Sequence[LayerOutput]):
    """The layer outputs of a model, in the order of the listing.

    Example:
        >>> row = LayerOutput(
        ...     address="dense", index=0, path=(("dense", 0),), output=0, class_name="Dense",
        ...     output_shape=(None, 4), dtype="float32", params=8, trainable=True, inbound=(),
        ... )
        >>> table = LayerTable((row,))
        >>> [found.address for found in table.select(["0", "de*", "class:Dense"])]
        ['dense']
    """

    rows: tuple[LayerOutput, ...]

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, position: int) -> LayerOutput: ...

    @overload
    def __getitem__(self, position: slice) -> tuple[LayerOutput, ...]: ...

    def __getitem__(self, position: int | slice) -> LayerOutput | tuple[LayerOutput, ...]:
        return self.rows[position]

    def __iter__(self) -> Iterator[LayerOutput]:
        return iter(self.rows)

    @cached_property
    def _layer_count(self) -> int:
        return 1 + max((row.index for row in self.rows if row.index is not None), default=-1)

    def select(self, patterns: Iterable[str]) -> list[LayerOutput]:
        """Return the rows that the patterns name, each once, in the order they are first named.

        Args:
            patterns: Addresses, indices, globs (`*` and `?` stay inside one path element, `**`
                crosses them), `re:EXPRESSION` (searched in the address), `class:NAME`, or `all`.

        Raises:
            LayerNotFound: A pattern names nothing, or names a layer with several calls without
                saying which.
        """
        found: dict[str, LayerOutput] = {}
        for pattern in patterns:
            for row in self._matches(pattern):
                found.setdefault(row.address, row)
        return list(found.values())

    def find(self, address: str) -> LayerOutput:
        """Return the one row that an address or an index names.

        Raises:
            LayerNotFound: It names none, or a layer with several calls without saying which.
        """
        candidates = self._at_index(int(address)) if is_index(address) else self._at_path(address)
        if len(candidates) == 1:
            return candidates[0]
        if not candidates:
            raise self._not_found(address)
        calls = [row.address for row in candidates]
        raise LayerNotFound(
            f"{address!r} names a layer that is called {len(calls)} times.",
            expected=f"one of its calls: {_listed(calls)}",
            fix=f"Give the call, or take all of them with '{_every_call(calls)}'.",
            address=address,
            candidates=calls,
        )

    def nearest(self, address: str, count: int = 5) -> list[str]:
        """Return the addresses that look most like a mistyped one, best first."""
        addresses = [row.address for row in self.rows]
        close = difflib.get_close_matches(address, addresses, count, cutoff=0.5)
        inside = [a for a in addresses if address and address in a and a not in close]
        return (close + inside)[:count]

    def _matches(self, pattern: str) -> list[LayerOutput]:
        if pattern == "all":
            return list(self.rows)
        if pattern.startswith("class:"):
            wanted = pattern.removeprefix("class:")
            rows = [row for row in self.rows if row.class_name == wanted]
        elif pattern.startswith("re:"):
            expression = _compiled(pattern, pattern.removeprefix("re:"))
            rows = [row for row in self.rows if expression.search(row.address)]
        elif is_glob(pattern):
            expression = _compiled(pattern, glob_to_regex(pattern))
            rows = [row for row in self.rows if expression.fullmatch(row.address)]
        else:
            return [self.find(pattern)]
        if not rows:
            raise self._not_found(pattern)
        return rows

    def _at_index(self, index: int) -> list[LayerOutput]:
        wanted = index + self._layer_count if index < 0 else index
        return [row for row in self.rows if row.index == wanted and row.output == 0]

    def _at_path(self, address: str) -> list[LayerOutput]:
        parsed = parse(address)
        if parsed is None:
            return []
        elements, output = parsed
        return [
            row
            for row in self.rows
            if row.output == output
            and len(row.path) == len(elements)
            and all(
                name == wanted and (call is None or call == at)
                for (name, at), (wanted, call) in zip(row.path, elements, strict=True)
            )
        ]

    def _not_found(self, pattern: str) -> LayerNotFound:
        kind, _, word = (
            pattern.rpartition(":") if pattern.startswith("class:") else ("", "", pattern)
        )
        if kind:
            classes = sorted({row.class_name for row in self.rows})
            near = difflib.get_close_matches(word, classes, 5, cutoff=0.4) or classes
        else:
            near = self.nearest(word)
        if is_index(pattern):
            expected = f"a number from {-self._layer_count} to {self._layer_count - 1}"
        else:
            expected = (
                f"a layer of this model; closest: {_listed(near)}"
                if near
                else "a layer of this model"
            )
        return LayerNotFound(
            f"No layer matches {pattern!r}. This model has {len(self.rows)} layer outputs.",
            expected=expected,
            fix="List them with: layerprobe list-layers MODEL",
            address=pattern,
            candidates=near,
        )


def _listed(words: Sequence[str], limit: int = 8) -> str:
    shown = ", ".join(words[:limit])
    return shown if len(words) <= limit else f"{shown}, … ({len(words)} in all)"


def _every_call(addresses: Sequence[str]) -> str:
    """Return the pattern of addresses that differ in the numbers of their calls alone."""
    levels = zip(*(address.split("/") for address in addresses), strict=True)
    parts = []
    for elements in levels:
        part = re.escape(elements[0])
        if len(set(elements)) > 1:
            part = re.sub(r"@\d+", lambda _: r"@\d+", part)
        parts.append(part)
    return f"re:^{'/'.join(parts)}$"


def _compiled(pattern: str, expression: str) -> re.Pattern[str]:
    try:
        return re.compile(expression)
    except (re.error, OverflowError, RecursionError) as error:
        raise LayerNotFound(
            f"{pattern!r} cannot be understood: {error}.",
            expected="a glob such as 'block*_conv[12]', or a regular expression after 're:'",
            address=pattern,
        ) from error

"""Layer outputs as rows of a table, and how they are selected by address.

The unit is one output of one *call* of a layer, never "a layer": a layer may be called several
times and may return several tensors, and `layer.output` of Keras 3 then silently means the first.
This file is plain data: no framework and no NumPy, so that listing a model costs next to nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import overload

from layerprobe import misses
from layerprobe.addresses import glob_to_regex, is_glob, is_index, names_insides, parse
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
        inside: For what a layer computes on its way and does not put out: its name, as "states".
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
    inside: str = ""

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

    Attributes:
        rows: The layer outputs.
        insides: What layers compute on their way, by addresses such as "lstm:states".
        closed: For layers that seem to have insides and do not give them: why not, by path.

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
    insides: tuple[LayerOutput, ...] = ()
    closed: Mapping[tuple[tuple[str, int], ...], str] = field(default_factory=dict)

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

    def with_insides(self) -> list[LayerOutput]:
        """Return all rows, the insides of each call after its outputs."""
        place = {row.path: i for i, row in enumerate(self.rows)}
        rows = (*self.rows, *self.insides)
        return sorted(rows, key=lambda row: (place[row.path], row.inside != ""))

    @cached_property
    def _layer_count(self) -> int:
        return 1 + max((row.index for row in self.rows if row.index is not None), default=-1)

    def select(self, patterns: Iterable[str]) -> list[LayerOutput]:
        """Return the rows that the patterns name, each once, in the order they are first named.

        Args:
            patterns: Addresses, indices, globs (`*` and `?` stay inside one path element, `**`
                crosses them), `re:EXPRESSION` (searched in the address), `class:NAME`, or `all`.
                Insides are found by a glob or an expression only if it has a ":" (`*:states`).

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
        raise misses.several_calls(address, [row.address for row in candidates])

    def needed(
        self, wanted: Iterable[LayerOutput], begin: Iterable[LayerOutput] = ()
    ) -> list[LayerOutput]:
        """Return the rows that some are computed from, themselves included, not before `begin`."""
        rest = {row.address: row for row in (*self.rows, *self.insides)}
        for row in begin:
            rest.pop(row.address)
        waiting, found = [row.address for row in wanted], []
        while waiting:
            one = rest.pop(waiting.pop(), None)
            if one is not None:
                found.append(one)
                path = one.path  # what a model puts out comes from the layers inside it
                inside = [row.address for row in self.rows if row.path[: len(path)] == path]
                waiting += [*one.inbound, *inside]
        return found

    def nearest(self, address: str, count: int = 5) -> list[str]:
        """Return the addresses that look most like a mistyped one, best first."""
        rows = (*self.rows, *self.insides) if ":" in address else self.rows
        return misses.nearest(address, [row.address for row in rows], count)

    def _matches(self, pattern: str) -> list[LayerOutput]:
        if pattern == "all":
            return list(self.rows)
        if pattern.startswith("class:"):
            wanted = pattern.removeprefix("class:")
            rows = [row for row in self.rows if row.class_name == wanted]
        elif pattern.startswith("re:"):
            text = pattern.removeprefix("re:")
            search = _compiled(pattern, text).search
            rows = [row for row in self._asked_by(text) if search(row.address)]
        elif is_glob(pattern):
            fits = _compiled(pattern, glob_to_regex(pattern)).fullmatch
            rows = [row for row in self._asked_by(pattern) if fits(row.address)]
        else:
            return [self.find(pattern)]
        if not rows:
            raise self._not_found(pattern)
        return rows

    def _at_index(self, index: int) -> list[LayerOutput]:
        wanted = index + self._layer_count if index < 0 else index
        return [row for row in self.rows if row.index == wanted and row.output == 0]

    def _asked_by(self, pattern: str) -> list[LayerOutput]:
        """Return the rows a glob or an expression is looked for in."""
        return self.with_insides() if names_insides(pattern) else list(self.rows)

    def _at_path(self, address: str) -> list[LayerOutput]:
        parsed = parse(address)
        if parsed is None:
            return []
        elements, last = parsed
        at = [row for row in (*self.rows, *self.insides) if _leads_to(elements, row.path)]
        return [row for row in at if (row.inside or row.output) == last]

    def _not_found(self, pattern: str) -> LayerNotFound:
        parsed = None if pattern.startswith(("class:", "re:")) else parse(pattern)
        if parsed is not None and isinstance(parsed[1], str):
            # Who asks for `distributed/lstm:states` is to hear what `distributed` does.
            for elements in (parsed[0], parsed[0][:-1]):
                at = [row for row in self.rows if _leads_to(elements, row.path)]
                if at and (elements == parsed[0] or at[0].path in self.closed):
                    known = [row.address for row in self.insides if row.path == at[0].path]
                    reason = self.closed.get(at[0].path, "")
                    return misses.no_inside(pattern, at[0].class_name, known, reason)
        addresses = [row.address for row in self.rows]
        classes = sorted({row.class_name for row in self.rows})
        return misses.not_found(pattern, addresses, classes, self._layer_count)


def _leads_to(elements: Sequence[tuple[str, int | None]], path: Sequence[tuple[str, int]]) -> bool:
    """Tell whether the names and calls of an address are those of a path."""
    return len(path) == len(elements) and all(
        name == wanted and (call is None or call == at)
        for (name, at), (wanted, call) in zip(path, elements, strict=True)
    )


def _compiled(pattern: str, expression: str) -> re.Pattern[str]:
    try:
        return re.compile(expression)
    except (re.error, OverflowError, RecursionError) as error:
        raise LayerNotFound(
            f"{pattern!r} cannot be understood: {error}.",
            expected="a glob such as 'block*_conv[12]', or a regular expression after 're:'",
            address=pattern,
        ) from error

"""Reader of TensorFlow's checkpoints (tensor bundles), without TensorFlow.

An index, a sorted table of LevelDB's, says for each key in which file the tensor's bytes lie.
Sources: tensorflow/core/protobuf/tensor_bundle.proto and trackable_object_graph.proto; LevelDB's
doc/table_format.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from layerprobe.errors import ModelError, TrustError
from layerprobe.modelfile.wire import fields, messages, text, varint, whole

_FOOTER, _MAGIC = 48, b"\x57\xfb\x80\x8b\x24\x75\x47\xdb"
_MOST_INDEX_BYTES = 64 << 20
_GRAPH_KEY = "_CHECKPOINTABLE_OBJECT_GRAPH"
_VALUE = "VARIABLE_VALUE"
# TensorFlow's numbers of dtypes, tensorflow/core/framework/types.proto.
_DTYPES = {
    1: "float32",
    2: "float64",
    3: "int32",
    4: "uint8",
    5: "int16",
    6: "int8",
    9: "int64",
    10: "bool",
    17: "uint16",
    19: "float16",
    22: "uint32",
    23: "uint64",
}


@dataclass(frozen=True)
class Entry:
    """Where a tensor lies."""

    dtype: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int


@dataclass(frozen=True)
class Node:
    """An object of the program that saved: its variables' keys, and the objects it holds."""

    children: Mapping[str, int]
    key: str | None


class Bundle:
    """A checkpoint.

    Args:
        prefix: The path of its index, without ".index".

    Attributes:
        entries: All tensors, by key.

    Raises:
        ModelError: The index is damaged or missing.
    """

    def __init__(self, prefix: Path) -> None:
        self._prefix = prefix
        try:
            self.entries = dict(self._read_index())
        except (ValueError, IndexError, OSError) as error:
            raise self._damaged(error) from error

    def read(self, key: str) -> np.ndarray[Any, Any]:
        """Return a tensor.

        Raises:
            ModelError: Its bytes are not there, or its dtype is not a number.
        """
        entry = self.entries[key]
        if entry.dtype not in _DTYPES:
            raise ModelError(f"{self._prefix}: {key} is of dtype number {entry.dtype}.")
        dtype = np.dtype(_DTYPES[entry.dtype])
        if entry.size != math.prod(entry.shape) * dtype.itemsize:
            raise self._damaged(ValueError(f"{key} takes {entry.size} bytes"))
        return np.frombuffer(self._bytes(entry), dtype).reshape(entry.shape)

    @cached_property
    def nodes(self) -> list[Node]:
        """The objects of the program that saved; the first is the model.

        Raises:
            ModelError: They are damaged, or not saved.
        """
        if _GRAPH_KEY not in self.entries:
            raise self._damaged(ValueError("it does not say which variable is whose"))
        try:
            data = self._bytes(self.entries[_GRAPH_KEY])
            # One string: its length, a checksum of that, and the text.
            size, at = varint(data, 0)
            return [_node(node) for node in messages(fields(data[at + 4 : at + 4 + size]), 1)]
        except (ValueError, IndexError) as error:
            raise self._damaged(error) from error

    def _bytes(self, entry: Entry) -> bytes:
        shards = max(one.shard for one in self.entries.values()) + 1
        name = f"{self._prefix.name}.data-{entry.shard:05}-of-{max(shards, self._shards):05}"
        path = self._prefix.with_name(name)
        if path.is_symlink():
            raise TrustError(
                f"{path} is a link.", expected="a file of the model's folder", rule="folder-link"
            )
        try:
            with path.open("rb") as file:
                file.seek(entry.offset)
                data = file.read(entry.size)
        except OSError as error:
            raise self._damaged(error) from error
        if len(data) != entry.size:
            raise self._damaged(ValueError(f"{path.name} ends early"))
        return data

    def _read_index(self) -> Iterator[tuple[str, Entry]]:
        path = self._prefix.with_name(f"{self._prefix.name}.index")
        if path.stat().st_size > _MOST_INDEX_BYTES:
            raise ValueError(f"the index takes {path.stat().st_size:,} bytes")
        data = path.read_bytes()
        footer = data[-_FOOTER:]
        if len(footer) < _FOOTER or footer[-8:] != _MAGIC:
            raise ValueError("it is no table")
        at = 0
        for _ in range(2):  # of the other index; only its end matters
            _, at = varint(footer, at)
        start, at = varint(footer, at)
        size, _ = varint(footer, at)
        self._shards = 1
        for _, handle in _block(data, start, size):
            start, at = varint(handle, 0)
            size, _ = varint(handle, at)
            for key, value in _block(data, start, size):
                if key:
                    yield key.decode("utf-8", "replace"), _entry(value)
                else:
                    self._shards = whole(fields(value), 1) or 1

    def _damaged(self, error: Exception) -> ModelError:
        return ModelError(
            f"The checkpoint {self._prefix} is damaged or incomplete: {error}.",
            fix="Get the whole folder again from where it came from.",
            path=str(self._prefix),
        )


def _block(data: bytes, start: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield keys and values; each key is written as what it adds to the beginning of the last."""
    block = data[start : start + size]
    if len(block) != size or data[start + size] != 0:
        raise ValueError("a block is cut off or compressed")
    restarts = int.from_bytes(block[-4:], "little")
    end, at, key = size - 4 * (restarts + 1), 0, b""
    while at < end:
        shared, at = varint(block, at)
        added, at = varint(block, at)
        length, at = varint(block, at)
        key = key[:shared] + block[at : at + added]
        yield key, block[at + added : at + added + length]
        at += added + length


def _entry(value: bytes) -> Entry:
    found = fields(value)
    sizes = [
        whole(fields(dim), 1) for shape in messages(found, 2) for dim in messages(fields(shape), 2)
    ]
    if found.get(7):
        raise ValueError("a tensor is stored in slices")
    return Entry(whole(found, 1), tuple(sizes), whole(found, 3), whole(found, 4), whole(found, 5))


def _node(value: bytes) -> Node:
    found = fields(value)
    children = {}
    for reference in messages(found, 1):
        child = fields(reference)
        children[text(child, 2)] = whole(child, 1)
    keys = [
        text(attribute, 3)
        for attribute in map(fields, messages(found, 2))
        if text(attribute, 1) == _VALUE
    ]
    return Node(children, keys[0] if keys else None)

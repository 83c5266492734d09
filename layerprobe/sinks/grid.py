"""How one array of a Zarr dump is divided: chunks of rows, several to a file, which is a shard.

A shard begins with its index: the place and size of each of its chunks, in row-major order, and a
checksum. All of it follows from the datasets alone, so that every run divides them in the same way.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from layerprobe.errors import OutputError
from layerprobe.sinks.codecs import CRC32C, Chain
from layerprobe.sinks.crc32c import BYTES, crc32c
from layerprobe.sinks.names import as_text
from layerprobe.sinks.numbers import Dataset
from layerprobe.sinks.skeleton import chunk_shape

METADATA = "zarr.json"
MISSING = (1 << 64) - 1
"""Stands in an index for the place and the size of a chunk that is not there."""

# An open chunk of each dataset is held in memory, so many datasets get smaller chunks.
CHUNK_BYTES = 1 << 20
SMALLEST_CHUNK = 1 << 16
ALL_CHUNKS = 64 << 20
SHARD_BYTES = 64 << 20

_ZEROS = {"b": False, "i": 0, "u": 0, "f": 0.0, "c": [0.0, 0.0], "V": 0.0}
_TYPES = frozenset(
    "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 bfloat16 float32 float64 "
    "complex64 complex128".split()
)
_ENTRY = 16

Slices = tuple[slice, ...]


@dataclass(frozen=True)
class Grid:
    """One array's chunks and shards.

    Attributes:
        shape: Of the array, rows first.
        chunk: Shape of a chunk.
        shard: Shape of a shard: whole chunks, and all of a row.
        dtype: Of the values, little-endian.
    """

    shape: tuple[int, ...]
    chunk: tuple[int, ...]
    shard: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def rows(self) -> int:
        """Rows of a chunk."""
        return self.chunk[0]

    @property
    def tiles(self) -> int:
        """How many chunks lie side by side: a row that is larger than a chunk is cut inside."""
        return math.prod(n // c for n, c in zip(self.shard[1:], self.chunk[1:], strict=True))

    @property
    def chunks(self) -> int:
        """How many chunks there are."""
        return -(-self.shape[0] // self.rows) * self.tiles if math.prod(self.shape) else 0

    @property
    def per_shard(self) -> int:
        """How many chunks a shard has."""
        return self.shard[0] // self.rows * self.tiles

    @property
    def shards(self) -> int:
        """How many shards there are."""
        return -(-self.chunks // self.per_shard)

    @property
    def chunk_bytes(self) -> int:
        """Bytes of a chunk in memory."""
        return math.prod(self.chunk) * self.dtype.itemsize

    @property
    def index_bytes(self) -> int:
        """Bytes of a shard's index."""
        return _ENTRY * self.per_shard + BYTES

    def shard_name(self, number: int) -> str:
        """Return the name of a shard's file in the folder of the array."""
        return ".".join(["c", str(number), *["0"] * (len(self.shape) - 1)])

    def pieces(self, start: int, stop: int) -> Iterator[tuple[int, Slices, Slices]]:
        """Yield the chunks of some rows: the number, where in the chunk, where among the rows."""
        for block in range(start // self.rows, -(-stop // self.rows)):
            low, high = max(start, block * self.rows), min(stop, (block + 1) * self.rows)
            inside = slice(low - block * self.rows, high - block * self.rows)
            for tile, where in enumerate(self._tile_slices()):
                sizes = tuple(slice(0, part.stop - part.start) for part in where)
                number = block * self.tiles + tile
                yield number, (inside, *sizes), (slice(low - start, high - start), *where)

    def _tile_slices(self) -> Iterator[Slices]:
        axes = list(zip(self.shape[1:], self.chunk[1:], strict=True))
        for at in np.ndindex(*(-(-size // part) for size, part in axes)):
            yield tuple(
                slice(i * part, min(size, (i + 1) * part))
                for i, (size, part) in zip(at, axes, strict=True)
            )


def grid_of(dataset: Dataset, count: int) -> Grid:
    """Divide one of some datasets.

    Args:
        dataset: The dataset.
        count: How many there are in the dump.

    Raises:
        OutputError: Zarr has no such dtype (exit code 70).

    Example:
        >>> grid = grid_of(Dataset("a", (100_000, 1024), np.dtype("float32")), 1)
        >>> grid.chunk, grid.shard
        ((256, 1024), (16384, 1024))
    """
    if dataset.dtype.name not in _TYPES:
        raise OutputError(
            f"Zarr has no numbers of dtype {dataset.dtype}.",
            fix="Store them as float32, or in an output that ends in .h5.",
            exit_code=70,
            dtype=str(dataset.dtype),
        )
    limit = min(CHUNK_BYTES, max(SMALLEST_CHUNK, ALL_CHUNKS // count))
    whole = tuple(max(1, size) for size in dataset.shape)  # Zarr has no chunks of nothing
    chunk = chunk_shape(whole, dataset.stored.itemsize, limit)
    row = [-(-size // part) * part for size, part in zip(whole[1:], chunk[1:], strict=True)]
    block_bytes = chunk[0] * math.prod(row) * dataset.stored.itemsize
    blocks = min(-(-whole[0] // chunk[0]), max(1, SHARD_BYTES // block_bytes))
    return Grid(dataset.shape, chunk, (chunk[0] * blocks, *row), dataset.stored)


def array_metadata(grid: Grid, chain: Chain, address: str) -> dict[str, object]:
    """Return what `zarr.json` says of an array."""
    sharding = {
        "chunk_shape": list(grid.chunk),
        "codecs": chain.describe(),
        "index_codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, CRC32C],
        "index_location": "start",
    }
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(grid.shape),
        "data_type": grid.dtype.name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(grid.shard)}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
        "fill_value": _ZEROS[grid.dtype.kind],
        "codecs": [{"name": "sharding_indexed", "configuration": sharding}],
        "attributes": {"address": as_text(address)},
    }


def group_metadata(arrays: dict[str, dict[str, object]]) -> dict[str, object]:
    """Return what `zarr.json` says of the whole, with that of its arrays by name.

    The copies spare a reader of far-away storage a request for each; others pass over them.
    """
    return {
        "zarr_format": 3,
        "node_type": "group",
        "attributes": {"layerprobe": {"manifest": "manifest.json"}},
        "consolidated_metadata": {
            "kind": "inline",
            "must_understand": False,
            "metadata": arrays,
        },
    }


def to_text(metadata: dict[str, object]) -> bytes:
    """Return the bytes of a `zarr.json`."""
    return json.dumps(metadata, indent=1, allow_nan=False).encode() + b"\n"


def pack_index(entries: np.ndarray[Any, Any], per_shard: int) -> bytes:
    """Return the index of a shard; what is behind the last chunk of the array is missing."""
    whole = np.full((per_shard, 2), MISSING, "<u8")
    whole[: len(entries)] = entries
    packed = whole.tobytes()
    return packed + crc32c(packed)


def unpack_index(packed: bytes | bytearray, count: int) -> np.ndarray[Any, Any]:
    """Return the first entries of an index: rows of place and size."""
    return np.frombuffer(packed[:-BYTES], "<u8").reshape(-1, 2)[:count]


def index_is_whole(packed: bytes | bytearray) -> bool:
    """Tell whether the checksum of an index is right."""
    return crc32c(bytes(packed[:-BYTES])) == packed[-BYTES:]

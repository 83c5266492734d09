"""The datasets of a dump in a Zarr group, read without Zarr.

A Zarr library would follow what a group's metadata say: to other codecs, to files behind links, to
memory without bounds. Here they have to be, word for word, what the sink would have written for the
datasets of the manifest; then they are read by the same few lines for every dump.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from layerprobe.dump.files import Entry
from layerprobe.dump.lazy import Array, Read
from layerprobe.sinks.codecs import COMPRESSIONS, Chain
from layerprobe.sinks.grid import (
    METADATA,
    Grid,
    array_metadata,
    group_metadata,
    index_is_whole,
    unpack_index,
)

_LONGEST_TEXT = 64 << 20
_LARGEST_CHUNK = 64 << 20  # sinks make chunks of 1 MiB, or of one value
_MOST_CHUNKS = 1 << 20  # in a shard
_FARTHEST = 1 << 62
_READ = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_READ |= getattr(os, "O_BINARY", 0)


class ZarrFiles:
    """The datasets of a dump in one Zarr group."""

    def __init__(self, folder: Path, entries: Sequence[Entry], manifest: Mapping[str, Any]) -> None:
        packed = manifest.get("compression")
        self._compress = None if packed is None else str(packed["name"])
        if self._compress not in (None, *COMPRESSIONS):
            raise ValueError(f"it is compressed with {self._compress!r}, which is not known here")
        self._folder = folder
        self._grids: dict[str, Grid] = {}
        found = {entry.name: self._check(entry) for entry in entries}
        if _metadata(folder) != group_metadata(found):
            raise ValueError("the group is not that of its arrays")

    def reader(self, entry: Entry) -> Read:
        """Return what reads rows of one dataset; it remembers the last chunk."""
        grid = self._grids[entry.name]
        chain = Chain(entry.dtype.itemsize, self._compress)
        return partial(_read, _Shards(self._folder / entry.name, entry, grid, chain))

    def bare(self, entry: Entry) -> None:
        """Return None: CRC-32C costs little beside reading, and nothing is read without it."""

    def close(self) -> None:
        """Do nothing: no file is open between two reads."""

    def _check(self, entry: Entry) -> dict[str, object]:
        """Compare the metadata and the sizes of one array; return the metadata."""
        folder = self._folder / entry.name
        if not stat.S_ISDIR(folder.lstat().st_mode):
            raise ValueError(f"{entry.address!r} is no array of its own")
        given = _metadata(folder)
        entry.check(tuple(given["shape"]), np.dtype(given["data_type"]).newbyteorder("<"))
        chain = Chain(entry.dtype.itemsize, self._compress)
        grid = _grid(entry, given)
        wanted = array_metadata(grid, chain, entry.address)
        if _without_levels(given) != _without_levels(wanted):
            raise ValueError(f"{entry.address!r} is not stored as a dump has it")
        for shard in range(grid.shards):
            self._check_shard(entry, grid, shard)
        self._grids[entry.name] = grid
        return given

    def _check_shard(self, entry: Entry, grid: Grid, shard: int) -> None:
        path = self._folder / entry.name / grid.shard_name(shard)
        found = path.lstat()
        count = min(grid.per_shard, grid.chunks - shard * grid.per_shard)
        size = grid.index_bytes
        if self._compress is None:
            chain = Chain(entry.dtype.itemsize)
            size += count * chain.longest(grid.chunk_bytes)
        complete = found.st_size == size if self._compress is None else found.st_size > size
        if not (stat.S_ISREG(found.st_mode) and complete):
            raise ValueError(f"{entry.address!r} is not all there: {path.name} is damaged")


class _Shards:
    """The shards of one array, the last index and the last chunk remembered."""

    def __init__(self, folder: Path, entry: Entry, grid: Grid, chain: Chain) -> None:
        self.entry = entry
        self.grid = grid
        self._folder = folder
        self._chain = chain
        self._index: tuple[int, Array] | None = None
        self._chunk: tuple[int, Array] | None = None

    def chunk(self, number: int) -> Array:
        """Return a chunk; what is wrong with it is a ValueError."""
        known = self._chunk
        if known is None or known[0] != number:
            known = self._chunk = None  # its memory is for the next one
            known = self._chunk = (number, self._loaded(number))
        return known[1]

    def _loaded(self, number: int) -> Array:
        shard, inside = divmod(number, self.grid.per_shard)
        place, size = map(int, self._entries(shard)[inside])
        if place > _FARTHEST:
            raise ValueError(f"a chunk of {self.entry.address!r} is not there")
        chunk = np.empty(self.grid.chunk, self.entry.dtype)
        with self._opened(shard) as file:
            file.seek(place)
            read = partial(self._fill, file)
            self._chain.decode(read, size, chunk.reshape(-1).view(np.uint8).data)
        return chunk

    def _entries(self, shard: int) -> Array:
        known = self._index
        if known is None or known[0] != shard:
            packed = bytearray(self.grid.index_bytes)
            with self._opened(shard) as file:
                self._fill(file, memoryview(packed))
            if not index_is_whole(packed):
                raise ValueError(f"an index of {self.entry.address!r} has a wrong checksum")
            known = self._index = (shard, unpack_index(packed, self.grid.per_shard))
        return known[1]

    def _opened(self, shard: int) -> Any:
        return _opened(self._folder / self.grid.shard_name(shard))

    def _fill(self, file: Any, into: memoryview) -> None:
        if file.readinto(into) != len(into):
            raise ValueError(f"{self.entry.address!r} is cut short")


def _read(shards: _Shards, start: int, stop: int) -> Array:
    rows = np.empty((stop - start, *shards.entry.shape[1:]), shards.entry.dtype)
    if rows.nbytes:
        for number, inside, where in shards.grid.pieces(start, stop):
            rows[where] = shards.chunk(number)[inside]
    return rows


def _grid(entry: Entry, given: Mapping[str, Any]) -> Grid:
    """Return the division that an array's metadata give, if it is one of whole rows."""
    (sharding,) = given["codecs"]
    shard = given["chunk_grid"]["configuration"]["chunk_shape"]
    chunk = sharding["configuration"]["chunk_shape"]
    sizes = [*shard, *chunk]
    if len(shard) != len(chunk) or not all(type(size) is int and size > 0 for size in sizes):
        raise ValueError(f"{entry.address!r} has chunks of shape {chunk} in {shard}")
    grid = Grid(entry.shape, tuple(chunk), tuple(shard), entry.dtype)
    whole = all(
        outer % inner == 0 and (axis == 0 or outer - inner < max(1, size) <= outer)
        for axis, (size, outer, inner) in enumerate(zip(entry.shape, shard, chunk, strict=True))
    )
    large = grid.chunk_bytes > _LARGEST_CHUNK or grid.per_shard > _MOST_CHUNKS
    if not whole or large or (grid.tiles > 1 and grid.rows > 1):
        raise ValueError(f"{entry.address!r} has chunks of shape {chunk} in {shard}")
    return grid


def _without_levels(metadata: Mapping[str, Any]) -> Any:
    """Return metadata less what compressors were told, which is nothing to a reader."""
    packers = {compression.codec for compression in COMPRESSIONS.values()}

    def plain(item: Any) -> Any:
        if isinstance(item, dict):
            known = item.get("name") in packers
            return {k: plain(v) for k, v in item.items() if not (known and k == "configuration")}
        return [plain(part) for part in item] if isinstance(item, list) else item

    return plain(metadata)


def _metadata(folder: Path) -> dict[str, Any]:
    with _opened(folder / METADATA) as file:
        text = file.read(_LONGEST_TEXT + 1)
    if len(text) > _LONGEST_TEXT:
        raise ValueError(f"{METADATA} is too large")
    found: dict[str, Any] = json.loads(text)
    return found


def _opened(path: Path) -> Any:
    """Open a file for reading, if it is one; a link or a pipe is not."""
    descriptor = os.open(path, _READ)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ValueError(f"{path.name} is no file")
    return os.fdopen(descriptor, "rb")

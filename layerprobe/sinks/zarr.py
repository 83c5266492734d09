"""The Zarr container: a group of format 3, one sharded array an address, written without Zarr.

Chunks are written in place, one behind the other, each with its checksum; an index in front of each
shard says where they are. Nothing that was made safe is written again: a chunk is written when it
is full, and the rows of those that are not wait in a file of their own (`tail.py`). Uncompressed
arrays have all their room from the beginning, so that a full disk is found at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from layerprobe.sinks import disk
from layerprobe.sinks.codecs import Chain
from layerprobe.sinks.crc32c import BYTES
from layerprobe.sinks.grid import (
    METADATA,
    MISSING,
    Grid,
    array_metadata,
    grid_of,
    group_metadata,
    pack_index,
    to_text,
    unpack_index,
)
from layerprobe.sinks.numbers import Dataset, pieces, rows_at_once
from layerprobe.sinks.tail import Tail

Array = npt.NDArray[Any]


class ZarrContainer:
    """The rows of a dump in a Zarr group inside a folder that exists.

    Args:
        folder: The folder.
        datasets: What it will hold.
        names: Under which names.
        begun: Whether the files are there.
        compress: How chunks are made smaller, one of `codecs.COMPRESSIONS`; or None.

    Raises:
        OSError: The disk is full or fails.
        OutputError: Zarr has no such dtype, or a package is missing (exit code 70).
    """

    def __init__(
        self,
        folder: Path,
        datasets: Sequence[Dataset],
        names: Sequence[str],
        *,
        begun: bool,
        compress: str | None = None,
    ) -> None:
        self._folder = folder
        self._arrays = [
            _Shards(folder / name, dataset, grid_of(dataset, len(datasets)), compress)
            for name, dataset in zip(names, datasets, strict=True)
        ]
        spans = [(array.grid.rows, array.dataset.row_bytes) for array in self._arrays]
        self._tail = Tail(folder, spans, datasets[0].shape[0])
        if begun:
            for array in self._arrays:
                array.load()
            self._unsynced = self._tail.create()  # a run that died at its end has removed them
        else:
            self._unsynced = [*self._create(), *self._tail.create()]
        self._unsynced.append(folder)

    def at_once(self, index: int) -> int:
        """Return how many rows of dataset number `index` to write at once."""
        array = self._arrays[index]
        return rows_at_once(array.grid.rows, array.dataset.row_bytes)

    def write(self, index: int, start: int, rows: Array) -> None:
        """Put rows of dataset number `index` at row `start`, which follows those before."""
        self._arrays[index].write(start, rows)

    def read(self, index: int, start: int, stop: int) -> Array:
        """Return rows as they lie on the disk; zeros where they are damaged."""
        dataset, grid = self._arrays[index].dataset, self._arrays[index].grid
        rows = np.zeros((stop - start, *dataset.row_shape), dataset.stored)
        for number, inside, where in grid.pieces(start, stop) if rows.nbytes else ():
            # What waits is looked at first: a chunk of these rows may be of a run before the last.
            waiting = self._tail.find(index, start + where[0].stop)
            if waiting is not None:
                held = np.frombuffer(waiting, np.uint8).view(dataset.stored)
                rows[where] = held.reshape(-1, *dataset.row_shape)[inside[0]]
            else:
                chunk = self._arrays[index].chunk(number)
                rows[where] = 0 if chunk is None else chunk[inside]
        return rows

    def restore(self, row: int) -> None:
        """Go on at a row, as if the rows before had just been written."""
        for index, array in enumerate(self._arrays):
            array.restore(row, self.read(index, row - self._tail.waiting(index, row), row))
        self._tail.keep(row)

    def settle(self, row: int) -> None:
        """Bring the rows before `row` of all arrays to the disk; some may have more."""
        written = [path for array in self._arrays for path in array.put_indexes()]
        _sync_all([*self._unsynced, *written])
        self._unsynced = []
        if row:  # after the chunks: what waited before may be in them now
            waiting = [
                array.waiting(row, self._tail.waiting(index, row))
                for index, array in enumerate(self._arrays)
            ]
            self._tail.write(row, waiting)

    def finish(self, manifest: str) -> None:  # noqa: ARG002 - it is a file of its own here
        """Bring everything to the disk; no row waits any more."""
        _sync_all([path for array in self._arrays for path in array.put_indexes()])
        self._tail.remove()
        disk.sync(self._folder)

    def close(self) -> None:
        """Do nothing: no file is open between two writes."""

    def _create(self) -> list[Path]:
        """Make all files and return what is to be synced, files before their folders."""
        metadata = {array.folder.name: array.metadata for array in self._arrays}
        made = [_write_new(self._folder / METADATA, to_text(group_metadata(metadata)))]
        for array in self._arrays:
            array.folder.mkdir()
            made.append(_write_new(array.folder / METADATA, to_text(array.metadata)))
            made += [*array.create(), array.folder]
        return made


class _Shards:
    """The shards of one array; the chunk that is not full yet is held in memory."""

    def __init__(self, folder: Path, dataset: Dataset, grid: Grid, compress: str | None) -> None:
        self.folder = folder
        self.dataset = dataset
        self.grid = grid
        self._chain = Chain(dataset.stored.itemsize, compress)
        self._is_packed = compress is not None
        self.metadata = array_metadata(grid, self._chain, dataset.address)
        # Place in its shard, and size, of each chunk.
        self._entries = np.full((grid.chunks, 2), MISSING, np.uint64)
        self._open = np.zeros((grid.rows, *dataset.row_shape), dataset.stored)
        self._block = 0  # the chunk that it is, or was when it became full
        self._unindexed: set[int] = set()

    def create(self) -> list[Path]:
        """Make the files, those of uncompressed rows with all their room; return them."""
        for shard in range(self.grid.shards):
            index = pack_index(self._of(shard), self.grid.per_shard)
            disk.create(self._path(shard), self._size(shard), index)
        return [self._path(shard) for shard in range(self.grid.shards)]

    def load(self) -> None:
        """Take the indexes that a run has left.

        Raises:
            OSError: A file is missing or has a size that it was not made with.
        """
        for shard in range(self.grid.shards):
            path, size = self._path(shard), self._size(shard)
            found = path.stat().st_size
            if found < size or (found > size and not self._is_packed):
                raise OSError(None, f"{path} has another size than it was made with", str(path))
            packed = bytearray(self.grid.index_bytes)
            with disk.open_file(path) as file:
                file.read(0, memoryview(packed))
            self._of(shard)[:] = unpack_index(packed, len(self._of(shard)))

    def write(self, start: int, rows: Array) -> None:
        """Put rows at row `start`, into chunks that are full and the one that is not."""
        size = self.grid.rows
        for at, part in pieces(start, rows, size) if rows.nbytes else ():
            block, inside = divmod(at, size)
            end = inside + len(part)
            if len(part) == size:
                self._put(block, part)
            else:
                self._block = block
                self._open[inside:end] = part
                self._open[end:] = 0
                if end == size or at + len(part) == self.dataset.shape[0]:
                    self._put(block, self._open)

    def chunk(self, number: int) -> Array | None:
        """Return a chunk as it lies on the disk, or None if it is missing or damaged."""
        place, size = map(int, self._entries[number])
        chunk = np.empty(self.grid.chunk, self.grid.dtype)
        try:
            with disk.open_file(self._path(number // self.grid.per_shard)) as file:
                self._chain.decode(
                    partial(_read_on, file, [place]), size, chunk.reshape(-1).view(np.uint8).data
                )
        except (OSError, OverflowError, ValueError):
            return None
        return chunk

    def restore(self, row: int, waiting: Array) -> None:
        """Go on at a row, the last ones before it given."""
        is_over = row == self.dataset.shape[0]
        full = self.grid.chunks if is_over else row // self.grid.rows * self.grid.tiles
        self._entries[full:] = MISSING  # what a run that died has put behind them does not count
        self._open[: len(waiting)] = waiting
        self._block = row // self.grid.rows

    def waiting(self, row: int, count: int) -> memoryview:
        """Return the bytes of the `count` rows before `row`, the first ones of their chunk."""
        number = row // self.grid.rows
        held: Array | None = self._open
        if count and number != self._block:  # this array has later rows: the chunk became full
            held = self.chunk(number)
        if held is None:
            path = self._path(number // self.grid.per_shard)
            raise OSError(None, f"{path} does not hold what was written to it", str(path))
        return held[:count].reshape(-1).view(np.uint8).data

    def put_indexes(self) -> list[Path]:
        """Write the indexes that have changed, and return their files."""
        shards = sorted(self._unindexed)
        for shard in shards:
            entries = self._of(shard)
            with disk.open_file(self._path(shard)) as file:
                file.write(0, memoryview(pack_index(entries, self.grid.per_shard)))
                if entries[-1, 0] != MISSING:  # it is full, and a run that died may have added more
                    file.resize(int(entries[-1].sum()))
        self._unindexed.clear()
        return [self._path(shard) for shard in shards]

    def _put(self, block: int, rows: Array) -> None:
        """Write the chunks of as many rows as a chunk has: one, or the tiles of a large row."""
        first = block * self.grid.rows
        for number, inside, where in self.grid.pieces(first, first + self.grid.rows):
            chunk = rows
            if self.grid.tiles > 1:
                chunk = np.zeros(self.grid.chunk, self.grid.dtype)
                chunk[inside] = rows[where]
            data = self._chain.encode(chunk.reshape(-1).view(np.uint8).data)
            shard, position = divmod(number, self.grid.per_shard)
            place = int(self._entries[number - 1].sum()) if position else self.grid.index_bytes
            with disk.open_file(self._path(shard)) as file:
                for part in data:
                    file.write(place, memoryview(part))
                    place += len(part)
            size = sum(map(len, data))
            self._entries[number] = place - size, size
            self._unindexed.add(shard)

    def _of(self, shard: int) -> Array:
        """Return the entries of one shard."""
        first = shard * self.grid.per_shard
        return self._entries[first : first + self.grid.per_shard]

    def _size(self, shard: int) -> int:
        """Return the size that a shard is made with."""
        room = 0 if self._is_packed else self.grid.chunk_bytes + BYTES
        return self.grid.index_bytes + len(self._of(shard)) * room

    def _path(self, shard: int) -> Path:
        return self.folder / self.grid.shard_name(shard)


def _write_new(path: Path, content: bytes) -> Path:
    disk.create(path, len(content), content)
    return path


def _read_on(file: disk.File, place: list[int], into: memoryview) -> None:
    """Read from a place and move it behind what was read."""
    file.read(place[0], into)
    place[0] += len(into)


def _sync_all(paths: Sequence[Path]) -> None:
    # Side by side, the disk settles hundreds of files in the time of a few.
    if paths:
        with ThreadPoolExecutor(min(16, len(paths))) as pool:
            for _ in pool.map(disk.sync, paths):
                pass

"""The HDF5 container: one file, one dataset an address, its rows written without HDF5.

All room is taken when the file is made, so that a full disk is found at once, the bytes do not
depend on the batch size, and no later write moves the file's own structures (`skeleton.py`).
Chunks are then written in place, each with its checksum. The format is the oldest that HDF5 writes:
every reader has it, and a file left open by a dead run opens again.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from layerprobe.sinks import disk
from layerprobe.sinks.fletcher import fletcher32
from layerprobe.sinks.numbers import Dataset, pieces, rows_at_once
from layerprobe.sinks.skeleton import Skeleton

Array = npt.NDArray[Any]


class Hdf5Container:
    """The rows of a dump in one HDF5 file.

    Args:
        path: The file, which must not be there; or the one that a dead run left.
        datasets: What it will hold.
        names: Under which names.
        begun: Whether the file is there.

    Raises:
        OSError: The disk is full or fails.
    """

    def __init__(
        self, path: Path, datasets: Sequence[Dataset], names: Sequence[str], *, begun: bool
    ) -> None:
        self._skeleton = Skeleton(datasets, names)
        if not begun:
            disk.create(path, self._skeleton.size)
        self._file = disk.open_file(path)
        try:
            self._put_structures()
            self._rows = [
                _Chunks(self._file, *given)
                for given in zip(
                    datasets, self._skeleton.chunks, self._skeleton.places, strict=True
                )
            ]
        except BaseException:
            self.close()
            raise

    def at_once(self, index: int) -> int:
        """Return how many rows of dataset number `index` to write at once."""
        return self._rows[index].at_once

    def write(self, index: int, start: int, rows: Array) -> None:
        """Put rows of dataset number `index` at row `start`, which follows those before."""
        self._rows[index].write(start, rows)

    def read(self, index: int, start: int, stop: int) -> Array:
        """Return rows as they lie on the disk; of those before a call of `settle`."""
        return self._rows[index].read(start, stop)

    def restore(self, row: int) -> None:
        """Go on at a row, as if the rows before had just been written."""
        for rows in self._rows:
            rows.restore(row)

    def settle(self, row: int) -> None:  # noqa: ARG002 - rows lie where they belong
        """Bring everything that was written to the disk."""
        for rows in self._rows:
            rows.put_open_chunk()
        self._file.sync()

    def finish(self, manifest: str) -> None:
        """Store the manifest in the root, and bring everything to the disk."""
        self._skeleton.finish(manifest)
        self._put_structures()
        self._file.sync()
        self.close()

    def close(self) -> None:
        """Close without writing anything more."""
        self._file.close()
        self._skeleton.close()

    def _put_structures(self) -> None:
        self._file.resize(self._skeleton.size)
        for place, data in self._skeleton.structures():
            self._file.write(place, memoryview(data))


class _Chunks:
    """The chunks of one dataset; the one that is not full yet is held in memory."""

    def __init__(
        self,
        file: disk.File,
        dataset: Dataset,
        shape: tuple[int, ...],
        places: npt.NDArray[np.int64],
    ) -> None:
        self._file = file
        self._dataset = dataset
        self._shape = shape
        self._places = places
        # A row that is larger than a chunk lies in several: tiles, which are cut at all other axes.
        sizes = zip(dataset.row_shape, shape[1:], strict=False)
        self._tiles = math.prod(-(-size // part) for size, part in sizes)
        self.at_once = rows_at_once(shape[0] if shape else 1, dataset.row_bytes)
        self._open = np.zeros(shape, dataset.stored)
        self._at = 0
        self._unwritten = False
        self._beginner = disk.Beginner()

    def write(self, start: int, rows: Array) -> None:
        if not rows.nbytes:
            return
        if self._tiles > 1:
            for number, row in enumerate(rows, start):
                self._put_tiles(number, row)
            return
        for at, part in pieces(start, rows, self._shape[0]):
            chunk, inside = divmod(at, self._shape[0])
            if len(part) == self._shape[0]:
                self._put(chunk, part)
            else:
                self._add(inside, part)
            self._at = at + len(part)
            if self._unwritten and (self._at % self._shape[0] == 0 or self._is_over()):
                self.put_open_chunk()
                self._open.fill(0)

    def put_open_chunk(self) -> None:
        """Write the chunk that is not full yet, padded with zeros."""
        if self._unwritten:
            self._put((self._at - 1) // self._shape[0], self._open)
            self._unwritten = False

    def read(self, start: int, stop: int) -> Array:
        rows = np.zeros((stop - start, *self._dataset.row_shape), self._dataset.stored)
        if self._tiles > 1:
            for number, row in enumerate(rows, start):
                for tile, where in enumerate(self._tile_slices()):
                    held = np.empty(self._shape, self._dataset.stored)
                    self._fill(held, int(self._places[number * self._tiles + tile]))
                    part = row[where]
                    part[...] = held[0][tuple(slice(n) for n in part.shape)]
        elif rows.nbytes:
            for at, part in pieces(start, rows, self._shape[0]):
                chunk, inside = divmod(at, self._shape[0])
                self._fill(part, int(self._places[chunk]) + inside * self._dataset.row_bytes)
        return rows

    def restore(self, row: int) -> None:
        self._at = row
        if self._tiles == 1 and self._places.size and row < self._dataset.shape[0]:
            # The checksum behind a chunk that was being filled may be torn: its rows are not.
            inside = row % self._shape[0]
            self._open.fill(0)
            self._open[:inside] = self.read(row - inside, row)

    def _add(self, inside: int, rows: Array) -> None:
        self._open[inside : inside + len(rows)] = rows
        self._unwritten = True

    def _is_over(self) -> bool:
        return self._at == self._dataset.shape[0]

    def _put_tiles(self, number: int, row: Array) -> None:
        for tile, where in enumerate(self._tile_slices()):
            held = np.zeros(self._shape, self._dataset.stored)
            part = row[where]
            held[0][tuple(slice(n) for n in part.shape)] = part
            self._put(number * self._tiles + tile, held)

    def _tile_slices(self) -> Iterator[tuple[slice, ...]]:
        counts = [-(-n // c) for n, c in zip(self._dataset.row_shape, self._shape[1:], strict=True)]
        for at in np.ndindex(*counts):
            yield tuple(slice(i * c, (i + 1) * c) for i, c in zip(at, self._shape[1:], strict=True))

    def _put(self, chunk: int, rows: Array) -> None:
        data = rows.reshape(-1).view(np.uint8).data
        place = int(self._places[chunk])
        checksum = memoryview(fletcher32(data))  # first, while the rows are in the cache
        self._file.write(place, data)
        self._file.write(place + len(data), checksum)
        self._beginner.wrote(self._file, place, len(data))

    def _fill(self, rows: Array, place: int) -> None:
        self._file.read(place, rows.reshape(-1).view(np.uint8).data)

"""Rows of an HDF5 file, read from where its chunks lie instead of through HDF5.

HDF5 reads the whole chunk for each row, and checks it, which takes longer than reading. Here one is
checked once, when it is touched first, by the same checksum; after that its rows are read alone.
What does not look as this package writes it is left to HDF5, and so is a chunk whose checksum is
wrong: it knows best what to say of it.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Iterator

import h5py
import numpy as np

from layerprobe.dump.lazy import Array, Fill, Read
from layerprobe.sinks.fletcher import fletcher32

_CHECKSUM_BYTES = 4


def direct(
    file: h5py.File, dataset: h5py.Dataset, dtype: np.dtype[np.generic], otherwise: Read
) -> tuple[Read, Fill]:
    """Return what reads rows, past HDF5 where that can be done: with checks, and without.

    Args:
        file: The file it lies in.
        dataset: The dataset, rows first.
        dtype: Of the values as they lie on the disk.
        otherwise: How rows are read through HDF5.
    """

    def filled(start: int, stop: int, into: Array) -> None:
        into[...] = otherwise(start, stop)

    chunk, shape = dataset.chunks, dataset.shape
    whole_rows = chunk is not None and chunk[1:] == shape[1:] and 0 not in shape
    if not whole_rows or not hasattr(os, "preadv") or not _is_plain(dataset):
        return otherwise, filled
    found: list[tuple[int, int]] = []
    plain = True

    def note(stored: h5py.h5d.StoreInfo) -> None:
        nonlocal plain
        found.append((stored.chunk_offset[0], stored.byte_offset))
        plain &= stored.filter_mask == 0 and stored.size == size

    row_bytes = math.prod(shape[1:]) * dtype.itemsize
    size = chunk[0] * row_bytes + _CHECKSUM_BYTES
    dataset.id.chunk_iter(note)
    begins = [begin for begin, _ in sorted(found)]
    if not plain or begins != list(range(0, shape[0], chunk[0])):
        return otherwise, filled
    places = np.array([place for _, place in sorted(found)], np.int64)
    chunks = _Chunks(file.id.get_vfd_handle(), shape, dtype, chunk[0], places, otherwise)
    return chunks.read, chunks.fill


def _is_plain(dataset: h5py.Dataset) -> bool:
    """Tell whether nothing is done to the chunks but that a Fletcher-32 checksum follows them."""
    made = dataset.id.get_create_plist()
    filters = [made.get_filter(at)[0] for at in range(made.get_nfilters())]
    return filters == [h5py.h5z.FILTER_FLETCHER32]


class _Chunks:
    """Chunks of whole rows, each with its checksum behind it.

    Args:
        descriptor: Of the open file.
        shape: Of the dataset.
        dtype: As it lies there.
        rows: Of a chunk; the last one is filled up.
        places: Where each chunk begins.
        otherwise: What reads rows where a checksum is wrong.
    """

    def __init__(
        self,
        descriptor: int,
        shape: tuple[int, ...],
        dtype: np.dtype[np.generic],
        rows: int,
        places: np.ndarray[tuple[int], np.dtype[np.int64]],
        otherwise: Read,
    ) -> None:
        self._descriptor = descriptor
        self._shape = shape
        self._dtype = dtype
        self._rows = rows
        self._places = places
        self._otherwise = otherwise
        self._row_bytes = math.prod(shape[1:]) * dtype.itemsize
        self._checked = np.zeros(len(places), bool)
        self._held = threading.local()  # memory for a chunk: new memory is slower than the disk

    def read(self, start: int, stop: int) -> Array:
        """Return rows `start` to `stop`."""
        result = np.empty((stop - start, *self._shape[1:]), self._dtype)
        sound = all(self._checked_rows(*piece) for piece in self._pieces(start, stop, result))
        return result if sound else self._otherwise(start, stop)

    def fill(self, start: int, stop: int, into: Array) -> None:
        """Read rows `start` to `stop`, whatever their checksums are."""
        for chunk, inside, part in self._pieces(start, stop, into):
            self._get(int(self._places[chunk]) + inside * self._row_bytes, part)

    def _pieces(self, start: int, stop: int, rows: Array) -> Iterator[tuple[int, int, memoryview]]:
        """Yield for each chunk its number, the first row in it, and where the rows go."""
        into = memoryview(rows.reshape(-1).view(np.uint8))  # type: ignore[arg-type]
        at = start
        while at < stop:
            chunk, inside = divmod(at, self._rows)
            count = min(self._rows - inside, stop - at)
            begin = (at - start) * self._row_bytes
            yield chunk, inside, into[begin : begin + count * self._row_bytes]
            at += count

    def _checked_rows(self, chunk: int, inside: int, into: memoryview) -> bool:
        """Read rows of a chunk; tell whether its checksum is right."""
        place = int(self._places[chunk])
        if self._checked[chunk]:
            self._get(place + inside * self._row_bytes, into)
            return True
        size = self._rows * self._row_bytes
        checksum = bytearray(_CHECKSUM_BYTES)
        if len(into) == size:
            self._get(place, into, checksum)
            data = into
        else:
            data = self._scratch(size)
            self._get(place, data, checksum)
            begin = inside * self._row_bytes
            into[:] = data[begin : begin + len(into)]
        self._checked[chunk] = fletcher32(data) == checksum
        return bool(self._checked[chunk])

    def _scratch(self, size: int) -> memoryview:
        if not hasattr(self._held, "memory"):
            self._held.memory = memoryview(bytearray(size))
        held: memoryview = self._held.memory
        return held

    def _get(self, place: int, *into: memoryview | bytearray) -> None:
        wanted = sum(map(len, into))
        if os.preadv(self._descriptor, list(into), place) != wanted:
            raise OSError("it is cut short")

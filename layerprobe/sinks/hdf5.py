"""The HDF5 container: one file, one dataset an address.

Everything is allocated when the file is made, so that a full disk is found at once, the bytes do
not depend on the batch size, and no later write moves the file's own structures. The format is the
oldest that HDF5 writes: every reader has it, and a file left open by a dead run opens again.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import numpy.typing as npt

from layerprobe.sinks import disk
from layerprobe.sinks.manifest import ATTRIBUTE
from layerprobe.sinks.names import percent
from layerprobe.sinks.rows import Dataset

_MIB = 1 << 20
# HDF5 keeps up to one chunk a dataset in memory, so many datasets get smaller chunks.
_ALL_CHUNKS = 256 * _MIB
_SMALLEST_CHUNK = _MIB // 16


class Hdf5Container:
    """The rows of a dump in one HDF5 file.

    Raises:
        OSError, RuntimeError, ValueError: The disk is full or fails (`disk.disk_errors`).
    """

    def __init__(self, path: Path, datasets: Sequence[Dataset], names: Sequence[str]) -> None:
        self._path = path
        # HDF5 answers a full disk with broken structures: ask the system for the room first.
        disk.create(path, sum(dataset.nbytes for dataset in datasets))
        # Our own lock holds already; HDF5's fails on file systems without locks.
        self._file = h5py.File(path, "w", locking=False)
        try:
            limit = min(_MIB, max(_SMALLEST_CHUNK, _ALL_CHUNKS // len(datasets)))
            self._datasets = [
                _allocate(self._file, dataset, name, limit)
                for dataset, name in zip(datasets, names, strict=True)
            ]
            self._file.flush()
        except BaseException:
            self.discard()
            raise

    def write(self, index: int, start: int, rows: npt.NDArray[Any]) -> None:
        """Put rows of dataset number `index` at row `start`."""
        self._datasets[index][start : start + len(rows)] = rows

    def finish(self, manifest: str) -> None:
        """Store the manifest in the root, and bring everything to the disk."""
        # A string of variable length lies outside the object header and its limit of 64 kB.
        self._file.attrs[ATTRIBUTE] = manifest
        # What cannot be written has to fail here: `discard` can still help then, but not in close.
        self._file.flush()
        self._file.close()
        disk.sync(self._path)

    def discard(self) -> None:
        """Close without writing anything more."""
        if not self._file.id.valid:
            return
        # Closing flushes, and a flush that fails crashes the process when it ends: what is left to
        # write goes nowhere instead.
        if os.name == "posix":
            nowhere = os.open(os.devnull, os.O_RDWR)
            os.dup2(nowhere, self._file.id.get_vfd_handle())
            os.close(nowhere)
        with suppress(OSError, RuntimeError, ValueError):
            self._file.close()


def chunk_shape(shape: Sequence[int], itemsize: int, limit: int = _MIB) -> tuple[int, ...]:
    """Return the shape of a chunk: whole rows where they fit, and of nearly equal parts.

    Args:
        shape: The dataset's, rows first, no dimension 0.
        itemsize: Bytes of one element.
        limit: Most bytes of a chunk.

    Example:
        >>> chunk_shape((1000, 700), 4), chunk_shape((10, 640, 640, 3), 4)
        ((334, 700), (1, 128, 640, 3))
    """
    chunk: list[int] = []
    room = max(1, limit // itemsize)
    for size in reversed(shape):
        # Equal parts: a last chunk takes as much disk as a full one.
        parts = -(-size // room)
        chunk.insert(0, -(-size // parts))
        room = room // size if parts == 1 else 1
    return tuple(chunk)


def _allocate(file: h5py.File, dataset: Dataset, name: str, limit: int) -> h5py.Dataset:
    options: dict[str, Any] = {}
    if dataset.nbytes:  # HDF5 has no chunks of nothing
        early = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        early.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        options = {
            "dcpl": early,
            "chunks": chunk_shape(dataset.shape, dataset.stored.itemsize, limit),
            "fletcher32": True,
            "fill_time": "never",
        }
    # Times would make every file differ from the next.
    stored = file.create_dataset(name, dataset.shape, dataset.stored, track_times=False, **options)
    stored.attrs["address"] = _as_text(dataset.address)
    return stored


def _as_text(address: str) -> str:
    """Percent-encode what HDF5 strings cannot hold; `layers.quote` leaves none of it."""
    return "".join(percent(c) if c == "\0" or "\ud800" <= c <= "\udfff" else c for c in address)

"""How the datasets of a dump lie on the disk, and whether they do.

A dump may come from anyone and by way of anything: each dataset is checked against the manifest
before it is read, and nothing in a dump leads to another file. What is found wrong is raised as the
nearest built-in error; `layerprobe.dump` makes one message of them all.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np

from layerprobe.dump.chunks import direct
from layerprobe.dump.lazy import Array, Fill, Read
from layerprobe.sinks import dtype_named

# The places of sign, exponent and mantissa, and their bits; the bias; little-endian.
_BFLOAT16 = ((15, 7, 8, 0, 7), 127, h5py.h5t.ORDER_LE)


@dataclass(frozen=True, slots=True)
class Entry:
    """What the manifest says of one dataset."""

    address: str
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    scale: Array | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of all rows."""
        return math.prod(self.shape) * self.dtype.itemsize

    def check(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        """Compare with what the file says."""
        if shape != self.shape or dtype != self.dtype:
            raise ValueError(
                f"{self.address!r} is {dtype} of shape {shape}, by the manifest "
                f"{self.dtype} of shape {self.shape}"
            )


def entry_of(given: Mapping[str, Any]) -> Entry:
    """Return what an item of the manifest's list says.

    Raises:
        LookupError, TypeError, ValueError: It does not say it, or its name leads out of the dump.
    """
    dtype = dtype_named(str(given["dtype"]))
    if dtype.kind != "V":
        dtype = dtype.newbyteorder("<")
    scale = np.array(given["scale"], np.float32) if "scale" in given else None
    entry = Entry(str(given["address"]), str(given["name"]), tuple(given["shape"]), dtype, scale)
    # "." and ".." are names with a meaning in folders and in HDF5 files.
    if set(entry.name) & set("/\\\0") or not entry.name.strip("."):
        raise ValueError(f"the stored name {entry.name!r} leads out of it")
    if not entry.shape or not all(type(size) is int and size >= 0 for size in entry.shape):
        raise ValueError(f"{entry.address!r} has the shape {entry.shape}")
    if scale is not None and scale.shape not in ((1,), entry.shape[1:][-1:]):
        raise ValueError(f"{entry.address!r} has a scale of shape {scale.shape}")
    known = dtype.kind in "biufc" or dtype.name == "bfloat16"
    if not known:  # objects would be read as pointers into memory
        raise ValueError(f"{entry.address!r} holds {dtype}, which is no number")
    return entry


class Files(Protocol):
    """The datasets of a dump as they lie on the disk, checked when it is made."""

    def reader(self, entry: Entry) -> Read:
        """Return what reads rows of one dataset, with the checks that the container has itself."""

    def bare(self, entry: Entry) -> Fill | None:
        """Return what reads rows without them; None where they cost little."""

    def close(self) -> None:
        """Let go of every open file."""


class Hdf5File:
    """The datasets of a dump in one HDF5 file."""

    def __init__(self, path: Path, entries: Iterable[Entry]) -> None:
        # No lock is taken: a published dump no longer changes, and some file systems know no locks.
        self._file = h5py.File(path, "r", locking=False)
        self._readers: dict[str, tuple[Read, Fill]] = {}
        try:
            for entry in entries:
                self._check(entry)
        except BaseException:
            self._file.close()
            raise

    def reader(self, entry: Entry) -> Read:
        """Return what reads rows of one dataset and checks each chunk, once or more."""
        return self._both(entry)[0]

    def bare(self, entry: Entry) -> Fill:
        """Return what reads rows of one dataset and leaves the checksums of chunks alone."""
        return self._both(entry)[1]

    def _both(self, entry: Entry) -> tuple[Read, Fill]:
        if entry.name not in self._readers:
            dataset = self._file[entry.name]
            through: Read = lambda start, stop: dataset[start:stop]  # noqa: E731
            if entry.dtype.name == "bfloat16":
                through = partial(_raw, dataset, entry)
            self._readers[entry.name] = direct(self._file, dataset, entry.dtype, through)
        return self._readers[entry.name]

    def close(self) -> None:
        """Close the file."""
        self._readers.clear()  # a dataset that is held keeps the file open
        self._file.close()

    def _check(self, entry: Entry) -> None:
        # A link or an external storage would make HDF5 open another file.
        link = self._file.get(entry.name, getlink=True)
        dataset = self._file[entry.name] if isinstance(link, h5py.HardLink) else None
        if not isinstance(dataset, h5py.Dataset) or dataset.is_virtual or dataset.external:
            raise ValueError(f"{entry.address!r} is no dataset of its own")
        kind = entry.dtype if _is_bfloat16(dataset) else dataset.dtype
        entry.check(dataset.shape, kind)
        if dataset.id.get_storage_size() < entry.nbytes:
            raise ValueError(f"{entry.address!r} is not all there")


def _is_bfloat16(dataset: h5py.Dataset) -> bool:
    kind = dataset.id.get_type()
    if not isinstance(kind, h5py.h5t.TypeFloatID) or kind.get_size() != 2:
        return False
    return (kind.get_fields(), kind.get_ebias(), kind.get_order()) == _BFLOAT16


def _raw(dataset: h5py.Dataset, entry: Entry, start: int, stop: int) -> Array:
    """Return rows as they lie there; HDF5 itself would make float32 of them, slowly."""
    rows = np.empty((stop - start, *entry.shape[1:]), np.uint16)
    if rows.size:
        memory = h5py.h5s.create_simple(rows.shape)
        space = dataset.id.get_space()
        space.select_hyperslab((start, *(0,) * (rows.ndim - 1)), rows.shape)
        dataset.id.read(memory, space, rows, mtype=dataset.id.get_type())
    return rows.view(entry.dtype)


class NpyFiles:
    """The datasets of a dump in NPY files of one folder."""

    def __init__(self, folder: Path, entries: Iterable[Entry]) -> None:
        self._folder = folder
        self._begins = {entry.name: self._check(entry) for entry in entries}

    def reader(self, entry: Entry) -> Read:
        """Return what reads rows of one dataset; these files have no checksums."""
        return partial(self._read, entry)

    def bare(self, entry: Entry) -> Fill:
        """Return the same, for memory that is there."""
        return partial(self._fill, entry)

    def close(self) -> None:
        """Do nothing: no file is open between two reads."""

    def _read(self, entry: Entry, start: int, stop: int) -> Array:
        rows = np.empty((stop - start, *entry.shape[1:]), entry.dtype)
        self._fill(entry, start, stop, rows)
        return rows

    def _fill(self, entry: Entry, start: int, stop: int, into: Array) -> None:  # noqa: ARG002
        with self._path(entry).open("rb") as file:
            file.seek(self._begins[entry.name] + start * (entry.nbytes // max(1, entry.shape[0])))
            if file.readinto(into.reshape(-1).view(np.uint8).data) != into.nbytes:
                raise ValueError(f"{entry.address!r} is cut short")

    def _path(self, entry: Entry) -> Path:
        return self._folder / f"{entry.name}.npy"

    def _check(self, entry: Entry) -> int:
        """Check one file and return where its rows begin."""
        with self._path(entry).open("rb") as file:
            if np.lib.format.read_magic(file) != (1, 0):
                raise ValueError(f"{entry.address!r} is not in NPY format 1.0")
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
            begin = file.tell()
            size = file.seek(0, os.SEEK_END) - begin
        entry.check(shape, dtype)
        if fortran or size != entry.nbytes:
            raise ValueError(f"{entry.address!r} has {size} bytes of rows, not {entry.nbytes}")
        return begin

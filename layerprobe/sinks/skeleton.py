"""An HDF5 file without its rows: everything that HDF5 itself writes, made in memory.

HDF5 answers a disk that fails with broken structures and crashes, and writes zeros over all the
room it allocates. So it never touches the disk here: it writes into a file in memory that drops
zeros, and says where each chunk lies. The same datasets always give the same bytes, so structures
that a power cut has torn are put back by writing them again.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from typing import Any

import h5py
import numpy as np

from layerprobe.sinks.manifest import ATTRIBUTE
from layerprobe.sinks.names import as_text
from layerprobe.sinks.numbers import Dataset, is_bfloat16

_MIB = 1 << 20
# A chunk of each dataset is held in memory, so many datasets get smaller chunks.
_ALL_CHUNKS = 256 * _MIB
_SMALLEST_CHUNK = _MIB // 16
_PAGE = 4096
_MOST_IN_HEADER = 8192  # numbers of a scale; an object header takes 64 kB
CHECKSUM_BYTES = 4


class Skeleton:
    """The structures of an HDF5 file that holds some datasets.

    Attributes:
        chunks: The shape of a chunk of each dataset.
        places: For each dataset the places of its chunks in the file, in row-major order.
    """

    def __init__(self, datasets: Sequence[Dataset], names: Sequence[str]) -> None:
        self._memory = _SparseFile()
        self._file = h5py.File(self._memory, "w")
        limit = min(_MIB, max(_SMALLEST_CHUNK, _ALL_CHUNKS // len(datasets)))
        stored = [
            _allocate(self._file, dataset, name, limit)
            for dataset, name in zip(datasets, names, strict=True)
        ]
        self._file.flush()
        self.chunks = [dataset.chunks or () for dataset in stored]
        self.places = [_places(dataset) for dataset in stored]
        self._sizes = [
            math.prod(chunk) * dataset.dtype.itemsize + CHECKSUM_BYTES if chunk else 0
            for dataset, chunk in zip(datasets, self.chunks, strict=True)
        ]

    @property
    def size(self) -> int:
        """Bytes of the whole file, chunks included."""
        return self._memory.size

    def finish(self, manifest: str) -> None:
        """Put the manifest into the root; nothing can be added after that."""
        # A string of variable length lies outside the object header and its limit of 64 kB.
        self._file.attrs[ATTRIBUTE] = manifest
        self._file.close()

    def structures(self) -> Iterator[tuple[int, bytes]]:
        """Yield the place and the bytes of everything that is not a chunk."""
        begins = np.concatenate([*self.places, np.array([self.size])])
        sizes = [np.full(len(p), n) for p, n in zip(self.places, self._sizes, strict=True)]
        ends = begins + np.concatenate([*sizes, np.array([0])])
        order = np.argsort(begins, kind="stable")
        gaps = np.concatenate([np.array([0]), ends[order][:-1]])
        for at in np.flatnonzero(gaps < begins[order]):
            start, stop = int(gaps[at]), int(begins[order][at])
            yield start, self._memory.piece(start, stop)

    def close(self) -> None:
        """Let go of the memory."""
        self._file.close()
        self._memory.close()


class _SparseFile(io.RawIOBase):
    """A file in memory, without the zeros."""

    def __init__(self) -> None:
        self.size = 0
        self._at = 0
        self._touched = 0  # behind the last byte that is not known to be zero
        self._pages: dict[int, bytearray] = {}

    def piece(self, start: int, stop: int) -> bytes:
        """Return some of its bytes."""
        found = bytearray(stop - start)
        for page, inside, place in _cut(start, stop - start):
            if page in self._pages:
                found[place] = self._pages[page][inside]
        return bytes(found)

    def write(self, data: Any) -> int:
        """Write at the current place."""
        given = memoryview(data).cast("B")
        zeros = _is_zeros(given)
        if not zeros or self._at < self._touched:  # HDF5 fills chunk after chunk with zeros
            for page, inside, place in _cut(self._at, len(given)):
                if not zeros or page in self._pages:
                    self._pages.setdefault(page, bytearray(_PAGE))[inside] = given[place]
        self._at += len(given)
        self._touched = self._touched if zeros else max(self._touched, self._at)
        self.size = max(self.size, self._at)
        return len(given)

    def readinto(self, buffer: Any) -> int:
        """Read from the current place; what was never written is zeros."""
        wanted = memoryview(buffer).cast("B")
        wanted[:] = self.piece(self._at, self._at + len(wanted))
        self._at += len(wanted)
        return len(wanted)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move to a place."""
        self._at = offset + (0, self._at, self.size)[whence]
        return self._at

    def tell(self) -> int:
        """Return the current place."""
        return self._at

    def truncate(self, size: int | None = None) -> int:
        """Set the size; HDF5 does so at its end, to what it has written."""
        self.size = self._at if size is None else size
        return self.size


def _is_zeros(data: memoryview) -> bool:
    """Tell whether many bytes are all zeros; of few it is not worth knowing."""
    # The largest octet: NumPy finds it several times as fast as whether there is any.
    return len(data) >= _PAGE and not np.frombuffer(data, np.uint8).max()


def _cut(start: int, count: int) -> Iterator[tuple[int, slice, slice]]:
    """Cut bytes at the ends of pages: the page, where in it, and where among the bytes."""
    done = 0
    while done < count:
        page, inside = divmod(start + done, _PAGE)
        size = min(_PAGE - inside, count - done)
        yield page, slice(inside, inside + size), slice(done, done + size)
        done += size


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
    kind = _bfloat16() if is_bfloat16(dataset.dtype) else dataset.stored
    # Times would make every file differ from the next.
    stored = file.create_dataset(name, dataset.shape, kind, track_times=False, **options)
    stored.attrs["address"] = as_text(dataset.address)
    if dataset.scale is not None:
        scale = np.array(dataset.scale, "<f4")
        if len(scale) <= _MOST_IN_HEADER:
            stored.attrs["scale"] = scale
        else:  # ":" is in no stored name
            file.create_dataset(f"{name}:scale", data=scale, track_times=False)
    return stored


def _bfloat16() -> h5py.Datatype:
    """Return HDF5's description of bfloat16: a reader that does not know it gets float32."""
    found = h5py.h5t.IEEE_F16LE.copy()
    found.set_fields(15, 7, 8, 0, 7)  # the places of sign, exponent and mantissa, and their bits
    found.set_ebias(127)
    return h5py.Datatype(found)


def _places(dataset: h5py.Dataset) -> np.ndarray[Any, Any]:
    found: list[tuple[tuple[int, ...], int]] = []
    if dataset.chunks:
        dataset.id.chunk_iter(lambda chunk: found.append((chunk.chunk_offset, chunk.byte_offset)))
    return np.array([place for _, place in sorted(found)], np.int64)

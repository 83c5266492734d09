"""Datasets of an HDF5 file, and the only file of the sources that imports h5py.

HDF5 can lead a reader elsewhere: by links into other files, by virtual datasets, by values kept in
external files. A data file from a stranger could so pull in any file of this machine, and a virtual
dataset whose source is missing reads as zeros. All of these are refused (exit code 77), and every
link is looked at before it is followed. Two more sources of silent zeros are refused: chunks that
were never written, and a file cut short while it is open, which HDF5 fills up with zeros.
"""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import h5py

from layerprobe.errors import DataError
from layerprobe.sources.choose import Entry, Fits, choose, unknown
from layerprobe.sources.rows import Array, RowReader, check_rows, fault, tidy

_DAMAGE = (OSError, RuntimeError, KeyError, ValueError, TypeError)  # h5py raises each of them
_MOST_LINKS = 1000  # on the way to one dataset: soft links may go round in a circle
_CHECKSUM_BYTES = 4
_LEAST_CACHE, _MOST_CACHE = 1 << 20, 256 << 20
_CACHE_SLOTS = 10_007  # a prime, and more than the chunks that lie side by side


def open_hdf5(location: str, path: Path, key: str | None, fits: Fits | None) -> Hdf5Source:
    """Open one dataset of an HDF5 file: the one named, or the one that fits, of a group if named.

    Raises:
        DataError: The file is damaged, in use by a writer (exit code 75), or has no such dataset,
            or none or several that fit; or the dataset leads out of the file (77), holds no rows
            of numbers, was never fully written, or needs a filter that is not installed.
    """
    with ExitStack() as stack:
        file = stack.enter_context(_opened(location, path))
        name = _name(location, path, file, key, fits)
        with _damage(location):
            dataset = _find(location, file, name)
            if dataset is None:
                raise unknown(location, path, name, _entries(file))
            _check(location, dataset)
            source = Hdf5Source(location, path, file, _cached(dataset), name)
        stack.pop_all()
    return source


def hdf5_names(location: str, path: Path, group: str | None = None) -> dict[str, str]:
    """Return all datasets by name, such as "images" or "train/images", sorted.

    Args:
        location: What the user wrote.
        path: The file.
        group: Only those inside of it, by their names there; none if it is no group.

    Returns:
        The name of each as it is from the root on.
    """
    with _opened(location, path) as file, _damage(location):
        start = "" if group is None else f"{group.strip('/')}/".lstrip("/")
        names = (entry.name for entry in _entries(file))
        return {name[len(start) :]: name for name in names if name.startswith(start)}


def _name(location: str, path: Path, file: h5py.File, key: str | None, fits: Fits | None) -> str:
    """Return the name of the dataset that is meant: the key, unless it is missing or a group."""
    with _damage(location):
        if key is not None and _find(location, file, key) is not None:
            return key
        entries = _entries(file)
    inside = [e for e in entries if key is not None and e.name.startswith(f"{key.strip('/')}/")]
    if key is not None and not inside:
        return key
    return choose(location, path, inside or entries, fits)


class Hdf5Source(RowReader):
    """Rows of one dataset; closing it closes the file."""

    def __init__(
        self, location: str, path: Path, file: h5py.File, dataset: h5py.Dataset, key: str
    ) -> None:
        super().__init__(location, path, dataset.shape, dataset.dtype, key)
        self._file = file
        self._dataset = dataset
        self._descriptor = file.id.get_vfd_handle()
        self._size = os.fstat(self._descriptor).st_size

    def _fetch(self, start: int, stop: int) -> Array:
        try:
            rows: Array = self._dataset[start:stop]
        except _DAMAGE as error:
            # HDF5 does not say which of the filters it was.
            damaged = "its checksum or compression is damaged: " if "filter" in str(error) else ""
            raise self._unreadable(start, stop, f"{damaged}{error}") from error
        # Asked after the read: HDF5 gives zeros for what lies beyond the end of the file.
        if os.fstat(self._descriptor).st_size < self._size:
            raise self._unreadable(start, stop, "the file was cut short meanwhile")
        return rows

    def _release(self) -> None:
        self._file.close()


@contextmanager
def _damage(location: str) -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        raise DataError(
            f"{location} is an HDF5 file that is damaged: {tidy(error)}.",
            fix="Copy or write the file again.",
            location=location,
        ) from error


def _opened(location: str, path: Path) -> h5py.File:
    try:
        return h5py.File(path, "r")
    except BlockingIOError as error:
        raise DataError(
            f"{location} is in use: another program is writing to it.",
            fix="Wait until it has closed the file. On a file system without locks, set "
            "HDF5_USE_FILE_LOCKING=FALSE.",
            exit_code=75,
            location=location,
        ) from error
    except _DAMAGE as error:
        cut = "truncated file" in str(error)
        raise DataError(
            f"{location} is an HDF5 file that {'is cut short' if cut else 'cannot be opened'}: "
            f"{tidy(error)}.",
            fix="Copy it again; or its writer has not closed it, or was ended before it could.",
            location=location,
        ) from error


def _entries(file: h5py.File) -> list[Entry]:
    """Describe every dataset that hard links lead to, and links out of the file, unopened."""
    entries = []
    seen = {h5py.h5o.get_info(file.id).addr}  # a group may contain itself
    todo: list[tuple[str, h5py.Group]] = [("", file)]
    while todo:
        prefix, group = todo.pop()
        inner = []
        for child in sorted(group):
            name = f"{prefix}{child}"
            link = group.get(child, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                entries.append(Entry(name, (), None, _outside(link)))
            if not isinstance(link, h5py.HardLink):
                continue
            found = group[child]
            if isinstance(found, h5py.Dataset):
                entries.append(_entry(name, found))
            elif isinstance(found, h5py.Group):
                address = h5py.h5o.get_info(found.id).addr
                if address not in seen:
                    seen.add(address)
                    inner.append((f"{name}/", found))
        todo += reversed(inner)
    return sorted(entries, key=lambda entry: entry.name)


def _entry(name: str, dataset: h5py.Dataset) -> Entry:
    # First of all: asking a virtual dataset for its shape may open its source files.
    problem = _elsewhere(dataset) or _wanting(dataset)
    if problem:
        return Entry(name, (), None, problem)
    return Entry.of(name, dataset.shape, dataset.dtype)


def _find(location: str, file: h5py.File, key: str) -> h5py.Dataset | None:
    """Return the dataset of a name, link by link; None if there is none."""
    group: Any = file
    parts = deque(key.split("/"))
    steps = 0
    while parts:
        name = parts.popleft()
        if name in {"", "."}:
            continue
        steps += 1
        link = group.get(name, getlink=True) if isinstance(group, h5py.Group) else None
        if link is None or steps > _MOST_LINKS:
            return None
        if isinstance(link, h5py.ExternalLink):
            raise _refused(location, _outside(link))
        if isinstance(link, h5py.SoftLink):
            group = file if link.path.startswith("/") else group
            parts.extendleft(reversed(link.path.split("/")))
        else:
            group = group[name]
    return group if isinstance(group, h5py.Dataset) else None


def _check(location: str, dataset: h5py.Dataset) -> None:
    problem = _elsewhere(dataset)
    if problem:
        raise _refused(location, problem)
    problem = _wanting(dataset)
    if problem:
        raise DataError(
            f"{location} {problem}.",
            expected="a dataset of numbers with rows, fully written",
            location=location,
        )
    check_rows(location, dataset.shape, dataset.dtype)
    _check_filters(location, dataset)


def _elsewhere(dataset: h5py.Dataset) -> str:
    if dataset.is_virtual:
        return "is a virtual dataset: its values lie in other files"
    if dataset.external:
        return f"keeps its values in another file, {dataset.external[0][0]!r}"
    return ""


def _outside(link: h5py.ExternalLink) -> str:
    return f"is a link to another file, {link.filename!r}"


def _refused(location: str, problem: str) -> DataError:
    return DataError(
        f"{location} {problem}; layerprobe opens only the file it is given.",
        fix="If you trust it, copy the rows into one file with h5py, and give that file.",
        exit_code=77,
        location=location,
    )


def _wanting(dataset: h5py.Dataset) -> str:
    """Return what is missing from a dataset that has a place in this file; "" if nothing is."""
    if dataset.shape is None:
        return "is empty: it has a dtype but neither shape nor values"
    if fault(dataset.shape, dataset.dtype):
        return ""
    if dataset.id.get_storage_size() == 0:
        return f"declares {dataset.nbytes:,} bytes and stores none: it was never written"
    if dataset.chunks:
        sizes = zip(dataset.shape, dataset.chunks, strict=True)
        chunks = math.prod(-(-size // chunk) for size, chunk in sizes)
        missing = chunks - dataset.id.get_num_chunks()
        if missing:
            return f"was not fully written: {missing:,} of its {chunks:,} chunks are missing"
    return ""


def _check_filters(location: str, dataset: h5py.Dataset) -> None:
    plist = dataset.id.get_create_plist()
    for number in range(plist.get_nfilters()):
        code, _, _, name = plist.get_filter(number)
        if not h5py.h5z.filter_avail(code):
            raise DataError(
                f"{location} is compressed with a filter that is not installed: "
                f"{tidy(name.decode('utf-8', 'replace')) or 'unnamed'} ({code}).",
                fix="Install it with: pip install hdf5plugin, and set HDF5_PLUGIN_PATH to what is "
                "printed by: python -c 'import hdf5plugin; print(hdf5plugin.PLUGIN_PATH)'",
                location=location,
                filter=code,
            )
    if dataset.fletcher32 and dataset.id.chunk_iter(_too_short):
        raise DataError(
            f"{location} is damaged: a chunk is shorter than its checksum.",
            fix="Copy or write the file again.",
            location=location,
        )


def _too_short(chunk: Any) -> bool | None:
    """Stop at a chunk on which HDF5 1.14 would not report an error, but end the process."""
    return True if chunk.size <= _CHECKSUM_BYTES else None


def _cached(dataset: h5py.Dataset) -> h5py.Dataset:
    """Open a dataset anew with a cache for the chunks that lie side by side over the same rows.

    Without it, every batch would unpack the same chunks again; HDF5's own 1 MiB rarely holds them.
    """
    if dataset.chunks is None:
        return dataset
    sizes = zip(dataset.shape[1:], dataset.chunks[1:], strict=True)
    width = math.prod(-(-size // chunk) * chunk for size, chunk in sizes)
    wanted = dataset.chunks[0] * width * dataset.dtype.itemsize
    access = h5py.h5p.create(h5py.h5p.DATASET_ACCESS)
    access.set_chunk_cache(_CACHE_SLOTS, min(max(wanted, _LEAST_CACHE), _MOST_CACHE), 1.0)
    file, name = dataset.file, dataset.name.encode("utf-8", "surrogateescape")
    # Two handles of one dataset share the cache of the first, so that one has to go before.
    dataset.id.close()
    return h5py.Dataset(h5py.h5d.open(file.id, name, access))

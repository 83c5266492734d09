"""Reading a dump back: arrays by address, read when they are indexed.

A dump is checked before its first row is believed: it has its final name, its manifest says that it
is complete, and every dataset has the shape, dtype and size that the manifest gives.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from layerprobe.dump.batches import Columns, batches
from layerprobe.dump.files import Entry, Files, Hdf5File, NpyFiles, entry_of
from layerprobe.dump.lazy import Array, LazyArray, Read
from layerprobe.dump.manifest import complete_manifest, damage
from layerprobe.dump.sums import compared
from layerprobe.dump.zarr import ZarrFiles
from layerprobe.errors import DataError, LayerNotFound

__all__ = ["Dump", "LazyArray", "open_dump"]


class Dump(Mapping[str, LazyArray]):
    """A complete dump: a mapping of addresses to arrays that are read when they are indexed.

    `open_dump` makes it. In a `with` block it closes at the end.

    Attributes:
        path: The file or folder.
        manifest: What the dump says of itself (docs/dump-format.md).
        addresses: Of its datasets, in the order of the manifest.
        rows: Number of rows, the same in every dataset.
        row_ids: What each row is called, such as the file of an image; None where rows have no
            names. Of several inputs, the first whose rows have them.
    """

    def __init__(
        self, path: Path, manifest: dict[str, Any], entries: Mapping[str, Entry], files: Files
    ) -> None:
        self.path = path
        self.manifest = manifest
        self.addresses = tuple(entries)
        self.rows = next(iter(entries.values())).shape[0]
        self.row_ids = _row_ids(manifest, self.rows)
        self._entries = entries
        self._files = files
        self._readers: dict[str, Read] = {}
        self._closed = False

    def __getitem__(self, address: str) -> LazyArray:
        entry = self._entry(address)
        if address not in self._readers:
            with damage(self.path, address):
                self._readers[address] = self._reader(entry)
        return self._lazy(entry, self._readers[address])

    def unsummed(self, address: str) -> LazyArray:
        """Return an array whose rows are not compared with the manifest's sums.

        For who compares them himself; the checks of the container are made.
        """
        entry = self._entry(address)
        return self._lazy(entry, self._files.reader(entry))

    def __contains__(self, address: object) -> bool:
        return address in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self.addresses)

    def __len__(self) -> int:
        return len(self.addresses)

    def __repr__(self) -> str:
        return f"<Dump {str(self.path)!r}: {len(self)} datasets of {self.rows} rows>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def batches(
        self,
        addresses: str | Sequence[str] | None = None,
        batch_size: int = 32,
        *,
        shuffle: bool = False,
        seed: int = 0,
        numbered: bool = False,
        dequantized: bool = False,
    ) -> Iterator[Any]:
        """Yield the rows batch by batch; no more than one batch is in memory.

        Args:
            addresses: One address, for arrays; several, for dicts of arrays by address; by default
                all, as dicts.
            batch_size: Rows a batch; the last one has what is left.
            shuffle: Whether the rows are mixed, all with all.
            seed: Of their order: the same gives the same, so take another in each epoch.
            numbered: Whether to yield pairs of row numbers (an array of integers) and batch;
                `row_ids[number]` is what a row is called.
            dequantized: Whether steps of int8 are multiplied by their scale, to float32.

        Raises:
            LayerNotFound: The dump has no such address.
            DataError: The batch size is below 1, or a row cannot be read.
        """
        columns = Columns(self, addresses, dequantized=dequantized)
        pairs = batches(columns, self.rows, batch_size, shuffle=shuffle, seed=seed)
        return pairs if numbered else (batch for _, batch in pairs)

    def to_tf_dataset(
        self,
        addresses: str | Sequence[str] | None = None,
        batch_size: int = 32,
        *,
        shuffle: bool = False,
        seed: int = 0,
        dequantized: bool = False,
    ) -> Any:
        """Return a `tf.data.Dataset` of batches; see `batches`. The dump has to stay open.

        Every pass over it gives the same batches in the same order.
        """
        from layerprobe.dump import tensorflow

        columns = Columns(self, addresses, dequantized=dequantized)

        def made() -> Iterator[Any]:
            pairs = batches(columns, self.rows, batch_size, shuffle=shuffle, seed=seed)
            return (batch for _, batch in pairs)

        made()  # what is wrong with the arguments is said now
        return tensorflow.dataset(columns, -(-self.rows // batch_size), made)

    def to_torch_dataset(
        self, addresses: str | Sequence[str] | None = None, *, dequantized: bool = False
    ) -> Any:
        """Return a `torch.utils.data.Dataset` of rows, for a DataLoader with any number of workers.

        Each process opens the dump for itself, so this one may be closed.

        Args:
            addresses: One address, for tensors; several, for dicts of tensors by address; by
                default all, as dicts.
            dequantized: Whether steps of int8 are multiplied by their scale, to float32.

        Raises:
            LayerNotFound: The dump has no such address.
        """
        from layerprobe.dump import torch

        Columns(self, addresses)
        return torch.Rows(self.path, self.rows, addresses, dequantized=dequantized)

    def close(self) -> None:
        """Let go of the files; its arrays can be read no more."""
        self._closed = True
        self._files.close()

    def _entry(self, address: str) -> Entry:
        entry = self._entries.get(address)
        if entry is None:
            raise self._not_found(address)
        self._check_open()
        return entry

    def _lazy(self, entry: Entry, reader: Read) -> LazyArray:
        read = partial(self._read, entry.address, reader)
        return LazyArray(entry.address, entry.shape, entry.dtype, read, entry.scale)

    def _reader(self, entry: Entry) -> Read:
        """Return what reads rows and finds all that is wrong with them."""
        bare = self._files.bare(entry)
        if bare is None:
            return self._files.reader(entry)
        listed = self.manifest["datasets"][self.addresses.index(entry.address)]
        with_sums = compared(bare, entry.dtype, self.manifest, listed)
        return with_sums or self._files.reader(entry)

    def _read(self, address: str, read: Read, start: int, stop: int) -> Array:
        self._check_open()
        with damage(self.path, address):
            return read(start, stop)

    def _check_open(self) -> None:
        if self._closed:
            raise DataError(
                f"{self.path} is closed.", fix="Read inside the with block, or open it again."
            )

    def _not_found(self, address: str) -> LayerNotFound:
        near = difflib.get_close_matches(str(address), self.addresses, 5, cutoff=0.5)
        return LayerNotFound(
            f"{self.path} has no {address!r} among its {len(self)} datasets.",
            expected=f"one of: {', '.join(near or self.addresses[:5])}",
            fix="dump.addresses lists them all.",
            address=address,
            candidates=near,
        )


def open_dump(path: str | os.PathLike[str]) -> Dump:
    """Open a finished dump for reading. No rows are read yet.

    Args:
        path: What `extract` wrote: an HDF5 file, a Zarr group, or a folder of NPY files.

    Returns:
        A mapping of addresses to lazy arrays, rows first.

    Raises:
        DataError: There is nothing at `path` (exit code 66); or it is not a dump, not complete,
            damaged, or of a newer format (exit code 65).

    Example:
        >>> import numpy as np, tempfile
        >>> from layerprobe.sinks import Dataset, open_sink
        >>> path = tempfile.mkdtemp() + "/features.h5"
        >>> with open_sink(path, [Dataset("dense", (4, 2), np.dtype("float32"))]) as sink:
        ...     sink.write(0, [np.arange(8, dtype="float32").reshape(4, 2)])
        ...     sink.commit({"datasets": [{"address": "dense"}]})
        >>> with open_dump(path) as dump:
        ...     dump["dense"], dump["dense"][-1]
        (<LazyArray 'dense': shape (4, 2), float32>, array([6., 7.], dtype=float32))
    """
    place = Path(path)
    manifest = complete_manifest(place)
    with damage(place):
        listed = [entry_of(given) for given in manifest["datasets"]]
        entries = {entry.address: entry for entry in listed}
        if len(entries) != len(listed) or len({entry.shape[0] for entry in listed}) != 1:
            raise ValueError("its manifest lists no dataset, one of them twice, or unequal rows")
        return Dump(place, manifest, entries, _files(place, listed, manifest))


def _files(path: Path, entries: list[Entry], manifest: dict[str, Any]) -> Files:
    if not path.is_dir():
        return Hdf5File(path, entries)
    if manifest["container"] == "zarr":
        return ZarrFiles(path, entries, manifest)
    return NpyFiles(path, entries)


def _row_ids(manifest: Mapping[str, Any], rows: int) -> tuple[str, ...] | None:
    listed = [entry["row_ids"] for entry in manifest.get("inputs", []) if "row_ids" in entry]
    if any(len(ids) != rows for ids in listed):
        raise ValueError(f"its manifest names {len(listed[0])} rows of {rows}")
    return tuple(map(str, listed[0])) if listed else None

"""The sink that every container shares: what may be written, when, and what becomes of it.

A container (HDF5, a folder of NPY) only puts rows at their place; the rules stand here once. Rows
come in order and complete, their checksums are taken on the way, and nothing is published before
`commit`: a `with` block that ends in any other way leaves no trace.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from layerprobe.errors import OutputError
from layerprobe.sinks import manifest as manifests
from layerprobe.sinks.disk import disk_errors
from layerprobe.sinks.target import Target

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Dataset:
    """One dataset of a dump, known before its first row.

    Attributes:
        address: The layer output whose rows it holds.
        shape: Rows first: (rows, *shape of one row).
        dtype: Boolean, integer, float or complex. It is stored little-endian.
    """

    address: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def row_shape(self) -> tuple[int, ...]:
        """The shape of one row."""
        return self.shape[1:]

    @property
    def nbytes(self) -> int:
        """Bytes of all rows, without what a container adds."""
        return int(np.prod(self.shape, dtype=object)) * self.dtype.itemsize

    @property
    def stored(self) -> np.dtype[Any]:
        """The dtype as it is on disk."""
        return self.dtype.newbyteorder("<")


class Container(Protocol):
    """Where rows lie until they are published."""

    def write(self, index: int, start: int, rows: Array) -> None:
        """Put C-ordered rows of dataset number `index` at row `start`."""

    def finish(self, manifest: str) -> None:
        """Bring everything to the disk and close it."""

    def discard(self) -> None:
        """Close without writing anything more."""


class RowSink:
    """A sink that checks rows, sums them up, and hands them to a container.

    Args:
        target: The names on disk, locked and prepared.
        datasets: What will be written, all with the same number of rows.
        names: The stored name of each.
        container: Where the rows go.
    """

    def __init__(
        self,
        target: Target,
        datasets: Sequence[Dataset],
        names: Sequence[str],
        container: Container,
    ) -> None:
        self._target = target
        self._datasets = tuple(datasets)
        self._names = tuple(names)
        self._container = container
        self._sums = [0] * len(datasets)
        self._rows = datasets[0].shape[0]
        self._written = 0
        self._open = True

    def write(self, start: int, arrays: Sequence[Array]) -> None:
        """Write rows `start` to `start + n` of all datasets.

        Args:
            start: The first row: the number of rows written before.
            arrays: One array a dataset, in their order, all of n rows.

        Raises:
            OutputError: The rows are out of order, or an array has a wrong shape or dtype (exit
                code 70); or the disk is full or fails (exit code 74), and the sink has aborted.
        """
        self._check_open()
        self._check_rows(start, arrays)
        with self._or_abort():
            for index, (dataset, array) in enumerate(zip(self._datasets, arrays, strict=True)):
                rows = np.ascontiguousarray(array, dtype=dataset.stored)
                self._container.write(index, start, rows)
                data = rows.reshape(-1).view(np.uint8).data
                self._sums[index] = zlib.crc32(data, self._sums[index])
        self._written += len(arrays[0])

    def commit(self, manifest: dict[str, object]) -> None:
        """Publish the dump under its final name.

        Args:
            manifest: What the dump says of itself. It is not changed; what is stored has
                "format", "container" and "state" in front, and every entry of its list "datasets"
                with "address", "shape", "dtype", "name" and "crc32".

        Raises:
            OutputError: Rows are missing, or the manifest does not fit the datasets (exit code 70);
                or the disk is full or fails (exit code 74), and the sink has aborted.
        """
        self._check_open()
        if self._written != self._rows:
            raise _misuse(
                f"{self._target.path} was to be finished after {self._written} rows.",
                f"all {self._rows} rows",
            )
        described = {**manifest, "datasets": self._described(manifest.get("datasets"))}
        text = manifests.to_text(described, container=self._target.container, state="complete")
        with self._or_abort():
            self._target.write_manifest(text)
            self._container.finish(text)
            self._target.publish()
        self._open = False
        self._target.release()

    def abort(self) -> None:
        """Remove what this sink made; an older output stays as it was. Harmless after the end."""
        if not self._open:
            return
        self._open = False
        self._container.discard()
        self._target.discard()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.abort()

    @contextmanager
    def _or_abort(self) -> Iterator[None]:
        """Give the output up if the disk fails: nobody can go on from rows written by halves."""
        try:
            with disk_errors(self._target.path):
                yield
        except BaseException:
            self.abort()
            raise

    def _check_open(self) -> None:
        if not self._open:
            raise _misuse(f"{self._target.path} is finished.", "no call after commit or abort")

    def _check_rows(self, start: int, arrays: Sequence[Array]) -> None:
        if len(arrays) != len(self._datasets):
            raise _misuse(
                f"{len(arrays)} arrays were given.", f"{len(self._datasets)}, one a dataset"
            )
        if start != self._written:
            raise _misuse(f"Rows from {start} on were given.", f"row {self._written} next")
        count = len(arrays[0]) if arrays[0].ndim else 0
        if start + count > self._rows:
            raise _misuse(f"Rows up to {start + count} were given.", f"{self._rows} rows in all")
        for dataset, array in zip(self._datasets, arrays, strict=True):
            wanted = (count, *dataset.row_shape)
            if array.shape != wanted or array.dtype.newbyteorder("<") != dataset.stored:
                raise _misuse(
                    f"Rows of {dataset.address!r} are {array.dtype} of shape {array.shape}.",
                    f"{dataset.dtype} of shape {wanted}",
                )

    def _described(self, given: object) -> list[dict[str, object]]:
        entries = given if isinstance(given, list) else []
        addresses = [entry.get("address") for entry in entries]
        if addresses != [dataset.address for dataset in self._datasets]:
            raise _misuse(f"The manifest lists the datasets {addresses}.", "those of the sink")
        return [
            {
                **entry,
                "address": dataset.address,
                "shape": list(dataset.shape),
                "dtype": dataset.dtype.name,
                "name": name,
                "crc32": f"{checksum:08x}",
            }
            for entry, dataset, name, checksum in zip(
                entries, self._datasets, self._names, self._sums, strict=True
            )
        ]


def _misuse(what: str, expected: str) -> OutputError:
    return OutputError(what, expected=expected, exit_code=70)

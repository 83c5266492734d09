"""The sink that every container shares: what may be written, when, and what becomes of it.

A container (HDF5, a folder of NPY) only puts rows at their place; the rules stand here once. Rows
come in order and complete, and their checksums are taken on the way. From time to time all rows so
far are settled: brought to the disk, and only then recorded in the journal. Nothing is published
before `commit`; a `with` block that ends in any other way settles what it has, and leaves it for
another run to go on with.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np

from layerprobe.sinks import manifest as manifests
from layerprobe.sinks.checks import check_rows, misuse
from layerprobe.sinks.disk import disk_errors
from layerprobe.sinks.journal import Journal, Recorded
from layerprobe.sinks.numbers import Array, Dataset, Sums, pieces
from layerprobe.sinks.target import Target

GROUP_BYTES = 128 << 20
GROUP_SECONDS = 10.0


class Container(Protocol):
    """Where rows lie until they are published."""

    def at_once(self, index: int) -> int:
        """Return how many rows of dataset number `index` to write at once."""
        ...

    def write(self, index: int, start: int, rows: Array) -> None:
        """Put C-ordered rows of dataset number `index` at row `start`."""

    def read(self, index: int, start: int, stop: int) -> Array:
        """Return rows as they lie on the disk."""
        ...

    def restore(self, row: int) -> None:
        """Go on at a row, as if the rows before had just been written."""

    def settle(self, row: int) -> None:
        """Bring the rows before `row` of all datasets to the disk; some may have more."""

    def finish(self, manifest: str) -> None:
        """Bring everything to the disk and close it."""

    def close(self) -> None:
        """Close without writing anything more."""


class RowSink:
    """A sink that checks rows, sums them up, and hands them to a container.

    Args:
        target: The names on disk, locked and prepared.
        datasets: What will be written, all with the same number of rows.
        names: The stored name of each.
        container: Where the rows go.
        journal: Where it is recorded how many are safe.
        sums: Of no rows.
        facts: What the manifest says besides: how the container stores them.

    Attributes:
        durable: How many rows are safe, whatever happens next.
        state: What the caller gave with the last of them, if another run wrote them.
    """

    def __init__(
        self,
        target: Target,
        datasets: Sequence[Dataset],
        names: Sequence[str],
        container: Container,
        journal: Journal,
        sums: Sums,
        facts: Mapping[str, object] | None = None,
    ) -> None:
        self.durable = 0
        self.state: Any = None
        self._target = target
        self._datasets = tuple(datasets)
        self._names = tuple(names)
        self._container = container
        self._journal = journal
        self._sums = sums
        self._facts = dict(facts or {})
        self._marked = 0
        self._next, self._count = 0, 0  # of rows that come a few datasets at a time
        self._rows = datasets[0].shape[0]
        self._at_once = [container.at_once(index) for index in range(len(datasets))]
        self._row_bytes = sum(dataset.row_bytes for dataset in datasets)
        self._told: Callable[[], object] = lambda: None
        self._settled_at = time.monotonic()
        self._open = True
        self._failed = False

    def restore(self, found: Recorded) -> None:
        """Go on where another run has stopped."""
        last = found.lines[-1]
        self.durable, self.state = last["rows"], last["state"]
        marks = [mark for line in found.lines for mark in line["marks"]]
        self._sums.restore(self.durable, last["crc32"], marks)
        self._marked = len(marks)
        self._container.restore(self.durable)

    def write(
        self,
        start: int,
        arrays: Sequence[Array],
        state: Callable[[], object] | None = None,
        *,
        first: int | None = None,
        look: Callable[[int, Array], object] | None = None,
    ) -> None:
        """Write rows `start` to `start + n` of all datasets, or of some.

        Args:
            start: The first row: the number of rows written before.
            arrays: One array a dataset, in their order, all of n rows.
            state: Returns what a run that goes on after these rows wants to know, as JSON has it;
                heard when they are written of all datasets.
            first: The number of the dataset that the first array is for, if they are not for all:
                the one after those that have these rows already. The rows count as written when
                the last dataset has them.
            look: Called with the number of each dataset and its rows as they are stored, a piece
                at a time: all that is done with a piece is done while it is in the cache.

        Raises:
            OutputError: The rows are out of order, or an array has a wrong shape or dtype (exit
                code 70); or the disk is full or fails (exit code 74), and nothing more is written.
        """
        self._check_open()
        datasets = self._given(arrays, first)
        count = self._count if self._next else None
        check_rows(datasets, (self._sums.rows, self._rows), start, arrays, count)
        stored = [
            np.ascontiguousarray(array, dtype=dataset.stored)
            for dataset, array in zip(datasets, arrays, strict=True)
        ]
        with self._or_fail():
            for index, rows in enumerate(stored, self._next):
                for at, piece in pieces(start, rows, self._at_once[index]):
                    if look is not None:
                        look(index, piece)
                    self._sums.add(index, piece)
                    self._container.write(index, at, piece)
            self._next = (self._next + len(stored)) % len(self._datasets)
            self._count = len(stored[0])
            if self._next:
                return
            self._sums.count()
            if state is not None:
                self._told = state
            waiting = (self._sums.rows - self.durable) * self._row_bytes
            if waiting >= GROUP_BYTES or time.monotonic() - self._settled_at >= GROUP_SECONDS:
                self._settle()

    def _given(self, arrays: Sequence[Array], first: int | None) -> Sequence[Dataset]:
        """Return the datasets that some arrays are for."""
        if (first or 0) != self._next:
            raise misuse(f"Rows of dataset {first or 0} were given.", f"those of {self._next} next")
        until = None if first is None else first + max(1, len(arrays))
        return self._datasets[first:until]

    def commit(self, manifest: Mapping[str, object]) -> None:
        """Publish the dump under its final name.

        Args:
            manifest: What the dump says of itself. It is not changed; what is stored has
                "format", "container" and "state" in front, and every entry of its list "datasets"
                with "address", "shape", "dtype", "name", and its checksums.

        Raises:
            OutputError: Rows are missing, or the manifest does not fit the datasets (exit code 70);
                or the disk is full or fails (exit code 74), and nothing more is written.
        """
        self._check_open()
        if self._sums.rows != self._rows:
            raise misuse(
                f"{self._target.path} was to be finished after {self._sums.rows} rows.",
                f"all {self._rows} rows",
            )
        described = {
            **manifest,
            **self._facts,
            "rows_a_mark": self._sums.every,
            "datasets": self._described(manifest.get("datasets")),
        }
        text = manifests.to_text(described, container=self._target.container, state="complete")
        with self._or_fail():
            self._settle()
            self._target.write_manifest(text)
            self._container.finish(text)
            self._journal.close()
            self._target.publish()
        self._open = False
        self._target.release()

    def suspend(self) -> None:
        """Settle all rows so far and leave them to be gone on with; if there are none, nothing.

        An older output stays as it was. Harmless after the end.
        """
        if not self._open:
            return
        self._open = False
        try:
            if not self._failed:  # what failed once is not asked again: it may lie the next time
                with self._or_fail():
                    self._settle()
        finally:
            self._container.close()
            self._journal.close()
            if self.durable:
                self._target.keep()
            else:
                self._target.discard()

    def abort(self) -> None:
        """Remove what this sink made; an older output stays as it was. Harmless after the end."""
        if not self._open:
            return
        self._open = False
        self._container.close()
        self._journal.close()
        self._target.discard()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.suspend()

    def _settle(self) -> None:
        """Bring all rows to the disk, and then record it: never the other way round."""
        self._settled_at = time.monotonic()
        if self._sums.rows == self.durable:
            return
        self._container.settle(self._sums.rows)
        marks = self._sums.marks[self._marked :]
        line = {"rows": self._sums.rows, "crc32": self._sums.now, "marks": marks}
        self._journal.add({**line, "state": self._told()})
        self._marked = len(self._sums.marks)
        self.durable = self._sums.rows
        self._settled_at = time.monotonic()

    @contextmanager
    def _or_fail(self) -> Iterator[None]:
        """Write nothing more after the disk has failed: only the journal's last line is sure."""
        try:
            with disk_errors(self._target.path):
                yield
        except BaseException:
            self._failed = True
            self.suspend()
            raise

    def _check_open(self) -> None:
        if not self._open:
            raise misuse(f"{self._target.path} is finished.", "no call after the end")

    def _described(self, given: object) -> list[dict[str, object]]:
        entries = given if isinstance(given, list) else []
        addresses = [entry.get("address") for entry in entries]
        if addresses != [dataset.address for dataset in self._datasets]:
            raise misuse(f"The manifest lists the datasets {addresses}.", "those of the sink")
        return [
            {
                **entry,
                **dataset.entry(name),
                "crc32": f"{total:08x}",
                "crc32_marks": " ".join(f"{mark[index]:08x}" for mark in self._sums.marks),
            }
            for index, (entry, dataset, name, total) in enumerate(
                zip(entries, self._datasets, self._names, self._sums.now, strict=True)
            )
        ]

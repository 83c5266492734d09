"""Where activations go: the only place that writes data.

    open_sink(path, datasets)  ->  write(start, arrays), write(…), …  ->  commit(manifest)

An output appears under its name whole or not at all. Until then its rows are safe as far as its
journal says, and another run may go on with them (docs/dump-format.md). A new kind of container
implements `rows.Container` and a `target.Target`, and passes the suite
`layerprobe.testing.SinkSuite`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import numpy.typing as npt

from layerprobe.sinks.begun import (
    check_same,
    drop_unsound,
    journal_room,
    manifest_room,
    recorded,
)
from layerprobe.sinks.checks import check_datasets, check_dtype
from layerprobe.sinks.codecs import facts
from layerprobe.sinks.disk import check_folder, check_space, disk_errors, free_space, sync
from layerprobe.sinks.hdf5 import Hdf5Container
from layerprobe.sinks.journal import Journal, Recorded, difference
from layerprobe.sinks.kinds import FileTarget, ZarrTarget, check_compression, target_of
from layerprobe.sinks.lock import may_be_held
from layerprobe.sinks.manifest import read as read_manifest
from layerprobe.sinks.names import stored_names
from layerprobe.sinks.npy import NpyContainer
from layerprobe.sinks.numbers import (
    Dataset,
    Sums,
    checksum,
    dtype_named,
    mark_rows,
    sum_of,
)
from layerprobe.sinks.rows import Container, RowSink
from layerprobe.sinks.stream import (
    StreamSink,
    check_stream,
    check_streamed,
    destination,
    place_of,
)
from layerprobe.sinks.target import Target, resume_command
from layerprobe.sinks.whole import check_model_target, write_model
from layerprobe.sinks.zarr import ZarrContainer

__all__ = [
    "Dataset",
    "Sink",
    "StreamSink",
    "check_dtype",
    "check_model_target",
    "check_space",
    "check_stream",
    "check_streamed",
    "check_target",
    "checksum",
    "complete",
    "destination",
    "difference",
    "dtype_named",
    "free_space",
    "is_being_written",
    "open_sink",
    "place_of",
    "resume_command",
    "stored_names",
    "sum_of",
    "unfinished",
    "write_model",
]


class Sink(Protocol):
    """Takes the rows of all datasets in order, and publishes them at once.

    In a `with` block it is suspended when the block ends without `commit`.

    Attributes:
        durable: How many rows are safe on the disk, whatever happens next; when the sink goes on
            with an unfinished output, the next row to write.
        state: What was given with the last of these rows, when the sink goes on.
    """

    durable: int
    state: Any

    def write(
        self,
        start: int,
        arrays: Sequence[npt.NDArray[Any]],
        state: Callable[[], object] | None = None,
        *,
        first: int | None = None,
        look: Callable[[int, npt.NDArray[Any]], object] | None = None,
    ) -> None:
        """Write the next rows, from `start` on: one array a dataset, all of the same length.

        `state` returns, as JSON has it, what a run that goes on after them wants to know. With
        `first` the arrays are for some of the datasets, from that number on: the ones after those
        that have these rows already. The rows count as written when the last dataset has them.
        `look` is called with the number of each dataset and its rows, a piece at a time.
        """

    def commit(self, manifest: Mapping[str, object]) -> None:
        """Publish the output; `manifest["datasets"]` lists the addresses in the sink's order."""

    def suspend(self) -> None:
        """Make all rows so far safe, and leave them for another run; if none, leave nothing."""

    def abort(self) -> None:
        """Remove what this sink made, and leave an older output as it was."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


def check_target(
    path: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    resume: bool = False,
    compress: str | None = None,
) -> None:
    """Check that an output may be written. Nothing that is there is changed.

    Args:
        path: `NAME.h5` or `NAME.hdf5` for an HDF5 file, `NAME.zarr` for a Zarr group, any other
            name for a folder of NPY files.
        overwrite: Whether a dump of that name may be replaced. Anything else never is.
        resume: Whether to go on with an output that an earlier run has not finished.
        compress: How rows are made smaller, for a Zarr group: "gzip", "lz4" or "zstd".

    Raises:
        OutputError: The name is taken or not one for an output, or the rows of an unfinished run
            would be lost (exit code 2); there is nothing to go on with (66); or the folder it
            would lie in is missing or not writable (74).
    """
    target = target_of(Path(path))
    check_compression(target, compress)
    check_folder(target.path)
    with disk_errors(target.path):
        target.check_early(overwrite=overwrite, resume=resume)


def unfinished(path: str | os.PathLike[str]) -> Recorded | None:
    """Return the journal of an output that a run has not finished, or None. Nothing is changed.

    Raises:
        OutputError: It cannot be read.
    """
    target = target_of(Path(path))
    with disk_errors(target.path):
        return target.unfinished()


def is_being_written(path: str | os.PathLike[str]) -> bool:
    """Tell whether a process that may still live has the lock of an output."""
    place = Path(path)
    return may_be_held(place.with_name(place.name + ".lock"))


def complete(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Return the manifest of a complete dump, or None if there is none under this name.

    Raises:
        OutputError: It cannot be read.
    """
    place = Path(path)
    if not place.exists():
        return None
    with disk_errors(place):
        found: dict[str, Any] = json.loads(read_manifest(place) or "{}")
    return found if found.get("state") == "complete" else None


def open_sink(
    path: str | os.PathLike[str],
    datasets: Sequence[Dataset],
    *,
    overwrite: bool = False,
    resume: bool = False,
    compress: str | None = None,
    plan: Mapping[str, object] | None = None,
    call: Mapping[str, object] | None = None,
) -> Sink:
    """Open an output for writing.

    Args:
        path: As for `check_target`.
        datasets: What will be written, each with an address of its own, all of the same rows.
        overwrite: Whether a dump of that name may be replaced; it stays until `commit`. So may
            the rows of an unfinished run, unless `resume`; they are lost at once.
        resume: Whether to go on with an output that an earlier run has not finished.
        compress: As for `check_target`.
        plan: What the rows depend on, as JSON has it. A run goes on only with the same.
        call: What else is to be recorded.

    Raises:
        OutputError: As `check_target`; or another process writes this output (exit code 75), the
            disk has no room (74), what is there was begun otherwise or is damaged (65), or the
            datasets do not fit together (70).

    Example:
        >>> import numpy as np, tempfile
        >>> path = tempfile.mkdtemp() + "/features.h5"
        >>> with open_sink(path, [Dataset("dense", (2, 3), np.dtype("float32"))]) as sink:
        ...     sink.write(0, [np.zeros((2, 3), "float32")])
        ...     sink.commit({"datasets": [{"address": "dense"}]})
    """
    target = target_of(Path(path))
    check_compression(target, compress)
    check_folder(target.path)
    check_datasets(target, datasets)
    names = stored_names(dataset.address for dataset in datasets)
    sums = Sums(len(datasets), mark_rows(datasets))
    plan_line = recorded(datasets, names, sums, {**(plan or {}), **facts(compress)}, call or {})
    with ExitStack() as undo:
        room = manifest_room(datasets, sums)
        found = target.take(overwrite=overwrite, resume=resume, reserve=room)
        undo.callback(target.release if found else target.discard)
        if found is not None:
            check_same(target, found, plan_line)
        with disk_errors(target.path):
            container = _container(target, datasets, names, found is not None, compress)
            undo.callback(container.close)
            if found is not None:
                drop_unsound(target, container, datasets, found)
            else:
                container.settle(0)
                sync(target.manifest_partial.parent)
            journal = Journal(target.journal, found, plan_line, journal_room(datasets, sums))
            undo.callback(journal.close)
            sync(target.path.parent)
            sink = RowSink(target, datasets, names, container, journal, sums, facts(compress))
            if found is not None and found.lines:
                sink.restore(found)
        undo.pop_all()
    return sink


def _container(
    target: Target,
    datasets: Sequence[Dataset],
    names: Sequence[str],
    begun: bool,
    compress: str | None,
) -> Container:
    if isinstance(target, ZarrTarget):
        return ZarrContainer(target.partial, datasets, names, begun=begun, compress=compress)
    kind = Hdf5Container if isinstance(target, FileTarget) else NpyContainer
    return kind(target.partial, datasets, names, begun=begun)

"""Where activations go: the only place that writes data.

    open_sink(path, datasets)  ->  write(start, arrays), write(…), …  ->  commit(manifest)

An output appears under its name whole or not at all. A new kind of container implements
`rows.Container` and a `target.Target`, and passes the suite `layerprobe.testing.SinkSuite`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import numpy.typing as npt

from layerprobe.errors import OutputError
from layerprobe.sinks.disk import check_folder, check_space, disk_errors
from layerprobe.sinks.hdf5 import Hdf5Container
from layerprobe.sinks.names import stored_names
from layerprobe.sinks.npy import NpyContainer
from layerprobe.sinks.rows import Container, Dataset, RowSink
from layerprobe.sinks.target import FileTarget, Target, target_of
from layerprobe.sinks.whole import check_model_target, write_model

__all__ = [
    "Dataset",
    "Sink",
    "check_model_target",
    "check_space",
    "check_target",
    "open_sink",
    "stored_names",
    "write_model",
]

_KINDS = frozenset("biufc")


class Sink(Protocol):
    """Takes the rows of all datasets in order, and publishes them at once.

    In a `with` block it aborts when the block ends without `commit`.
    """

    def write(self, start: int, arrays: Sequence[npt.NDArray[Any]]) -> None:
        """Write the next rows, from `start` on: one array a dataset, all of the same length."""

    def commit(self, manifest: dict[str, object]) -> None:
        """Publish the output; `manifest["datasets"]` lists the addresses in the sink's order."""

    def abort(self) -> None:
        """Remove what this sink made, and leave an older output as it was."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


def check_target(path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Check that an output may be written. Nothing is changed on the disk.

    Args:
        path: `NAME.h5` or `NAME.hdf5` for an HDF5 file, any other name for a folder of NPY files.
        overwrite: Whether a dump of that name may be replaced. Anything else never is.

    Raises:
        OutputError: The name is taken or not one for an output (exit code 2), or the folder it
            would lie in is missing or not writable (exit code 74).
    """
    target = target_of(Path(path))
    check_folder(target.path)
    with disk_errors(target.path):
        target.check(overwrite=overwrite)


def open_sink(
    path: str | os.PathLike[str], datasets: Sequence[Dataset], *, overwrite: bool = False
) -> Sink:
    """Open an output for writing.

    Args:
        path: `NAME.h5` or `NAME.hdf5` for an HDF5 file, any other name for a folder of NPY files.
        datasets: What will be written, each with an address of its own, all of the same rows.
        overwrite: Whether a dump of that name may be replaced; it stays until `commit`.

    Raises:
        OutputError: As `check_target`; or another process writes this output (exit code 75), the
            disk has no room (exit code 74), or the datasets do not fit together (exit code 70).

    Example:
        >>> import numpy as np, tempfile
        >>> path = tempfile.mkdtemp() + "/features.h5"
        >>> with open_sink(path, [Dataset("dense", (2, 3), np.dtype("float32"))]) as sink:
        ...     sink.write(0, [np.zeros((2, 3), "float32")])
        ...     sink.commit({"datasets": [{"address": "dense"}]})
    """
    check_target(path, overwrite=overwrite)
    _check_datasets(datasets)
    target = target_of(Path(path))
    names = stored_names(dataset.address for dataset in datasets)
    with ExitStack() as undo:
        target.take(overwrite=overwrite, reserve=_manifest_room(datasets))
        undo.callback(target.discard)
        with disk_errors(target.path):
            container = _container(target, datasets, names)
        undo.pop_all()
    return RowSink(target, datasets, names, container)


def _container(target: Target, datasets: Sequence[Dataset], names: Sequence[str]) -> Container:
    kind = Hdf5Container if isinstance(target, FileTarget) else NpyContainer
    return kind(target.partial, datasets, names)


def _manifest_room(datasets: Sequence[Dataset]) -> int:
    # HDF5 stores the manifest twice. An address takes up to 6 bytes a character in ASCII JSON.
    return 2 * (65536 + sum(1024 + 8 * len(dataset.address) for dataset in datasets))


def _check_datasets(datasets: Sequence[Dataset]) -> None:
    addresses = {dataset.address for dataset in datasets}
    rows = {dataset.shape[:1] for dataset in datasets}
    strange = [d.dtype for d in datasets if d.dtype.kind not in _KINDS]
    if len(addresses) != len(datasets) or len(rows) != 1 or rows == {()}:
        raise OutputError(
            f"{len(datasets)} datasets with {len(addresses)} addresses and the row counts "
            f"{sorted(rows)} cannot be one output.",
            expected="at least one dataset, every address once, the same rows in all",
            exit_code=70,
        )
    if strange:
        raise OutputError(
            f"Values of dtype {strange[0]} cannot be stored.",
            expected="booleans, integers, floats or complex numbers that NumPy has",
            fix="Convert them to float32 first.",
            exit_code=70,
            dtype=str(strange[0]),
        )

"""What callers of sinks must keep to: datasets that fit together, and rows in their order."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from layerprobe.errors import OutputError
from layerprobe.sinks.kinds import target_of
from layerprobe.sinks.numbers import Array, Dataset, is_bfloat16
from layerprobe.sinks.target import Target

_KINDS = frozenset("biufc")


def check_dtype(path: str | os.PathLike[str], dtype: str | None) -> None:
    """Check that an output can hold values of a dtype.

    Raises:
        OutputError: It cannot (exit code 2).
    """
    if dtype == "bfloat16" and target_of(Path(path)).container == "npy":
        raise OutputError(
            f"{os.fspath(path)} would be a folder of .npy files, which have no bfloat16.",
            expected="HDF5 or Zarr for it",
            fix=f"Name the output {os.fspath(path)}.h5, or take --dtype float32 or float16.",
            exit_code=2,
            path=os.fspath(path),
        )


def check_datasets(target: Target, datasets: Sequence[Dataset]) -> None:
    """Make sure that some datasets can be one output.

    Raises:
        OutputError: They do not fit together (exit code 70), or into it (2).
    """
    for dataset in datasets:
        check_dtype(target.path, dataset.dtype.name)
    addresses = {dataset.address for dataset in datasets}
    rows = {dataset.shape[:1] for dataset in datasets}
    dtypes = (dataset.dtype for dataset in datasets)
    strange = [dtype for dtype in dtypes if dtype.kind not in _KINDS and not is_bfloat16(dtype)]
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


def check_rows(
    datasets: Sequence[Dataset],
    state: tuple[int, int],
    start: int,
    arrays: Sequence[Array],
    count: int | None = None,
) -> None:
    """Make sure that some rows are the next ones of their datasets.

    Args:
        datasets: What is written.
        state: How many rows are written, and how many there will be.
        start: The first of the rows.
        arrays: The rows of each dataset.
        count: How many rows there must be; any number by default.

    Raises:
        OutputError: They are not (exit code 70).
    """
    if len(arrays) != len(datasets):
        raise misuse(f"{len(arrays)} arrays were given.", f"{len(datasets)}, one a dataset")
    if start != state[0]:
        raise misuse(f"Rows from {start} on were given.", f"row {state[0]} next")
    if count is None:
        count = len(arrays[0]) if arrays[0].ndim else 0
    if start + count > state[1]:
        raise misuse(f"Rows up to {start + count} were given.", f"{state[1]} rows in all")
    for dataset, array in zip(datasets, arrays, strict=True):
        wanted = (count, *dataset.row_shape)
        if array.shape != wanted or array.dtype.newbyteorder("<") != dataset.stored:
            raise misuse(
                f"Rows of {dataset.address!r} are {array.dtype} of shape {array.shape}.",
                f"{dataset.dtype} of shape {wanted}",
            )


def misuse(what: str, expected: str) -> OutputError:
    """Return the error of a caller that does not keep to the contract (exit code 70)."""
    return OutputError(what, expected=expected, exit_code=70)

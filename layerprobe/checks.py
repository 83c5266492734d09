"""What is looked at besides shapes: memory that is there, kinds of numbers, finite numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from layerprobe.batches import Stored, row_range
from layerprobe.errors import DataError, ModelError
from layerprobe.feed import Feed
from layerprobe.layers import LayerOutput
from layerprobe.memory import machine_memory
from layerprobe.modelfile import ModelFile
from layerprobe.options import Options
from layerprobe.sinks import Dataset

_SUFFIXES = {".keras": "keras", ".h5": "hdf5", ".hdf5": "hdf5"}
_KINDS = {"keras": "a .keras archive", "hdf5": "an HDF5 file"}


def check_data(
    file: ModelFile,
    wanted: Sequence[LayerOutput],
    begin: Sequence[LayerOutput],
    feeds: Sequence[Feed],
    options: Options,
) -> tuple[int, int]:
    """Return the range of rows that is asked for, if it, the dtypes and the memory are right.

    Raises:
        DataError: The range is not within the rows, or a dtype is not the input's, or the rows of
            a stream are to be divided.
        ModelError: A batch does not fit into this machine.
    """
    check_feeds(feeds, options)
    if options.part is not None:
        _check_readable(feeds, "divided into shards: nothing tells whether all get the same rows")
    if options.max_disk is not None:
        _check_readable(feeds, "read for one dump after another")
    start, stop = row_range(options.rows, feeds[0].rows)
    batch = 1 if isinstance(options.batch_size, str) else options.batch_size
    check_memory(file, wanted, begin, min(batch, stop - start))
    return start, stop


def _check_readable(feeds: Sequence[Feed], what: str) -> None:
    for feed in feeds:
        if not feed.source.seekable:
            raise DataError(
                f"{feed.source.location} cannot be {what}.",
                expected="a file that can be read again",
                fix="Write the stream to a file first, and give that.",
                exit_code=2,
                location=feed.source.location,
            )


def check_memory(
    file: ModelFile, wanted: Sequence[LayerOutput], begin: Sequence[LayerOutput], batch: int
) -> None:
    """Refuse what cannot fit into this machine, before anything of it is made.

    Counted is the least that it takes: the weights, and for one batch the largest layer output on
    the way and all that are wanted.

    Raises:
        ModelError: It does not fit (exit code 77).
    """
    there = machine_memory()
    if there is None:
        return
    needed = [row for row in file.table.needed(wanted, begin) if row.bytes_per_row]
    largest = max(needed, key=lambda row: row.bytes_per_row or 0, default=None)
    rows = max(
        largest.bytes_per_row or 0 if largest else 0, sum(r.bytes_per_row or 0 for r in wanted)
    )
    least = 4 * (file.params or 0) + batch * rows
    if least <= there:
        return
    where = f"; {largest.address} is the largest" if largest and batch * rows * 2 > least else ""
    raise ModelError(
        f"{file.path} takes at least {least:,} bytes of memory for {batch} rows{where}.",
        expected=f"at most the {there:,} bytes of this machine",
        fix="Take a smaller --batch-size, fewer layers, or a larger machine.",
        exit_code=77,
        path=str(file.path),
        bytes=least,
    )


def check_feeds(feeds: Sequence[Feed], options: Options) -> None:
    """Hold the data to what the options ask for besides: no casts, no NaN.

    Raises:
        DataError: A dtype is not the input's, and strict_dtype is set.
    """
    for feed in feeds:
        feed.finite = options.fail_on_nan
        if options.strict_dtype and feed.source.dtype != feed.dtype:
            raise DataError(
                f"{feed.source.location} holds {feed.source.dtype}.",
                expected=f"{feed.dtype} for input {feed.spec.name!r}, as --strict-dtype asks for",
                fix="Convert the data, or leave the option out: values that fit are cast.",
                location=feed.source.location,
            )


def check_finite(stored: Sequence[Stored], datasets: Sequence[Dataset], at: int) -> None:
    """Refuse activations that are NaN or infinite, or become so as they are stored.

    Args:
        stored: Some rows of each dataset.
        datasets: What they are of.
        at: The number of the first of these rows in the data.

    Raises:
        DataError: One is; the message names the address and the first row.
    """
    for (array, tally), dataset in zip(stored, datasets, strict=True):
        if tally is None and array.dtype.kind in "biu":
            continue
        # What is beyond the range of int8 is cut, and stays finite.
        kinds = 2 if array.dtype.kind == "i" else 3
        wrong = ~np.isfinite(array) if tally is None else tally[:, :kinds] != 0
        if not wrong.any():
            continue
        row, *_ = (int(i) for i in np.argwhere(wrong)[0])
        raise DataError(
            f"{dataset.address} is NaN or infinite in row {at + row}.",
            expected="finite activations, as --fail-on-nan asks for",
            fix="Look at that row and at the model's weights, or leave the option out.",
            address=dataset.address,
            row=at + row,
        )


def odd_name(file: ModelFile) -> Iterator[str]:
    """Yield a note if a model file is of another kind than its name says."""
    named = _SUFFIXES.get(file.path.suffix.lower(), file.format)
    if named != file.format and file.format in _KINDS:
        yield f"{file.path} is {_KINDS[file.format]}, whatever its name says"

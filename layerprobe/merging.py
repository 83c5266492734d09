"""Parts of an extraction joined into one dump, as if a single run had made it.

Rows go from dump to dump a few MiB at a time; what is copied has been compared with its checksum
before, so that a damaged part ends the work and never becomes rows that are called safe.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from layerprobe.dump import Dump, LazyArray, open_dump
from layerprobe.dump.sums import Piece, summed
from layerprobe.errors import DataError, OutputError
from layerprobe.parts import Part, joined, open_parts, stripped, understood
from layerprobe.report import Report, finished_report
from layerprobe.resuming import telling
from layerprobe.sinks import (
    Dataset,
    Sink,
    check_space,
    check_target,
    complete,
    open_sink,
    sum_of,
    unfinished,
)

Progress = Callable[[int, int], None]
_PIECE_BYTES = 8 << 20


def merge(
    parts: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    resume: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Join the parts of an extraction into one dump.

    The values are those of a single run, byte for byte, and so is the manifest; only the hash of
    all rows of the input is not known, and those of the parts are kept.

    Args:
        parts: What `extract` wrote with `shard`, all of them, in any order; or dumps of ranges of
            rows that follow each other in whole batches.
        output: `NAME.h5`, or a folder for .npy files, whatever the parts are.
        overwrite: Replace an existing dump when all is done.
        resume: Go on with an unfinished output.
        progress: Called with the rows done and the rows in all, at first and after every few MiB.

    Returns:
        What was written.

    Raises:
        DataError: The parts are not all of one extraction, or one is damaged (exit code 65) or
            missing (66).
        OutputError: As for `extract`; or the output is one of the parts (2).

    Example:
        >>> import layerprobe, tempfile
        >>> folder = tempfile.mkdtemp()
        >>> for number in (1, 2):
        ...     shard = layerprobe.extract(
        ...         "samples/digits_cnn.keras",
        ...         "features",
        ...         "samples/data/digits.npy",
        ...         f"{folder}/all.h5",
        ...         shard=(number, 2),
        ...     )
        >>> shard.path.name, shard.rows
        ('all-2-of-2.h5', 312)
        >>> merge([f"{folder}/all-{n}-of-2.h5" for n in (2, 1)], f"{folder}/all.h5").rows
        600
    """
    began = time.perf_counter()
    target = Path(output)
    _check_apart(parts, target)
    opened = open_parts(parts)
    manifest = joined(opened)
    finished = complete(target) if resume and unfinished(target) is None else None
    if finished is not None:
        _check_finished(target, finished, manifest)
        return finished_report(target, finished)
    check_target(target, overwrite=overwrite, resume=resume)
    datasets = [Dataset.of(entry) for entry in manifest["datasets"]]
    if not resume:  # what was begun has its room
        check_space(target, sum(dataset.nbytes for dataset in datasets))
    call = {"merge": [os.fspath(path) for path in parts], "folder": str(Path.cwd())}
    plan = _plan(opened, manifest)
    sink = open_sink(target, datasets, overwrite=overwrite, resume=resume, plan=plan, call=call)
    with telling(sink, target, datasets[0].shape[0]), sink:
        _copy_all(opened, datasets, sink, progress or (lambda _done, _total: None))
        sink.commit(manifest)
    report = finished_report(target, manifest)
    return replace(report, was_complete=False, seconds=time.perf_counter() - began)


def _check_apart(parts: Sequence[str | os.PathLike[str]], target: Path) -> None:
    for part in parts:
        if Path(part).resolve() == target.resolve():
            raise OutputError(
                f"The output {target} is also one of the parts.",
                expected="a name of its own for the output",
                fix="Give the output another name.",
                exit_code=2,
                path=str(target),
            )


def _plan(parts: Sequence[Part], manifest: Mapping[str, Any]) -> dict[str, object]:
    """Return what the rows depend on: a merge goes on only with the very same parts."""
    sums = [[dataset["crc32"] for dataset in part.manifest["datasets"]] for part in parts]
    told = {key: value for key, value in manifest.items() if key != "datasets"}
    return {**told, "crc32_of_parts": sums}


def _check_finished(target: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    keys = ("model", "layers", "rows", "options", "parts")
    if {key: found.get(key) for key in keys} != {key: wanted[key] for key in keys}:
        raise OutputError(
            f"{target} is complete, and was not made of these parts.",
            fix="Give the output another name, or replace it with --overwrite.",
            exit_code=65,
            path=str(target),
        )


def _copy_all(
    parts: Sequence[Part], datasets: Sequence[Dataset], sink: Sink, progress: Progress
) -> None:
    """Copy all rows that the sink has not got yet."""
    begin, total, at = parts[0].rows[0], datasets[0].shape[0], sink.durable
    progress(at, total)
    for part in parts:
        start, stop = (row - begin for row in part.rows)
        if at < stop:
            for done in _copied(part, start, max(start, at), datasets, sink):
                progress(done, total)


def _copied(
    part: Part, start: int, at: int, datasets: Sequence[Dataset], sink: Sink
) -> Iterator[int]:
    """Copy the rows of a part from row `at` of the output on; its first one is row `start` there.

    Yields:
        How many rows of the output there are, after each piece.
    """
    step = max(1, _PIECE_BYTES // max(1, sum(dataset.row_bytes for dataset in datasets)))
    with open_dump(part.path) as dump:
        if stripped(dump.manifest) != part.manifest:
            raise DataError(f"{part.path} was replaced meanwhile.", path=str(part.path))
        stored = [dump.unsummed(dataset.address) for dataset in datasets]
        for first, last in _sound(dump, stored, at - start):
            for row in range(first, last, step):
                end = min(row + step, last)
                sink.write(start + row, [array[row:end] for array in stored])
                yield start + end


def _sound(dump: Dump, stored: Sequence[LazyArray], at: int) -> Iterator[tuple[int, int]]:
    """Yield the ranges of rows from some row on, each when its sums were found to be right."""
    entries = dump.manifest["datasets"]
    with understood(dump.path):
        for ranges in zip(*(summed(dump.manifest, entry) for entry in entries), strict=True):
            start, stop = ranges[0][0]
            if stop > at or start == stop:
                for array, piece in zip(stored, ranges, strict=True):
                    _check_sum(dump, array, piece)
                yield max(start, at), stop


def _check_sum(dump: Dump, stored: LazyArray, piece: Piece) -> None:
    rows, before, wanted = piece
    found = sum_of(lambda start, stop: stored[start:stop], rows, stored.row_bytes, before)
    if found != wanted:
        raise DataError(
            f"{dump.path} is damaged: rows {rows[0]:,} to {rows[1]:,} of {stored.address!r} are "
            "not what was written.",
            expected=f"the checksum {wanted:08x}; it is {found:08x}",
            fix="Copy it again from where it is whole, or extract it again.",
            path=str(dump.path),
            address=stored.address,
        )

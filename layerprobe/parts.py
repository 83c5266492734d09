"""What dumps say of themselves that are to be joined: whether they are parts of one extraction.

Nothing is believed of a name. Each manifest says of which model, input, options and rows its dump
is; all of it must fit before a row is read.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from layerprobe.dump import open_dump
from layerprobe.errors import DataError
from layerprobe.resuming import output_of
from layerprobe.sinks import difference, resume_command, unfinished

Manifest = dict[str, Any]

# Of a dataset: what depends on its rows, and what a sink gives it.
_OF_ROWS = frozenset({"nan", "inf", "overflow", "crc32", "crc32_marks", "shape", "name"})
# What a sink gives a manifest, and what a shard has of its own.
_OF_PART = frozenset({"format", "container", "state", "rows_a_mark", "shard", "whole"})
_TOGETHER = "parts of one extraction: the same model, input, layers, options, engine and versions"


@dataclass(frozen=True)
class Part:
    """A complete dump that is to be joined with others; it is open only while it is read.

    Attributes:
        path: The dump.
        manifest: What it says of itself, without the many sums of its rows.
    """

    path: Path
    manifest: Manifest

    @property
    def rows(self) -> tuple[int, int]:
        """Its rows of the input, the first and the one after the last."""
        start, stop = self.manifest["rows"]
        return start, stop

    @property
    def shard(self) -> tuple[int, int] | None:
        """Which shard it is, and of how many; None for any range of rows."""
        found = self.manifest.get("shard")
        return None if found is None else (found[0], found[1])


def open_parts(paths: Sequence[str | os.PathLike[str]]) -> list[Part]:
    """Read the manifests of dumps, and see that they fit together.

    Args:
        paths: The dumps, in any order.

    Returns:
        The parts in the order of their rows.

    Raises:
        DataError: One is missing (exit code 66); unfinished, damaged, there twice, of another
            extraction, or there is a gap (65). The message names the dump and what differs.
    """
    if not paths:
        raise DataError("No dumps to join were given.", exit_code=2)
    parts = [_opened(output_of(os.fspath(path))) for path in paths]
    _check_once(parts)
    if parts[0].shard is not None:
        _check_all_there(parts, parts[0].shard[1])
    for part in parts[1:]:
        _check_same(parts[0], part)
    parts.sort(key=lambda part: part.rows)
    _check_joined(parts)
    return parts


def joined(parts: Sequence[Part]) -> Manifest:
    """Return the manifest of parts together, as one run would have written it; less the sums.

    What no part knows is None: the hash of all rows of the input. Those of the parts are kept in
    "parts", each with its range of rows.
    """
    whole = {k: v for k, v in parts[0].manifest.items() if k not in _OF_PART}
    whole["rows"] = [parts[0].rows[0], parts[-1].rows[1]]
    whole["inputs"] = [_input(parts, at) for at in range(len(whole["inputs"]))]
    whole["datasets"] = [_dataset(parts, at) for at in range(len(whole["datasets"]))]
    whole["parts"] = [piece for part in parts for piece in _pieces(part)]
    return whole


def stripped(manifest: Mapping[str, Any]) -> Manifest:
    """Return a manifest without its many sums of rows: thousands of parts are kept in memory."""
    listed = [{k: v for k, v in d.items() if k != "crc32_marks"} for d in manifest["datasets"]]
    return {**manifest, "datasets": listed}


def _opened(path: Path) -> Part:
    begun = None if path.exists() else unfinished(path)
    if begun is not None:
        rows = begun.plan["plan"]["datasets"][0]["shape"][0]
        raise DataError(
            f"{path} is not finished: {begun.rows:,} of its {rows:,} rows are safe.",
            expected="parts that are complete",
            fix=f"Go on with: {resume_command(path)}",
            path=str(path),
        )
    with open_dump(path) as dump, understood(path):
        part = Part(path, stripped(dump.manifest))
        start, stop = part.rows
        number, of = part.shard or (1, 1)
        size = part.manifest["options"]["batch_size"]
        if not (0 <= start < stop == start + dump.rows and 1 <= number <= of and size >= 1):
            raise ValueError(f"rows {start} to {stop}, shard {number} of {of}, batches of {size}")
        _identity(part)
    return part


@contextmanager
def understood(path: Path) -> Iterator[None]:
    """Turn what a manifest that says something else raises into a DataError that names it."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"{path} does not say what it was made from ({error}).",
            expected="a dump that extract wrote",
            path=str(path),
        ) from error


def _check_once(parts: Sequence[Part]) -> None:
    seen: dict[object, Part] = {}
    for part in parts:
        same = seen.setdefault(part.path.resolve(), part)
        twin = seen.setdefault(part.shard, part) if part.shard else part
        for other in (same, twin):
            if other is not part:
                what = f"Shard {part.shard[0]} of {part.shard[1]}" if part.shard else "A part"
                raise DataError(
                    f"{what} is there twice: {other.path} and {part.path}.",
                    expected="every part once",
                    fix="Leave one of them out.",
                    path=str(part.path),
                )


def _check_all_there(parts: Sequence[Part], count: int) -> None:
    there = {part.shard for part in parts}
    if not all(shard and shard[1] == count for shard in there):
        return  # of different divisions, which is told more clearly
    missing = [number for number in range(1, count + 1) if (number, count) not in there]
    if missing:
        more = f" {len(missing):,} are missing in all." if len(missing) > 1 else ""
        raise DataError(
            f"Part {missing[0]} of {count} is missing.{more}",
            expected=f"all {count} parts",
            fix=f"Compute it with the same command and --shard {missing[0]}/{count}.",
            missing=missing,
        )


def _check_same(first: Part, other: Part) -> None:
    found = difference(_identity(first), _identity(other))
    if found is not None:
        field, was, now = found
        raise DataError(
            f"{other.path} has another {field} than {first.path}: {now!r:.60}, not {was!r:.60}.",
            expected=_TOGETHER,
            fix="Compute it anew as the others were, or leave it out.",
            path=str(other.path),
            field=field,
        )


def _identity(part: Part) -> Manifest:
    """Return what parts of one extraction have in common, wherever they were made."""
    told = part.manifest
    inputs = [{k: one[k] for k in ("name", "shape", "dtype", "bytes")} for one in told["inputs"]]
    datasets = [
        {**{k: v for k, v in one.items() if k not in _OF_ROWS}, "row_shape": one["shape"][1:]}
        for one in told["datasets"]
    ]
    return {
        "number of shards": part.shard and part.shard[1],
        "whole": told.get("whole"),
        "model": {"sha256": told["model"]["sha256"]},
        "layers": told["layers"],
        "inputs": inputs,
        "engine": told["engine"],
        "device": told["device"].partition(":")[0],  # one GPU is as another
        "versions": told["versions"],
        "options": told["options"],
        "datasets": datasets,
    }


def _check_joined(parts: Sequence[Part]) -> None:
    """See that rows follow each other, in the batches that one run would have."""
    size = parts[0].manifest["options"]["batch_size"]
    for before, after in pairwise(parts):
        end, begin = before.rows[1], after.rows[0]
        if end != begin:
            what = "There is a gap between" if end < begin else "Rows are both in"
            raise DataError(
                f"{what} {before.path}, which ends before row {end:,}, and {after.path}, which "
                f"begins at row {begin:,}.",
                expected="parts that join without gap or overlap",
                path=str(after.path),
            )
        if (begin - parts[0].rows[0]) % size:
            raise DataError(
                f"{after.path} begins at row {begin:,}, within a batch of one run from row "
                f"{parts[0].rows[0]:,} on: its values may be others.",
                expected=f"parts of whole batches of {size:,} rows, as --shard makes them",
                path=str(after.path),
            )
    last = parts[-1]
    whole = last.manifest.get("whole")
    if whole is not None and list(whole) != [parts[0].rows[0], last.rows[1]]:
        raise DataError(
            f"The parts hold rows {parts[0].rows[0]:,} to {last.rows[1]:,}, not all of {whole}.",
            expected="every row of the whole",
        )


def _input(parts: Sequence[Part], at: int) -> Manifest:
    ones = [part.manifest["inputs"][at] for part in parts]
    known = ones[0]["xxh3_128_of_rows"] if len(ones) == 1 else None
    found = {**ones[0], "nan": sum(one["nan"] for one in ones), "xxh3_128_of_rows": known}
    if "row_ids" in found:
        found["row_ids"] = [row_id for one in ones for row_id in one["row_ids"]]
    return found


def _dataset(parts: Sequence[Part], at: int) -> Manifest:
    ones = [part.manifest["datasets"][at] for part in parts]
    # Older dumps do not count what was too large.
    kinds = [kind for kind in ("nan", "inf", "overflow") if kind in ones[0]]
    counts = {kind: sum(one.get(kind, 0) for one in ones) for kind in kinds}
    rows = parts[-1].rows[1] - parts[0].rows[0]
    return {**ones[0], **counts, "shape": [rows, *ones[0]["shape"][1:]]}


def _pieces(part: Part) -> list[Manifest]:
    """Return the ranges of rows whose hash is known; of what was joined before, those it has."""
    hashes = [one["xxh3_128_of_rows"] for one in part.manifest["inputs"]]
    return part.manifest.get("parts") or [{"rows": list(part.rows), "xxh3_128_of_rows": hashes}]

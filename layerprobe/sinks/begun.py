"""An output that is begun, or was: its plan, whether it is the same, and what of it is sound."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from layerprobe.errors import OutputError
from layerprobe.sinks.journal import Recorded, difference
from layerprobe.sinks.numbers import Dataset, Sums, sum_of
from layerprobe.sinks.rows import GROUP_BYTES, Container
from layerprobe.sinks.target import Target, resume_command


def recorded(
    datasets: Sequence[Dataset],
    names: Sequence[str],
    sums: Sums,
    plan: Mapping[str, object],
    call: Mapping[str, object],
) -> dict[str, object]:
    """Return line 0 of the journal."""
    stored = [d.entry(name) for d, name in zip(datasets, names, strict=True)]
    return {"plan": {**plan, "datasets": stored, "rows_a_mark": sums.every}, "call": dict(call)}


def check_same(target: Target, found: Recorded, line: Mapping[str, object]) -> None:
    """Raise OutputError (exit code 65) unless an output was begun with the same plan."""
    now = json.loads(json.dumps(line))
    other = difference(found.plan.get("plan"), now["plan"])
    if other is not None:
        field, was, wanted = other
        raise OutputError(
            f"{target.path} was begun with another {field}: {was!r:.60}, now {wanted!r:.60}.",
            expected="to go on with the same model, data, options and versions",
            fix=f"Go on as it was begun: {resume_command(target.path)}\n"
            "Or begin anew, and lose its rows, with --overwrite.",
            exit_code=65,
            path=str(target.path),
            field=field,
        )


def drop_unsound(
    target: Target, container: Container, datasets: Sequence[Dataset], found: Recorded
) -> None:
    """Drop lines of the journal whose rows are not on the disk as they say.

    A crash leaves none, as rows reach the disk first; but disks break.
    """
    held = found.rows
    while found.lines and not _is_sound(container, datasets, found.lines[-2:]):
        found.drop_last()
    if held and not found.lines:
        raise OutputError(
            f"None of the {held:,} rows of {target.partial} are what was written there.",
            expected="a disk that gives back what it was given",
            fix="Begin anew on another disk, or with --overwrite.",
            exit_code=65,
            path=str(target.path),
        )


def _is_sound(
    container: Container, datasets: Sequence[Dataset], lines: Sequence[dict[str, Any]]
) -> bool:
    nothing = {"rows": 0, "crc32": [0] * len(datasets)}
    before, last = [nothing, *lines][-2:]
    rows = before["rows"], last["rows"]
    return all(
        sum_of(partial(container.read, i), rows, d.row_bytes, before["crc32"][i])
        == last["crc32"][i]
        for i, d in enumerate(datasets)
    )


def manifest_room(datasets: Sequence[Dataset], sums: Sums) -> int:
    """Return how many bytes to keep for the manifest."""
    # HDF5 stores the manifest twice. An address takes up to 6 bytes a character in ASCII JSON.
    marks = 9 * (datasets[0].shape[0] // sums.every)
    scales = sum(32 * len(dataset.scale or ()) for dataset in datasets)
    entries = sum(1024 + 8 * len(dataset.address) + marks for dataset in datasets)
    return 2 * (65536 + scales + entries)


def journal_room(datasets: Sequence[Dataset], sums: Sums) -> int:
    """Return how long a journal will be if nothing is slow; after that it grows."""
    lines = 64 + sum(dataset.nbytes for dataset in datasets) // GROUP_BYTES
    line = 1024 + 128 * len(datasets)
    marks = 12 * len(datasets) * (datasets[0].shape[0] // sums.every)
    return min(4 * manifest_room(datasets, sums) + lines * line + marks, 64 << 20)

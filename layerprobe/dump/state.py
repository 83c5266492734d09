"""What a dump says of itself, finished or not; no rows are read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layerprobe.dump import open_dump
from layerprobe.sinks import is_being_written, resume_command, unfinished

_COUNTED = ("nan", "inf", "overflow")
_TOLD = (
    *("model", "layers", "inputs", "shard", "whole", "engine", "device", "versions", "options"),
    *("notes", "parts"),
)


@dataclass(frozen=True)
class DumpState:
    """What `show` tells.

    Attributes:
        path: The dump under its final name, whether it has it yet or not.
        state: "complete", "unfinished" or "being written".
        rows: How many rows there will be.
        safe: How many of them are on the disk, whatever happens next.
        datasets: Address, shape, dtype, stored name of each, and how many NaN and Inf so far.
        about: The model, the layers, the inputs, the engine, the device, versions, options, notes;
            `row_range`, the rows of the input that these are; of a shard, which one it is.
    """

    path: Path
    state: str
    rows: int
    safe: int
    datasets: tuple[Mapping[str, Any], ...]
    about: Mapping[str, Any]

    @property
    def resume(self) -> str:
        """What to type to go on with it, or nothing."""
        return resume_command(self.path) if self.state == "unfinished" else ""

    def to_json(self) -> dict[str, object]:
        """Return what `show --json` prints."""
        found = {"path": str(self.path), "state": self.state, "rows": self.rows, "safe": self.safe}
        return {**found, "resume": self.resume, "datasets": list(self.datasets), **self.about}


def show(path: str | os.PathLike[str]) -> DumpState:
    """Describe a dump, complete or not. No rows are read.

    Args:
        path: What `extract` wrote or is writing: its final name, or the one it has meanwhile.

    Raises:
        DataError: There is none (exit code 66), or it is damaged (65).

    Example:
        >>> import numpy as np, tempfile
        >>> from layerprobe.sinks import Dataset, open_sink
        >>> place = tempfile.mkdtemp() + "/features.h5"
        >>> with open_sink(place, [Dataset("dense", (4, 2), np.dtype("float32"))]) as sink:
        ...     sink.write(0, [np.zeros((3, 2), "float32")])
        >>> found = show(place)
        >>> found.state, found.safe, found.rows
        ('unfinished', 3, 4)
    """
    place = Path(path)
    for ending in (".partial", ".journal"):
        place = place.with_name(place.name.removesuffix(ending) or place.name)
    begun = unfinished(place)
    if begun is None:
        with open_dump(place) as dump:
            told = _told(dump.manifest)
            listed = tuple(
                {k: v for k, v in entry.items() if k != "crc32_marks"}
                for entry in dump.manifest["datasets"]
            )
            return DumpState(place, "complete", dump.rows, dump.rows, listed, told)
    plan = begun.plan["plan"]
    state = begun.lines[-1]["state"] if begun.lines else None
    counts = (state or {}).get("counts") or [[0, 0, 0]] * len(plan["datasets"])
    return DumpState(
        path=place,
        state="being written" if is_being_written(place) else "unfinished",
        rows=plan["datasets"][0]["shape"][0],
        safe=begun.rows,
        datasets=tuple(
            {**entry, **dict(zip(_COUNTED, numbers, strict=False))}  # older ones have two
            for entry, numbers in zip(plan["datasets"], counts, strict=True)
        ),
        about=_told(plan),
    )


def _told(manifest: Mapping[str, Any]) -> dict[str, Any]:
    told = {key: manifest[key] for key in _TOLD if key in manifest}
    return told | ({"row_range": manifest["rows"]} if "rows" in manifest else {})

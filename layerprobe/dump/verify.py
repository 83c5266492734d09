"""Whether every row of a dump is what was written: its checksums, computed again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from layerprobe.dump import open_dump
from layerprobe.dump.lazy import LazyArray
from layerprobe.dump.manifest import damage
from layerprobe.dump.sums import summed
from layerprobe.errors import DataError
from layerprobe.sinks import sum_of


@dataclass(frozen=True)
class Fault:
    """Rows that are not what was written.

    Attributes:
        address: The dataset.
        start: The first row that may be wrong.
        stop: The one after the last.
        reason: What was found.
    """

    address: str
    start: int
    stop: int
    reason: str


@dataclass(frozen=True)
class Verification:
    """What `verify` found.

    Attributes:
        path: The dump.
        rows: Of each dataset.
        datasets: How many there are.
        sums: How many checksums were compared.
        faults: What is wrong; empty if nothing is.
    """

    path: Path
    rows: int
    datasets: int
    sums: int
    faults: tuple[Fault, ...]

    def to_json(self) -> dict[str, object]:
        """Return what `verify --json` prints."""
        faults = [
            {"address": f.address, "rows": [f.start, f.stop], "reason": f.reason}
            for f in self.faults
        ]
        told: dict[str, object] = {"path": str(self.path), "rows": self.rows}
        return told | {"datasets": self.datasets, "checksums": self.sums, "faults": faults}


def verify(path: str | os.PathLike[str]) -> Verification:
    """Read all rows of a complete dump and compare their checksums.

    Args:
        path: What `extract` wrote.

    Returns:
        What was compared, and every range of rows in which something is wrong.

    Raises:
        DataError: It cannot be opened at all: see `open_dump`.

    Example:
        >>> import numpy as np, tempfile
        >>> from layerprobe.sinks import Dataset, open_sink
        >>> path = tempfile.mkdtemp() + "/features.h5"
        >>> with open_sink(path, [Dataset("dense", (4, 2), np.dtype("float32"))]) as sink:
        ...     sink.write(0, [np.zeros((4, 2), "float32")])
        ...     sink.commit({"datasets": [{"address": "dense"}]})
        >>> verify(path).faults
        ()
    """
    with open_dump(path) as dump:
        # One reader for all pieces of a dataset: it remembers what it has unpacked.
        datasets = [(dump.unsummed(d["address"]), d) for d in dump.manifest["datasets"]]
        with damage(dump.path):
            pieces = [
                (rows, *piece) for rows, entry in datasets for piece in summed(dump.manifest, entry)
            ]
        faults = tuple(fault for piece in pieces for fault in _checked(*piece))
        return Verification(dump.path, dump.rows, len(dump), len(pieces), faults)


def _checked(rows: LazyArray, piece: tuple[int, int], before: int, wanted: int) -> Iterator[Fault]:
    try:
        found = sum_of(lambda start, stop: rows[start:stop], piece, rows.row_bytes, before)
    except DataError as error:
        yield Fault(rows.address, *piece, str(error).partition("\n")[0])
        return
    if found != wanted:
        reason = f"the checksum is {found:08x}, and was {wanted:08x}"
        yield Fault(rows.address, *piece, reason)

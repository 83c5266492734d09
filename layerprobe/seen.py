"""What was seen of an input so far: the hash of its rows, NaN values, and whether it is the same.

A run that goes on where another stopped reads the rows before once more: their hash tells that they
are the same, whatever has become of names and times of the file. During a run the file must not
change: rows of two different inputs in one dump would be wrong without a word.

The hash is XXH3 of 128 bits: it tells data from other data, not from data that somebody forged, and
keeps up with any disk; SHA-256 would take longer than many a small model.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from layerprobe.errors import DataError
from layerprobe.finite import all_finite


class Seen:
    """The rows of one input, in order, as the data hold them before any cast.

    Args:
        path: The file, or None for rows from memory.

    Attributes:
        every: After how many rows of those that are read at once the state is remembered for
            `mark`; 0 for never.
        nan: How many NaN values there were.
    """

    def __init__(self, path: Path | None) -> None:
        self.every = 0
        self.nan = 0
        self._path = path
        self._digest = xxhash.xxh3_128()
        self._marks: dict[int, dict[str, object]] = {}
        self._file = self._identity()

    def add(self, rows: np.ndarray[Any, Any], start: int) -> None:
        """Take some more rows, the first of them number `start`."""
        step = self.every or len(rows) or 1
        for at in range(0, len(rows), step):
            piece = rows[at : at + step]
            self._digest.update(piece.data)
            if piece.dtype.kind == "f" and not all_finite(piece):
                self.nan += int(np.count_nonzero(np.isnan(piece)))
            if self.every:
                self._marks[start + at + len(piece)] = self.describe()

    def describe(self) -> dict[str, object]:
        """Return what the manifest says of the rows so far."""
        return {"nan": self.nan, "xxh3_128_of_rows": self._digest.hexdigest()}

    def mark(self, row: int) -> dict[str, object]:
        """Return what was described before some row, and forget what was before that."""
        # A copy of the keys: rows are read by another thread meanwhile.
        for earlier in [at for at in list(self._marks) if at < row]:
            del self._marks[earlier]
        return self._marks[row]

    def check_file(self, location: str) -> None:
        """Make sure that the file is the one that was opened, and as it was.

        Raises:
            DataError: It was replaced, changed or removed.
        """
        if self._identity() != self._file:
            raise DataError(
                f"{location} was changed or replaced while its rows were read.",
                expected="a file that stays as it is until the run has ended",
                fix="Put it back as it was; rows read before the change were checked.",
                location=location,
            )

    def _identity(self) -> tuple[int, ...] | None:
        if self._path is not None:
            with suppress(OSError):
                found = self._path.stat()
                return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
        return None

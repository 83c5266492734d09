"""How many values are NaN, Inf, or did not fit: counted while they are written, told at the end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from layerprobe.batches import Stored
from layerprobe.finite import all_finite
from layerprobe.sinks import Dataset

Array = np.ndarray[Any, Any]


@dataclass
class Counts:
    """How many values of a dataset so far are special.

    Attributes:
        nan: Those that are NaN.
        inf: Those that are Inf.
        overflow: Those that were finite and did not fit into the dtype they are stored as. As
            floating numbers they are Inf, and among `inf` too; as int8 they are 127 or -127, and
            `nan` and `inf` are what was there before.
    """

    nan: int = 0
    inf: int = 0
    overflow: int = 0

    def __bool__(self) -> bool:
        return bool(self.nan or self.inf or self.overflow)

    def add(self, rows: Array) -> None:
        """Count those of some more rows, which show them."""
        if rows.dtype.kind not in "biu" and not all_finite(rows):
            self.nan += int(np.isnan(rows).sum())
            self.inf += int(np.isinf(rows).sum())

    def add_tally(self, stored: Stored) -> None:
        """Count those of some more rows that were counted as they were computed."""
        if stored.tally is not None:
            nan, inf, overflow = map(int, stored.tally.sum(0, dtype=np.int64))
            self.nan += nan
            self.inf += inf + (overflow if stored.rows.dtype.kind != "i" else 0)
            self.overflow += overflow

    def warnings(self, dataset: Dataset) -> Iterator[str]:
        """Yield what to tell of them, a line each."""
        address, quantised = dataset.address, dataset.scale is not None
        if self.nan or self.inf:
            where = " (stored as 0, and as 127 or -127)" if quantised else ""
            yield f"values of {address} that are NaN: {self.nan:,}, Inf: {self.inf:,}{where}"
        if self.overflow and quantised:
            yield f"values of {address} beyond the range of its scale, cut to it: {self.overflow:,}"
        elif self.overflow:
            what = f"finite values of {address} too large for {dataset.dtype}"
            yield f"{what}: {self.overflow:,}"

"""Parquet files as tables: columns by record batch, one group of rows after another."""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from layerprobe.errors import DataError
from layerprobe.sources.tables import DAMAGE, plain

_BATCH = 1024
_BUFFER = 1 << 20


class ParquetTable:
    """The columns of a Parquet file.

    Raises:
        DataError: It is damaged or cut short.
    """

    def __init__(self, location: str, path: Path) -> None:
        self.path = path
        try:
            # Pages are read as they are needed, instead of a group of rows at once.
            self._file = pq.ParquetFile(
                path, pre_buffer=False, buffer_size=_BUFFER, page_checksum_verification=True
            )
        except DAMAGE as error:
            raise DataError(
                f"{location} is a Parquet file that is damaged or cut short: {plain(error)}.",
                fix="Copy or write the file again.",
                location=location,
            ) from error
        self.names: Sequence[str] = self._file.schema_arrow.names
        described = self._file.metadata
        self.rows: int = described.num_rows
        counts = [described.row_group(n).num_rows for n in range(described.num_row_groups)]
        self._starts = [0, *np.cumsum(counts, dtype=np.int64).tolist()]

    def batches(self, columns: Sequence[str], start: int) -> Iterator[tuple[int, Any]]:
        """Yield record batches from the group of rows on that holds a row."""
        group = max(0, bisect.bisect_right(self._starts, start) - 1)
        first = self._starts[group]
        groups = list(range(group, len(self._starts) - 1))
        for batch in self._file.iter_batches(
            batch_size=_BATCH, row_groups=groups, columns=list(columns), use_threads=False
        ):
            yield first, batch.select(list(columns))
            first += batch.num_rows

    def close(self) -> None:
        """Close the file."""
        self._file.close(force=True)

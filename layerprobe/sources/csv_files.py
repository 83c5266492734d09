"""CSV files as tables: numbers written as text, read a block at a time.

The delimiter is the one of comma, semicolon and tab that the first line has most of. A first line
of nothing but numbers may be names or a row, and nothing in the file says which, so the user does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import csv

from layerprobe.errors import DataError
from layerprobe.sources.options import SourceOptions
from layerprobe.sources.rows import tidy
from layerprobe.sources.tables import DAMAGE, dtype_of, plain

_BLOCK = 1 << 20
_MOST_LINE = 1 << 24  # a first line of more names is none
_NULLS = ["", "NA", "N/A", "NULL", "null", "None"]


class CsvTable:
    """The columns of a CSV file; numbers are float64, or int64 where the model takes integers.

    Raises:
        DataError: It cannot be parsed, or its first line may be a row.
    """

    def __init__(self, location: str, path: Path, options: SourceOptions) -> None:
        self.path = path
        self._location = location
        self._type = pa.from_numpy_dtype(dtype_of(options))
        self._ids = options.id_column
        line = _first_line(path)
        self._parse = csv.ParseOptions(
            delimiter=max(",;\t", key=line.count), newlines_in_values=True
        )
        self._named = options.header is not False
        self._size = path.stat().st_size
        with self._damage("cannot be parsed"):
            self.names: Sequence[str] = self._open([], pa.string()).schema.names
        if not self._named:
            self.names = [str(number) for number in range(len(self.names))]
        elif options.header is None and all(map(_is_number, self.names)):
            raise self._doubtful()
        with self._damage("cannot be parsed"):
            self.rows: int = sum(
                batch.num_rows for batch in self._open([self.names[0]], pa.string())
            )

    def batches(self, columns: Sequence[str], start: int) -> Iterator[tuple[int, Any]]:
        """Yield record batches from the beginning of the file on."""
        del start
        if self.path.stat().st_size != self._size:
            raise EOFError("the file has another size than it had")
        first = 0
        kind = pa.string() if list(columns) == [self._ids] else self._type
        for batch in self._open(columns, kind):
            yield first, batch
            first += batch.num_rows

    def close(self) -> None:
        """Do nothing: no file is open between two passes."""

    def _open(self, columns: Sequence[str], kind: Any) -> Any:
        reading = csv.ReadOptions(block_size=_BLOCK, use_threads=False)
        if not self._named:
            reading.autogenerate_column_names = True
            columns = [f"f{name}" for name in columns]
        types = dict.fromkeys(columns, kind)
        converting = csv.ConvertOptions(
            column_types=types,
            include_columns=list(columns),
            null_values=_NULLS,
            strings_can_be_null=True,
        )
        return csv.open_csv(self.path, reading, self._parse, converting)

    @contextmanager
    def _damage(self, what: str) -> Iterator[None]:
        try:
            yield
        except DAMAGE as error:
            raise DataError(
                f"{self._location} {what}: {plain(error)}.",
                expected="lines with as many values each, the first with the names of the columns",
                fix="Mend the line; texts with commas or line ends in them need quotes.",
                location=self._location,
            ) from error

    def _doubtful(self) -> DataError:
        shown = ", ".join(tidy(name, 20) for name in self.names[:6])
        return DataError(
            f"The first line of {self._location} holds numbers alone: {shown}"
            f"{', …' if len(self.names) > 6 else ''}.",
            expected="the names of the columns",
            fix="Say --no-header if it is a row (columns are then 0, 1, …), else --header.",
            location=self._location,
        )


def _first_line(path: Path) -> str:
    with path.open("rb") as file:
        return file.readline(_MOST_LINE).decode("utf-8", "replace")


def _is_number(text: str) -> bool:
    with suppress(ValueError):
        float(text)
        return True
    return False

"""Columns of CSV and Parquet files, read by pyarrow a batch of records at a time.

Rows are read forward; reading backward begins again, in Parquet at the group of rows. An empty
place (null) is an error with its row and column: a model knows no missing values, and none is made
up. The rows of a CSV file are counted when it is opened, by reading it once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from layerprobe.errors import DataError
from layerprobe.sources.options import SourceOptions
from layerprobe.sources.rows import Array, DType, RowReader, Shape, tidy

DAMAGE = (pa.ArrowException, OSError, ValueError, KeyError, EOFError)

_EXACT = 2**53  # up to here a float64 holds every integer


class Table(Protocol):
    """A file of columns.

    Attributes:
        path: The file.
        names: Of its columns, in order.
        rows: How many it has.
    """

    path: Path
    names: Sequence[str]
    rows: int

    def batches(self, columns: Sequence[str], start: int) -> Iterator[tuple[int, Any]]:
        """Yield record batches with some columns, each with its first row's number.

        Args:
            columns: Which.
            start: The first batch holds this row, or is before it.
        """

    def close(self) -> None:
        """Release the file."""


class TableSource(RowReader):
    """Rows of the columns of a table, side by side; or of one column of lists.

    Args:
        location: What the user wrote.
        table: The file, which the source closes.
        columns: Which columns; none: all but that of the ids.
        options: The shape of a row, if it is another than the columns give, and the id column.

    Raises:
        DataError: A column is not there, or holds no numbers; or its lists are not all alike.
    """

    def __init__(
        self, location: str, table: Table, columns: Sequence[str], options: SourceOptions
    ) -> None:
        self.location = location
        self._table = table
        self._ids = options.id_column
        chosen = columns or [name for name in table.names if name != self._ids]
        self._columns = list(chosen)
        self._check_names([*self._columns, *([self._ids] if self._ids is not None else [])])
        self._stream: Iterator[tuple[int, Any]] | None = None
        self._held: tuple[int, Array] = (0, np.empty(0))
        if not table.rows:
            raise DataError(f"{location} holds 0 rows.", expected="at least one", location=location)
        self._form: Shape | None = None
        row = self._values(0, self._first_row())
        form = row.shape[1:]
        if options.row_shape is not None:
            form = options.row_shape
            if math.prod(form) != row[0].size:
                raise DataError(
                    f"{location} has {row[0].size:,} numbers a row.",
                    expected=f"{math.prod(form):,}, for rows of shape {form}",
                    fix="Name the columns that are meant with --columns.",
                    location=location,
                )
        self._form = row.shape[1:]
        super().__init__(location, table.path, (table.rows, *form), row.dtype)

    def _first_row(self) -> Any:
        try:
            return next(self._table.batches(self._columns, 0))[1].slice(0, 1)
        except DAMAGE as error:
            raise DataError(
                f"{self.location} cannot be read: {plain(error)}.",
                expected="columns of numbers",
                fix="Name other columns with --columns, or mend the file.",
                location=self.location,
            ) from error

    def place_of(self, row: int) -> str:
        """Return what the id column says of a row."""
        ids = self.row_ids(row, row + 1)
        return "" if ids is None else f"{self._ids} {ids[0]}"

    def row_ids(self, start: int, stop: int) -> list[str] | None:
        """Return the values of the id column as text."""
        if self._ids is None:
            return None
        found: list[str] = []
        try:
            for first, batch in self._table.batches([self._ids], start):
                values = batch.column(0)
                self._refuse_nulls(first, [values], [self._ids])
                begin, end = max(start - first, 0), min(stop - first, len(values))
                if begin >= len(values):
                    continue
                found += map(str, values.slice(begin, max(0, end - begin)).to_pylist())
                if first + len(values) >= stop:
                    break
        except DAMAGE as error:
            raise self._unreadable(start, stop, plain(error)) from error
        return found

    def _fetch(self, start: int, stop: int) -> Array:
        rows = np.empty((stop - start, *(self._form or ())), self.dtype)
        done = start
        try:
            while done < stop:
                first, values = self._at(done)
                count = min(stop, first + len(values)) - done
                rows[done - start : done - start + count] = values[done - first :][:count]
                done += count
        except DAMAGE as error:
            self._leave()
            raise self._unreadable(start, stop, plain(error)) from error
        except DataError:
            self._leave()
            raise
        return rows.reshape(stop - start, *self.shape[1:])

    def _at(self, row: int) -> tuple[int, Array]:
        """Return the batch that holds a row, with the number of its first row."""
        first, values = self._held
        if self._stream is None or row < first:
            self._leave()
            self._stream = self._table.batches(self._columns, row)
        while not first <= row < first + len(values):
            found = next(self._stream, None)
            if found is None:
                raise EOFError(f"it ends before row {row}")
            first, batch = found
            values = np.empty(batch.num_rows)  # passed over
            if row < first + batch.num_rows:
                values = self._values(first, batch)
            self._held = first, values
        return first, values

    def _values(self, first: int, batch: Any) -> Array:
        """Return the numbers of a record batch, rows first."""
        self._refuse_nulls(first, batch.columns, self._columns)
        arrays = [
            _numbers(array, self._refusal(first, name))
            for name, array in zip(self._columns, batch.columns, strict=True)
        ]
        if len(arrays) == 1 and arrays[0].ndim > 1:
            rows = arrays[0]
        elif any(array.ndim > 1 for array in arrays):
            raise DataError(
                f"{self.location} has lists in one of {len(arrays)} columns.",
                expected="one column of lists, or columns of numbers",
                fix="Name what is meant with --columns.",
                location=self.location,
            )
        else:
            rows = self._side_by_side(first, arrays)
        if self._form is not None and rows.shape[1:] != self._form:
            raise DataError(
                f"The lists in {self.location} change their shape in the rows from {first} on: "
                f"{rows.shape[1:]} after {self._form}.",
                expected="lists that are all alike",
                location=self.location,
            )
        return rows

    def _side_by_side(self, first: int, arrays: Sequence[Array]) -> Array:
        dtype = np.result_type(*arrays)
        for name, array in zip(self._columns, arrays, strict=True):
            if dtype.kind == "f" and array.dtype.kind in "iu" and array.dtype.itemsize == 8:
                wrong = (array > _EXACT) | (array < -_EXACT)
                if wrong.any():
                    row = int(np.argmax(wrong))
                    raise self._refusal(first, name)(row, f"{array[row]}, too large for {dtype}")
        return np.stack(arrays, axis=1).astype(dtype, copy=False)

    def _refuse_nulls(self, first: int, arrays: Sequence[Any], names: Sequence[str]) -> None:
        for name, array in zip(names, arrays, strict=True):
            if array.null_count:
                row = array.is_null().to_numpy(zero_copy_only=False).argmax()
                raise self._refusal(first, name)(int(row), "nothing (null)")

    def _refusal(self, first: int, column: str) -> Any:
        def refuse(row: int, what: str) -> DataError:
            return DataError(
                f"{self.location} holds {what} in row {first + row}, column {tidy(column, 60)!r}.",
                expected="a number; a model knows no missing values, texts or dates",
                fix="Fill or drop such rows first, or name other columns with --columns.",
                location=self.location,
                row=first + row,
                column=column,
            )

        return refuse

    def _check_names(self, wanted: Sequence[str]) -> None:
        names = list(self._table.names)
        missing = [name for name in wanted if name not in names]
        twice = [name for name in wanted if names.count(name) > 1 or wanted.count(name) > 1]
        if not missing and not twice:
            return
        what = f"has no column {missing[0]!r}" if missing else f"has {twice[0]!r} twice"
        shown = ", ".join(tidy(name, 40) for name in names[:12])
        raise DataError(
            f"{self.location} {what}.",
            expected=f"columns among its {len(names)}: {shown}{', …' if len(names) > 12 else ''}",
            fix="Name those that are meant: --columns a,b,c",
            location=self.location,
        )

    def _leave(self) -> None:
        self._stream, self._held = None, (0, np.empty(0))

    def _release(self) -> None:
        self._leave()
        self._table.close()


def _numbers(array: Any, refuse: Any) -> Array:
    """Return an Arrow array as NumPy's: rows first, then the sizes of its lists."""
    kind = array.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        inner = array.flatten()
        if pa.types.is_fixed_size_list(kind):
            lengths = np.full(len(array), kind.list_size)
        else:
            lengths = array.value_lengths().to_numpy(zero_copy_only=False)
        odd = lengths != lengths[:1]
        if odd.any():
            row = int(odd.argmax())
            raise refuse(row, f"a list of {lengths[row]} after lists of {lengths[0]}")
        size = int(lengths[0]) if len(lengths) else 0
        if inner.null_count:
            hole = int(inner.is_null().to_numpy(zero_copy_only=False).argmax())
            raise refuse(hole // max(size, 1), "a list with nothing (null) in it")
        values = _numbers(inner, lambda row, what: refuse(row // max(size, 1), what))
        return values.reshape(len(array), size, *values.shape[1:])
    known = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    if not known:
        raise refuse(0, f"{tidy(kind, 40)} values")
    flat: Array = array.to_numpy(zero_copy_only=False)
    return flat


def plain(error: BaseException) -> str:
    """Return what pyarrow says, in one line."""
    return tidy(error, 160)


def dtype_of(options: SourceOptions) -> DType:
    """Return what texts of numbers are read as: integers where the model takes integers."""
    wanted = options.wanted_dtype
    whole = wanted.startswith(("int", "uint"))
    return np.dtype("int64" if whole else "float64")

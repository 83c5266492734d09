"""Several files as one source: the rows of each, one file after the other.

A pattern stands for its files in the plain order of their paths, character by character, as
`sorted` has it: `part-10` comes before `part-9`. Files given one by one keep their order. All
are looked at before the first row is read; a few of them are open at a time.
"""

from __future__ import annotations

import bisect
import glob
import itertools
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from layerprobe.errors import DataError
from layerprobe.sources.rows import Array, RowReader

if TYPE_CHECKING:
    from layerprobe.sources import Source

_MOST_OPEN = 16


def expand(location: str) -> list[str] | None:
    """Return the locations that a pattern stands for, in order; None if it is no pattern.

    Args:
        location: `parts/*.npy`, `**/*.h5::/x`; `*`, `?`, `[…]`, and `**` for folders in folders. A
            file whose own name holds such characters is that file.

    Raises:
        DataError: No file matches (exit code 66).

    Example:
        >>> expand("samples/data/digits*.npy")
        ['samples/data/digits.npy', 'samples/data/digits_labels.npy']
    """
    pattern, colons, key = location.partition("::")
    if not glob.has_magic(pattern) or Path(pattern).exists() or Path(location).exists():
        return None
    names = glob.glob(pattern, recursive=True)  # noqa: PTH207 - a Path's takes no absolute ones
    found = sorted(name for name in names if Path(name).is_file())
    if not found:
        raise DataError(
            f"No file matches {pattern!r}.",
            expected="at least one; * stands for any characters, ** for any folders",
            fix=f"Look with: ls {pattern}",
            exit_code=66,
            location=location,
        )
    return [f"{name}{colons}{key}" for name in found]


def open_several(
    location: str, places: Sequence[str], opener: Callable[[str], Source]
) -> JoinedSource:
    """Open several files as one source.

    Args:
        location: What messages and the manifest call them together.
        places: The location of each, in order.
        opener: Opens one of them.

    Raises:
        DataError: One of them cannot be opened, is there twice, or has rows of another shape or
            dtype than the first; the message names it.
    """
    twice = next((place for at, place in enumerate(places) if place in places[:at]), None)
    if twice is not None:
        raise DataError(
            f"{twice} is given twice.",
            expected="every file once",
            fix="Leave one of them out; or name the inputs they are for, as in --input NAME=FILE.",
            location=location,
        )
    return JoinedSource(location, _Parts(places, opener))


class _Parts:
    """The files, opened when they are needed and closed again when there are too many."""

    def __init__(self, places: Sequence[str], opener: Callable[[str], Source]) -> None:
        self.places = places
        self._opener = opener
        self._open: OrderedDict[int, Source] = OrderedDict()
        self.files: list[Path] = []
        self.starts = [0]
        self.layout = ""  # of the first that has one
        try:
            for number in range(len(places)):
                part = self[number]
                self._check(part)
                self.files += part.files
                self.layout = self.layout or part.layout
                self.starts.append(self.starts[-1] + part.shape[0])
        except BaseException:
            self.close()
            raise

    def __getitem__(self, number: int) -> Source:
        part = self._open.pop(number, None)
        if part is None:
            while len(self._open) >= _MOST_OPEN:
                self._open.popitem(last=False)[1].close()
            part = self._opener(self.places[number])
            if number == 0 and len(self.starts) == 1:
                self.first = (part.location, part.shape[1:], part.dtype)
        self._open[number] = part
        return part

    def _check(self, part: Source) -> None:
        place, shape, dtype = self.first
        if (part.shape[1:], part.dtype) == (shape, dtype):
            return
        raise DataError(
            f"{part.location} holds rows of {part.shape[1:]} {part.dtype}.",
            expected=f"{shape} {dtype}, as in {place}",
            fix="Leave it out, or write it anew: rows of one source are all alike.",
            location=part.location,
            shape=part.shape,
        )

    def whole(self, number: int) -> Source:
        """Return a file that is still as it was when it was first looked at."""
        part = self[number]
        self._check(part)
        rows = self.starts[number + 1] - self.starts[number]
        if part.shape[0] != rows:
            raise DataError(
                f"{part.location} has {part.shape[0]:,} rows now, and had {rows:,}.",
                expected="files that do not change while they are read",
                fix="Start again when nothing writes to it any more.",
                location=part.location,
            )
        return part

    def close(self) -> None:
        while self._open:
            self._open.popitem()[1].close()


class JoinedSource(RowReader):
    """Rows of several files."""

    def __init__(self, location: str, parts: _Parts) -> None:
        _, shape, dtype = parts.first
        super().__init__(location, None, (parts.starts[-1], *shape), dtype)
        self._parts = parts
        self.layout = parts.layout

    @property
    def files(self) -> tuple[Path, ...]:
        """The files, in order."""
        return tuple(self._parts.files)

    def place_of(self, row: int) -> str:
        """Return the file of a row, and its number there."""
        number = bisect.bisect_right(self._parts.starts, row) - 1
        return f"row {row - self._parts.starts[number]} of {self._parts.places[number]}"

    def row_ids(self, start: int, stop: int) -> list[str] | None:
        """Return the ids of some rows if all files have ids."""
        found: list[str] = []
        for number, begin, end in self._within(start, stop):
            ids = self._parts.whole(number).row_ids(begin, end)
            if ids is None:
                return None
            found += ids
        return found

    def _fetch(self, start: int, stop: int) -> Array:
        rows = np.empty((stop - start, *self.shape[1:]), self.dtype)
        at = 0
        for number, begin, end in self._within(start, stop):
            rows[at : at + end - begin] = self._parts.whole(number).read(begin, end)
            at += end - begin
        return rows

    def _within(self, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
        """Yield the files that some rows lie in, and the range of rows in each."""
        for number, (first, last) in enumerate(itertools.pairwise(self._parts.starts)):
            begin, end = max(start, first), min(stop, last)
            if begin < end:
                yield number, begin - first, end - first

    def _release(self) -> None:
        self._parts.close()

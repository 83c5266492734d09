"""The rows of a Zarr dump that fill no chunk yet, on the disk.

A chunk that is compressed cannot be added to, so it is written once, when it is full. Rows that are
to be safe before that are kept here, of all datasets together: in two files by turns, so that one
of them is always whole. Each begins with the number of rows that are safe with it, and a checksum.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

from zlib_ng import zlib_ng

from layerprobe.sinks import disk

NAMES = ("+0", "+1")  # no stored name has a "+" in it
_HEAD = struct.Struct("<QI")


class Tail:
    """Rows that wait for their chunk to be full.

    Args:
        folder: Where the two files lie.
        spans: Of each dataset: rows of a chunk, and bytes of a row.
        rows: How many rows there will be.
    """

    def __init__(self, folder: Path, spans: Sequence[tuple[int, int]], rows: int) -> None:
        self._paths = [folder / name for name in NAMES]
        self._spans = tuple(spans)
        self._rows = rows
        self._next = 0
        self._found: list[tuple[int, list[memoryview]]] | None = None

    def waiting(self, index: int, row: int) -> int:
        """Return how many of the rows before `row` are in a chunk of dataset `index` not full."""
        return 0 if row == self._rows else row % self._spans[index][0]

    def create(self) -> list[Path]:
        """Make the files, as far as they are not there, with all the room they will need."""
        room = sum((chunk - 1) * row_bytes for chunk, row_bytes in self._spans)
        missing = [path for path in self._paths if not path.exists()]
        for path in missing:
            disk.create(path, _HEAD.size + room)
        return missing

    def write(self, row: int, waiting: Sequence[memoryview]) -> None:
        """Keep the waiting rows of every dataset, before row `row`; they are on the disk then."""
        total = zlib_ng.crc32(row.to_bytes(8, "little"))
        with disk.open_file(self._paths[self._next]) as file:
            at = _HEAD.size
            for data in waiting:
                total = zlib_ng.crc32(data, total)
                file.write(at, data)
                at += len(data)
            file.write(0, memoryview(_HEAD.pack(row, total)))
            file.sync()
        self._next = 1 - self._next
        self._found = None

    def find(self, index: int, row: int) -> memoryview | None:
        """Return the waiting rows of a dataset if the row before `row` is one of them."""
        chunk = self._spans[index][0]
        for known, held in self._loaded():
            if row <= known and known // chunk == (row - 1) // chunk and held[index]:
                return held[index]
        return None

    def keep(self, row: int) -> None:
        """Write the next time over the file that going on at a row can do without."""
        held = [number for number, known, _ in self._sound() if known == row]
        self._next = 1 - held[0] if held else 0
        self._found = None

    def remove(self) -> None:
        """Remove both files."""
        for path in self._paths:
            path.unlink(missing_ok=True)

    def _loaded(self) -> list[tuple[int, list[memoryview]]]:
        if self._found is None:
            self._found = sorted(
                ((known, held) for _, known, held in self._sound()), key=lambda pair: pair[0]
            )
        return self._found

    def _sound(self) -> Iterator[tuple[int, int, list[memoryview]]]:
        """Yield what is whole: the number of the file, the rows before it, the waiting ones."""
        for number, path in enumerate(self._paths):
            content = memoryview(path.read_bytes() if path.is_file() else b"")
            if len(content) < _HEAD.size:
                continue
            row, total = _HEAD.unpack_from(content)
            held, at = [], _HEAD.size
            for index, (_, row_bytes) in enumerate(self._spans):
                size = self.waiting(index, row) * row_bytes
                held.append(content[at : at + size])
                at += size
            found = zlib_ng.crc32(content[_HEAD.size : at], zlib_ng.crc32(content[:8]))
            if found == total and 0 < row <= self._rows:
                yield number, row, held

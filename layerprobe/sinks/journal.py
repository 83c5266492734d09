"""The journal of an unfinished output: what it is to become, and how many of its rows are safe.

Line 0 is the plan. Each later line says that all rows up to some number have reached the disk, with
their checksums and whatever the caller wants to know again when it goes on; it is written only
after they have. The last good line counts, and nothing else: not sizes, not what else is there.

Each line is JSON, a tab, and the CRC-32 of all lines so far, so that a line that was cut, changed
or left over from another run ends the journal. Room for lines is kept in front, as NULs.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from layerprobe.sinks import disk
from layerprobe.sinks.manifest import FORMAT

_MARK = b'{"journal": "' + FORMAT.encode().partition(b"/")[0]


@dataclass
class Recorded:
    """What a journal holds, up to its last good line.

    Attributes:
        plan: Line 0.
        lines: The others: "rows", "crc32", "marks" and "state" of each.
        ends: The byte behind each line, that of the plan first, and the checksum there.
    """

    plan: dict[str, Any]
    lines: list[dict[str, Any]] = field(default_factory=list)
    ends: list[tuple[int, int]] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """How many rows are safe."""
        return int(self.lines[-1]["rows"]) if self.lines else 0

    def drop_last(self) -> None:
        """Forget the last line."""
        self.lines.pop()
        self.ends.pop()


class Journal:
    """A journal that lines are added to.

    Args:
        path: Where it lies.
        found: What is in it, if it is there.
        plan: Line 0, if it is not.
        room: How many bytes to keep in front.

    Raises:
        OSError: The disk is full or fails.
    """

    def __init__(
        self,
        path: Path,
        found: Recorded | None = None,
        plan: Mapping[str, object] | None = None,
        room: int = 0,
    ) -> None:
        if found is None:
            path.unlink(missing_ok=True)
            disk.create(path, room)
        self._file = disk.open_file(path)
        self._end, self._sum = found.ends[-1] if found else (0, 0)
        if found is None:
            self.add({"journal": FORMAT, **(plan or {})})

    def add(self, line: Mapping[str, object]) -> None:
        """Add a line; it is on the disk when this returns."""
        text = json.dumps(line, allow_nan=False).encode()
        self._sum = zlib.crc32(text, self._sum)
        text += b"\t%08x\n" % self._sum
        self._file.write(self._end, memoryview(text))
        self._end += len(text)
        self._file.sync()

    def close(self) -> None:
        """Let go of the file; calling it again does nothing."""
        self._file.close()


def is_ours(path: Path) -> bool:
    """Tell whether a file begins as a journal does, or as far as a crash has let it."""
    try:
        with path.open("rb") as file:
            start = file.read(len(_MARK)).rstrip(b"\0")
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return False
    return _MARK.startswith(start)


def read(path: Path) -> Recorded | None:
    """Return what a journal holds, or None if it is not there or not even its plan is whole.

    Raises:
        OSError: It cannot be read.
    """
    try:
        content = path.read_bytes()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return None
    if not content.startswith(_MARK):
        return None
    lines = list(_good_lines(content))
    if not lines:
        return None
    return Recorded(
        plan=lines[0][0],
        lines=[line for line, _, _ in lines[1:]],
        ends=[(end, total) for _, end, total in lines],
    )


def _good_lines(content: bytes) -> Iterator[tuple[dict[str, Any], int, int]]:
    total = end = 0
    while (stop := content.find(b"\n", end)) >= 0:
        text, _, given = content[end:stop].rpartition(b"\t")
        total = zlib.crc32(text, total)
        if given != b"%08x" % total:
            return
        end = stop + 1
        yield json.loads(text), end, total


def difference(old: object, new: object, where: str = "") -> tuple[str, object, object] | None:
    """Return the first place where two plans differ, and what stands there in each.

    Example:
        >>> difference({"model": {"sha256": "a"}}, {"model": {"sha256": "b"}})
        ('model.sha256', 'a', 'b')
    """
    if isinstance(old, dict) and isinstance(new, dict):
        pairs = [(f"{where}.{k}".lstrip("."), old.get(k), new.get(k)) for k in {**old, **new}]
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = [(f"{where}[{i}]", *pair) for i, pair in enumerate(zip(old, new, strict=True))]
    else:
        return None if old == new else (where, old, new)
    found = (difference(was, now, place) for place, was, now in pairs)
    return next((place for place in found if place is not None), None)

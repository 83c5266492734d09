"""Hostile files, made when the tests run, with payloads that do no harm: they write a marker file.

Each case is one trick of one class. `make` writes it into a folder of its own and returns its path;
`verdict` and `rules` are what an audit has to say. If anything is ever run, or written by an
unpacker, `marker` appears; if anything outside is read, it is `secret`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

REFUSE, TRUST = "refuse", "needs trust"


@dataclass(frozen=True)
class Place:
    """Where a case is made: its folder, the file a payload would write, the one it would read."""

    folder: Path
    marker: Path
    secret: Path


@dataclass(frozen=True)
class Case:
    """One hostile file."""

    name: str
    verdict: str
    rule: str
    make: Callable[[Place], Path]

    def made_in(self, folder: Path) -> tuple[Path, Place]:
        """Make the file in a folder and return it, with the marker and the secret beside it."""
        place = Place(folder / "model", folder / "marker", folder / "secret")
        place.folder.mkdir(parents=True)
        place.secret.write_text("a secret")
        return self.make(place), place


def cases() -> list[Case]:
    """Return all of them."""
    from hostile import archives, arrays, bombs, code, entries, folders, graphs, texts

    rooms = (archives, arrays, bombs, code, entries, folders, graphs, texts)
    return [case for room in rooms for case in room.CASES]

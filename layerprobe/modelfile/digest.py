"""The SHA-256 of a model, that of a folder included; whether a file is the one that was judged."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeVar

from layerprobe.errors import TrustError

T = TypeVar("T")

_GRAPH = "saved_model.pb"


def digest(path: Path) -> str:
    """Return the SHA-256 of a file; of a folder that of its files' names and hashes.

    Raises:
        OSError: It cannot be read.
    """
    if path.is_dir():
        whole = hashlib.sha256()
        for name, part in files_of(path):
            with part.open("rb") as file:
                whole.update(f"{name}:{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
        return whole.hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_of(path: Path) -> Iterator[tuple[str, Path]]:
    """Yield the files of a folder that make its model, with their names in it, in order."""
    for file in sorted(path.rglob("*")):
        if file.is_file() and not file.is_symlink():
            yield file.relative_to(path).as_posix(), file


@dataclass(frozen=True)
class Judged:
    """Files as they were when they were judged, so that nothing else is loaded in their place.

    The time of the last change of a file's entry cannot be set by programs; it tells of content
    that was written over even where size and date were put back.

    Attributes:
        places: What was given.
        state: Device, number, size and times of each file.
    """

    places: tuple[Path, ...] = ()
    state: tuple[object, ...] = ()

    def check(self) -> None:
        """Make sure that the files are still the same.

        Raises:
            TrustError: One was changed or replaced.
        """
        for place, before in zip(self.places, self.state, strict=True):
            if _states(place) != before:
                raise _swapped(place)

    def load(self, place: Path, load: Callable[[IO[bytes]], T], sha256: str | None = None) -> T:
        """Load a file as it was judged, whatever has its name by now.

        Args:
            place: The file.
            load: Takes it, open for reading.
            sha256: If code of it is to run: what its bytes must be; they are in memory then, where
                nobody writes over them.

        Raises:
            TrustError: It is another file, or was changed.
        """
        with place.open("rb") as file:
            before = dict(zip(self.places, self.state, strict=True)).get(place)
            if before is not None and before != (_state(os.fstat(file.fileno())),):
                raise _swapped(place)
            if sha256 is None:
                return load(file)
            held = file.read()
        if hashlib.sha256(held).hexdigest() != sha256.lower():
            raise _swapped(place)
        return load(io.BytesIO(held))


def judged(*places: Path) -> Judged:
    """Return how files are now; of a folder those that make its model."""
    return Judged(places, tuple(map(_states, places)))


def _states(place: Path) -> tuple[object, ...] | None:
    try:
        folder = place.is_dir() and place.joinpath(_GRAPH).is_file()
        files = [place, *(part for _, part in files_of(place))] if folder else [place]
        return tuple(_state(file.stat()) for file in files)
    except OSError:
        return None  # whoever reads it says why


def _state(found: os.stat_result) -> tuple[int, ...]:
    times = found.st_mtime_ns, found.st_ctime_ns
    return found.st_dev, found.st_ino, found.st_size, *times


def _swapped(place: Path) -> TrustError:
    return TrustError(
        f"{place} was changed or replaced after it was judged, and before it was loaded.",
        expected="the very bytes that were looked at",
        fix=f"Run it again, and if nobody should have changed it: layerprobe audit {place}",
        path=str(place),
    )

"""The SHA-256 of a model, that of a folder included."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path


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

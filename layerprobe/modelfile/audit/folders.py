"""Folders that are models: what is in them, and whether all of it is really there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from layerprobe.modelfile.audit.arrays import HEAD, NUMPY, holds_pickle, npz_findings
from layerprobe.modelfile.audit.findings import Finding, short

_MOST_FILES = 100_000


def folder_findings(folder: Path) -> list[Finding]:
    """Return what is dangerous about the files of a model's folder, before one is opened."""
    found: list[Finding] = []
    for count, file in enumerate(walk(folder), 1):
        name = f"file {short(file.relative_to(folder).as_posix())!r}"
        if count > _MOST_FILES:
            return [*found, Finding("folder-bomb", "", f"it holds more than {_MOST_FILES:,} files")]
        if file.is_symlink():
            target = short(file.readlink())
            found.append(Finding("folder-link", name, f"it is a link to {target!r}"))
        elif file.is_file():
            found += _file(file, name)
        elif not file.is_dir():
            found.append(Finding("folder-link", name, "it is a pipe or a device"))
    return found


def walk(folder: Path) -> Iterator[Path]:
    """Yield all that is below a folder, without following a link."""
    waiting = [folder]
    while waiting:
        for entry in sorted(waiting.pop().iterdir()):
            yield entry
            if entry.is_dir() and not entry.is_symlink():
                waiting.append(entry)


def _file(file: Path, name: str) -> Iterator[Finding]:
    with file.open("rb") as opened:
        head = opened.read(HEAD)
        if head.startswith(NUMPY):
            opened.seek(0)
            yield from npz_findings(opened, name, file.stat().st_size)
        elif file.suffix not in {".pb", ".index"} and holds_pickle(head):
            yield Finding("pickle-inside", name, "it is a pickle")

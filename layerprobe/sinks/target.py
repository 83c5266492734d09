"""The names of an output on disk, and how it gets its final one.

Work goes on under `NAME.partial`; `NAME` appears by renaming, so whoever finds it finds all of it.
Nothing that this package did not make is overwritten or removed, whatever it is called and whatever
was asked for: what is ours is known by its manifest. All of it happens under a lock (`lock.py`).

    OUT.h5    OUT.h5.partial, OUT.h5.json.partial  ->  OUT.h5, OUT.h5.json
    OUT       OUT.partial/, manifest.json inside   ->  OUT/
"""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from contextlib import ExitStack, suppress
from pathlib import Path

from layerprobe.errors import OutputError
from layerprobe.sinks import manifest as manifests
from layerprobe.sinks.disk import disk_errors, replace_content, sync
from layerprobe.sinks.lock import Lock
from layerprobe.sinks.names import folded

FILE_SUFFIXES = frozenset({".h5", ".hdf5"})
_NOT_A_FOLDER = frozenset({".npy", ".npz", ".zarr", ".json", ".partial", ".replaced", ".lock"})


class Target(ABC):
    """The names of one output, taken with `take`; each container has its subclass."""

    container: str
    manifest_partial: Path

    def __init__(self, path: Path) -> None:
        self.path = path
        self.partial = path.with_name(path.name + ".partial")
        self._overwrite = False
        self._lock: Lock | None = None

    @abstractmethod
    def check(self, *, overwrite: bool) -> None:
        """Raise OutputError (exit code 2) if this output must not be written; change nothing."""

    def take(self, *, overwrite: bool, reserve: int) -> None:
        """Lock the output, clear what a dead run left, and reserve room for the manifest."""
        self._overwrite = overwrite
        with disk_errors(self.path), ExitStack() as undo:
            self._lock = Lock(self.path.with_name(self.path.name + ".lock"), self.path)
            undo.callback(self.release)
            self.check(overwrite=overwrite)
            self._clear()
            self.check(overwrite=overwrite)  # clearing may have put an old output back
            undo.callback(self.discard)
            self.manifest_partial.parent.mkdir(exist_ok=True)
            replace_content(self.manifest_partial, self._placeholder(reserve))
            undo.pop_all()

    def write_manifest(self, text: str) -> None:
        """Put the manifest where the room for it was kept; what it leaves of that becomes free."""
        replace_content(self.manifest_partial, text.encode())

    @abstractmethod
    def publish(self) -> None:
        """Give the finished output its final name."""

    def discard(self) -> None:
        """Remove the unfinished output and let go of the lock."""
        with suppress(OSError):  # what stays is cleared by the next run
            self._clear()
        self.release()

    def release(self) -> None:
        """Let go of the lock."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    @abstractmethod
    def _clear(self) -> None:
        """Remove the unfinished output of this or a dead run."""

    def _placeholder(self, reserve: int) -> bytes:
        # Valid JSON that says what it is; its spaces hold room on the disk, so that hours of work
        # do not end at a disk that somebody else has filled.
        text = manifests.to_text({}, container=self.container, state="partial")
        return text.encode().ljust(reserve)


class FileTarget(Target):
    """One HDF5 file, and its manifest beside it."""

    container = "hdf5"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.manifest_path = path.with_name(path.name + ".json")
        self.manifest_partial = path.with_name(path.name + ".json.partial")

    def check(self, *, overwrite: bool) -> None:
        """Raise OutputError unless the name is free or holds a dump that may be replaced."""
        if self.path.is_dir():
            raise refused(self.path, "is a folder", "a file, as the name ends in .h5 or .hdf5")
        if os.path.lexists(self.path):
            _check_replaceable(self.path, overwrite=overwrite)
        if os.path.lexists(self.manifest_path) and not manifests.is_ours(self.manifest_path):
            raise refused(self.manifest_path, "is in the way of the manifest", "no file there")
        if not os.path.lexists(self.partial) and not os.path.lexists(self.manifest_partial):
            return
        if not manifests.is_ours(self.manifest_partial, cut=True):
            raise _in_the_way(self.partial)

    def publish(self) -> None:
        """Rename the manifest, then the file: the file's name says that both are there."""
        self.check(overwrite=self._overwrite)  # hours may have passed since the first time
        self.manifest_partial.replace(self.manifest_path)
        self.partial.replace(self.path)
        sync(self.path.parent)

    def _clear(self) -> None:
        # The manifest goes last: it is what the rest is known by.
        self.partial.unlink(missing_ok=True)
        self.manifest_partial.unlink(missing_ok=True)


class FolderTarget(Target):
    """One folder of NPY files with its manifest inside."""

    container = "npy"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.manifest_partial = self.partial / manifests.FILE
        # Folders cannot be exchanged in one step: the old one waits under this name.
        self._replaced = path.with_name(path.name + ".replaced")

    def check(self, *, overwrite: bool) -> None:
        """Raise OutputError unless the name is free or holds a dump that may be replaced."""
        if os.path.lexists(self.path):
            if not self.path.is_dir():
                raise refused(self.path, "is a file", "a folder, or a name that ends in .h5")
            _check_replaceable(self.path, overwrite=overwrite)
        if os.path.lexists(self.partial) and not _is_unfinished(self.partial):
            raise _in_the_way(self.partial)
        if os.path.lexists(self._replaced) and not _is_dump(self._replaced):
            raise _in_the_way(self._replaced)

    def publish(self) -> None:
        """Put the old folder aside, rename the new one, and remove the old one."""
        sync(self.partial)
        self.check(overwrite=self._overwrite)  # hours may have passed since the first time
        if self.path.is_dir():
            self.path.replace(self._replaced)
        self.partial.replace(self.path)
        sync(self.path.parent)
        _remove(self._replaced)

    def _clear(self) -> None:
        _remove(self.partial)
        if self.path.is_dir():
            _remove(self._replaced)
        elif self._replaced.is_dir():
            # A run died between the two renames of `publish`: the old dump gets its name back.
            self._replaced.replace(self.path)


def target_of(path: Path) -> Target:
    """Return the names of an output: a file if it ends in .h5 or .hdf5, otherwise a folder.

    Raises:
        OutputError: The name is not one for an output (exit code 2).
    """
    if path.suffix.lower() in FILE_SUFFIXES:
        return FileTarget(path)
    if path.name in {"", ".."} or path.suffix.lower() in _NOT_A_FOLDER:
        raise refused(
            path, "is no name for an output", "NAME.h5, or NAME for a folder of .npy files"
        )
    return FolderTarget(path)


def refused(path: Path, what: str, expected: str, fix: str = "") -> OutputError:
    """Return the error of an output that must not be written (exit code 2)."""
    return OutputError(
        f"{path} {what}.",
        expected=expected,
        fix=fix or "Give the output another name.",
        exit_code=2,
        path=str(path),
    )


def _in_the_way(path: Path) -> OutputError:
    return refused(
        path,
        "is in the way, and this program did not make it",
        "no such file or folder",
        "Move it away, or give the output another name.",
    )


def _check_replaceable(path: Path, *, overwrite: bool) -> None:
    if not _is_dump(path):
        raise refused(
            path,
            "exists already and is not a dump, or holds more than one: --overwrite keeps off it",
            "a new name",
            "Give the output another name, or remove it yourself.",
        )
    if not overwrite:
        raise refused(
            path, "exists already", "a new name", "Add --overwrite to replace it when all is done."
        )


def _is_dump(path: Path) -> bool:
    """Tell whether a path holds a whole dump and nothing else."""
    if path.is_symlink() or not (path.is_file() or path.is_dir()):
        return False
    try:
        manifest = json.loads(manifests.read(path) or "{}")
        names = {dataset["name"] for dataset in manifest["datasets"]}
    except (OSError, ValueError, LookupError, TypeError):
        return False
    if path.is_file():
        return True
    known = {folded(f"{name}.npy") for name in names} | {manifests.FILE}
    return all(folded(entry.name) in known for entry in path.iterdir())


def _is_unfinished(folder: Path) -> bool:
    """Tell whether a folder is what a run that died has left."""
    if folder.is_symlink() or not folder.is_dir():
        return False
    entries = list(folder.iterdir())
    ours = manifests.is_ours(folder / manifests.FILE, cut=True) or not entries
    return ours and all(e.suffix == ".npy" or e.name == manifests.FILE for e in entries)


def _remove(folder: Path) -> None:
    """Remove a folder of ours; a folder inside it would stop this, since we make none."""
    if not folder.is_dir():
        return
    # The manifest goes last: it is what the rest is known by.
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name == manifests.FILE):
        entry.unlink()
    folder.rmdir()

"""The kinds of outputs: a file with its manifest beside it, and folders with it inside."""

from __future__ import annotations

import os
from pathlib import Path

from layerprobe.sinks import manifest as manifests
from layerprobe.sinks.codecs import COMPRESSIONS, Chain
from layerprobe.sinks.grid import METADATA
from layerprobe.sinks.tail import NAMES as WAITING
from layerprobe.sinks.target import (
    Target,
    check_replaceable,
    in_the_way,
    is_array,
    is_dump,
    refused,
)

ZARR_SUFFIX = ".zarr"
FILE_SUFFIXES = frozenset({".h5", ".hdf5"})
_NOT_A_FOLDER = frozenset({".npy", ".npz", ".json", ".partial", ".replaced", ".lock", ".journal"})


class FileTarget(Target):
    """One HDF5 file, and its manifest beside it."""

    container = "hdf5"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.manifest_path = path.with_name(path.name + ".json")
        self.manifest_partial = path.with_name(path.name + ".json.partial")

    def _check_names(self, *, overwrite: bool) -> None:
        if self.path.is_dir():
            raise refused(self.path, "is a folder", "a file, as the name ends in .h5 or .hdf5")
        if os.path.lexists(self.path):
            check_replaceable(self.path, overwrite=overwrite)
        if os.path.lexists(self.manifest_path) and not manifests.is_ours(self.manifest_path):
            raise refused(self.manifest_path, "is in the way of the manifest", "no file there")
        known = manifests.is_ours(self.manifest_partial, cut=True) or self.journal.exists()
        for path in (self.partial, self.manifest_partial):
            if os.path.lexists(path) and not known:
                raise in_the_way(path)

    def _rename(self) -> None:
        # The file's name says that both are there.
        self.manifest_partial.replace(self.manifest_path)
        self.partial.replace(self.path)

    def _remove_rest(self) -> None:
        self.journal.unlink(missing_ok=True)

    def _put_back(self) -> None:
        pass

    def _clear(self) -> None:
        # What the rest is known by goes last.
        self.partial.unlink(missing_ok=True)
        self.journal.unlink(missing_ok=True)
        self.manifest_partial.unlink(missing_ok=True)


class FolderTarget(Target):
    """One folder of NPY files with its manifest inside."""

    container = "npy"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.manifest_partial = self.partial / manifests.FILE
        # Folders cannot be exchanged in one step: the old one waits under this name.
        self._replaced = path.with_name(path.name + ".replaced")

    def _check_names(self, *, overwrite: bool) -> None:
        if os.path.lexists(self.path):
            if not self.path.is_dir():
                raise refused(self.path, "is a file", "a folder, or a name that ends in .h5")
            check_replaceable(self.path, overwrite=overwrite)
        if os.path.lexists(self.partial) and not self._is_unfinished(self.partial):
            raise in_the_way(self.partial)
        if os.path.lexists(self._replaced) and not is_dump(self._replaced):
            raise in_the_way(self._replaced)

    def _rename(self) -> None:
        if self.path.is_dir():
            self.path.replace(self._replaced)
        self.partial.replace(self.path)

    def _remove_rest(self) -> None:
        _remove(self._replaced)
        self.journal.unlink(missing_ok=True)

    def _put_back(self) -> None:
        if not self.path.is_dir() and self._replaced.is_dir():
            self._replaced.replace(self.path)

    def _clear(self) -> None:
        # Without the journal, nobody goes on with what is left of a folder half removed.
        self.journal.unlink(missing_ok=True)
        _remove(self.partial)
        self._put_back()
        _remove(self._replaced)

    def _is_unfinished(self, folder: Path) -> bool:
        """Tell whether a folder is what a run that died has left."""
        if folder.is_symlink() or not folder.is_dir():
            return False
        entries = list(folder.iterdir())
        ours = manifests.is_ours(folder / manifests.FILE, cut=True) or not entries
        return ours and all(self._is_known(entry) for entry in entries)

    def _is_known(self, entry: Path) -> bool:
        return entry.suffix == ".npy" or entry.name == manifests.FILE


class ZarrTarget(FolderTarget):
    """One Zarr group with its manifest inside."""

    container = "zarr"

    def _is_known(self, entry: Path) -> bool:
        if entry.is_dir() and not entry.is_symlink():
            return is_array(entry)
        return entry.name in {manifests.FILE, METADATA, *WAITING}


def target_of(path: Path) -> Target:
    """Return the names of an output: a file if it ends in .h5 or .hdf5, otherwise a folder.

    A folder whose name ends in .zarr is a Zarr group, any other one of NPY files.

    Raises:
        OutputError: The name is not one for an output (exit code 2).
    """
    if path.suffix.lower() in FILE_SUFFIXES:
        return FileTarget(path)
    if path.name in {"", ".."} or path.suffix.lower() in _NOT_A_FOLDER:
        raise refused(
            path,
            "is no name for an output",
            "NAME.h5, NAME.zarr, or NAME for a folder of .npy files",
        )
    if path.suffix.lower() == ZARR_SUFFIX:
        return ZarrTarget(path)
    return FolderTarget(path)


def check_compression(target: Target, compress: str | None) -> None:
    """Make sure that an output can be compressed in this way, if it is to be.

    Raises:
        OutputError: It cannot (exit code 2), or a package is missing (70).
    """
    if compress is None:
        return
    if compress not in COMPRESSIONS:
        raise refused(
            target.path,
            f"cannot be compressed with {compress!r}",
            f"one of: {', '.join(COMPRESSIONS)}",
            "Choose one of these, or leave --compress out.",
        )
    if not isinstance(target, ZarrTarget):
        raise refused(
            target.path,
            f"cannot be compressed: {compress} is for Zarr alone",
            "an output whose name ends in .zarr",
            f"Name it {target.path.with_suffix(ZARR_SUFFIX)}, or leave --compress out.",
        )
    Chain(1, compress)


def _remove(folder: Path) -> None:
    """Remove a folder of ours; any other than that of an array inside it stops this."""
    if not folder.is_dir():
        return
    # The manifest goes last: it is what the rest is known by.
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name == manifests.FILE):
        if entry.is_dir() and not entry.is_symlink() and is_array(entry):
            for file in entry.iterdir():
                file.unlink()
            entry.rmdir()
        else:
            entry.unlink()
    folder.rmdir()

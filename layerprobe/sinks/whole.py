"""A file that somebody else writes, such as a model: under its name whole, or not at all."""

from __future__ import annotations

import os
import secrets
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from layerprobe.sinks.disk import check_folder, disk_errors, sync
from layerprobe.sinks.target import refused

SUFFIX = ".keras"


def check_model_target(path: Path, *, overwrite: bool) -> None:
    """Make sure that a model may be written to a path; nothing is changed.

    Args:
        path: Ends in .keras.
        overwrite: Whether an archive of that name may be replaced; nothing else ever is.

    Raises:
        OutputError: The name is not one for a model, or is taken (exit code 2); or there is no such
            folder (74).
    """
    if path.suffix.lower() != SUFFIX:
        raise refused(path, "is no name for a model", "NAME.keras")
    check_folder(path)
    if os.path.lexists(path):
        if path.is_symlink() or not _is_archive(path):
            raise refused(
                path,
                "exists already and is not a .keras archive: --overwrite keeps off it",
                "a new name",
            )
        if not overwrite:
            raise refused(
                path, "exists already", "a new name", "Add --overwrite to replace it at the end."
            )


def write_model(path: Path, write: Callable[[BinaryIO], None], *, overwrite: bool) -> None:
    """Write a model under a temporary name beside its own, and rename it when it is on the disk.

    Args:
        path: As for `check_model_target`.
        write: Writes into an open file.
        overwrite: Whether an archive of that name may be replaced.

    Raises:
        OutputError: It cannot be written; nothing is left under either name.
    """
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    with disk_errors(path):
        try:
            with partial.open("xb") as file:
                write(file)
            sync(partial)
            check_model_target(path, overwrite=overwrite)  # hours may have passed since
            partial.replace(path)
            sync(path.absolute().parent)
        finally:
            with suppress(FileNotFoundError):
                partial.unlink()


def _is_archive(path: Path) -> bool:
    if not path.is_file():
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return "config.json" in archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return False

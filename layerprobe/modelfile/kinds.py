"""What a path is: told by its first bytes, since the names of real files are often wrong."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable
from pathlib import Path

from layerprobe.errors import ModelError
from layerprobe.modelfile import architecture, hdf5, keras_zip, saved_model
from layerprobe.modelfile.audit.arrays import NUMPY
from layerprobe.modelfile.audit.findings import Finding

# A colon after one letter is a drive.
_REMOTE = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")
_HEAD = 8
_JUDGES: dict[str, Callable[[Path], list[Finding]]] = {
    "hdf5": hdf5.findings,
    "keras": keras_zip.findings,
    "saved_model": saved_model.findings,
}


def refuse_remote(path: Path) -> None:
    """Refuse paths that name a place on a network.

    Raises:
        ModelError: It is one.
    """
    found = _REMOTE.match(str(path))
    if found is not None:
        raise ModelError(
            f"{path} is not on this machine.",
            expected=f"a local file; layerprobe fetches nothing from {found[1]}://",
            fix="Get the file with a tool of your choice, check it, and give its path.",
            exit_code=2,
            path=str(path),
        )


def kind_of(path: Path) -> str:
    """Return "hdf5", "keras", "saved_model", "architecture", "npy", or "" for all others.

    Raises:
        OSError: It cannot be read.
    """
    if path.is_dir():
        return "saved_model" if saved_model.is_saved_model(path) else ""
    if not path.is_file():  # a pipe would be waited on for ever
        return ""
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if head.startswith(hdf5.SIGNATURE):
        return "hdf5"
    if head.startswith(keras_zip.SIGNATURE):
        return "npz" if _holds_arrays_alone(path) else "keras"
    if head.startswith(NUMPY):
        return "npy"
    return "architecture" if architecture.is_architecture(head) else ""


def early_findings(path: Path) -> tuple[Finding, ...]:
    """Judge a file or folder before it is read as a model.

    Raises:
        ModelError: It is damaged.
    """
    try:
        judge = _JUDGES.get(kind_of(path))
    except OSError:
        return ()  # whoever opens it says why
    return () if judge is None else tuple(judge(path))


def _holds_arrays_alone(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return False
    return bool(names) and all(name.endswith(".npy") for name in names)

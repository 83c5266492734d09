"""The manifest of a dump: its first bytes, its place, and how it is written and read.

It stands as one JSON text in every dump: as `manifest.json` in a folder; in an HDF5 file as the
attribute `layerprobe` of the root, and once more as `NAME.json` beside it. That it begins with
"format" is what tells our files from other people's, so a cut or padded one is still known as ours.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import h5py

from layerprobe.errors import OutputError

FORMAT = "lpdump/1"
ATTRIBUTE = "layerprobe"
FILE = "manifest.json"

_MARK = b'{\n "format": "lpdump/'


def to_text(manifest: Mapping[str, object], *, container: str, state: str) -> str:
    """Return a manifest as JSON: format, container and state first, then the rest in its order.

    Raises:
        OutputError: A value is not JSON: another type than dict, list, str, int, float, bool and
            None, or a NaN or an infinity, which JSON has no word for.
    """
    head = {"format": FORMAT, "container": container, "state": state}
    try:
        # ASCII: any locale reads it, and a name that is not valid Unicode survives.
        return json.dumps(head | {**manifest, **head}, indent=1, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        raise OutputError(
            f"The manifest cannot be written as JSON: {error}.",
            expected="dict, list, str, int, finite float, bool or None",
            exit_code=70,
        ) from error


def is_ours(path: Path, *, cut: bool = False) -> bool:
    """Tell whether a file begins as a manifest of this package does.

    Args:
        path: Any path; what is no file is not ours.
        cut: Whether one that a crash left cut or empty counts too.
    """
    try:
        with path.open("rb") as file:
            start = file.read(len(_MARK))
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return False
    # A power cut can keep the size of a file and lose what was in it: NULs.
    return start == _MARK or (cut and _MARK.startswith(start.rstrip(b"\0")))


def read(path: Path) -> str | None:
    """Return the text of the manifest of the dump at `path`, or None if it holds none.

    Args:
        path: A folder or an HDF5 file.

    Raises:
        OSError: It cannot be opened; also of a file that is not HDF5, or is cut short.
    """
    if path.is_dir():
        place = path / FILE
        return place.read_text("utf-8", "replace") if is_ours(place) else None
    if not path.is_file():  # opening a pipe would wait for ever
        return None
    # No lock is taken: a published dump no longer changes, and some file systems know no locks.
    with h5py.File(path, "r", locking=False) as file:
        text = file.attrs.get(ATTRIBUTE)
    return text if isinstance(text, str) else None

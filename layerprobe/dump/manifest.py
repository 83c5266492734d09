"""The manifest of a dump that is read, and one message for all that may be wrong with a dump."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from layerprobe.errors import DataError
from layerprobe.sinks import manifest as manifests


def complete_manifest(path: Path) -> dict[str, Any]:
    """Return the manifest of a complete dump of a format that is known here."""
    unfinished = path.with_name(path.name + ".partial")
    if not path.exists():
        raise DataError(
            f"There is no dump at {path}.",
            expected="an .h5 file or a folder that extract wrote",
            fix=f"{unfinished} is what a run has not finished." if unfinished.exists() else "",
            exit_code=66,
            path=str(path),
        )
    if path.name.removesuffix(".json").endswith(".partial"):
        raise DataError(
            f"{path} is what a run has not finished.",
            expected="a dump under its final name",
            fix="Wait for the run to end; `layerprobe show` says how far it is, and how to go on.",
            path=str(path),
        )
    with damage(path):
        _check_whole(path)
        text = manifests.read(path)
    if text is None:
        raise DataError(
            f"{path} is not a dump: it has no manifest.",
            expected="an .h5 file or a folder that extract wrote",
            fix="Plain HDF5 and NPY files open with h5py.File and numpy.load.",
            path=str(path),
        )
    with damage(path):
        manifest: dict[str, Any] = json.loads(text)
        found = manifest["format"], manifest["state"]
    if found != (manifests.FORMAT, "complete"):
        raise DataError(
            f"{path} is a dump of format {found[0]!r} in state {found[1]!r}.",
            expected=f"format {manifests.FORMAT!r} in state 'complete'",
            fix="A newer layerprobe may read it.",
            path=str(path),
        )
    return manifest


def _check_whole(path: Path) -> None:
    """Refuse a manifest without the rows; `part*` finds it beside the dump."""
    if not path.is_file() or not manifests.is_ours(path):
        return
    # It lies in its dump, or beside it.
    whole = path.parent if path.name == manifests.FILE else path.with_suffix("")
    there = whole != path and whole.exists()
    raise DataError(
        f"{path} is the manifest of a dump alone.",
        expected="an .h5 file or a folder that extract wrote",
        fix=f"Give {whole}" if there else "Copy the dump again: it has the rows.",
        path=str(path),
    )


@contextmanager
def damage(path: Path, address: str | None = None) -> Iterator[None]:
    """Turn what NumPy, HDF5 or JSON raise over a damaged dump into a DataError that names it."""
    try:
        yield
    except (OSError, RuntimeError, ValueError, LookupError, TypeError) as error:
        rows = "" if address is None else f"rows of {address!r} in "
        reason = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise DataError(
            f"{rows}{path} cannot be read: {reason}.",
            expected="a complete dump, as extract wrote it",
            fix="Extract it again, or copy it again from where it is whole.",
            path=str(path),
            address=address,
        ) from error

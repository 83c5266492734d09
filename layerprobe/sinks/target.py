"""The names of an output on disk, and how it gets its final one.

Work goes on under `NAME.partial`; `NAME` appears by renaming, so whoever finds it finds all of it.
Nothing that this package did not make is overwritten or removed, whatever it is called and whatever
was asked for: what is ours is known by its manifest and its journal. All of it happens under a lock
(`lock.py`).

    OUT.h5    OUT.h5.partial, OUT.h5.json.partial, OUT.h5.journal  ->  OUT.h5, OUT.h5.json
    OUT       OUT.partial/, manifest.json inside, OUT.journal      ->  OUT/
    OUT.zarr  OUT.zarr.partial/, as well                           ->  OUT.zarr/
"""

from __future__ import annotations

import json
import os
import re
import shlex
from abc import ABC, abstractmethod
from contextlib import ExitStack, suppress
from pathlib import Path

from layerprobe.errors import OutputError
from layerprobe.sinks import journal as journals
from layerprobe.sinks import manifest as manifests
from layerprobe.sinks.disk import disk_errors, replace_content, sync
from layerprobe.sinks.grid import METADATA
from layerprobe.sinks.journal import Recorded
from layerprobe.sinks.lock import Lock, may_be_held
from layerprobe.sinks.names import folded

_SHARD = re.compile(r"c(\.[0-9]+)+")


class Target(ABC):
    """The names of one output, taken with `take`; each container has its subclass."""

    container: str
    manifest_partial: Path

    def __init__(self, path: Path) -> None:
        self.path = path
        self.partial = path.with_name(path.name + ".partial")
        self.journal = path.with_name(path.name + ".journal")
        self._overwrite = False
        self._lock: Lock | None = None

    def check(self, *, overwrite: bool) -> None:
        """Raise OutputError (exit code 2) if this output must not be written; change nothing."""
        if os.path.lexists(self.journal) and not journals.is_ours(self.journal):
            raise in_the_way(self.journal)
        self._check_names(overwrite=overwrite)

    def unfinished(self) -> Recorded | None:
        """Return the journal of an output that a run has left unfinished, or None."""
        if self.partial.is_symlink() or not self.partial.exists():
            return None
        return journals.read(self.journal)

    def check_early(self, *, overwrite: bool, resume: bool) -> None:
        """Check what a run will, as far as that can be told while another may write this output.

        Raises:
            OutputError: The output must not be written, or the rows of an unfinished run would be
                lost (exit code 2); there is nothing to go on with, and that was asked for (66).
        """
        # Who has the lock now may be writing these names: `take` says so, and who it is.
        if may_be_held(self._lock_path):
            return
        try:
            self._check_all(overwrite=overwrite, resume=resume)
        except OutputError:
            # Another run may have begun or ended while this one looked: once more, alone.
            self._lock = Lock(self._lock_path, self.path)
            try:
                self._check_all(overwrite=overwrite, resume=resume)
            finally:
                self.release()

    def _check_all(self, *, overwrite: bool, resume: bool) -> None:
        self.check(overwrite=overwrite)
        self._agree(self.unfinished(), overwrite=overwrite, resume=resume)

    def take(self, *, overwrite: bool, resume: bool, reserve: int) -> Recorded | None:
        """Lock the output, and reserve room for the manifest.

        Returns:
            The journal to go on with; or None, and what a dead run left has been cleared.
        """
        self._overwrite = overwrite
        with disk_errors(self.path), ExitStack() as undo:
            self._lock = Lock(self._lock_path, self.path)
            undo.callback(self.release)
            self.check(overwrite=overwrite)
            found = self.unfinished()
            self._agree(found, overwrite=overwrite, resume=resume)
            if resume:
                self._put_back()
            else:
                found = None
                self._clear()
            self.check(overwrite=overwrite)  # an old output may have been put back
            if found is None:
                undo.callback(self.discard)
            self.manifest_partial.parent.mkdir(exist_ok=True)
            replace_content(self.manifest_partial, self._placeholder(reserve))
            undo.pop_all()
        return found

    def _agree(self, found: Recorded | None, *, overwrite: bool, resume: bool) -> None:
        if resume and found is None:
            raise OutputError(
                f"There is nothing of {self.path} to go on with.",
                expected=f"{self.partial} and {self.journal} of an earlier run",
                fix="Start it without --resume.",
                exit_code=66,
                path=str(self.path),
            )
        if found is not None and found.rows and not (resume or overwrite):
            raise OutputError(
                f"{self.path} was begun already: {found.rows:,} rows are kept in {self.partial}.",
                expected="a new name, or to go on",
                fix=f"Go on with: {resume_command(self.path)}\n"
                "Or begin anew, and lose them, with --overwrite.",
                exit_code=2,
                path=str(self.path),
                rows=found.rows,
            )

    def write_manifest(self, text: str) -> None:
        """Put the manifest where the room for it was kept; what it leaves of that becomes free."""
        replace_content(self.manifest_partial, text.encode())

    def publish(self) -> None:
        """Give the finished output its final name, and remove the journal."""
        self.check(overwrite=self._overwrite)  # hours may have passed since the first time
        self._rename()
        sync(self.path.parent)
        self._remove_rest()

    def keep(self) -> None:
        """Leave the unfinished output for another run, and let go of the lock."""
        with suppress(OSError):  # what is not put back is by the next run
            self._put_back()
        self.release()

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

    @property
    def _lock_path(self) -> Path:
        return self.path.with_name(self.path.name + ".lock")

    @abstractmethod
    def _check_names(self, *, overwrite: bool) -> None:
        """Raise OutputError if one of the names is taken by something that must stay."""

    @abstractmethod
    def _rename(self) -> None:
        """Give the finished output its final name."""

    @abstractmethod
    def _remove_rest(self) -> None:
        """Remove what a published output leaves under other names."""

    @abstractmethod
    def _put_back(self) -> None:
        """Give an older output its name back, if a run died while it was exchanged."""

    @abstractmethod
    def _clear(self) -> None:
        """Remove the unfinished output of this or a dead run."""

    def _placeholder(self, reserve: int) -> bytes:
        # Valid JSON that says what it is; its spaces hold room on the disk, so that hours of work
        # do not end at a disk that somebody else has filled.
        text = manifests.to_text({}, container=self.container, state="partial")
        return text.encode().ljust(reserve)


def refused(path: Path, what: str, expected: str, fix: str = "") -> OutputError:
    """Return the error of an output that must not be written (exit code 2)."""
    return OutputError(
        f"{path} {what}.",
        expected=expected,
        fix=fix or "Give the output another name.",
        exit_code=2,
        path=str(path),
    )


def resume_command(path: Path) -> str:
    """Return what to type to go on with an unfinished output."""
    return f"layerprobe resume {shlex.quote(str(path))}"


def in_the_way(path: Path) -> OutputError:
    """Return the error of a name that something of other people's has."""
    return refused(
        path,
        "is in the way, and this program did not make it",
        "no such file or folder",
        "Move it away, or give the output another name.",
    )


def check_replaceable(path: Path, *, overwrite: bool) -> None:
    """Raise OutputError unless a path holds a dump, and may be replaced."""
    if not is_dump(path):
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


def is_dump(path: Path) -> bool:
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
    if manifest.get("container") == "zarr":
        arrays = {folded(name) for name in names}
        known = {METADATA, manifests.FILE}
        return all(
            folded(entry.name) in arrays and is_array(entry)
            if entry.is_dir() and not entry.is_symlink()
            else entry.name in known
            for entry in path.iterdir()
        )
    known = {folded(f"{name}.npy") for name in names} | {manifests.FILE}
    return all(folded(entry.name) in known for entry in path.iterdir())


def is_array(folder: Path) -> bool:
    """Tell whether a folder holds what one array of a Zarr dump does, and nothing else."""
    return all(
        (entry.name == METADATA or _SHARD.fullmatch(entry.name)) and not entry.is_dir()
        for entry in folder.iterdir()
    )

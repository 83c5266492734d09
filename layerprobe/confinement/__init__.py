"""What a process gives up before a model is built: files, network, other programs.

A saved model is a program. What is known to run code of its own is refused (`TrustError`); this is
the second line, for what nobody knew. See docs/confinement.md for what it stops and what it does
not. `layerprobe extract`, `train` and `convert` do this by themselves; a Python program that wants
it calls `confine` before it loads a model:

    from layerprobe.confinement import confine
    confine(reads=["model.keras", "x.npy"], writes=["results"])
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path

from layerprobe.confinement import landlock, places, privileges, seccomp
from layerprobe.errors import LayerprobeError

__all__ = ["confine", "lacking", "private_folders"]


def lacking() -> tuple[str, ...]:
    """Return what this system cannot keep a process from: "files", "network", "programs".

    Example:
        >>> set(lacking()) <= {"files", "network", "programs"}
        True
    """
    files = landlock.version() > 0
    if seccomp.known():
        return () if files else ("files",)
    if not files:
        return ("files", "network", "programs")
    return () if landlock.version() >= 4 else ("network",)


def confine(
    *,
    reads: Iterable[str | Path] = (),
    lists: Iterable[str | Path] = (),
    writes: Iterable[str | Path] = (),
    required: bool = False,
) -> tuple[str, ...]:
    """Give up all files but these, all network, and other programs; for good.

    Python's packages, the system's libraries and the devices for computing stay readable. Threads
    that run already are not confined in what they read and write: call this before anything loads
    an engine.

    Args:
        reads: Files, and folders with all below them, that stay readable.
        lists: Folders whose names of files stay readable.
        writes: Folders in which files can still be read, made, changed and removed.
        required: Whether it is an error if a part of this cannot be done here.

    Returns:
        What could not be given up, as `lacking` says it.

    Raises:
        LayerprobeError: Something could not, and `required` is set; nothing is given up then.
    """
    missing = lacking()
    if required and missing:
        raise LayerprobeError(
            f"This system cannot keep a model from {', '.join(missing)}.",
            expected="Linux 5.13 or later, with Landlock switched on, for --require-sandbox",
            fix="Leave the option out if you trust the model, or run in a virtual machine.",
            missing=missing,
        )
    compilers = places.compilers()
    allowed = places.readable() | compilers
    for path in map(Path, reads):
        allowed[path] = allowed.get(path, 0) | landlock.READ
    for path in map(Path, lists):
        allowed[path] = allowed.get(path, 0) | landlock.LIST
    for path in map(Path, writes):
        allowed[path] = allowed.get(path, 0) | landlock.WRITE
    if sys.platform == "linux":
        privileges.forgo()
    if "files" not in missing:
        landlock.restrict(allowed, landlock.version())
    if seccomp.known():
        seccomp.restrict(local_sockets=bool(places.gpus()), programs=bool(compilers))
    return missing


def private_folders(folder: Path, *, home: bool) -> None:
    """Let everything that packages keep for themselves go to a folder of this run.

    Args:
        folder: Where to; its parts are made.
        home: Whether the home folder is to be there as well.
    """
    names = {"TMPDIR": "tmp", "KERAS_HOME": "keras", "XDG_CACHE_HOME": "cache"}
    names |= {"MPLCONFIGDIR": "matplotlib", "CUDA_CACHE_PATH": "cuda", "TRITON_HOME": "triton"}
    if home:
        names["HOME"] = "home"
    for variable, name in names.items():
        (folder / name).mkdir()
        os.environ[variable] = str(folder / name)
    import tempfile

    tempfile.tempdir = None  # to be found anew

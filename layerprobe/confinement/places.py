"""What Python, engines and drivers of GPUs read, and how the current folder is kept out of it."""

from __future__ import annotations

import os
import site
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from layerprobe.confinement.landlock import DEVICE, READ, RUN, allowed_on

# Of the system: libraries, and what they look up; nothing that belongs to a person. /proc holds
# what engines ask about the machine; the kernel keeps the memory and the environment of other
# processes from a confined one.
_SYSTEM = """
/usr /bin /sbin /lib /lib32 /lib64 /opt /nix/store /gnu/store /proc /sys
/etc/ld.so.cache /etc/ld.so.conf /etc/ld.so.conf.d /etc/ld.so.preload /etc/alternatives
/etc/localtime /etc/timezone /etc/mime.types /etc/os-release /etc/lsb-release /etc/debian_version
/etc/nsswitch.conf /etc/ssl/openssl.cnf /etc/pki/tls/openssl.cnf /etc/crypto-policies
/etc/OpenCL /etc/nvidia /etc/nvidia-container-runtime /etc/amd
/run/nvidia-persistenced /run/nvidia
""".split()
_NO_DEVICES = ("null", "zero", "full", "random", "urandom")
_GPUS = ("nvidia*", "dri", "kfd", "accel", "dxg")
# Engines compile for a GPU with programs: for these alone other programs may be started.
_COMPILERS = ("ptxas", "nvlink", "fatbinary")
_LOADERS = "lib64/ld-linux-x86-64.so.2 lib/ld-linux-aarch64.so.1".split()


def readable() -> dict[Path, int]:
    """Return what any engine reads, with the rights it needs: the system, Python, devices."""
    devices = [Path("/dev") / name for name in _NO_DEVICES]
    return {
        **allowed_on(map(Path, _SYSTEM), READ),
        **allowed_on(_python(), READ),
        **allowed_on((*devices, *gpus()), DEVICE),
    }


def gpus() -> list[Path]:
    """Return the files of the devices that an engine may compute on."""
    return [path for name in _GPUS for path in sorted(Path("/dev").glob(name))]


def compilers() -> dict[Path, int]:
    """Return the compilers of GPUs, and what starts them; nothing on a machine without a GPU."""
    if not gpus():
        return {}
    folders = [Path(p) for p in os.environ.get("PATH", "").split(os.pathsep) if p]
    folders += [
        path for name in ("cuda", "cuda-*") for path in Path("/usr/local").glob(f"{name}/bin")
    ]
    for entry in map(Path, sys.path):
        folders += [*entry.glob("nvidia/*/bin"), *entry.glob("triton/backends/*/bin")]
    found = [f / name for f in folders for name in _COMPILERS if (f / name).is_file()]
    loaders = [Path("/", name) for name in _LOADERS] if found else []
    return allowed_on((*found, *loaders), RUN)


def leave_current_folder() -> None:
    """Take the current folder off the import path, for this process and those it starts.

    A model is looked at where it was downloaded, and a file numpy.py beside it would be imported.
    What PYTHONPATH names by its full path stays, and so does a folder of installed packages.
    """
    here = Path.cwd() if _has_current_folder() else None
    named = {p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if Path(p).is_absolute()}
    kept = {*named, *sysconfig.get_paths().values(), *site.getsitepackages()}
    sys.path[:] = [
        p for p in sys.path if p in kept or (p and (here is None or Path(p).resolve() != here))
    ]
    os.environ["PYTHONSAFEPATH"] = "1"


def _has_current_folder() -> bool:
    try:
        Path.cwd()
    except OSError:  # it was removed
        return False
    return True


def _python() -> Iterator[Path]:
    yield from map(Path, (sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix))
    yield Path(sys.executable).resolve().parents[1]
    yield Path(__file__).resolve().parents[1]
    yield from (Path(entry) for entry in sys.path if entry)
    yield from map(Path, sysconfig.get_paths().values())
    libraries = os.environ.get("LD_LIBRARY_PATH", "")
    yield from (Path(p) for p in libraries.split(os.pathsep) if Path(p).is_absolute())

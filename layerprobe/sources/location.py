"""From what the user typed to a file and the kind of its content.

`data.h5::/images` is the file `data.h5` and the name `/images` inside it. The kind is told by the
first bytes, never by the extension: an .h5 that is really an .npy is read as what it is. Only
regular files are opened: opening a pipe would wait for ever for somebody to write into it.
"""

from __future__ import annotations

import difflib
import itertools
import os
import stat
from pathlib import Path

from layerprobe.errors import DataError

_NPY = b"\x93NUMPY"
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_PARQUET = b"PAR1"
_HDF5 = b"\x89HDF\r\n\x1a\n"
_NAMES = {".npy": "NPY", ".npz": "NPZ", ".h5": "HDF5", ".hdf5": "HDF5"}
_MOST_NEIGHBOURS = 5000  # a folder of a million files must not slow down a message


def split(location: str) -> tuple[Path, str | None]:
    """Split a location into an existing file and the name inside it, if one is given.

    A file whose own name contains "::" is found as well: the longest part that exists is the path.

    Raises:
        DataError: There is no such file (exit code 66; 2 for an address on the net), it is not a
            regular file, or it is empty.

    Example:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile() as file:
        ...     _ = file.write(b"data"), file.flush()
        ...     split(f"{file.name}::/images") == (Path(file.name), "/images")
        True
    """
    parts = location.split("::")
    for count in range(len(parts), 0, -1):
        name = "::".join(parts[:count])
        path = Path(name)
        status = _status(path) if name else None
        if status is not None:
            _check_file(location, path, status.st_mode, status.st_size)
            return path, "::".join(parts[count:]) if count < len(parts) else None
    raise _missing(location, parts[0])


def is_folder(location: str) -> bool:
    """Tell whether a location is a folder; what cannot be one at all is none."""
    try:
        return bool(location) and Path(location).is_dir()
    except OSError:  # a name that is too long
        return False


def kind_of(location: str, path: Path) -> str:
    """Return "npy", "npz", "parquet" or "hdf5" by the content of a file.

    Raises:
        DataError: It is none of these, or a pickle (exit code 77), or cannot be opened (66).
    """
    kind, head, last = _looked_at(location, path)
    if kind is None:
        raise _unknown(location, path, head, last)
    return kind


def known_kind(location: str, path: Path) -> str | None:
    """Return what `kind_of` returns, or None where it is an error.

    Raises:
        DataError: The file cannot be opened (exit code 66).
    """
    return _looked_at(location, path)[0]


def _looked_at(location: str, path: Path) -> tuple[str | None, bytes, bytes]:
    """Return the kind of a file, its first bytes and its last one."""
    try:
        with path.open("rb") as file:
            head = file.read(64)
            if head.startswith(_NPY):
                return "npy", head, b""
            if head.startswith(_ZIP):
                return "npz", head, b""
            if head.startswith(_PARQUET):
                return "parquet", head, b""
            # HDF5 allows a block of the user's own in front, of 512 bytes or a doubling of it.
            size = path.stat().st_size
            for offset in itertools.chain([0], (512 << n for n in range(40))):
                if offset >= size:
                    break
                file.seek(offset)
                if file.read(8) == _HDF5:
                    return "hdf5", head, b""
            file.seek(-1, 2)
            return None, head, file.read(1)
    except OSError as error:
        raise _unopenable(location, error) from error


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a NUL in the name
        return None
    except OSError as error:
        raise _unopenable(str(path), error) from error


def _check_file(location: str, path: Path, mode: int, size: int) -> None:
    if stat.S_ISDIR(mode):
        raise DataError(
            f"{path} is a folder.",
            expected="one .npy, .npz or HDF5 file",
            location=location,
        )
    if not stat.S_ISREG(mode):
        raise DataError(
            f"{path} is a pipe or a device, not a regular file.",
            expected="a file on disk, as rows are read by their position",
            fix="An .npy may come through a pipe: --input - < PIPE",
            location=location,
        )
    if size == 0:
        raise DataError(f"{path} is empty (0 bytes).", fix="Write it again.", location=location)


def _missing(location: str, name: str) -> DataError:
    is_address = "://" in location
    return DataError(
        f"There is no file {name!r}.",
        expected="a file on this machine; nothing is fetched from the net" if is_address else "",
        fix="Download it first." if is_address else _hint(Path(name)),
        exit_code=2 if is_address else 66,
        location=location,
    )


def _hint(path: Path) -> str:
    for parent in path.parents:
        if parent.is_file():
            inside = path.relative_to(parent)
            return f"{parent} is a file; what lies inside one is written {parent}::/{inside}"
    if not path.parent.is_dir():
        return f"The folder {str(path.parent)!r} does not exist either."
    try:
        neighbours = [p.name for p in itertools.islice(path.parent.iterdir(), _MOST_NEIGHBOURS)]
    except OSError:
        return ""
    near = difflib.get_close_matches(path.name, neighbours, 3, cutoff=0.5)
    return f"Near by: {', '.join(map(repr, near))}." if near else ""


def _unopenable(location: str, error: OSError) -> DataError:
    return DataError(
        f"{location} cannot be opened: {error.strerror}.", exit_code=66, location=location
    )


def _unknown(location: str, path: Path, head: bytes, last: bytes) -> DataError:
    if head[:1] == b"\x80" and last == b"." and head[1] <= 5:
        return DataError(
            f"{path} is a Python pickle: a program, which layerprobe never runs.",
            expected="an .npy, .npz or HDF5 file",
            fix="Save the array itself, with np.save.",
            exit_code=77,
            location=location,
        )
    name = _NAMES.get(path.suffix.lower())
    named = f"is not an {name} file" if name else "is none of the kinds of file known here"
    is_text = head.isascii() and all(chr(byte).isprintable() or byte in b"\t\r\n" for byte in head)
    text_fix = "A table with a line of names is read as .csv; np.loadtxt reads others: "
    text_fix += "np.save('x.npy', np.loadtxt('x.txt'))"
    raw_fix = (
        "" if name else "If it is nothing but numbers, say of which type: --input-dtype float32"
    )
    return DataError(
        f"{path} {named}: it begins with {head[:16]!r}{', which is text' if is_text else ''}.",
        expected="an .npy, .npz or HDF5 file",
        fix=text_fix if is_text else raw_fix,
        location=location,
    )

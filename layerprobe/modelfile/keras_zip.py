"""Reader of .keras archives: a zip with config.json, metadata.json and model.weights.h5."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import h5py

from layerprobe.errors import ModelError, TrustError
from layerprobe.modelfile.audit.archives import archive_findings, contents_finding
from layerprobe.modelfile.audit.findings import Finding
from layerprobe.modelfile.contents import Contents, parse_config
from layerprobe.modelfile.hdf5_entries import dataset_sizes, survey
from layerprobe.modelfile.jsontext import MAX_CONFIG_BYTES, parse_json
from layerprobe.modelfile.weights import Keras3Sizes, one_layout
from layerprobe.modelfile.window import FileWindow

SIGNATURE = b"PK\x03\x04"
_WEIGHTS = "model.weights.h5"
# What zipfile, zlib and h5py raise on damaged bytes; RuntimeError also on encrypted members.
DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError),
    *(ValueError, TypeError, KeyError, AttributeError, RuntimeError, NotImplementedError),
)
_LOCAL_HEADER = struct.Struct("<26x2H")  # of a zip member; ends with the lengths of name and extra


def read(path: Path) -> Contents:
    """Return the contents of a .keras archive.

    Raises:
        ModelError: The archive is cut short or damaged, or is no model.
        TrustError: A member's declared size is out of all proportion.
    """
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            members = {info.filename: info for info in archive.infolist()}
            if "config.json" not in members:
                raise ModelError(
                    f"{path} is a zip archive without config.json.",
                    expected="a .keras file, as written by model.save('model.keras')",
                    path=str(path),
                    rule="not-a-model",
                )
            made = _metadata(archive, path) if "metadata.json" in members else {}
            return Contents(
                path=path,
                format="keras",
                config=parse_config(_member(archive, "config.json"), path),
                keras_version=made.get("keras_version"),
                backend=made.get("backend"),
                weights=_sizes(file, archive) if _WEIGHTS in members else None,
            )
    except DAMAGE as error:
        raise damaged(path, error) from error


def damaged(path: Path, error: BaseException) -> ModelError:
    """Return the error of an archive that cannot be read."""
    return ModelError(
        f"{path} is a damaged .keras archive: {error}",
        fix="It may be cut short; get it again from where it came from.",
        path=str(path),
    )


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    info = archive.getinfo(name)
    if info.file_size > MAX_CONFIG_BYTES:
        raise TrustError(
            f"The archive declares {info.file_size:,} bytes for {name}.",
            expected=f"at most {MAX_CONFIG_BYTES:,}",
            member=name,
            rule="config-size",
        )
    return archive.read(name)


def _metadata(archive: zipfile.ZipFile, path: Path) -> dict[str, str]:
    found = parse_json(_member(archive, "metadata.json"), path, "The metadata")
    return {key: value for key, value in found.items() if isinstance(value, str)}


@contextmanager
def open_weights(file: BinaryIO, archive: zipfile.ZipFile) -> Iterator[h5py.File]:
    """Open the file of weights in an archive, where it lies."""
    info = archive.getinfo(_WEIGHTS)
    if info.compress_type == zipfile.ZIP_STORED:
        file.seek(info.header_offset)
        name, extra = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
        start = info.header_offset + _LOCAL_HEADER.size + name + extra
        window = FileWindow(file, start, info.file_size)
    else:
        window = FileWindow(archive.open(_WEIGHTS), 0, info.file_size)  # type: ignore[arg-type]
    with window, h5py.File(window, "r") as weights:
        yield weights


def _sizes(file: BinaryIO, archive: zipfile.ZipFile) -> Keras3Sizes:
    with open_weights(file, archive) as weights:
        sizes = dataset_sizes(weights)
        return Keras3Sizes({one_layout(name): size for name, size in sizes.items()})


def findings(path: Path) -> list[Finding]:
    """Judge an archive before anything in it is unpacked.

    Raises:
        ModelError: It is cut short or damaged.
    """
    try:
        with path.open("rb") as file:
            if (early := contents_finding(file)) is not None:
                return [early]
            with zipfile.ZipFile(file) as archive:
                found = archive_findings(file, archive)
                if any(one.rule.closed for one in found) or _WEIGHTS not in archive.namelist():
                    return found
                with open_weights(file, archive) as weights:
                    return [*found, *survey(weights).findings]
    except DAMAGE as error:
        raise damaged(path, error) from error

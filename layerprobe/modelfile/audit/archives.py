"""Zip archives judged by their table of contents, before any member is unpacked."""

from __future__ import annotations

import stat
import struct
import zipfile
from collections.abc import Iterator
from typing import BinaryIO

from layerprobe.modelfile.audit.arrays import HEAD, holds_pickle, npz_findings
from layerprobe.modelfile.audit.findings import Finding, short

# Text packs to a twentieth; a hundredth is rare, and smaller members cannot harm.
_MOST_EXPANSION, _SMALL = 200, 16 << 20
_MOST_MEMBERS = 10_000
_MOST_CONTENTS = 4 << 20  # bytes of the table of contents, which zipfile reads as a whole
_END, _END_SIZE = b"PK\x05\x06", 22
_LOCAL = struct.Struct("<4s22xHH")
_PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".joblib", ".dill")


def contents_finding(file: BinaryIO) -> Finding | None:
    """Judge the size of the table of contents, which is read as a whole."""
    size = file.seek(0, 2)
    tail = min(size, 65_535 + _END_SIZE)
    file.seek(size - tail)
    data = file.read(tail)
    at = data.rfind(_END)
    if at < 0 or at + _END_SIZE > len(data):
        return None  # cut short: zipfile says so
    listed = int.from_bytes(data[at + 12 : at + 16], "little")
    if listed > _MOST_CONTENTS:
        what = f"the table of contents takes {listed:,} bytes"
        return Finding("zip-bomb", "", what)
    return None


def archive_findings(file: BinaryIO, archive: zipfile.ZipFile) -> list[Finding]:
    """Return what is dangerous in an archive, whoever unpacks it.

    Args:
        file: The archive's bytes.
        archive: The same, opened.
    """
    members = archive.infolist()
    found = [one for info in members for one in _member(info)]
    found += _names(members)
    found += _sizes(members)
    found += _places(file, members)
    if not any(finding.rule.closed for finding in found):
        found += _insides(archive, members)
    return found


def _member(info: zipfile.ZipInfo) -> Iterator[Finding]:
    name = info.orig_filename.replace("\\", "/")
    if name.startswith("/") or ".." in name.split("/") or name[1:2] == ":" or "\0" in name:
        yield Finding("zip-path", _at(info), "its name leads elsewhere")
    kind = stat.S_IFMT(info.external_attr >> 16)
    if info.create_system == 3 and kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        yield Finding("zip-link", _at(info), "it is a link or a device")


def _names(members: list[zipfile.ZipInfo]) -> Iterator[Finding]:
    seen: dict[str, str] = {}
    for info in members:
        if "\0" in info.orig_filename:
            continue  # zipfile ends names there; told already
        # On many disks names that differ in case are one file.
        key = info.filename.casefold()
        if key in seen:
            yield Finding("zip-duplicate", _at(info), f"as is {short(seen[key])!r}")
        seen[key] = info.filename


def _sizes(members: list[zipfile.ZipInfo]) -> Iterator[Finding]:
    if len(members) > _MOST_MEMBERS:
        yield Finding("zip-bomb", "", f"it has {len(members):,} members")
    for info in members:
        if info.file_size > max(_SMALL, _MOST_EXPANSION * info.compress_size):
            what = f"declares {info.file_size:,} bytes, stores {info.compress_size:,}"
            yield Finding("zip-bomb", _at(info), what)
    declared = sum(info.file_size for info in members)
    stored = sum(info.compress_size for info in members)
    if declared > max(2 * _SMALL, _MOST_EXPANSION * stored):
        yield Finding("zip-bomb", "", f"declares {declared:,} bytes in all, stores {stored:,}")


def _places(file: BinaryIO, members: list[zipfile.ZipInfo]) -> Iterator[Finding]:
    """Compare the table of contents with the members themselves, which others may read first."""
    end = 0
    for info in sorted(members, key=lambda one: one.header_offset):
        if info.header_offset < end:
            yield Finding("zip-contradiction", _at(info), "it lies inside another member")
            return
        if end == 0 and info.header_offset > 0:
            yield Finding("zip-contradiction", "", "other bytes lie before the first member")
        file.seek(info.header_offset)
        head = file.read(_LOCAL.size)
        if len(head) < _LOCAL.size:
            return  # cut short: whoever reads it says so
        sign, name_size, extra = _LOCAL.unpack(head)
        name = file.read(name_size)
        if sign != b"PK\x03\x04" or name not in _encoded(info.orig_filename):
            yield Finding("zip-contradiction", _at(info), f"the member says {short(name)!r}")
        end = info.header_offset + _LOCAL.size + name_size + extra + info.compress_size


def _encoded(name: str) -> set[bytes]:
    return {name.encode(code, "replace") for code in ("utf-8", "cp437")}


def _insides(archive: zipfile.ZipFile, members: list[zipfile.ZipInfo]) -> Iterator[Finding]:
    for info in members:
        name = info.filename.casefold()
        if info.is_dir():
            continue
        with archive.open(info) as member:
            if name.endswith(".npy"):
                yield from npz_findings(member, _at(info), info.file_size)
            elif name.endswith(_PICKLES) or holds_pickle(member.read(HEAD)):
                yield Finding("pickle-inside", _at(info), "it is a pickle")
            elif name.endswith(".npz"):
                yield Finding("pickle-inside", _at(info), "an archive of arrays in an archive")


def _at(info: zipfile.ZipInfo) -> str:
    return f"member {short(info.orig_filename)!r}"

"""The names under which datasets are stored: one rule for every container.

An address comes from a model file and is not to be trusted with a path: "/" in it would make groups
and folders, ".." would leave the output folder, "CON" opens a device on Windows. A stored name is
flat, readable, and the same in an HDF5 file and in a folder. The manifest maps addresses to names.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable

_KEPT = frozenset("_-.@")
_DEVICES = frozenset(
    {"CON", "PRN", "AUX", "NUL"}
    | {port + digit for port in ("COM", "LPT") for digit in "0123456789"}
)
# What a folder of Zarr has besides its arrays; names with "__" in front are its own, too.
_FILES = frozenset({"zarr.json", "manifest.json"})
# 200 bytes leave room for ".npy" below the 255 of common file systems; ten of them are for "~2".
_LONGEST = 190
_DIGEST_DIGITS = 16


def stored_names(addresses: Iterable[str]) -> list[str]:
    """Return the names under which the datasets of these addresses are stored, in their order.

    Letters and digits of any script, "_", "-", "." and "@" stay; everything else is percent-encoded
    as UTF-8. So are a first or last ".", a first "-", the first of two "_" in front, and the first
    letter of a name that Windows takes for a device or Zarr for a file of its own. A name that
    would be longer than 190 bytes is cut and ends in "~" and a hash of its address. Of names that
    differ in letter case or Unicode form alone, which some disks take for one, all but the first
    get "~2", "~3" and so on.

    Args:
        addresses: Any strings, each different from the others.

    Returns:
        Names of at most 200 bytes in UTF-8, all different, also where case is ignored.

    Example:
        >>> stored_names(["vgg/block3_conv1", "Dense", "dense", "größe", ".."])
        ['vgg%2Fblock3_conv1', 'Dense', 'dense~2', 'größe', '%2E%2E']
    """
    taken: set[str] = set()
    names = []
    for address in addresses:
        base = name = _safe(address)
        twin = 1
        while folded(name) in taken:
            twin += 1
            name = f"{base}~{twin}"
        taken.add(folded(name))
        names.append(name)
    return names


def folded(name: str) -> str:
    """Return what two file names share if some disk takes them for the same file."""
    return unicodedata.normalize("NFKC", name).casefold()


def _safe(address: str) -> str:
    """Encode one address; "~" is left free for the marks of cut names and twins."""
    pieces = [c if c.isalnum() or c in _KEPT else percent(c) for c in address]
    if not pieces:
        return "~"
    stem = unicodedata.normalize("NFKC", address).partition(".")[0].upper()
    reserved = stem in _DEVICES or unicodedata.normalize("NFKC", address).casefold() in _FILES
    if address[0] in ".-" or address.startswith("__") or reserved:
        pieces[0] = percent(address[0])
    if address[-1] == ".":
        pieces[-1] = "%2E"
    name = "".join(pieces)
    if len(name.encode()) <= _LONGEST:
        return name
    digest = hashlib.sha256(address.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{_cut(pieces, _LONGEST - _DIGEST_DIGITS - 1)}~{digest[:_DIGEST_DIGITS]}"


def _cut(pieces: list[str], size: int) -> str:
    """Join as many whole pieces as fit into `size` bytes, so that no encoded character is split."""
    kept = []
    for piece in pieces:
        size -= len(piece.encode())
        if size < 0:
            break
        kept.append(piece)
    return "".join(kept)


def percent(character: str) -> str:
    """Return the percent-encoding of one character in UTF-8, lone surrogates included."""
    return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogatepass"))


def as_text(address: str) -> str:
    """Percent-encode what neither HDF5 strings nor strict JSON can hold: NULs, lone surrogates."""
    return "".join(percent(c) if c == "\0" or "\ud800" <= c <= "\udfff" else c for c in address)

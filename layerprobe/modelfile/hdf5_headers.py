"""How long the texts are that an HDF5 object has for attributes, seen without the HDF5 library.

A text of variable length is a number of bytes and a place in a heap. HDF5 1.14 makes room for that
number before it looks for the text: 16 bytes of a small file can take 4 GB of memory. The library
does not tell the number, so the headers of objects are read here.

Source: the HDF5 File Format Specification 3.0, IV.A, "Disk Format: Level 2A - Data Object Headers".
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

_CONTINUED, _ATTRIBUTE, _ATTRIBUTES_APART = 0x10, 0x0C, 0x15
_TEXTS = 9  # the class of datatypes of variable length
_SHARED_MESSAGE, _SHARED_TYPE = 2, 1
_NOWHERE = 2**64 - 1
_MOST_BLOCKS, _MOST_BYTES = 1000, 64 << 20
_REFERENCE = 16  # bytes: how many there are, and where


def longest_text(file: BinaryIO, at: int) -> int:
    """Return how many elements the longest attribute of variable length of an object has.

    Args:
        file: An HDF5 file that begins with its signature.
        at: Where the object's header is.

    Raises:
        ValueError: That cannot be seen: the header is damaged, or the attributes are elsewhere.

    Example:
        >>> import h5py, io
        >>> file = io.BytesIO()
        >>> with h5py.File(file, "w") as made:
        ...     made.attrs["text"] = "a text"
        ...     place = h5py.h5o.get_info(made.id).addr
        >>> longest_text(file, place)
        6
    """
    longest = 0
    try:
        for kind, flags, body in _messages(file, at):
            if kind == _ATTRIBUTES_APART:
                heap = struct.unpack_from("<Q", body, 4 if body[1] & 1 else 2)[0]
                if heap != _NOWHERE:
                    raise ValueError("its attributes are kept apart")
            elif kind == _ATTRIBUTE:
                if flags & _SHARED_MESSAGE:
                    raise ValueError("an attribute is kept apart")
                longest = max(longest, *_lengths(body))
    except (struct.error, IndexError, OverflowError) as error:
        raise ValueError("its header is damaged") from error
    return longest


def _lengths(body: bytes) -> Iterator[int]:
    """Yield 0, and the lengths of an attribute's values if they are of variable length."""
    yield 0
    version, flags, *sizes = struct.unpack_from("<BBHHH", body)
    padded = [-(-size // 8) * 8 for size in sizes] if version == 1 else sizes
    name, datatype, space = padded
    at = (9 if version == 3 else 8) + name
    if version > 1 and flags & _SHARED_TYPE:
        raise ValueError("the datatype of an attribute is kept apart")
    if body[at] & 15 == _TEXTS:
        for place in range(at + datatype + space, len(body) - _REFERENCE + 1, _REFERENCE):
            yield struct.unpack_from("<I", body, place)[0]


def _messages(file: BinaryIO, at: int) -> Iterator[tuple[int, int, bytes]]:
    """Yield kind, flags and content of every message of an object's header."""
    file.seek(at)
    head = file.read(32)
    newer = head.startswith(b"OHDR")
    if newer:
        flags = head[5]
        start = 6 + (16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0)
        width = 1 << (flags & 3)
        size = int.from_bytes(head[start : start + width], "little")
        blocks = [(at + start + width, size)]
        layout = struct.Struct("<BHBH" if flags & 4 else "<BHB")
    else:
        blocks, layout = [(at + 16, struct.unpack_from("<I", head, 8)[0])], struct.Struct("<HHB3x")
    for start, size in blocks:  # which grow meanwhile
        if len(blocks) > _MOST_BLOCKS or sum(size for _, size in blocks) > _MOST_BYTES:
            raise ValueError("its header has no end")
        file.seek(start)
        block, place = file.read(size), 0
        while place + layout.size <= len(block):
            kind, length, flags, *_ = layout.unpack_from(block, place)
            place += layout.size
            body = block[place : place + length]
            if kind == _CONTINUED:
                there, more = struct.unpack_from("<QQ", body)
                blocks.append((there + 4, more - 8) if newer else (there, more))
            else:
                yield kind, flags, body
            place += length

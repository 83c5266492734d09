"""Protocol buffers taken apart without their schema: fields by number.

Source: https://protobuf.dev/programming-guides/encoding/. Only what SavedModel folders need.
"""

from __future__ import annotations

from collections import defaultdict

Fields = dict[int, list["int | bytes"]]


def fields(data: bytes) -> Fields:
    r"""Return the fields of a message: whole numbers as int, all else as bytes.

    Raises:
        ValueError: The bytes are no message.

    Example:
        >>> fields(b"\x08\x96\x01\x12\x02hi")[1][0]
        150
    """
    found: Fields = defaultdict(list)
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, at = varint(data, at)
            found[number].append(value)
            continue
        if kind == 2:
            size, at = varint(data, at)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise ValueError(f"a field of wire type {kind}")
        if at + size > len(data):
            raise ValueError("a field reaches beyond the end")
        found[number].append(data[at : at + size])
        at += size
    return found


def varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the number of variable length at a place, and where it ends.

    Raises:
        ValueError: It does not end.
    """
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise ValueError("a number does not end")
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def messages(found: Fields, number: int) -> list[bytes]:
    """Return the values of a field that holds bytes."""
    return [value for value in found.get(number, ()) if isinstance(value, bytes)]


def text(found: Fields, number: int) -> str:
    """Return a field that holds text; empty if it is not there."""
    values = messages(found, number)
    return values[-1].decode("utf-8", "replace") if values else ""


def whole(found: Fields, number: int) -> int:
    """Return a field that holds a whole number; 0 if it is not there."""
    values = [value for value in found.get(number, ()) if isinstance(value, int)]
    return values[-1] if values else 0

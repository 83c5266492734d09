"""The checksum that Zarr keeps behind every chunk: CRC-32C, which Python's own library lacks.

A CRC is linear, so NumPy computes it as a tree: the sums of all words at once, then those of
pairs, pairs of pairs, and so on. The package google-crc32c does it many times as fast; it is used
where it is installed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

_POLYNOMIAL = 0x82F63B78
_ONES = 0xFFFFFFFF
_PIECE = 1 << 18
BYTES = 4


def crc32c(data: bytes | memoryview) -> bytes:
    """Return the four bytes that stand behind these bytes.

    Example:
        >>> crc32c(b"123456789").hex()
        '839206e3'
    """
    view = memoryview(data)
    first = len(view) % _PIECE  # the odd piece comes first, so that all others are of one length
    add = _compiled() or in_numpy
    total = add(0, bytes(view[:first]))
    for start in range(first, len(view), _PIECE):
        total = add(total, bytes(view[start : start + _PIECE]))
    return total.to_bytes(BYTES, "little")


def in_numpy(before: int, data: bytes) -> int:
    """Return the checksum of bytes behind others, computed by NumPy alone.

    Args:
        before: The checksum of those before; 0 if there are none.
        data: Any bytes, or if there are others before, as many as a power of two.
    """
    if len(data) < BYTES:
        register = _ONES
        for byte in data:
            register = _zero_bits(register ^ byte)
        return register ^ _ONES
    # Zeros in front change nothing; what the sum begins with is as good as in the first bytes.
    padded = np.zeros(-(-len(data) // 8) * 8, np.uint8)
    padded[-len(data) :] = np.frombuffer(data, np.uint8)
    begin = len(padded) - len(data)
    padded[begin : begin + BYTES] ^= 0xFF
    words = padded.view("<u2").reshape(-1, 4)
    tables = (*_behind(8), *_behind(4))
    sums = tables[0][words[:, 0]]
    for column in (1, 2, 3):
        sums ^= tables[column][words[:, column]]
    size = 8
    while len(sums) > 1:
        if len(sums) % 2:
            sums = np.concatenate([np.zeros(1, np.uint32), sums])
        sums = _apply(_behind(size), sums[0::2]) ^ sums[1::2]
        size *= 2
    moved = _apply(_behind(len(data)), np.array([before], np.uint32))[0] if before else 0
    return int(sums[0] ^ moved) ^ _ONES


def _zero_bits(register: int) -> int:
    """Return what eight zero bits make of a register."""
    for _ in range(8):
        register = (register >> 1) ^ (_POLYNOMIAL if register & 1 else 0)
    return register


@cache
def _behind(size: int) -> tuple[Array, Array]:
    """Return what so many zero bytes make of any register: of its lower half, of its upper half."""
    if size == 1:
        basis = np.array([_zero_bits(1 << bit) for bit in range(32)], np.uint32)
    else:
        half = _behind(size // 2)
        basis = _apply(half, _apply(half, np.uint32(1) << np.arange(32, dtype=np.uint32)))
    return _table(basis[:16]), _table(basis[16:])


def _table(basis: Array) -> Array:
    table = np.zeros(1, np.uint32)
    for value in basis:
        table = np.concatenate([table, table ^ value])
    return table


def _apply(tables: tuple[Array, Array], registers: Array) -> Array:
    found: Array = tables[0][registers & 0xFFFF] ^ tables[1][registers >> 16]
    return found


@cache
def _compiled() -> Callable[[int, bytes], int] | None:
    try:
        import google_crc32c
    except ImportError:
        return None
    found: Callable[[int, bytes], int] = google_crc32c.extend
    return found if google_crc32c.implementation == "c" else None

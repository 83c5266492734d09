"""The checksum that HDF5 keeps behind every chunk, so that chunks can be written without HDF5.

Fletcher-32 as the HDF5 library computes it: two sums of big-endian 16-bit words modulo 65535, never
0 unless all words are; an odd last byte counts as the upper half of a word.
"""

from __future__ import annotations

from typing import Any

import numpy as np

_WIDTH = 512  # words a line: sums of a line, and of a column of as many lines, fit into 32 bits
_LINES = 1 << 15


def fletcher32(data: bytes | memoryview) -> bytes:
    """Return the four bytes that stand behind a chunk of these bytes.

    Example:
        >>> fletcher32(b"abcde").hex()
        'c729f04f'
    """
    words = np.frombuffer(data, np.uint8)
    if len(words) % 2:
        words = np.append(words, np.uint8(0))
    first = second = 0
    for start in range(0, len(words), 2 * _WIDTH * _LINES):
        piece = words[start : start + 2 * _WIDTH * _LINES].view("<u2")
        ones, weighted = _sums(piece)
        second += len(piece) * first + weighted
        first += ones
    # Words were taken as little-endian: swapping the bytes of a word is times 256 modulo 65535.
    return (_folded(second * 256) << 16 | _folded(first * 256)).to_bytes(4, "little")


def _sums(words: np.ndarray[Any, Any]) -> tuple[int, int]:
    """Return the sum of words, and the sum with the last one taken once, the one before twice."""
    lines = len(words) // _WIDTH
    square, rest = words[: lines * _WIDTH].reshape(lines, _WIDTH), words[lines * _WIDTH :]
    columns = square.sum(0, dtype=np.uint32).astype(np.uint64)
    rows = square.sum(1, dtype=np.uint32).astype(np.uint64)
    weighted = int(columns @ np.arange(_WIDTH, 0, -1, dtype=np.uint64))
    weighted += _WIDTH * int(rows @ np.arange(lines - 1, -1, -1, dtype=np.int64).astype(np.uint64))
    ones, tail = int(rows.sum()), rest.astype(np.uint64)
    weighted += len(tail) * ones + int(tail @ np.arange(len(tail), 0, -1, dtype=np.uint64))
    return ones + int(tail.sum()), weighted


def _folded(total: int) -> int:
    return (total - 1) % 65535 + 1 if total else 0

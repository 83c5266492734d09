"""The checksum that HDF5 keeps behind every chunk, so that chunks can be written without HDF5.

Fletcher-32 as the HDF5 library computes it: two sums of big-endian 16-bit words modulo 65535, never
0 unless all words are; an odd last byte counts as the upper half of a word.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

_WIDTH = 2048  # pairs of words a line
_LINES = 64  # at once: what is made of them stays in the processor's cache
_MOST = 1 << 16  # lines: so many words have a sum of 32 bits
_WORD = np.uint32(16)  # bits


def fletcher32(data: bytes | memoryview) -> bytes:
    """Return the four bytes that stand behind a chunk of these bytes.

    Example:
        >>> fletcher32(b"abcde").hex()
        'c729f04f'
    """
    octets = np.frombuffer(data, np.uint8)
    if len(octets) % 2:
        octets = np.append(octets, np.uint8(0))
    first = second = at = 0
    while at < len(octets):
        lines = min(_MOST, (len(octets) - at) // (4 * _WIDTH))
        end = at + lines * 4 * _WIDTH if lines else len(octets)
        piece = octets[at:end]
        ones, weighted = _sums(piece.view("<u4").reshape(lines, -1)) if lines else _tail(piece)
        second += (end - at) // 2 * first + weighted
        first += ones
        at = end
    # Words were taken as little-endian: swapping the bytes of a word is times 256 modulo 65535.
    return (_folded(second * 256) << 16 | _folded(first * 256)).to_bytes(4, "little")


def _sums(pairs: Array) -> tuple[int, int]:
    """Return the sum of words, and that with the last one taken once, the one before twice.

    NumPy adds numbers of 32 bits several times as fast as it widens words, so pairs are added as
    they stand, and their second words once more. Sums of pairs overflow; but that of the first
    words fits, and is what is left when the second words, shifted, are taken away again.
    """
    count, width = pairs.shape
    columns, seconds = np.zeros((2, width), np.uint32)
    lines = np.empty(count, np.uint64)
    held = np.empty((min(_LINES, count), width), np.uint32)
    for at in range(0, count, _LINES):
        part = pairs[at : at + _LINES]
        second = np.right_shift(part, _WORD, out=held[: len(part)])
        columns += np.add.reduce(part, 0, dtype=np.uint32)
        seconds += np.add.reduce(second, 0, dtype=np.uint32)
        of_second = np.add.reduce(second, 1, dtype=np.uint32)
        of_first = np.add.reduce(part, 1, dtype=np.uint32) - (of_second << _WORD)
        np.add(of_first, of_second, out=lines[at : at + _LINES], dtype=np.uint64)
    of_columns = np.add(columns - (seconds << _WORD), seconds, dtype=np.uint64)
    ones = int(of_columns.sum())
    before = 2 * int(of_columns @ np.arange(width, dtype=np.uint64))
    before += 2 * width * int(lines @ np.arange(count, dtype=np.uint64))
    before += int(seconds.sum(dtype=np.uint64))
    return ones, 2 * count * width * ones - before


def _tail(octets: Array) -> tuple[int, int]:
    words = octets.view("<u2").astype(np.uint64)
    return int(words.sum()), int(words @ np.arange(len(words), 0, -1, dtype=np.uint64))


def _folded(total: int) -> int:
    return (total - 1) % 65535 + 1 if total else 0

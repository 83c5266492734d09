"""The checksum that HDF5 keeps behind every chunk, so that chunks can be written without HDF5.

Fletcher-32 as the HDF5 library computes it: two sums of big-endian 16-bit words modulo 65535, never
0 unless all words are; an odd last byte counts as the upper half of a word.

`_fletcher.c` computes it several times as fast as NumPy, which does where that was not compiled.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
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
    return _fastest(data)


def with_numpy(data: bytes | memoryview) -> bytes:
    """Return the same, without anything compiled for it."""
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
    pieces = [slice(at, at + _LINES) for at in range(0, count, _LINES)]
    # First of pairs, and then of second words.
    columns = np.empty((2, len(pieces), width), np.uint32)
    lines = np.empty((2, count), np.uint32)
    held = np.empty((min(_LINES, count), width), np.uint32)
    for number, piece in enumerate(pieces):
        part = pairs[piece]
        second = np.right_shift(part, _WORD, out=held[: len(part)])
        for kind, numbers in enumerate((part, second)):
            np.add.reduce(numbers, axis=0, dtype=np.uint32, out=columns[kind, number])
            np.add.reduce(numbers, axis=1, dtype=np.uint32, out=lines[kind, piece])
    pairs_down, seconds_down = np.add.reduce(columns, axis=1, dtype=np.uint32)
    of_columns, of_lines = _of_words(pairs_down, seconds_down), _of_words(*lines)
    ones = int(of_columns.sum())
    before = 2 * int(of_columns @ _numbers(width)) + 2 * width * int(of_lines @ _numbers(count))
    before += int(seconds_down.sum(dtype=np.uint64))
    return ones, 2 * count * width * ones - before


def _of_words(pairs: Array, seconds: Array) -> Array:
    """Return sums of words, from sums of pairs that overflowed and those of their second words."""
    words: Array = np.add(pairs - (seconds << _WORD), seconds, dtype=np.uint64)
    return words


@lru_cache(4)
def _numbers(count: int) -> Array:
    return np.arange(count, dtype=np.uint64)


def _tail(octets: Array) -> tuple[int, int]:
    words = octets.view("<u2").astype(np.uint64)
    return int(words.sum()), int(words @ np.arange(len(words), 0, -1, dtype=np.uint64))


def _folded(total: int) -> int:
    return (total - 1) % 65535 + 1 if total else 0


def _compiled() -> Callable[[bytes | memoryview], bytes] | None:
    try:
        from layerprobe.sinks._fletcher import fletcher32 as compiled
    except ImportError:  # there was no C compiler when the package was installed
        return None
    return compiled


_fastest = _compiled() or with_numpy

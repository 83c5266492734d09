"""The checksum that HDF5 keeps behind every chunk, so that chunks can be written without HDF5.

Fletcher-32 as the HDF5 library computes it: two sums of big-endian 16-bit words modulo 65535, never
0 unless all words are; an odd last byte counts as the upper half of a word.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

_WIDTH = 1024  # groups of four words a line
_LINES = 64  # at once: what is made of them stays in the processor's cache
_MOST = 1 << 16  # lines of which sums fit into 32 bits
_EVEN = np.uint64(0x0000FFFF0000FFFF)
_LOW, _HALF, _WORD = np.uint64(0xFFFFFFFF), np.uint64(32), np.uint64(16)


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
        lines = min(_MOST, (len(octets) - at) // (8 * _WIDTH))
        end = at + lines * 8 * _WIDTH if lines else len(octets)
        piece = octets[at:end]
        ones, weighted = _sums(piece.view("<u8").reshape(lines, -1)) if lines else _tail(piece)
        second += (end - at) // 2 * first + weighted
        first += ones
        at = end
    # Words were taken as little-endian: swapping the bytes of a word is times 256 modulo 65535.
    return (_folded(second * 256) << 16 | _folded(first * 256)).to_bytes(4, "little")


def _sums(groups: Array) -> tuple[int, int]:
    """Return the sum of words modulo 65535, and with the last taken once, the one before twice.

    NumPy adds numbers of 64 bits several times as fast as it widens words, so four words are added
    at once: the even ones apart, each then has 32 bits for its sum, and all but the first, shifted
    down. Modulo 65535 the words of a number may be added as they stand, since 65536 is 1 there.
    """
    count = len(groups)
    even, others = np.zeros((2, groups.shape[1]), np.uint64)
    of_lines = np.empty(count, np.uint64)
    held = np.empty((min(_LINES, count), groups.shape[1]), np.uint64)
    for at in range(0, count, _LINES):
        part = groups[at : at + _LINES]
        made = held[: len(part)]
        even += np.bitwise_and(part, _EVEN, out=made).sum(0)
        others += np.right_shift(part, _WORD, out=made).sum(0)
        high = made.sum(1)
        low = part.sum(1) - (high << _WORD)  # exact, although the first sum may have wrapped
        of_lines[at : at + _LINES] = low % 65535 + high % 65535
    words = [even & _LOW, even >> _HALF]
    odd = others - (words[1] << _WORD)
    words = [words[0], odd & _LOW, words[1], odd >> _HALF]
    totals = [int(word.sum()) for word in words]
    ones = sum(totals)
    before = 4 * int(sum(words) @ np.arange(groups.shape[1], dtype=np.uint64))
    before += 4 * groups.shape[1] * int(of_lines @ np.arange(count, dtype=np.uint64))
    before += sum(number * total for number, total in enumerate(totals))
    return ones, 4 * groups.size * ones - before


def _tail(octets: Array) -> tuple[int, int]:
    words = octets.view("<u2").astype(np.uint64)
    return int(words.sum()), int(words @ np.arange(len(words), 0, -1, dtype=np.uint64))


def _folded(total: int) -> int:
    return (total - 1) % 65535 + 1 if total else 0

"""Arrays and pickles: told from their first bytes, never unpickled."""

from __future__ import annotations

import io
import math
import pickletools
import tokenize
import warnings
from collections.abc import Iterator
from typing import IO

import numpy as np

from layerprobe.modelfile.audit.findings import Finding, short

NUMPY = b"\x93NUMPY"
HEAD = 64 << 10  # bytes that tell a pickle
# What NumPy raises on a header that is none; it takes those of Python 2 apart into tokens.
_DAMAGE = (
    *(ValueError, TypeError, SyntaxError, RecursionError, MemoryError, EOFError),
    *(tokenize.TokenError, OverflowError),
)
_MOST_EXPANSION, _SMALL = 200, 16 << 20
_MOST_HEADER = 64 << 10


def holds_pickle(head: bytes) -> bool:
    r"""Tell whether bytes begin a pickle, of any protocol.

    Protocols from 2 begin with their number. Older ones have no mark; they are those that the
    standard library's own checker follows to their end, and that import or call something.

    Args:
        head: The first `HEAD` bytes, or all there are.

    Example:
        >>> holds_pickle(b"\x80\x04\x95"), holds_pickle(b"cos\nsystem\n(S'ls'\ntR.")
        (True, True)
        >>> holds_pickle(b'{"class_name": "Model"}'), holds_pickle(b"cat\ndog\nbird\n")
        (False, False)
    """
    if head[:1] == b"\x80" and head[1:2] in {b"\x02", b"\x03", b"\x04", b"\x05"}:
        return True
    try:
        names = {opcode.name for opcode, _, _ in pickletools.genops(head)}
        if names & {"GLOBAL", "INST"}:
            pickletools.dis(head, io.StringIO())
            return True
    except (ValueError, IndexError, OverflowError, UnicodeError, TypeError):
        return False
    return False


def npz_findings(file: IO[bytes], where: str, size: int) -> Iterator[Finding]:
    """Judge an array by its header, which is read as a literal and never run.

    Args:
        file: The .npy data, at its beginning.
        where: What it is called in findings.
        size: How many bytes of it are there.
    """
    try:
        version, _ = np.lib.format.read_magic(file)
        old = np.lib.format.read_array_header_1_0
        read = old if version == 1 else np.lib.format.read_array_header_2_0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a header of Python 2 takes a little longer
            shape, _, dtype = read(file, _MOST_HEADER)
    except _DAMAGE as error:
        yield Finding("damaged", where, f"its header is not NumPy's: {short(error)}")
        return
    if dtype.hasobject:
        yield Finding("pickle-inside", where, "it holds Python objects, which are pickles")
        return
    declared, held = math.prod(shape) * dtype.itemsize, size - file.tell()
    if declared > held:
        rule = "zip-bomb" if declared > max(_SMALL, _MOST_EXPANSION * held) else "damaged"
        yield Finding(rule, where, f"it declares {declared:,} bytes, holds {held:,}")

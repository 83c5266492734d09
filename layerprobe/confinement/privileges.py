"""Privileges a process has and does not need, given up for good.

They are root's alone, whose processes many containers run: with some of them the rules that confine
a process could be got around, such as reading the memory of other processes.

Source: the manual pages capabilities(7), capget(2) and prctl(2).
"""

from __future__ import annotations

import ctypes
import os

_NO_NEW_PRIVILEGES, _VERSION_3 = 38, 0x20080522
# What root needs to use files of others, and drivers of GPUs to hold memory in its place:
# CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER; IPC_LOCK; SYS_NICE.
_KEPT = sum(1 << n for n in (0, 1, 2, 3, 14, 23))


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("process", ctypes.c_int))


class _Capabilities(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def forgo() -> None:
    """Keep only what using files and devices needs, and gain nothing by starting programs.

    Raises:
        OSError: The kernel refuses.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_NO_NEW_PRIVILEGES, *(ctypes.c_ulong(n) for n in (1, 0, 0, 0))):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    header, held = _Header(_VERSION_3, 0), (_Capabilities * 2)()
    failed = libc.capget(ctypes.byref(header), held)
    for word, kept in zip(held, (_KEPT, 0), strict=True):
        word.effective &= kept
        word.permitted &= kept
        word.inheritable &= kept
    if failed or libc.capset(ctypes.byref(header), held):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

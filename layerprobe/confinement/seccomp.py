"""A filter of system calls: no sockets to anywhere, no other programs.

It closes what Landlock leaves open: UDP, and local sockets, behind which other programs wait for
orders; and it holds on kernels that have no Landlock. The filter is a few instructions of the
kernel's packet filter, run at the start of each system call; it looks at numbers only.

Source: Documentation/userspace-api/seccomp_filter.rst; numbers from the kernel's tables of calls.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys
from typing import NamedTuple

_SET_FILTER = 1
# All threads; and no slower memory in exchange, which some kernels put on filtered processes.
_FLAGS = 1 | 4
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | errno.EACCES
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16  # places in what the filter sees
_LOCAL, _NETLINK = 1, 16  # families of sockets
_X32 = 0x40000000  # another set of numbers for the same calls on x86-64
_IO_URING = 425  # which would open sockets behind the filter's back


class _Numbers(NamedTuple):
    architecture: int
    seccomp: int
    socket: int
    programs: tuple[int, ...]  # execve, execveat
    others: tuple[int, ...]  # ptrace, process_vm_readv, process_vm_writev, add_key, request_key,
    # keyctl, bpf: into other processes, and out of the rules


_MACHINES = {
    "x86_64": _Numbers(0xC000003E, 317, 41, (59, 322), (101, 310, 311, 248, 249, 250, 321)),
    "aarch64": _Numbers(0xC00000B7, 277, 198, (221, 281), (117, 270, 271, 217, 218, 219, 280)),
}


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_char_p))


def known() -> bool:
    """Return whether there is a filter for this machine."""
    return sys.platform == "linux" and sys.maxsize > 1 << 32 and platform.machine() in _MACHINES


def restrict(*, local_sockets: bool, programs: bool) -> None:
    """Refuse sockets, other programs and the reach into other processes, from now on.

    `privileges.forgo` comes first; the kernel asks for it.

    Args:
        local_sockets: Whether sockets of this machine stay allowed; drivers of GPUs need them.
        programs: Whether other programs may still be started.

    Raises:
        OSError: The kernel refuses.
    """
    numbers = _MACHINES[platform.machine()]
    code = _filter(numbers, local_sockets=local_sockets, programs=programs)
    program = _Program(len(code) // 8, code)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    if libc.syscall(
        *(ctypes.c_long(n) for n in (numbers.seccomp, _SET_FILTER, _FLAGS)), ctypes.byref(program)
    ):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _filter(numbers: _Numbers, *, local_sockets: bool, programs: bool) -> bytes:
    refused = [*numbers.others, _IO_URING, *(() if programs else numbers.programs)]
    families = [_NETLINK, *([_LOCAL] if local_sockets else [])]
    # Each line jumps ahead by a number of lines if its comparison holds, or else by another.
    last = 5 + len(refused) + 1 + len(families)  # the line that refuses; the one after it allows
    lines: list[tuple[int, int, int, int]] = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 0, last - 2, numbers.architecture),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, last - 4, 0, _X32),
    ]
    lines += [(_EQUAL, last - len(lines) - 1 - i, 0, n) for i, n in enumerate(refused)]
    at = len(lines)
    lines += [(_EQUAL, 0, last - at, numbers.socket), (_LOAD, 0, 0, _FIRST_ARGUMENT)]
    at = len(lines)
    lines += [(_EQUAL, last - at - i, 0, family) for i, family in enumerate(families)]
    lines += [(_RETURN, 0, 0, _REFUSE), (_RETURN, 0, 0, _ALLOW)]
    return b"".join(struct.pack("=HBBI", *line) for line in lines)

"""The caller's memory, for ioctls whose argument has a pointer in it (copy_from_user, copy_to_user).

A program of ours lives in our own process, so its pointers are addresses here; but they may be wrong, and a wrong one
must come out as EFAULT. process_vm_readv(2) on ourselves checks them as Linux checks a program's.
"""

from __future__ import annotations

import ctypes
import errno
import os

from pysock.core.errors import err

_ADDRESS_MAX = (1 << 8 * ctypes.sizeof(ctypes.c_void_p)) - 1


class _Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("len", ctypes.c_size_t))


_libc = ctypes.CDLL(None, use_errno=True)
_VECTOR = (ctypes.c_int, ctypes.POINTER(_Iovec), ctypes.c_ulong, ctypes.POINTER(_Iovec), ctypes.c_ulong, ctypes.c_ulong)
for _call in (_libc.process_vm_readv, _libc.process_vm_writev):
    _call.argtypes = _VECTOR
    _call.restype = ctypes.c_ssize_t


def copy_from_user(address: int, size: int) -> bytes:
    """``size`` bytes at ``address``. EFAULT when they are not all readable."""
    buffer = ctypes.create_string_buffer(size)
    _move("process_vm_readv", buffer, address, size)
    return buffer.raw


def copy_to_user(address: int, data: bytes) -> None:
    """Store ``data`` at ``address``. EFAULT when it is not all writable; part of it may be there then."""
    _move("process_vm_writev", ctypes.create_string_buffer(data, max(len(data), 1)), address, len(data))


def _move(call: str, buffer: ctypes.Array[ctypes.c_char], address: int, size: int) -> None:
    if not size:
        return
    if not 0 < address <= _ADDRESS_MAX - size:
        raise err(errno.EFAULT)
    here = _Iovec(ctypes.addressof(buffer), size)
    there = _Iovec(address, size)
    moved = getattr(_libc, call)(os.getpid(), ctypes.byref(here), 1, ctypes.byref(there), 1, 0)
    if moved == size:
        return
    if moved < 0 and ctypes.get_errno() in (errno.EPERM, errno.ENOSYS):  # a sandbox forbids it: trust the caller
        source, target = (address, here.base) if call == "process_vm_readv" else (here.base, address)
        ctypes.memmove(target, source, size)
        return
    raise err(errno.EFAULT)


class UserMemory:
    """The structure that an ioctl's pointer points to, of a size that its contents tell."""

    __slots__ = ("address",)

    def __init__(self, address: int) -> None:
        self.address = address

    def read(self, size: int, offset: int = 0) -> bytes:
        """EFAULT as `copy_from_user`."""
        return copy_from_user(self.address + offset, size)

    def write(self, data: bytes, offset: int = 0) -> None:
        """EFAULT as `copy_to_user`."""
        copy_to_user(self.address + offset, data)

"""What stands in `sys.modules["_socket"]`: the class, the functions and the constants of the C module.

Constants, errors and pure conversions (inet_aton, htons, CMSG_LEN, getservbyname...) are the C module's own; so is
`CAPI`, without which `_ssl` cannot be imported. Everything that touches a socket or a name is ours.
"""

from __future__ import annotations

import errno
from operator import index

from pysock.core.errors import err
from pysock.shim import defaults, names
from pysock.shim.args import c_int
from pysock.shim.real import SOCKET as _C
from pysock.shim.real import dup as _real_dup
from pysock.shim.real import real_close
from pysock.shim.sockobj import socket
from pysock.shim.state import current, current_net
from pysock.syscalls.file import sys_close, sys_fcntl
from pysock.syscalls.socket import sys_socketpair
from pysock.uapi.fcntl import F_DUPFD_CLOEXEC
from pysock.uapi.socket import AF_UNIX, SOCK_CLOEXEC, SOCK_STREAM

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SocketType = socket

_ULONG_MAX = (1 << 64) - 1


def socketpair(family: int = AF_UNIX, type: int = SOCK_STREAM, proto: int = 0, /) -> tuple[socket, socket]:
    """Create a pair of connected sockets (AF_UNIX unless told otherwise)."""
    family, type, proto = c_int(family), c_int(type), c_int(proto)
    first, second = sys_socketpair(current(), family, type | SOCK_CLOEXEC, proto)
    return socket(family, type, proto, first), socket(family, type, proto, second)


def close(fd: int, /) -> None:
    """Close a socket by its file descriptor: os.close() under another name. ECONNRESET is no error here."""
    fd = c_int(fd)
    task = current()
    if fd not in task.fds:
        real_close(fd)
        return
    try:
        sys_close(task, fd)
    except ConnectionResetError:
        pass


def dup(fd: int, /) -> int:
    """A new, non-inheritable name of the socket behind ``fd``."""
    fd = c_int(fd)
    task = current()
    if fd not in task.fds:
        return _real_dup(fd)
    return sys_fcntl(task, fd, F_DUPFD_CLOEXEC, 0)


def if_nameindex() -> list[tuple[int, str]]:
    """``(index, name)`` of every network interface."""
    return [(dev.ifindex, dev.name) for dev in current_net().devices]


def if_nametoindex(oname: Any, /) -> int:
    """The index of the interface called ``oname``."""
    import os

    dev = current_net().dev_by_name.get(os.fsdecode(oname))
    if dev is None:
        raise OSError("no interface with this name")
    return dev.ifindex


def if_indextoname(if_index: int, /) -> str:
    """The name of the interface with the index ``if_index``."""
    try:
        number = index(if_index)
    except TypeError:
        raise TypeError("an integer is required") from None
    if number < 0:
        raise OverflowError("can't convert negative value to unsigned int")
    if number > _ULONG_MAX:
        raise OverflowError("Python int too large to convert to C unsigned long")
    dev = current_net().dev_by_index.get(number)
    if dev is None:
        raise err(errno.ENXIO)
    return dev.name


#: What ``from _socket import *`` brings: the C module's public names, whoever made them.
__all__ = [name for name in vars(_C) if not name.startswith("_")]

for _function in (socketpair, close, dup, if_nameindex, if_nametoindex, if_indextoname):
    _function.__module__ = "_socket"
for _module in (names, defaults):
    for _name in _module.__all__:
        getattr(_module, _name).__module__ = "_socket"
    globals().update((name, getattr(_module, name)) for name in _module.__all__)
globals().update((name, getattr(_C, name)) for name in __all__ if name not in globals())

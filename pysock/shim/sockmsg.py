"""sendmsg, recvmsg and recvmsg_into: control messages, and data in several buffers."""

from __future__ import annotations

from operator import index

from pysock.shim.address import parse
from pysock.shim.args import c_int
from pysock.shim.real import audit
from pysock.shim.rights import carries_rights, lend, take_back, unpack_rights
from pysock.shim.timed import retry
from pysock.syscalls.buffer import as_bytes, scatter
from pysock.syscalls.message import sys_recvmsg, sys_sendmsg
from pysock.uapi.poll import EPOLLIN, EPOLLOUT
from pysock.uapi.socket import UIO_MAXIOV

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from pysock.shim.sockobj import socket

_CONTROL_MAX = 0x7FFFFFFF


def sendmsg(sock: socket, buffers: Iterable[Any], ancdata: Iterable[Any], flags: int, address: Any) -> int:
    """`socket.sendmsg`."""
    try:
        parts = list(buffers)
    except TypeError:
        raise TypeError("sendmsg() argument 1 must be an iterable") from None
    if len(parts) > UIO_MAXIOV:
        raise OSError("sendmsg() argument 1 is too long")
    parts = [as_bytes(part) for part in parts]
    try:
        items = list(ancdata)
    except TypeError:
        raise TypeError("sendmsg() argument 2 must be an iterable") from None
    control = [_control_message(item) for item in items]
    flags = c_int(flags)
    task = sock._ps_task
    name = None if address is None else parse(task.net, sock._ps_family, address, "sendmsg")
    audit("socket.sendmsg", sock, address)
    lent: list[int] = []
    if carries_rights(control):
        control, lent = lend(task, control)
    try:
        return _call(sock, EPOLLOUT, sys_sendmsg, parts, control, flags, name)  # type: ignore[no-any-return]  # calls anything
    finally:
        take_back(task, lent)


def _control_message(item: Any) -> tuple[int, int, bytes]:
    what = "[sendmsg() ancillary data items]() argument must be"
    try:
        fields = tuple(item)
    except TypeError:
        raise TypeError(f"{what} 3-item sequence, not {type(item).__name__}") from None
    if len(fields) != 3:
        raise TypeError(f"{what} sequence of length 3, not {len(fields)}")
    return c_int(fields[0]), c_int(fields[1]), as_bytes(fields[2])


def recvmsg(sock: socket, bufsize: int, ancbufsize: int, flags: int) -> tuple[bytes, list[Any], int, Any]:
    """`socket.recvmsg`."""
    size = index(bufsize)
    if size < 0:
        raise ValueError("negative buffer size in recvmsg()")
    data, control, msg_flags, address = _receive(sock, size, ancbufsize, flags)
    return data[:size], control, msg_flags, address  # longer: MSG_TRUNC


def recvmsg_into(sock: socket, buffers: Iterable[Any], ancbufsize: int, flags: int) -> tuple[int, list[Any], int, Any]:
    """`socket.recvmsg_into`."""
    try:
        parts = list(buffers)
    except TypeError:
        raise TypeError("recvmsg_into() argument 1 must be an iterable") from None
    if len(parts) > UIO_MAXIOV:
        raise OSError("recvmsg_into() argument 1 is too long")
    views = [_writable_part(part) for part in parts]
    data, control, msg_flags, address = _receive(sock, sum(map(len, views)), ancbufsize, flags)
    scatter(data, views)
    return len(data), control, msg_flags, address


def _writable_part(part: Any) -> memoryview:
    try:
        view = memoryview(part)
    except TypeError:
        view = None
    if view is None or view.readonly:
        raise TypeError("recvmsg_into() argument 1 must be an iterable of single-segment read-write buffers")
    return view if view.format == "B" and view.ndim == 1 else view.cast("B")


def _receive(sock: socket, size: int, ancbufsize: int, flags: int) -> tuple[bytes, list[Any], int, Any]:
    room = index(ancbufsize)
    if not 0 <= room <= _CONTROL_MAX:
        raise ValueError("invalid ancillary data buffer length")
    data, control, msg_flags, address = _call(sock, EPOLLIN, sys_recvmsg, size, room, c_int(flags))
    if carries_rights(control):
        control = unpack_rights(sock._ps_task, control)
    return data, control, msg_flags, address


def _call(sock: socket, events: int, call: Callable[..., Any], *args: Any) -> Any:
    timeout = sock._ps_timeout
    if timeout <= 0:
        return call(sock._ps_task, sock._ps_fd, *args)
    return retry(sock._ps_task, sock._ps_fd, timeout, events, call, *args)

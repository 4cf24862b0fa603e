"""socketcall(2): all socket calls behind one number, as i386 had it."""

from __future__ import annotations

import errno

from pysock.core.errors import err
from pysock.syscalls import message, socket
from pysock.uapi import socket as so

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, Final

    from pysock.vfs.task import Task

#: Any: each call has arguments and a result of its own; they are those of the sys_ function.
_CALLS: Final[dict[int, Callable[..., Any]]] = {
    so.SYS_SOCKET: socket.sys_socket,
    so.SYS_BIND: socket.sys_bind,
    so.SYS_CONNECT: socket.sys_connect,
    so.SYS_LISTEN: socket.sys_listen,
    so.SYS_ACCEPT: socket.sys_accept,
    so.SYS_GETSOCKNAME: socket.sys_getsockname,
    so.SYS_GETPEERNAME: socket.sys_getpeername,
    so.SYS_SOCKETPAIR: socket.sys_socketpair,
    so.SYS_SEND: message.sys_sendto,
    so.SYS_RECV: message.sys_recv,
    so.SYS_SENDTO: message.sys_sendto,
    so.SYS_RECVFROM: message.sys_recvfrom,
    so.SYS_SHUTDOWN: socket.sys_shutdown,
    so.SYS_SETSOCKOPT: socket.sys_setsockopt,
    so.SYS_GETSOCKOPT: socket.sys_getsockopt,
    so.SYS_SENDMSG: message.sys_sendmsg,
    so.SYS_RECVMSG: message.sys_recvmsg,
    so.SYS_ACCEPT4: socket.sys_accept4,
    so.SYS_RECVMMSG: message.sys_recvmmsg,
    so.SYS_SENDMMSG: message.sys_sendmmsg,
}


def socketcall(task: Task, call: int, args: Sequence[Any]) -> Any:  # Any: see _CALLS
    """Do the socket call number ``call`` (SYS_*) with ``args``, fd first. EINVAL for an unknown number,
    TypeError for arguments that the call does not take.
    """
    function = _CALLS.get(call)
    if function is None:
        raise err(errno.EINVAL)
    return function(task, *args)

"""Sending and receiving: send(2), recv(2), sendmmsg(2), recvmmsg(2).

`sys_sendto`, `sys_recv` and `sys_recvfrom` are the hot path: they have no helpers.

Data is bytes: what is sent travels by reference (anything mutable is copied once), what is received is a
bytes object of at most ``size`` bytes. With MSG_TRUNC in ``flags`` a datagram comes whole, so that the caller
can tell its length.
"""

from __future__ import annotations

import errno

from pysock.core.clock import NEVER
from pysock.core.errors import err
from pysock.core.sock import MsgHdr
from pysock.syscalls.again import look_again
from pysock.syscalls.buffer import as_bytes, gather
from pysock.syscalls.scm import give_rights, put_files, take_rights
from pysock.uapi.fcntl import O_NONBLOCK
from pysock.uapi.socket import (
    MSG_BATCH,
    MSG_CMSG_CLOEXEC,
    MSG_DONTWAIT,
    MSG_INTERNAL_SENDMSG_FLAGS,
    MSG_WAITFORONE,
    UIO_MAXIOV,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Final, TypeAlias

    from _typeshed import ReadableBuffer

    from pysock.core.sock import Address, Socket
    from pysock.vfs.file import File
    from pysock.vfs.task import Task

    ControlMessage: TypeAlias = tuple[int, int, ReadableBuffer]
    Received: TypeAlias = tuple[bytes, list[tuple[int, int, bytes]], int, Address]

_PUBLIC: Final = ~MSG_INTERNAL_SENDMSG_FLAGS


def sys_sendto(task: Task, fd: int, data: ReadableBuffer, flags: int = 0, addr: Address = None) -> int:
    """sendto(2), and send(2) without an address: how many bytes were taken."""
    payload = data if type(data) is bytes else as_bytes(data)
    kernel = task.kernel
    kernel.enter()
    try:
        try:
            file = task.fds[fd]
        except KeyError:
            raise err(errno.EBADF) from None
        sock = file.socket
        if sock is None:
            raise err(errno.ENOTSOCK)
        if flags:
            flags &= _PUBLIC
        if file.f_flags & O_NONBLOCK:
            flags |= MSG_DONTWAIT
        msg = None if addr is None else MsgHdr(addr)
        try:
            return sock.ops.sendmsg(sock, payload, flags, msg)
        except BlockingIOError as exc:
            if exc.errno != errno.EAGAIN or not flags & MSG_DONTWAIT or not look_again(kernel):
                raise
        return sock.ops.sendmsg(sock, payload, flags, msg)
    finally:
        kernel.leave()


def sys_recv(task: Task, fd: int, size: int, flags: int = 0) -> bytes:
    """recv(2): at most ``size`` bytes, b"" at the end of a stream."""
    kernel = task.kernel
    acquire = kernel.acquire  # no look at the clock: whoever has to wait takes one
    acquire()
    try:
        try:
            file = task.fds[fd]
        except KeyError:
            raise err(errno.EBADF) from None
        sock = file.socket
        if sock is None:
            raise err(errno.ENOTSOCK)
        if file.f_flags & O_NONBLOCK:
            flags |= MSG_DONTWAIT
        try:
            return sock.ops.recvmsg(sock, size, flags)
        except BlockingIOError:
            if not flags & MSG_DONTWAIT or not look_again(kernel):
                raise
        return sock.ops.recvmsg(sock, size, flags)
    finally:
        kernel.leave()


def sys_recvfrom(task: Task, fd: int, size: int, flags: int = 0) -> tuple[bytes, Address]:
    """recvfrom(2): the bytes and the sender's address, None where there is none."""
    msg = MsgHdr()
    kernel = task.kernel
    kernel.acquire()
    try:
        try:
            file = task.fds[fd]
        except KeyError:
            raise err(errno.EBADF) from None
        sock = file.socket
        if sock is None:
            raise err(errno.ENOTSOCK)
        if file.f_flags & O_NONBLOCK:
            flags |= MSG_DONTWAIT
        try:
            return sock.ops.recvmsg(sock, size, flags, msg), msg.name
        except BlockingIOError:
            if not flags & MSG_DONTWAIT or not look_again(kernel):
                raise
        return sock.ops.recvmsg(sock, size, flags, msg), msg.name
    finally:
        kernel.leave()


def sys_sendmsg(
    task: Task,
    fd: int,
    buffers: Iterable[ReadableBuffer],
    control: Iterable[ControlMessage] = (),
    flags: int = 0,
    addr: Address = None,
) -> int:
    """sendmsg(2): the buffers as one message. ``control`` holds (level, type, data); fds in SCM_RIGHTS are
    the task's.

    Raises EMSGSIZE for more than 1024 buffers, EBADF for an fd to pass that is not open, EINVAL for more than
    253 of them.
    """
    payload = gather(buffers)
    msg = _header(control, addr)
    kernel = task.kernel
    kernel.enter()
    try:
        file, sock = _lookup(task, fd)
        return _send(task, file, sock, payload, flags & _PUBLIC, msg)
    finally:
        kernel.leave()


def sys_recvmsg(task: Task, fd: int, size: int, controllen: int = 0, flags: int = 0) -> Received:
    """recvmsg(2): ``(data, control, msg_flags, address)``. ``controllen`` is the room for control messages,
    in bytes as CMSG_SPACE counts them; what does not fit is lost and MSG_CTRUNC says so. Files that arrive
    become fds of the task.

    Raises EINVAL for a negative ``size`` or ``controllen``.
    """
    if size < 0 or controllen < 0:
        raise err(errno.EINVAL)
    kernel = task.kernel
    kernel.acquire()
    try:
        file, sock = _lookup(task, fd)
        return _receive_message(task, file, sock, size, controllen, flags)
    finally:
        kernel.leave()


def sys_sendmmsg(
    task: Task,
    fd: int,
    messages: Sequence[tuple[Iterable[ReadableBuffer], Iterable[ControlMessage], Address]],
    flags: int = 0,
) -> list[int]:
    """sendmmsg(2): each message is (buffers, control, address); returns how many bytes of each went out.

    An error ends it, and is raised only if no message went out before. At most 1024 messages are looked at.
    """
    prepared = [
        (gather(buffers), _header(control, addr)) for buffers, control, addr in messages[:UIO_MAXIOV]
    ]
    flags &= _PUBLIC
    sent: list[int] = []
    kernel = task.kernel
    kernel.enter()
    try:
        file, sock = _lookup(task, fd)
        for payload, msg in prepared:
            more = MSG_BATCH if len(sent) + 1 < len(prepared) else 0
            try:
                sent.append(_send(task, file, sock, payload, flags | more, msg))
            except OSError:
                if not sent:
                    raise
                break
    finally:
        kernel.leave()
    return sent


def sys_recvmmsg(
    task: Task, fd: int, sizes: Sequence[tuple[int, int]], flags: int = 0, timeout_ns: int | None = None
) -> list[Received]:
    """recvmmsg(2): one message for each (size, controllen), as recvmsg returns them.

    ``timeout_ns`` is looked at after each message only, as on Linux. With MSG_WAITFORONE only the first may
    be waited for. An error after the first message is kept for the next call on the socket.
    """
    received: list[Received] = []
    kernel = task.kernel
    now = kernel.enter()
    try:
        file, sock = _lookup(task, fd)
        deadline = NEVER if timeout_ns is None or timeout_ns < 0 else now + timeout_ns
        for size, controllen in sizes[:UIO_MAXIOV]:
            try:
                message = _receive_message(task, file, sock, size, controllen, flags & ~MSG_WAITFORONE)
            except OSError as exc:
                if not received:
                    raise
                if exc.errno != errno.EAGAIN and exc.errno is not None:
                    sock.sk.err = exc.errno
                break
            received.append(message)
            if flags & MSG_WAITFORONE:
                flags |= MSG_DONTWAIT
            if deadline != NEVER and kernel.tick() >= deadline:
                break
    finally:
        kernel.leave()
    return received


# What they share; the lock is held -----------------------------------------------------------------------


def _lookup(task: Task, fd: int) -> tuple[File, Socket]:
    file = task.fds.get(fd)
    if file is None:
        raise err(errno.EBADF)
    sock = file.socket
    if sock is None:
        raise err(errno.ENOTSOCK)
    return file, sock


def _header(control: Iterable[ControlMessage], addr: Address) -> MsgHdr | None:
    messages = [(level, kind, as_bytes(data)) for level, kind, data in control]
    if addr is None and not messages:
        return None
    msg = MsgHdr(addr)
    msg.control = messages
    return msg


def _send(task: Task, file: File, sock: Socket, payload: bytes, flags: int, msg: MsgHdr | None) -> int:
    if file.f_flags & O_NONBLOCK:
        flags |= MSG_DONTWAIT
    if msg is None or not msg.control:
        return _send_once_more(task, sock, payload, flags, msg)
    take_rights(task, msg)
    try:
        return _send_once_more(task, sock, payload, flags, msg)
    finally:
        put_files(msg)  # what the family did not take


def _send_once_more(task: Task, sock: Socket, payload: bytes, flags: int, msg: MsgHdr | None) -> int:
    try:
        return sock.ops.sendmsg(sock, payload, flags, msg)
    except BlockingIOError as exc:
        if exc.errno != errno.EAGAIN or not flags & MSG_DONTWAIT or not look_again(task.kernel):
            raise
    return sock.ops.sendmsg(sock, payload, flags, msg)


def _receive(file: File, sock: Socket, size: int, flags: int, msg: MsgHdr) -> bytes:
    if file.f_flags & O_NONBLOCK:
        flags |= MSG_DONTWAIT
    try:
        return sock.ops.recvmsg(sock, size, flags, msg)
    except BlockingIOError:
        if not flags & MSG_DONTWAIT or not look_again(sock.sk.kernel):
            raise
    return sock.ops.recvmsg(sock, size, flags, msg)


def _receive_message(
    task: Task, file: File, sock: Socket, size: int, controllen: int, flags: int
) -> Received:
    msg = MsgHdr(None, controllen)
    data = _receive(file, sock, size, flags, msg)
    if msg.control or msg.files:
        give_rights(task, msg, flags)
    return data, list(msg.control), msg.flags | flags & MSG_CMSG_CLOEXEC, msg.name

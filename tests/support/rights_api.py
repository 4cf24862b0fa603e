"""AF_UNIX with file descriptors, by system call: `Ours` over a task of pysock, `Real` over this machine's kernel."""

from __future__ import annotations

import array
import os
import socket
import struct
from typing import TYPE_CHECKING, NamedTuple

from pysock.syscalls.file import sys_close
from pysock.syscalls.message import sys_recv, sys_recvmsg, sys_sendmsg
from pysock.syscalls.socket import sys_bind, sys_getsockopt, sys_setsockopt, sys_socket, sys_socketpair
from pysock.uapi.socket import MSG_DONTWAIT, SCM_CREDENTIALS, SCM_PIDFD, SCM_RIGHTS, SOL_SOCKET
from pysock.vfs.task import Task

if TYPE_CHECKING:
    from collections.abc import Sequence


class Message(NamedTuple):
    """What recvmsg brought; ``kinds`` are the types of the control messages, in order."""

    data: bytes
    fds: list[int]
    creds: tuple[int, int, int] | None
    pidfd: int | None
    flags: int
    kinds: list[int]


def read_message(data: bytes, control: Sequence[tuple[int, int, bytes]], flags: int) -> Message:
    fds: list[int] = []
    creds = pidfd = None
    for _, kind, raw in control:
        if kind == SCM_RIGHTS:
            fds += struct.unpack(f"{len(raw) // 4}i", raw)
        elif kind == SCM_CREDENTIALS and len(raw) == 12:
            creds = struct.unpack("3i", raw)
        elif kind == SCM_PIDFD:
            (pidfd,) = struct.unpack("i", raw)
    return Message(data, fds, creds, pidfd, flags & ~socket.MSG_CMSG_CLOEXEC, [kind for _, kind, _ in control])


class Ours:
    def __init__(self, task: Task | None = None) -> None:
        self.task = task or Task.boot(clock="virtual", seed=1)

    def pair(self, type: int) -> tuple[int, int]:
        return sys_socketpair(self.task, socket.AF_UNIX, type | socket.SOCK_NONBLOCK)

    def socket(self, type: int) -> int:
        return sys_socket(self.task, socket.AF_UNIX, type | socket.SOCK_NONBLOCK)

    def bind(self, fd: int, name: bytes) -> None:
        sys_bind(self.task, fd, name)

    def send(self, fd: int, data: bytes, fds: Sequence[int], to: bytes | None = None) -> int:
        control = [(SOL_SOCKET, SCM_RIGHTS, struct.pack(f"{len(fds)}i", *fds))] if fds else []
        return sys_sendmsg(self.task, fd, [data], control, 0, to)

    def recv(self, fd: int, size: int) -> bytes:
        return sys_recv(self.task, fd, size, MSG_DONTWAIT)

    def recvmsg(self, fd: int, room: int, flags: int = 0) -> Message:
        data, control, msg_flags, _ = sys_recvmsg(self.task, fd, 99, room, flags)
        return read_message(data, control, msg_flags)

    def set(self, fd: int, optname: int, value: int) -> None:
        sys_setsockopt(self.task, fd, SOL_SOCKET, optname, value)

    def get(self, fd: int, optname: int, size: int) -> bytes:
        return sys_getsockopt(self.task, fd, SOL_SOCKET, optname, size)

    def is_open(self, fd: int) -> bool:
        return fd in self.task.fds

    def close(self, fd: int) -> None:
        sys_close(self.task, fd)

    def finish(self) -> None:
        self.task.exit()


class Real:
    def __init__(self) -> None:
        self.socks: dict[int, socket.socket] = {}
        self.received: list[int] = []

    def _keep(self, sock: socket.socket) -> int:
        sock.setblocking(False)
        self.socks[sock.fileno()] = sock
        return sock.fileno()

    def pair(self, type: int) -> tuple[int, int]:
        first, second = socket.socketpair(socket.AF_UNIX, type)
        return self._keep(first), self._keep(second)

    def socket(self, type: int) -> int:
        return self._keep(socket.socket(socket.AF_UNIX, type))

    def bind(self, fd: int, name: bytes) -> None:
        self.socks[fd].bind(name)

    def send(self, fd: int, data: bytes, fds: Sequence[int], to: bytes | None = None) -> int:
        control = [(SOL_SOCKET, SCM_RIGHTS, array.array("i", fds))] if fds else []
        return self.socks[fd].sendmsg([data], control, 0, *((to,) if to else ()))

    def recv(self, fd: int, size: int) -> bytes:
        return self.socks[fd].recv(size)

    def recvmsg(self, fd: int, room: int, flags: int = 0) -> Message:
        data, control, msg_flags, _ = self.socks[fd].recvmsg(99, room, flags)
        message = read_message(data, control, msg_flags)
        self.received += message.fds
        if message.pidfd is not None:
            self.received.append(message.pidfd)
        return message

    def set(self, fd: int, optname: int, value: int) -> None:
        self.socks[fd].setsockopt(SOL_SOCKET, optname, value)

    def get(self, fd: int, optname: int, size: int) -> bytes:
        return self.socks[fd].getsockopt(SOL_SOCKET, optname, size)

    def is_open(self, fd: int) -> bool:
        try:
            os.fstat(fd)
        except OSError:
            return False
        return True

    def close(self, fd: int) -> None:
        if fd in self.socks:
            self.socks.pop(fd).close()
        else:
            self.received.remove(fd)
            os.close(fd)

    def finish(self) -> None:
        for sock in self.socks.values():
            sock.close()
        for fd in self.received:
            os.close(fd)

"""Two ways to run one test: on pysock's AF_UNIX, called through its ops, and on the real kernel of this machine.

`Unix` and `RealUnix` have the same methods, and none of them blocks. A test that takes the fixture `api` runs on
both and says by that: Linux does so, and we do. One that takes `unix` concerns pysock alone.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
import threading
from fcntl import ioctl
from typing import TYPE_CHECKING

import pytest

from pysock.core.capability import Credentials
from pysock.core.clock import Clock, VirtualClock
from pysock.core.kernel import Kernel
from pysock.core.net import Net
from pysock.core.sock import MsgHdr, Socket
from pysock.core.sockopt import sock_getsockopt, sock_setsockopt
from pysock.core.wait import Sleeper
from pysock.families.unix.af_unix import UnixFamily
from pysock.families.unix.unix_net import UnixNet
from pysock.families.unix.unix_sock import UnixSock
from pysock.uapi.fcntl import O_NONBLOCK
from pysock.uapi.ioctl import SIOCINQ
from pysock.uapi.socket import MSG_DONTWAIT

if TYPE_CHECKING:
    from typing import TypeAlias

STREAM, DGRAM, SEQPACKET = socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET
POLL_BITS = select.POLLIN | select.POLLPRI | select.POLLOUT | select.POLLERR | select.POLLHUP | select.POLLRDHUP


class ObservedKernel(Kernel):
    """A kernel that says when a thread is about to sleep. The thread still holds the lock then, so whoever sees
    `sleeping` set and takes the lock finds it asleep.
    """

    __slots__ = ("sleeping",)

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock, seed=0)
        self.sleeping = threading.Event()

    def sleeper(self) -> Sleeper:
        self.sleeping.set()
        return super().sleeper()


class Unix:
    """AF_UNIX of one namespace, called as the syscall layer calls it. `flags` make everything non-blocking."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.kernel = ObservedKernel(clock or VirtualClock())
        self.net = Net(self.kernel, "test")
        self.net.set(UnixNet(self.net))
        self.creds = Credentials(os.getpid(), os.getuid(), os.getgid())
        self.family = UnixFamily()
        self.dontwait = MSG_DONTWAIT
        self.nonblock = O_NONBLOCK

    def call(self, sock: Socket, name: str, *args: object) -> object:
        """One system call: enter, do it, leave."""
        self.kernel.enter()
        try:
            return getattr(sock.ops, name)(sock, *args)
        finally:
            self.kernel.leave()

    def sk(self, sock: Socket) -> UnixSock:
        assert isinstance(sock.sk, UnixSock)
        return sock.sk

    # -- what RealUnix has, too --------------------------------------------------------------------------

    def socket(self, type: int) -> Socket:
        sock = Socket(type)
        self.family.create(self.net, self.creds, sock, 0)
        return sock

    def pair(self, type: int) -> tuple[Socket, Socket]:
        first, second = self.socket(type), self.socket(type)
        first.ops.socketpair(first, second)
        return first, second

    def bind(self, sock: Socket, addr: str | bytes) -> None:
        self.call(sock, "bind", addr)

    def listen(self, sock: Socket, backlog: int) -> None:
        self.call(sock, "listen", backlog)

    def connect(self, sock: Socket, addr: str | bytes) -> None:
        self.call(sock, "connect", addr, self.nonblock)

    def accept(self, sock: Socket) -> Socket:
        new = Socket(sock.type)
        self.call(sock, "accept", new, self.nonblock)
        return new

    def send(self, sock: Socket, data: bytes, flags: int = 0) -> int:
        return self.call(sock, "sendmsg", data, flags | self.dontwait, None)

    def sendto(self, sock: Socket, data: bytes, addr: str | bytes) -> int:
        return self.call(sock, "sendmsg", data, self.dontwait, MsgHdr(addr))

    def recv(self, sock: Socket, size: int, flags: int = 0) -> bytes:
        return self.call(sock, "recvmsg", size, flags | self.dontwait, None)

    def recvfrom(self, sock: Socket, size: int) -> tuple[bytes, str | bytes | None]:
        msg = MsgHdr()
        return self.call(sock, "recvmsg", size, self.dontwait, msg), msg.name

    def recvmsg(self, sock: Socket, size: int, flags: int = 0) -> tuple[bytes, int]:
        """The data and the flags that came back."""
        msg = MsgHdr()
        return self.call(sock, "recvmsg", size, flags | self.dontwait, msg), msg.flags

    def shutdown(self, sock: Socket, how: int) -> None:
        self.call(sock, "shutdown", how)

    def close(self, sock: Socket) -> None:
        self.call(sock, "release")

    def getsockname(self, sock: Socket) -> str | bytes:
        return self.call(sock, "getname", False)

    def getpeername(self, sock: Socket) -> str | bytes:
        return self.call(sock, "getname", True)

    def poll(self, sock: Socket) -> int:
        return self.call(sock, "poll", None) & POLL_BITS

    def inq(self, sock: Socket) -> int:
        return self.call(sock, "ioctl", SIOCINQ, 0)

    def ioctl(self, sock: Socket, cmd: int) -> int:
        return self.call(sock, "ioctl", cmd, 0)

    def set(self, sock: Socket, optname: int, value: int) -> None:
        """An int option at SOL_SOCKET."""
        sock_setsockopt(sock, self.creds, optname, struct.pack("=i", value))

    def get(self, sock: Socket, optname: int) -> int:
        return struct.unpack("=i", sock_getsockopt(sock, optname, 4))[0]

    def error(self, sock: Socket) -> int:
        """SO_ERROR."""
        return sock.sk.take_error()

    def peercred(self, sock: Socket) -> tuple[int, int, int]:
        return struct.unpack("3i", self.sk(sock).peercred)


class RealUnix:
    """The same on the kernel of this machine."""

    def __init__(self) -> None:
        self.open: list[socket.socket] = []

    def _keep(self, sock: socket.socket) -> socket.socket:
        sock.setblocking(False)
        self.open.append(sock)
        return sock

    def close_all(self) -> None:
        for sock in self.open:
            sock.close()

    def socket(self, type: int) -> socket.socket:
        return self._keep(socket.socket(socket.AF_UNIX, type))

    def pair(self, type: int) -> tuple[socket.socket, socket.socket]:
        first, second = socket.socketpair(socket.AF_UNIX, type)
        return self._keep(first), self._keep(second)

    def bind(self, sock: socket.socket, addr: str | bytes) -> None:
        sock.bind(addr)

    def listen(self, sock: socket.socket, backlog: int) -> None:
        sock.listen(backlog)

    def connect(self, sock: socket.socket, addr: str | bytes) -> None:
        sock.connect(addr)

    def accept(self, sock: socket.socket) -> socket.socket:
        return self._keep(sock.accept()[0])

    def send(self, sock: socket.socket, data: bytes, flags: int = 0) -> int:
        return sock.send(data, flags)

    def sendto(self, sock: socket.socket, data: bytes, addr: str | bytes) -> int:
        return sock.sendto(data, addr)

    def recv(self, sock: socket.socket, size: int, flags: int = 0) -> bytes:
        return sock.recv(size, flags)

    def recvfrom(self, sock: socket.socket, size: int) -> tuple[bytes, str | bytes | None]:
        return sock.recvfrom(size)

    def recvmsg(self, sock: socket.socket, size: int, flags: int = 0) -> tuple[bytes, int]:
        data, _, msg_flags, _ = sock.recvmsg(size, 0, flags)
        return data, msg_flags

    def shutdown(self, sock: socket.socket, how: int) -> None:
        sock.shutdown(how)

    def close(self, sock: socket.socket) -> None:
        sock.close()

    def getsockname(self, sock: socket.socket) -> str | bytes:
        return sock.getsockname()

    def getpeername(self, sock: socket.socket) -> str | bytes:
        return sock.getpeername()

    def poll(self, sock: socket.socket) -> int:
        poller = select.poll()
        poller.register(sock, POLL_BITS)
        return dict(poller.poll(0)).get(sock.fileno(), 0) & POLL_BITS

    def inq(self, sock: socket.socket) -> int:
        return int.from_bytes(ioctl(sock.fileno(), SIOCINQ, bytes(4)), "little")

    def ioctl(self, sock: socket.socket, cmd: int) -> int:
        return int.from_bytes(ioctl(sock.fileno(), cmd, bytes(4)), "little")

    def set(self, sock: socket.socket, optname: int, value: int) -> None:
        sock.setsockopt(socket.SOL_SOCKET, optname, value)

    def get(self, sock: socket.socket, optname: int) -> int:
        return sock.getsockopt(socket.SOL_SOCKET, optname)

    def error(self, sock: socket.socket) -> int:
        return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)

    def peercred(self, sock: socket.socket) -> tuple[int, int, int]:
        return struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))


Api: TypeAlias = Unix | RealUnix


class raises:
    """``with raises(errno.EPIPE): ...`` - exactly that OSError."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type | None, exc: BaseException | None, trace: object) -> bool:
        wanted = errno.errorcode[self.number]
        if exc is None:
            pytest.fail(f"no error; {wanted} expected")
        if isinstance(exc, OSError) and exc.errno is not None:
            assert errno.errorcode[exc.errno] == wanted
            return True
        return False

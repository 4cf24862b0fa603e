"""Two ways to run one test of datagram sockets: on pysock, through its system calls, and on the kernel of this machine.

`Ours` and `Linux` have the same methods, and none of them blocks. A test that takes the fixture `api` runs on both and
says by that: Linux does so, and we do. One that takes `ours` or `host` concerns pysock alone.

`Host` is a pysock host with a second device, "w0" (10.0.0.1/24), whose frames are recorded and into which a test
injects packets.
"""

from __future__ import annotations

import fcntl
import select
import socket
import struct
from collections.abc import Callable

import pytest

from pysock.core.capability import Credentials
from pysock.core.dev import netif_rx
from pysock.core.device import dev_open, register_netdev
from pysock.core.kernel import Kernel
from pysock.core.netdev_features import NETIF_F_HW_CSUM, NETIF_F_SG
from pysock.core.skbuff import SkBuff
from pysock.families.inet.devinet import add_address
from pysock.families.inet.net import InetNet
from pysock.families.inet.udp import UdpSock
from pysock.syscalls.file import sys_close, sys_ioctl
from pysock.syscalls.message import sys_recvfrom, sys_recvmsg, sys_sendmsg, sys_sendto
from pysock.syscalls.poll import sys_poll
from pysock.syscalls.socket import (
    sys_bind,
    sys_connect,
    sys_getpeername,
    sys_getsockname,
    sys_getsockopt,
    sys_setsockopt,
    sys_shutdown,
    sys_socket,
)
from pysock.uapi.if_ import IFF_NOARP
from pysock.uapi.if_ether import ETH_P_IP
from pysock.uapi.ioctl import SIOCINQ
from pysock.uapi.socket import AF_INET, MSG_DONTWAIT, SO_ERROR, SOCK_DGRAM, SOCK_RAW, SOL_SOCKET
from pysock.vfs.task import Task
from support.devices import WireOps, make, ops_of

Addr = tuple[str, int]
Control = list[tuple[int, int, bytes]]
POLL_BITS = select.POLLIN | select.POLLOUT | select.POLLERR | select.POLLHUP | select.POLLRDHUP
LO = "127.0.0.1"


def fails(number: int, function: Callable[..., object], *args: object) -> None:
    """Assert that the call raises OSError with just this errno."""
    with pytest.raises(OSError) as caught:
        function(*args)
    assert caught.value.errno == number


class Ours:
    """Sockets of one pysock task; sockets are fds."""

    def __init__(self, creds: Credentials | None = None, kernel: Kernel | None = None) -> None:
        self.log: list[str] = []
        if kernel is None:
            kernel = Kernel.boot(clock="virtual", seed=1, entry_points=False, strict=True, log=self.log.append)
        self.kernel = kernel
        kernel.init_net.sysctl.set("net.ipv6.conf.default.disable_ipv6", 1)  # devices to come speak IPv4 alone
        self.task = Task.for_kernel(kernel, creds=creds)
        self.inet = kernel.init_net.get(InetNet)

    def socket(self, type: int = SOCK_DGRAM, protocol: int = 0) -> int:
        return sys_socket(self.task, AF_INET, type, protocol)

    def bound(self, host: str = LO, port: int = 0) -> int:
        fd = self.socket()
        self.bind(fd, (host, port))
        return fd

    def bind(self, fd: int, addr: Addr) -> None:
        sys_bind(self.task, fd, addr)

    def connect(self, fd: int, addr: Addr) -> None:
        sys_connect(self.task, fd, addr)

    def sendto(self, fd: int, data: bytes, addr: Addr | None = None, flags: int = 0) -> int:
        return sys_sendto(self.task, fd, data, flags | MSG_DONTWAIT, addr)

    def sendmsg(self, fd: int, data: bytes, control: Control, addr: Addr | None = None) -> int:
        return sys_sendmsg(self.task, fd, [data], control, MSG_DONTWAIT, addr)

    def recvfrom(self, fd: int, size: int = 65536, flags: int = 0) -> tuple[bytes, Addr]:
        data, addr = sys_recvfrom(self.task, fd, size, flags | MSG_DONTWAIT)
        return data, addr

    def recvmsg(self, fd: int, size: int = 65536, room: int = 1024, flags: int = 0) -> tuple[bytes, Control, int, Addr]:
        return sys_recvmsg(self.task, fd, size, room, flags | MSG_DONTWAIT)

    def name(self, fd: int) -> Addr:
        return sys_getsockname(self.task, fd)  # type: ignore[no-any-return]

    def peer(self, fd: int) -> Addr:
        return sys_getpeername(self.task, fd)  # type: ignore[no-any-return]

    def setopt(self, fd: int, level: int, name: int, value: int | bytes) -> None:
        sys_setsockopt(self.task, fd, level, name, value)

    def getopt(self, fd: int, level: int, name: int, size: int = 4) -> bytes:
        return sys_getsockopt(self.task, fd, level, name, size)

    def getint(self, fd: int, level: int, name: int) -> int:
        return int.from_bytes(self.getopt(fd, level, name), "little", signed=True)

    def error(self, fd: int) -> int:
        return self.getint(fd, SOL_SOCKET, SO_ERROR)

    def shutdown(self, fd: int, how: int) -> None:
        sys_shutdown(self.task, fd, how)

    def poll(self, fd: int) -> int:
        for _, events in sys_poll(self.task, [(fd, POLL_BITS)], 0):
            return events & POLL_BITS
        return 0

    def ioctl(self, fd: int, command: int) -> int:
        answer = sys_ioctl(self.task, fd, command, bytes(4))
        assert isinstance(answer, bytes)
        return int.from_bytes(answer, "little")

    def pending(self, fd: int) -> int:
        return self.ioctl(fd, SIOCINQ)

    def close(self, fd: int) -> None:
        sys_close(self.task, fd)

    # -- pysock alone ------------------------------------------------------------------------------------

    def sk(self, fd: int) -> UdpSock:
        file = self.task.fds[fd]
        assert file.socket is not None
        return file.socket.sk  # type: ignore[return-value]

    def counted(self) -> dict[str, int]:
        """The counters that are not zero, by nstat's names."""
        return {name: value for name, value in self.inet.mibs.snapshot().items() if value}

    def softirqs(self) -> None:
        self.kernel.enter()
        self.kernel.leave()


class Host(Ours):
    """With the device "w0", 10.0.0.1/24, that needs no ARP; ``checksums`` says whether it computes them itself."""

    def __init__(self, checksums: bool = False, mtu: int = 1500) -> None:
        super().__init__()
        features = NETIF_F_SG | (NETIF_F_HW_CSUM if checksums else 0)

        def setup(dev: object) -> None:
            dev.flags |= IFF_NOARP  # type: ignore[attr-defined]
            dev.mtu = mtu  # type: ignore[attr-defined]

        self.dev = make(self.kernel, "w0", features=features, setup=setup)
        register_netdev(self.dev)
        self.kernel.enter()
        dev_open(self.dev)
        add_address(self.inet, self.dev, bytes((10, 0, 0, 1)), 24)
        self.kernel.leave()

    @property
    def wire(self) -> WireOps:
        return ops_of(self.dev)

    def sent(self) -> list[bytes]:
        """The IP datagrams that left since the last look."""
        frames = [frame[14:] for frame in self.wire.sent]
        self.wire.sent.clear()
        return frames

    def inject(self, datagram: bytes | bytearray, dev: object = None, ip_summed: int = 0) -> None:
        """Let ``datagram`` arrive at w0 (or another device), as a driver hands it in."""
        skb = SkBuff(datagram, 0, len(datagram))
        skb.dev = self.dev if dev is None else dev  # type: ignore[assignment]
        skb.protocol = ETH_P_IP
        skb.ip_summed = ip_summed
        self.kernel.enter()
        netif_rx(skb)
        self.kernel.leave()


class Linux:
    """The same on real sockets."""

    def __init__(self) -> None:
        self.opened: list[socket.socket] = []

    def socket(self, type: int = SOCK_DGRAM, protocol: int = 0) -> socket.socket:
        try:
            sock = socket.socket(socket.AF_INET, type, protocol)
        except PermissionError:
            if type == SOCK_RAW or protocol:
                pytest.skip("this machine's kernel does not let us have such a socket")
            raise
        sock.setblocking(False)
        self.opened.append(sock)
        return sock

    def bound(self, host: str = LO, port: int = 0) -> socket.socket:
        sock = self.socket()
        sock.bind((host, port))
        return sock

    def bind(self, sock: socket.socket, addr: Addr) -> None:
        sock.bind(addr)

    def connect(self, sock: socket.socket, addr: Addr) -> None:
        sock.connect(addr)

    def sendto(self, sock: socket.socket, data: bytes, addr: Addr | None = None, flags: int = 0) -> int:
        return sock.send(data, flags) if addr is None else sock.sendto(data, flags, addr)

    def sendmsg(self, sock: socket.socket, data: bytes, control: Control, addr: Addr | None = None) -> int:
        return sock.sendmsg([data], control, 0, addr)  # type: ignore[arg-type]

    def recvfrom(self, sock: socket.socket, size: int = 65536, flags: int = 0) -> tuple[bytes, Addr]:
        return sock.recvfrom(size, flags)

    def recvmsg(
        self, sock: socket.socket, size: int = 65536, room: int = 1024, flags: int = 0
    ) -> tuple[bytes, Control, int, Addr]:
        return sock.recvmsg(size, room, flags)

    def name(self, sock: socket.socket) -> Addr:
        return sock.getsockname()  # type: ignore[no-any-return]

    def peer(self, sock: socket.socket) -> Addr:
        return sock.getpeername()  # type: ignore[no-any-return]

    def setopt(self, sock: socket.socket, level: int, name: int, value: int | bytes) -> None:
        sock.setsockopt(level, name, value)

    def getopt(self, sock: socket.socket, level: int, name: int, size: int = 4) -> bytes:
        return sock.getsockopt(level, name, size)

    def getint(self, sock: socket.socket, level: int, name: int) -> int:
        return sock.getsockopt(level, name)

    def error(self, sock: socket.socket) -> int:
        return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)

    def shutdown(self, sock: socket.socket, how: int) -> None:
        sock.shutdown(how)

    def poll(self, sock: socket.socket) -> int:
        poll = select.poll()
        poll.register(sock, POLL_BITS)
        for _, events in poll.poll(0):
            return events & POLL_BITS
        return 0

    def ioctl(self, sock: socket.socket, command: int) -> int:
        return int(struct.unpack("i", fcntl.ioctl(sock, command, bytes(4)))[0])

    def pending(self, sock: socket.socket) -> int:
        return self.ioctl(sock, SIOCINQ)

    def close(self, sock: socket.socket) -> None:
        sock.close()

    def close_all(self) -> None:
        for sock in self.opened:
            sock.close()


Api = Ours | Linux

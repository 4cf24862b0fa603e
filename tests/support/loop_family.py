"""A family without a protocol, for tests of what is above families: names are strings, data goes straight across.

Datagram sockets can hold their data back: `LoopFamily.delay` ns on a timer, then one softirq, as a packet would.
Stream sockets hold at most `STREAM_ROOM` bytes that nobody has read.
"""

from __future__ import annotations

import errno
from collections import deque
from typing import Any

from pysock.core.clock import NEVER
from pysock.core.errors import err
from pysock.core.kernel import BUILTIN_PLUGINS, Kernel
from pysock.core.sock import (
    RCV_SHUTDOWN,
    SEND_SHUTDOWN,
    SHUTDOWN_MASK,
    SS_CONNECTED,
    MsgHdr,
    NetProtoFamily,
    Proto,
    ProtoOps,
    Sock,
    Socket,
)
from pysock.core.timer import Timer
from pysock.uapi.fcntl import O_NONBLOCK
from pysock.uapi.poll import EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP, EPOLLRDNORM, EPOLLWRNORM
from pysock.uapi.socket import MSG_EOR, SOCK_DGRAM, SOCK_SEQPACKET, SOCK_STREAM
from pysock.vfs.fdnum import FdNumbers
from pysock.vfs.task import Task

AF_LOOP = 9
FAMILIES = [name for name in BUILTIN_PLUGINS if name.startswith("pysock.families.")]
STREAM_ROOM = 4096
CLOSED, ESTABLISHED, LISTEN = 7, 1, 10


class LoopProto(Proto):
    """Records what SO_KEEPALIVE says."""

    name = "loop"

    def __init__(self) -> None:
        self.keepalive: list[bool] = []

    def set_keepalive(self, sk: Any, on: bool) -> None:
        self.keepalive.append(on)


class LoopSock(Sock):
    def __init__(self, net: Any, type: int, creds: Any, loop: LoopFamily) -> None:
        super().__init__(net, AF_LOOP, type, 0, loop.proto, creds)
        self.loop = loop
        self.name = ""
        self.peer: LoopSock | None = None
        self.inbox: deque[tuple[bytes, str, list[Any]]] = deque()
        self.pending: deque[LoopSock] = deque()
        self.sent_flags: list[int] = []

    def room(self) -> int:
        return STREAM_ROOM - sum(len(data) for data, _, _ in self.inbox)


class LoopOps(ProtoOps):
    family = AF_LOOP

    def release(self, sock: Socket) -> None:
        sk = sock.sk
        sk.loop.released.append(sk)
        sk.loop.names.pop(sk.name, None)
        sk.shutdown = SHUTDOWN_MASK
        sk.state_change()
        if sk.peer is not None:
            sk.peer.shutdown |= RCV_SHUTDOWN
            sk.peer.state_change()

    def bind(self, sock: Socket, addr: Any) -> None:
        if not isinstance(addr, str):
            raise TypeError("a name is a str")
        if addr in sock.sk.loop.names:
            raise err(errno.EADDRINUSE)
        sock.sk.name = addr
        sock.sk.loop.names[addr] = sock.sk

    def getname(self, sock: Socket, peer: bool) -> Any:
        if not peer:
            return sock.sk.name
        if sock.sk.peer is None:
            raise err(errno.ENOTCONN)
        return sock.sk.peer.name

    def setsockopt(self, sock: Socket, level: int, optname: int, value: bytes) -> None:
        sock.sk.loop.options[level, optname] = value

    def getsockopt(self, sock: Socket, level: int, optname: int, optlen: int) -> bytes:
        return sock.sk.loop.options[level, optname][:optlen]

    def ioctl(self, sock: Socket, cmd: int, arg: bytes | int) -> bytes | int:
        if cmd != 1234:
            raise err(errno.ENOTTY)
        return arg

    def poll(self, sock: Socket, table: Any) -> int:
        sk = sock.sk
        sk.loop.polls += 1
        if table is not None:
            table.wait(sk.sleep_queue())
        mask = EPOLLERR if sk.err else 0
        if sk.inbox or sk.pending or sk.shutdown & RCV_SHUTDOWN:
            mask |= EPOLLIN | EPOLLRDNORM
        if sk.shutdown & RCV_SHUTDOWN:
            mask |= EPOLLRDHUP
        if sk.shutdown == SHUTDOWN_MASK:
            mask |= EPOLLHUP
        if sk.type == SOCK_DGRAM or (sk.peer is not None and sk.peer.room() > 0):
            mask |= EPOLLOUT | EPOLLWRNORM
        return mask

    def wait_readable(self, sk: LoopSock, flags: int) -> bool:
        deadline = sk.rcv_deadline(flags)
        while not sk.inbox:
            if sk.shutdown & RCV_SHUTDOWN:
                return False
            sk.raise_error()
            if not deadline or (not sk.wait(deadline, exclusive=True) and not sk.inbox):
                raise err(errno.EAGAIN)
        return True

    def shutdown(self, sock: Socket, how: int) -> None:
        sk = sock.sk
        if sk.peer is None:
            raise err(errno.ENOTCONN)
        sk.shutdown |= how + 1
        sk.state_change()
        if (how + 1) & SEND_SHUTDOWN:
            sk.peer.shutdown |= RCV_SHUTDOWN
            sk.peer.state_change()


class LoopDgramOps(LoopOps):
    def connect(self, sock: Socket, addr: Any, flags: int) -> None:
        sock.sk.peer = self._find(sock.sk, addr)

    def _find(self, sk: LoopSock, addr: Any) -> LoopSock:
        if addr not in sk.loop.names:
            raise err(errno.ECONNREFUSED)
        return sk.loop.names[addr]

    def sendmsg(self, sock: Socket, data: bytes, flags: int, msg: MsgHdr | None = None) -> int:
        sk = sock.sk
        sk.sent_flags.append(flags)
        target = sk.peer if msg is None or msg.name is None else self._find(sk, msg.name)
        if target is None:
            raise err(errno.EDESTADDRREQ)
        files: list[Any] = []
        if msg is not None:
            files, msg.files = msg.files, []
        packet = (data, sk.name, files)
        if not sk.loop.delay:
            deliver(target, packet)
        else:
            softnet = sk.kernel.softnet

            def arrive() -> None:
                softnet.tx_action(lambda: deliver(target, packet))

            sk.kernel.timers.mod_timer(Timer(arrive), sk.kernel.now + sk.loop.delay)
        return len(data)

    def recvmsg(self, sock: Socket, size: int, flags: int, msg: MsgHdr | None = None) -> bytes:
        sk = sock.sk
        if not self.wait_readable(sk, flags):
            return b""
        data, source, files = sk.inbox.popleft()
        if msg is not None:
            msg.name = source
            msg.files = (*msg.files, *files)
        return data if len(data) <= size else data[:size]


def deliver(target: LoopSock, packet: tuple[bytes, str, list[Any]]) -> None:
    target.inbox.append(packet)
    target.data_ready()


class LoopStreamOps(LoopOps):
    def socketpair(self, sock1: Socket, sock2: Socket) -> None:
        a, b = sock1.sk, sock2.sk
        a.peer, b.peer = b, a
        for sock in (sock1, sock2):
            sock.sk.state = ESTABLISHED
            sock.state = SS_CONNECTED

    def listen(self, sock: Socket, backlog: int) -> None:
        sock.sk.state = LISTEN
        sock.sk.loop.backlogs.append(backlog)

    def connect(self, sock: Socket, addr: Any, flags: int) -> None:
        sk = sock.sk
        listener = sk.loop.names.get(addr)
        if listener is None or listener.state != LISTEN:
            raise err(errno.ECONNREFUSED)
        child = LoopSock(sk.net, sk.type, listener.creds, sk.loop)
        child.name = listener.name
        child.peer, sk.peer = sk, child
        child.state = sk.state = ESTABLISHED
        listener.pending.append(child)
        listener.data_ready()
        if flags & O_NONBLOCK:
            raise err(errno.EINPROGRESS)

    def accept(self, sock: Socket, newsock: Socket, flags: int) -> None:
        sk = sock.sk
        if sk.state != LISTEN:
            raise err(errno.EINVAL)
        while not sk.pending:
            if flags & O_NONBLOCK:
                raise err(errno.EAGAIN)
            if sk.shutdown:
                raise err(errno.EINVAL)
            sk.wait(NEVER, exclusive=True)
        newsock.sk = sk.pending.popleft()
        newsock.sk.socket = newsock
        newsock.ops = self

    def sendmsg(self, sock: Socket, data: bytes, flags: int, msg: MsgHdr | None = None) -> int:
        sk = sock.sk
        sk.sent_flags.append(flags)
        peer = sk.peer
        if peer is None:
            raise err(errno.ENOTCONN)
        if sk.shutdown & SEND_SHUTDOWN or peer.shutdown & RCV_SHUTDOWN:
            raise err(errno.EPIPE)
        deadline = sk.snd_deadline(flags)
        while not peer.room():
            if not deadline or not sk.wait(deadline):
                raise err(errno.EAGAIN)
        room = peer.room()
        taken = data if len(data) <= room else data[:room]
        deliver(peer, (taken, sk.name, []))
        return len(taken)

    def recvmsg(self, sock: Socket, size: int, flags: int, msg: MsgHdr | None = None) -> bytes:
        sk = sock.sk
        if not self.wait_readable(sk, flags):
            return b""
        data, source, files = sk.inbox.popleft()
        if len(data) > size:
            sk.inbox.appendleft((data[size:], source, files))
            data = data[:size]
        if sk.peer is not None:
            sk.peer.write_space()
        return data


class LoopFamily(NetProtoFamily):
    """``released``, ``backlogs``, ``options`` and ``polls`` record what the rooms above asked for."""

    __slots__ = ("backlogs", "delay", "names", "options", "polls", "proto", "released")

    def __init__(self) -> None:
        super().__init__(AF_LOOP, "loop")
        self.names: dict[str, LoopSock] = {}
        self.delay = 0
        self.proto = LoopProto()
        self.released: list[LoopSock] = []
        self.backlogs: list[int] = []
        self.options: dict[tuple[int, int], bytes] = {}
        self.polls = 0

    def create(self, net: Any, creds: Any, sock: Socket, protocol: int) -> None:
        if protocol:
            raise err(errno.EPROTONOSUPPORT)
        if sock.type not in (SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET):
            raise err(errno.ESOCKTNOSUPPORT)
        sock.sk = LoopSock(net, sock.type, creds, self)
        sock.sk.socket = sock
        sock.ops = LoopDgramOps() if sock.type == SOCK_DGRAM else LoopStreamOps()


def boot_task(clock: str = "virtual", numbers: FdNumbers | None = None) -> tuple[Task, LoopFamily]:
    """A task of a fresh kernel that knows this family and no other."""
    kernel = Kernel.boot(clock=clock, seed=1, entry_points=False, blocked=FAMILIES)
    loop = LoopFamily()
    kernel.families.register(loop)
    return Task.for_kernel(kernel, numbers=numbers), loop


RECORD = MSG_EOR  # what a write on a sequenced-packet socket carries

"""The contracts of a socket: what a family and a protocol implement, and what the core keeps for them.

    File -> Inode -> Socket --ops--> ProtoOps      the socket API of one (family, type)
                     Socket --sk --> Sock --prot-> Proto      one transport protocol

* `Socket` is what the sockfs inode holds: the API's half. `Sock` is what the protocol owns; it can outlive the
  Socket (TCP after close) and exist before it (a connection that nobody has accepted yet).
* `ProtoOps` speaks the socket API. Its base class answers like Linux's ``sock_no_*``: EOPNOTSUPP.
* `Proto` is the protocol below, for families that have several per type (inet). A family that has no such
  split may do everything in its ProtoOps.
* `NetProtoFamily` makes them; it is what a plugin registers.

Rules that hold for every method of the three: they are called with the kernel lock held; they raise `OSError`
with the errno of the man page and nothing else; they block only through `Sock.wait`, which gives the lock up;
they keep no lock of their own. Addresses have the shapes of the stdlib's `socket` module (a ``(host, port)``
tuple for AF_INET, with the host as a numeric string); names are resolved above.
"""

from __future__ import annotations

import errno
from collections import deque

from pysock.core.clock import NEVER
from pysock.core.errors import err
from pysock.core.wait import WaitQueue
from pysock.uapi.poll import EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLPRI, EPOLLRDNORM, EPOLLWRBAND, EPOLLWRNORM
from pysock.uapi.socket import MSG_DONTWAIT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, Protocol, TypeAlias

    from pysock.core.capability import Credentials
    from pysock.core.kernel import Kernel
    from pysock.core.net import Net
    from pysock.core.skbuff import SkBuff
    from pysock.core.sock_ext import SockExt
    from pysock.core.wait import WaitEntry

    class OpenInode(Protocol):
        """`pysock.vfs.inode.Inode`, as a family sees it."""

        i_ino: int

    class OpenFile(Protocol):
        """`pysock.vfs.file.File`, as a socket sees it."""

        f_count: int

        @property
        def f_inode(self) -> OpenInode: ...

        def pin(self) -> None: ...

        def unpin(self) -> None: ...

#: A socket address in the stdlib's shape for its family; None where there is none.
if TYPE_CHECKING:
    Address: TypeAlias = Any
else:
    Address = object  # importing typing costs 5 ms

# enum socket_state
SS_UNCONNECTED = 1
SS_CONNECTING = 2
SS_CONNECTED = 3
SS_DISCONNECTING = 4

# sk_shutdown
RCV_SHUTDOWN = 1
SEND_SHUTDOWN = 2
SHUTDOWN_MASK = 3

# Sock.flags (enum sock_flags)
SOCK_DEAD = 1 << 0
SOCK_DONE = 1 << 1
SOCK_KEEPOPEN = 1 << 3
SOCK_BROADCAST = 1 << 4
SOCK_TIMESTAMP = 1 << 5
SOCK_OOBINLINE = 1 << 6
SOCK_RCVTSTAMPNS = 1 << 7
SOCK_PASSCRED = 1 << 8
SOCK_DONTROUTE = 1 << 9
SOCK_NO_CHECK = 1 << 10
SOCK_SELECT_ERR_QUEUE = 1 << 13  # the others are in sockopt_set.py

WAKE_READABLE = EPOLLIN | EPOLLRDNORM
WAKE_WRITABLE = EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND
WAKE_STATE = WAKE_READABLE | WAKE_WRITABLE | EPOLLHUP


class MsgHdr:
    """What sendmsg and recvmsg carry besides the data (struct msghdr).

    ``name`` is an address; ``control`` a sequence of ``(level, type, data)``; ``controllen`` the room in bytes that
    the caller of recvmsg offers for control messages; ``flags`` what recvmsg reports (MSG_TRUNC, MSG_CTRUNC...).
    ``files`` carries open files for SCM_RIGHTS between the syscall layer and AF_UNIX.
    """

    __slots__ = ("control", "controllen", "files", "flags", "name")

    def __init__(self, name: Address = None, controllen: int = 0) -> None:
        self.name = name
        # No list is made for the many messages that carry nothing besides the data.
        self.control: Sequence[tuple[int, int, bytes]] = ()
        self.controllen = controllen
        self.flags = 0
        self.files: Sequence[Any] = ()

    def add_control(self, level: int, type: int, data: bytes) -> None:
        """Append a control message."""
        self.control = (*self.control, (level, type, data))


class PollTable:
    """What a poll passes down so that a file can say whose wake-ups matter (poll_wait)."""

    __slots__ = ()

    def wait(self, queue: WaitQueue) -> None:
        """Register with ``queue``; may be called several times by one file."""
        raise NotImplementedError


class Socket:
    """struct socket: the API's half of a socket; belongs to one sockfs inode."""

    __slots__ = ("file", "ops", "sk", "state", "type")

    def __init__(self, type: int) -> None:
        self.type = type
        self.state = SS_UNCONNECTED
        self.ops: ProtoOps = NO_OPS
        self.sk: Sock = None  # type: ignore[assignment]  # the family's create() sets it
        self.file: OpenFile | None = None


class ProtoOps:
    """The socket API of one family and type (struct proto_ops). Override what the family supports."""

    __slots__ = ()
    family = 0

    def release(self, sock: Socket) -> None:
        """The last file descriptor was closed. May linger (block) if the socket says so."""

    def bind(self, sock: Socket, addr: Address) -> None:
        raise err(errno.EOPNOTSUPP)

    def connect(self, sock: Socket, addr: Address, flags: int) -> None:
        """``flags`` holds O_NONBLOCK when the file does; then EINPROGRESS if it cannot finish at once."""
        raise err(errno.EOPNOTSUPP)

    def socketpair(self, sock1: Socket, sock2: Socket) -> None:
        raise err(errno.EOPNOTSUPP)

    def accept(self, sock: Socket, newsock: Socket, flags: int) -> None:
        """Graft the next established connection onto ``newsock``; EAGAIN when none is there and ``flags`` has
        O_NONBLOCK.
        """
        raise err(errno.EOPNOTSUPP)

    def getname(self, sock: Socket, peer: bool) -> Address:
        raise err(errno.EOPNOTSUPP)

    def poll(self, sock: Socket, table: PollTable | None) -> int:
        """Register with the table (if any) and return the EPOLL* bits that hold now."""
        return 0

    def ioctl(self, sock: Socket, cmd: int, arg: bytes | int) -> bytes | int:
        """Return the changed argument (bytes) or a result (int). ENOIOCTLCMD reaches the user as ENOTTY."""
        raise err(errno.ENOTTY)

    def listen(self, sock: Socket, backlog: int) -> None:
        raise err(errno.EOPNOTSUPP)

    def shutdown(self, sock: Socket, how: int) -> None:
        """``how`` is SHUT_RD, SHUT_WR or SHUT_RDWR."""
        raise err(errno.EOPNOTSUPP)

    def setsockopt(self, sock: Socket, level: int, optname: int, value: bytes) -> None:
        """Every level but SOL_SOCKET, which `core.sockopt` handles for all families."""
        raise err(errno.EOPNOTSUPP)

    def getsockopt(self, sock: Socket, level: int, optname: int, optlen: int) -> bytes:
        raise err(errno.EOPNOTSUPP)

    def sendmsg(self, sock: Socket, data: bytes, flags: int, msg: MsgHdr | None = None) -> int:
        """Send ``data`` (immutable: it travels by reference); return how many bytes were taken."""
        raise err(errno.EOPNOTSUPP)

    def recvmsg(self, sock: Socket, size: int, flags: int, msg: MsgHdr | None = None) -> bytes:
        """Receive at most ``size`` bytes; fill ``msg`` in when given."""
        raise err(errno.EOPNOTSUPP)


class _NoOps(ProtoOps):
    __slots__ = ()


#: The operations of a socket whose family has not set it up yet.
NO_OPS = _NoOps()


class Proto:
    """A transport protocol (struct proto): one instance each, shared by all its socks."""

    __slots__ = ()
    name = "none"

    def close(self, sk: Any, deadline: int) -> None:
        """The socket is gone; finish alone. May linger until ``deadline`` (monotonic ns; 0: do not)."""
        raise NotImplementedError

    def connect(self, sk: Any, addr: Address) -> None:
        raise err(errno.EOPNOTSUPP)

    def disconnect(self, sk: Any) -> None:
        """connect() to AF_UNSPEC."""
        raise err(errno.EOPNOTSUPP)

    def listen(self, sk: Any, backlog: int) -> None:
        raise err(errno.EOPNOTSUPP)

    def accept(self, sk: Any, flags: int) -> Any:
        """Return the next established child sock; ``flags`` may hold MSG_DONTWAIT."""
        raise err(errno.EOPNOTSUPP)

    def shutdown(self, sk: Any, how: int) -> None:
        """``how`` is a mask of RCV_SHUTDOWN and SEND_SHUTDOWN."""
        raise err(errno.EOPNOTSUPP)

    def ioctl(self, sk: Any, cmd: int, arg: bytes | int) -> bytes | int:
        raise err(errno.ENOTTY)

    def setsockopt(self, sk: Any, level: int, optname: int, value: bytes) -> None:
        raise err(errno.ENOPROTOOPT)

    def getsockopt(self, sk: Any, level: int, optname: int, optlen: int) -> bytes:
        raise err(errno.ENOPROTOOPT)

    def headers_changed(self, sk: Any) -> None:
        """The headers below this protocol's have become longer or shorter; only connections care."""

    def sendmsg(self, sk: Any, data: bytes, flags: int, msg: MsgHdr | None = None) -> int:
        raise err(errno.EOPNOTSUPP)

    def recvmsg(self, sk: Any, size: int, flags: int, msg: MsgHdr | None = None) -> bytes:
        raise err(errno.EOPNOTSUPP)

    def poll(self, sk: Any, table: PollTable | None) -> int:
        """Poll bits of a datagram-like socket; protocols with states of their own override it."""
        return sk.datagram_poll(table)  # type: ignore[no-any-return]  # each Proto knows its own sockets

    def hash(self, sk: Any) -> None:
        """Make ``sk`` findable for incoming packets."""

    def unhash(self, sk: Any) -> None:
        """The opposite of `hash`; harmless when it was not hashed."""

    def departs(self, sk: Any, skb: SkBuff, paced: bool) -> None:
        """``skb`` of the connection ``sk``, which has options that concern its packets, is about to leave. ``paced``:
        such packets leave at a rate.
        """

    def get_port(self, sk: Any, port: int) -> None:
        """Reserve the local ``port`` (0: choose one) for ``sk``; EADDRINUSE when it is taken."""
        raise err(errno.EOPNOTSUPP)


class NetProtoFamily:
    """A protocol family (struct net_proto_family): registered under its AF_ number."""

    __slots__ = ("family", "name")

    def __init__(self, family: int, name: str) -> None:
        self.family = family
        self.name = name

    def create(self, net: Net, creds: Credentials, sock: Socket, protocol: int) -> None:
        """Give ``sock`` its ops and its Sock. ESOCKTNOSUPPORT, EPROTONOSUPPORT, EPERM as socket(2) has them."""
        raise NotImplementedError


class Sock:
    """struct sock: what every protocol keeps about one socket. Families subclass it and add slots.

    Queues and the wait queue are made on first use: most of 10,000 idle sockets never need them.
    Sizes are bytes; ``rcvtimeo``, ``sndtimeo`` are ns (NEVER: none); ``linger`` is ns or None. ``ext`` holds the values
    of rare options; ``filter`` says how many bytes of a packet pass (SO_ATTACH_FILTER), None: all.
    """

    __slots__ = (
        "bound_dev_if",
        "creds",
        "err",
        "err_soft",
        "error_queue",
        "ext",
        "family",
        "filter",
        "flags",
        "kernel",
        "linger",
        "mark",
        "net",
        "priority",
        "prot",
        "protocol",
        "rcvbuf",
        "rcvlowat",
        "rcvtimeo",
        "receive_queue",
        "reuse",
        "reuseport",
        "rmem_alloc",
        "shutdown",
        "sndbuf",
        "sndtimeo",
        "socket",
        "state",
        "type",
        "wait_queue",
        "wmem_alloc",
    )

    def __init__(self, net: Net, family: int, type: int, protocol: int, prot: Proto, creds: Credentials) -> None:
        self.net = net
        self.kernel: Kernel = net.kernel
        self.family = family
        self.type = type
        self.protocol = protocol
        self.prot = prot
        self.creds = creds
        self.socket: Socket | None = None
        self.state = 7  # TCP_CLOSE: the "nothing yet" of every protocol
        self.wait_queue: WaitQueue | None = None
        self.receive_queue: deque[SkBuff] | None = None
        self.error_queue: deque[SkBuff] | None = None
        self.ext: SockExt | None = None
        self.filter: Callable[[SkBuff], int] | None = None
        limits = net.sock_limits
        self.rcvbuf = limits.rmem_default
        self.sndbuf = limits.wmem_default
        self.rmem_alloc = self.wmem_alloc = 0
        self.err = self.err_soft = self.shutdown = self.flags = 0
        self.reuse = self.reuseport = False
        self.bound_dev_if = self.mark = self.priority = 0
        self.rcvlowat = 1
        self.linger: int | None = None
        self.rcvtimeo = self.sndtimeo = NEVER

    # -- waiting -----------------------------------------------------------------------------------------

    def sleep_queue(self) -> WaitQueue:
        """The wait queue, made on first use (sk_sleep)."""
        queue = self.wait_queue
        if queue is None:
            queue = self.wait_queue = WaitQueue()
        return queue

    def wait(self, deadline: int, exclusive: bool = False) -> bool:
        """Give the lock up until something happens to this socket or ``deadline`` (monotonic ns) passes.

        False when the deadline has passed. Wake-ups may be spurious: look at the condition again. The call that waits
        holds its file until it ends, as fdget() does: closing the fd meanwhile does not end the wait.
        """
        kernel = self.kernel
        sleeper = kernel.sleeper()
        if kernel.softnet.pending:
            kernel.softnet.run()  # what this socket waits for may be among the packets that wait for this thread
            return True
        queue = self.wait_queue
        if queue is None:
            queue = self.wait_queue = WaitQueue()
        file = None if self.socket is None else self.socket.file
        if file is None or not file.f_count:
            return sleeper.wait_on(queue, deadline, exclusive)  # nobody's any more: a close that lingers
        file.pin()
        try:
            return sleeper.wait_on(queue, deadline, exclusive)
        finally:
            kernel.at_leave(file.unpin)

    def rcv_deadline(self, flags: int) -> int:
        """When a receive that starts now gives up: 0 with MSG_DONTWAIT, else by SO_RCVTIMEO (sock_rcvtimeo)."""
        if flags & MSG_DONTWAIT:
            return 0
        timeo = self.rcvtimeo
        return timeo if timeo == NEVER else self.kernel.clock_ns() + timeo

    def snd_deadline(self, flags: int) -> int:
        """The same for a send, by SO_SNDTIMEO (sock_sndtimeo)."""
        if flags & MSG_DONTWAIT:
            return 0
        timeo = self.sndtimeo
        return timeo if timeo == NEVER else self.kernel.clock_ns() + timeo

    def rcvbuf_changed(self) -> None:
        """SO_RCVBUF was set: a protocol with windows computes its own anew."""

    # -- telling those who wait --------------------------------------------------------------------------

    def data_ready(self) -> None:
        """There is something to read (sk_data_ready)."""
        queue = self.wait_queue
        if queue is not None and queue.entries:
            queue.wake(WAKE_READABLE)

    def write_space(self) -> None:
        """There is room to write (sk_write_space)."""
        queue = self.wait_queue
        if queue is not None and queue.entries:
            queue.wake(WAKE_WRITABLE)

    def state_change(self) -> None:
        """Connected, shut down or closed (sk_state_change): everybody looks again."""
        queue = self.wait_queue
        if queue is not None and queue.entries:
            queue.wake_all(WAKE_STATE)

    def error_report(self) -> None:
        """``err`` or the error queue changed (sk_error_report)."""
        queue = self.wait_queue
        if queue is not None and queue.entries:
            queue.wake_all(WAKE_READABLE | EPOLLERR | EPOLLPRI)

    def add_wait(self, entry: WaitEntry) -> None:
        self.sleep_queue().add(entry)

    # -- errors ------------------------------------------------------------------------------------------

    def set_error(self, number: int) -> None:
        """Let the next call on this socket fail with errno ``number``, and wake those who wait for one."""
        self.err = number
        self.error_report()

    def take_error(self) -> int:
        """Return and clear the pending error (sock_error): SO_ERROR and every blocking call do this."""
        number = self.err
        self.err = 0
        return number

    def raise_error(self) -> None:
        """Raise the pending error, if there is one."""
        if self.err:
            raise err(self.take_error())

    # -- datagrams ---------------------------------------------------------------------------------------

    def datagram_poll(self, table: PollTable | None) -> int:
        """Poll bits of a socket that queues datagrams (datagram_poll)."""
        if table is not None:
            table.wait(self.sleep_queue())
        mask = 0
        if self.err or self.error_queue:
            mask |= EPOLLERR
            if self.flags & SOCK_SELECT_ERR_QUEUE:
                mask |= EPOLLPRI
        if self.shutdown & RCV_SHUTDOWN:
            mask |= EPOLLIN | EPOLLRDNORM | 0x2000  # EPOLLRDHUP
        if self.shutdown == SHUTDOWN_MASK:
            mask |= EPOLLHUP
        if self.receive_queue:
            mask |= EPOLLIN | EPOLLRDNORM
        if self.wmem_alloc < self.sndbuf:
            mask |= EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND
        return mask

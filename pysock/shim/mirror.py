"""pysock.mirror(): a descriptor of the operating system that is ready when one of our sockets is.

For code that hands a number to a poller in C that pysock does not patch: another event loop's `add_reader`, libevent, a
GUI's main loop. What is waited for there is the mirror; reading and writing goes to the socket itself.

The mirror is one end of a real socketpair, whose other end stays here. It is readable while a byte lies in its receive
buffer, and not writable while its send buffer is full: so both bits are set by sending and taking bytes at the right
end. A family that makes a socket ready calls the entry that the mirror has in the socket's wait queue; what makes it
unready is always a call on the socket, so its operations are wrapped while the mirror is there, and looked at after
each. Nobody else pays for that.

While a thread waits in C, none waits in pysock, and nobody would keep the timers (retransmissions, delays). With a real
clock, a thread of our own does, as long as a kernel has mirrors.
"""

from __future__ import annotations

from weakref import WeakKeyDictionary

from pysock.core.sock import PollTable, ProtoOps
from pysock.core.wait import WaitEntry, WaitQueue
from pysock.shim import real
from pysock.shim.fdarg import as_fd
from pysock.shim.state import current
from pysock.uapi.poll import EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP
from pysock.vfs.sockfs import sockfd_lookup

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pysock.core.kernel import Kernel
    from pysock.core.sock import Address, MsgHdr, Socket

_READABLE = EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR
_WRITABLE = EPOLLOUT | EPOLLHUP | EPOLLERR
_JUNK = bytes(4096)


def mirror(sock: Any) -> Mirror:
    """A `Mirror` of ``sock``, a socket of pysock's or its fd. EBADF, ENOTSOCK."""
    task = current()
    fd = as_fd(sock)
    kernel = task.kernel
    kernel.enter()
    try:
        return Mirror(kernel, sockfd_lookup(task.files, fd))
    finally:
        kernel.leave()


class Mirror(PollTable):
    """`fileno` is a real descriptor: readable while the socket has something to read, an error or its end, and writable
    while it takes data. It is closed with the socket, or by `close`; a context manager does that at its end.

    Poll it, and call the socket: reading from the descriptor itself, or writing to it, breaks it.
    """

    __slots__ = ("_entry", "_far", "_kernel", "_near", "_ops", "_queues", "_readable", "_sock", "_writable")

    def __init__(self, kernel: Kernel, sock: Socket) -> None:
        near, far = real.real_socketpair()
        for end in near, far:
            end.setblocking(False)
        self._near: Any = near
        self._far: Any = far
        self._kernel = kernel
        self._sock = sock
        self._readable = False
        self._writable = True
        self._queues: list[WaitQueue] = []
        self._entry = WaitEntry(self._woken)
        self._ops = _Watched(sock.ops, self)
        self._ops.inner.poll(sock, self)
        sock.ops = self._ops
        _keep_timers(kernel, 1)
        self._look()

    def fileno(self) -> int:
        """The descriptor, -1 once it is closed."""
        number: int = self._near.fileno()
        return number

    @property
    def closed(self) -> bool:
        """Whether it mirrors nothing any more."""
        return self.fileno() == -1

    def close(self) -> None:
        """Close the descriptor; the socket stays as it is. Closing twice does nothing."""
        self._kernel.enter()
        try:
            self._close()
        finally:
            self._kernel.leave()

    def __enter__(self) -> Mirror:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- under the kernel lock -----------------------------------------------------------------------------

    def wait(self, queue: WaitQueue) -> None:
        queue.add(self._entry)
        self._queues.append(queue)

    def _woken(self, key: int) -> bool:
        self._look()
        return True

    def _look(self) -> None:
        if self.closed:
            return
        mask = self._ops.inner.poll(self._sock, None)
        if bool(mask & _READABLE) != self._readable:
            self._readable = not self._readable
            if self._readable:
                self._far.send(b"\0")
            else:
                self._near.recv(1)
        if bool(mask & _WRITABLE) != self._writable:
            self._writable = not self._writable
            _empty(self._far) if self._writable else _fill(self._near)

    def _close(self) -> None:
        if self.closed:
            return
        if self._sock.ops is self._ops:
            self._sock.ops = self._ops.inner
        for queue in self._queues:
            queue.remove(self._entry)
        self._queues.clear()
        self._near.close()
        self._far.close()
        _keep_timers(self._kernel, -1)


class _Watched(ProtoOps):
    """A socket's operations, with a look into the mirror after each that may change what the socket is ready for."""

    __slots__ = ("inner", "mirror")

    def __init__(self, inner: ProtoOps, mirror: Mirror) -> None:
        self.inner = inner
        self.mirror = mirror

    def release(self, sock: Socket) -> None:
        self.mirror._close()
        self.inner.release(sock)

    def bind(self, sock: Socket, addr: Address) -> None:
        self.inner.bind(sock, addr)

    def connect(self, sock: Socket, addr: Address, flags: int) -> None:
        try:
            self.inner.connect(sock, addr, flags)
        finally:
            self.mirror._look()

    def socketpair(self, sock1: Socket, sock2: Socket) -> None:
        self.inner.socketpair(sock1, sock2)

    def accept(self, sock: Socket, newsock: Socket, flags: int) -> None:
        newsock.ops = self.inner
        try:
            self.inner.accept(sock, newsock, flags)
        finally:
            self.mirror._look()

    def getname(self, sock: Socket, peer: bool) -> Address:
        return self.inner.getname(sock, peer)

    def poll(self, sock: Socket, table: PollTable | None) -> int:
        return self.inner.poll(sock, table)

    def ioctl(self, sock: Socket, cmd: int, arg: bytes | int) -> bytes | int:
        return self.inner.ioctl(sock, cmd, arg)

    def listen(self, sock: Socket, backlog: int) -> None:
        self.inner.listen(sock, backlog)
        self.mirror._look()

    def shutdown(self, sock: Socket, how: int) -> None:
        try:
            self.inner.shutdown(sock, how)
        finally:
            self.mirror._look()

    def setsockopt(self, sock: Socket, level: int, optname: int, value: bytes) -> None:
        self.inner.setsockopt(sock, level, optname, value)
        self.mirror._look()

    def getsockopt(self, sock: Socket, level: int, optname: int, optlen: int) -> bytes:
        return self.inner.getsockopt(sock, level, optname, optlen)

    def sendmsg(self, sock: Socket, data: bytes, flags: int, msg: MsgHdr | None = None) -> int:
        try:
            return self.inner.sendmsg(sock, data, flags, msg)
        finally:
            self.mirror._look()

    def recvmsg(self, sock: Socket, size: int, flags: int, msg: MsgHdr | None = None) -> bytes:
        try:
            return self.inner.recvmsg(sock, size, flags, msg)
        finally:
            self.mirror._look()


def _fill(end: Any) -> None:
    try:
        while True:
            end.send(_JUNK)
    except BlockingIOError:
        pass


def _empty(end: Any) -> None:
    try:
        while True:
            end.recv(1 << 20)
    except BlockingIOError:
        pass


class _Keeper:
    """The mirrors of one kernel, and where the thread sleeps that keeps its timers."""

    __slots__ = ("mirrors", "queue")

    def __init__(self) -> None:
        self.mirrors = 0
        self.queue = WaitQueue()

    def run(self, kernel: Kernel) -> None:
        kernel.enter()
        try:
            sleeper = kernel.sleeper()
            while self.mirrors:
                sleeper.wait_on(self.queue)
        finally:
            kernel.leave()


_keepers: WeakKeyDictionary[Kernel, _Keeper] = WeakKeyDictionary()


def _keep_timers(kernel: Kernel, change: int) -> None:
    """One mirror more, or less. Virtual time moves by itself: a thread that waits in C counts as blocked elsewhere."""
    keeper = _keepers.get(kernel)
    if keeper is None:
        keeper = _keepers[kernel] = _Keeper()
    keeper.mirrors += change
    if not keeper.mirrors:
        del _keepers[kernel]  # a thread of its own for the next one: this one is about to end
        keeper.queue.wake_all(EPOLLIN)
    elif keeper.mirrors == change == 1:
        kernel.sleeper()  # who makes mirrors takes part in virtual time
        real.start_new_thread(keeper.run, (kernel,))

"""UnixSock: one AF_UNIX socket. Its state, its buffer accounts, who waits for whom, and its end.

Rules that keep it true:

* ``peer`` is whom a send goes to by default. Two connected sockets refer to each other; a datagram socket may
  refer to one that refers to nobody. The one that closes forgets its peer, the other one keeps it: it still
  knows its name, and finds it SOCK_DEAD or itself shut down.
* A message is charged to its sender (`wmem_alloc`) until it is read. A sender that has `sndbuf` or more under
  way waits; it is called writable again when a quarter or less is left, so that it wakes once for many reads.
* ``peer_wait`` are those who wait for *this* socket to make room: in its backlog, or in its inbox, which is
  bounded by `max_ack_backlog` messages for senders it is not connected to. Everybody waits in their own wait
  queue; an entry in the other's peer_wait relays the wake-up there. So a close reaches a waiter, too.
* A call that sleeps on a socket whose task ends meanwhile ends with EBADF.

Linux: struct unix_sock, unix_release_sock(), unix_dgram_peer_wake_relay().
"""

from __future__ import annotations

import errno
from collections import deque

from pysock.core.errors import err
from pysock.core.sock import SEND_SHUTDOWN, SHUTDOWN_MASK, SOCK_DEAD, WAKE_WRITABLE, Proto, Sock
from pysock.core.wait import WaitEntry, WaitQueue
from pysock.families.unix.scm import Message, detach, discard, ucred
from pysock.families.unix.unix_net import UnixNet
from pysock.uapi.socket import AF_UNIX, SOCK_DGRAM

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from pysock.core.capability import Credentials
    from pysock.core.net import Net
    from pysock.core.sock import Socket
    from pysock.families.unix.unix_net import Key

TCP_ESTABLISHED: Final = 1
TCP_CLOSE: Final = 7
TCP_LISTEN: Final = 10

#: What a message costs beside its bytes, and the least it costs, both in bytes: the sk_buff, its shared info
#: and the smallest buffer of Linux. 278 messages of one byte fit the default buffer, there and here.
MESSAGE_OVERHEAD: Final = 576
MESSAGE_MINIMUM: Final = 768


class UnixProto(Proto):
    """AF_UNIX has no protocols below it; this one gives its socks a name (unix_dgram_proto)."""

    __slots__ = ()
    name = "UNIX"


UNIX_PROTO: Final = UnixProto()


def message_charge(size: int) -> int:
    """Bytes of buffer that a message of ``size`` bytes takes."""
    return size + MESSAGE_OVERHEAD if size > MESSAGE_MINIMUM - MESSAGE_OVERHEAD else MESSAGE_MINIMUM


class UnixSock(Sock):
    """``name`` is the shape that getsockname() returns, "" while unnamed; ``key`` its place in UnixNet. ``oob`` is the
    Message in the inbox that holds the urgent byte, while nobody has read it.
    """

    __slots__ = (
        "inbox",
        "key",
        "max_ack_backlog",
        "name",
        "oob",
        "peer",
        "peer_cred",
        "peer_wait",
        "pending",
        "unix",
        "watch",
        "watched",
    )

    def __init__(self, net: Net, type: int, creds: Credentials) -> None:
        super().__init__(net, AF_UNIX, type, 0, UNIX_PROTO, creds)
        unix = self.unix = net.get(UnixNet)
        unix.sockets[self] = None
        self.name: str | bytes = ""
        self.key: Key | None = None
        self.peer: UnixSock | None = None
        self.peer_cred: Credentials | None = None
        self.inbox: deque[Message] | None = None
        self.oob: Message | None = None
        self.pending: deque[UnixSock] | None = None  # of a listener: connections not yet accepted
        self.max_ack_backlog = unix.max_dgram_qlen  # until listen() says otherwise
        self.peer_wait: WaitQueue | None = None
        self.watch: WaitEntry | None = None  # our entry in the peer_wait of `watched`
        self.watched: UnixSock | None = None

    @property
    def peercred(self) -> bytes:
        """struct ucred of the peer, as SO_PEERCRED returns it; (0, -1, -1) without one."""
        return ucred(self.peer_cred)

    # -- buffers -----------------------------------------------------------------------------------------

    def post(self, message: Message) -> None:
        """Put ``message`` into the inbox and wake the reader; its sender pays."""
        message.sender.wmem_alloc += message.charge
        inbox = self.inbox
        if inbox is None:
            inbox = self.inbox = deque()
        inbox.append(message)
        queue = self.wait_queue
        if queue is not None and queue.entries:
            self.data_ready()

    def purge_inbox(self) -> None:
        """Drop what nobody will read, the files with it."""
        self.oob = None
        inbox = self.inbox
        while inbox:
            message = inbox.popleft()
            settle(message)
            if message.files:
                discard(self, detach(message))

    def writable(self) -> bool:
        """unix_writable()."""
        return self.state != TCP_LISTEN and self.wmem_alloc << 2 <= self.sndbuf

    def backlog_full(self) -> bool:
        """unix_recvq_full(), of a listener."""
        return self.pending is not None and len(self.pending) > self.max_ack_backlog

    def inbox_full(self) -> bool:
        """unix_recvq_full(), of a socket that receives messages."""
        return self.inbox is not None and len(self.inbox) > self.max_ack_backlog

    def wait_for_buffer(self, deadline: int) -> None:
        """Return when a message may be sent (sock_alloc_send_pskb). EPIPE, EAGAIN, EBADF, a pending error."""
        while True:
            self.raise_error()
            if self.shutdown & SEND_SHUTDOWN:
                raise err(errno.EPIPE)
            if self.wmem_alloc < self.sndbuf:
                return
            if not deadline:
                raise err(errno.EAGAIN)
            deadline = self.pause(deadline)
            self.check_alive()

    def pause(self, deadline: int, exclusive: bool = False) -> int:
        """Sleep; the deadline that is still to keep, 0 once it has passed: the last look is the caller's."""
        self.wait(deadline, exclusive)
        return deadline if self.kernel.now < deadline else 0

    def check_alive(self) -> None:
        """EBADF when the task ended under a call that slept."""
        if self.flags & SOCK_DEAD:
            raise err(errno.EBADF)

    # -- waiting for the other side ----------------------------------------------------------------------

    def wait_for_room(self, other: UnixSock, deadline: int) -> int:
        """`pause` until ``other`` may have room for us (unix_wait_for_peer)."""
        entry = WaitEntry(self._relay)
        queue = other.peer_wait
        if queue is None:
            queue = other.peer_wait = WaitQueue()
        queue.add(entry)
        try:
            deadline = self.pause(deadline)
        finally:
            queue.remove(entry)
        self.check_alive()
        return deadline

    def watch_room(self, other: UnixSock) -> None:
        """Without sleeping: have our pollers woken once when ``other`` has room (unix_dgram_peer_wake_me)."""
        if self.watched is other:
            return
        self.unwatch()
        if other.peer_wait is None:
            other.peer_wait = WaitQueue()
        self.watch = WaitEntry(self._relay_once)
        self.watched = other
        other.peer_wait.add(self.watch)

    def unwatch(self) -> None:
        """Take our entry out of the other's queue again."""
        other = self.watched
        if other is not None:
            if other.peer_wait is not None and self.watch is not None:
                other.peer_wait.remove(self.watch)
            self.watch = self.watched = None

    def _relay(self, key: int) -> bool:
        queue = self.wait_queue
        if queue is not None:
            queue.wake(WAKE_WRITABLE)
        return False

    def _relay_once(self, key: int) -> bool:
        self.unwatch()
        return self._relay(key)

    def room_made(self) -> None:
        """Somebody took from our inbox or backlog: wake those who wait for room."""
        queue = self.peer_wait
        if queue is not None and queue.entries:
            queue.wake(WAKE_WRITABLE)


def sk_of(sock: Socket) -> UnixSock:
    """The UnixSock of ``sock``."""
    sk = sock.sk
    assert isinstance(sk, UnixSock)
    return sk


def peer_creds(sk: UnixSock) -> Credentials | None:
    """Who is on the other side: of connect, listen or socketpair time (SO_PEERCRED). None without a peer."""
    return sk.peer_cred


def settle(message: Message) -> None:
    """``message`` was read, or is dropped: its sender has its buffer back (sock_wfree, unix_write_space)."""
    sender = message.sender
    sender.wmem_alloc -= message.charge
    queue = sender.wait_queue
    if queue is not None and queue.entries and sender.wmem_alloc << 2 <= sender.sndbuf:
        queue.wake(WAKE_WRITABLE)


def release_sock(sk: UnixSock, embryo: bool = False) -> None:
    """End ``sk`` (unix_release_sock). Safe to repeat. An ``embryo`` is a connection that nobody accepted.

    A connected peer sees end of file, after ECONNRESET if there was something that it will never know read.
    """
    if sk.flags & SOCK_DEAD:
        return
    unix = sk.unix
    unix.unhash(sk)
    unix.sockets.pop(sk, None)
    sk.flags |= SOCK_DEAD
    sk.shutdown = SHUTDOWN_MASK
    sk.state = TCP_CLOSE
    sk.socket = None
    sk.unwatch()
    peer, sk.peer = sk.peer, None
    if peer is not None and sk.type != SOCK_DGRAM:
        peer.shutdown = SHUTDOWN_MASK
        inbox = sk.inbox
        # An urgent byte that was read apart still lies there, empty.
        if embryo or (inbox and (inbox[0].consumed < len(inbox[0].data) or len(inbox) > 1)):
            peer.err = errno.ECONNRESET
        peer.state_change()
    while sk.pending:
        release_sock(sk.pending.popleft(), embryo=True)
    sk.purge_inbox()
    if sk.peer_wait is not None:
        sk.peer_wait.wake_all(WAKE_WRITABLE)
    sk.state_change()
    if unix.flight.sockets:
        unix.flight.schedule(sk.kernel)

"""UnixOps: what the three socket types share - names, socketpair, shutdown, buffer ioctls, close, a stream's poll.

Linux: unix_bind(), unix_socketpair(), unix_getname(), unix_shutdown(), unix_poll(), unix_ioctl(), unix_release().
"""

from __future__ import annotations

import errno

from pysock.core.errors import err
from pysock.core.sock import (
    RCV_SHUTDOWN,
    SEND_SHUTDOWN,
    SHUTDOWN_MASK,
    SS_CONNECTED,
    ProtoOps,
)
from pysock.families.unix.address import parse_address
from pysock.families.unix.stream_read import at_mark, bytes_queued
from pysock.families.unix.unix_net import open_node
from pysock.families.unix.unix_sock import TCP_CLOSE, TCP_ESTABLISHED, TCP_LISTEN, UnixSock, release_sock, sk_of
from pysock.uapi.ioctl import SIOCATMARK, SIOCINQ, SIOCOUTQ, SIOCUNIXFILE
from pysock.uapi.poll import (
    EPOLLERR,
    EPOLLHUP,
    EPOLLIN,
    EPOLLOUT,
    EPOLLRDHUP,
    EPOLLRDNORM,
    EPOLLWRBAND,
    EPOLLWRNORM,
)
from pysock.uapi.socket import AF_UNIX, SHUT_RD, SHUT_RDWR, SOCK_DGRAM

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from pysock.core.sock import Address, PollTable, Socket

POLL_READABLE: Final = EPOLLIN | EPOLLRDNORM
POLL_WRITABLE: Final = EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND


class UnixOps(ProtoOps):
    """What SOCK_STREAM, SOCK_DGRAM and SOCK_SEQPACKET have in common."""

    __slots__ = ()
    family = AF_UNIX

    def release(self, sock: Socket) -> None:
        """close(): never blocks, harmless when repeated; the kernel lock is all it needs."""
        release_sock(sk_of(sock))

    def bind(self, sock: Socket, addr: Address) -> None:
        """unix_bind(): a path, an abstract name, or "" for a name of the system's choice.

        EINVAL when the socket has a name already (choosing one then does nothing) or the name is malformed;
        EADDRINUSE; ENOENT, EACCES and whatever else the file system says to a new node.
        """
        sk = sk_of(sock)
        name = parse_address(addr)
        if not name:
            sk.unix.autobind(sk)
        elif sk.name:
            raise err(errno.EINVAL)
        else:
            sk.unix.bind(sk, name)

    def socketpair(self, sock1: Socket, sock2: Socket) -> None:
        """Connect two fresh sockets to each other (unix_socketpair)."""
        first, second = sk_of(sock1), sk_of(sock2)
        first.peer, second.peer = second, first
        first.peer_cred, second.peer_cred = first.creds, second.creds
        first.state = second.state = TCP_ESTABLISHED
        sock1.state = sock2.state = SS_CONNECTED

    def getname(self, sock: Socket, peer: bool) -> Address:
        """A str path, a bytes abstract name, or "" for an unnamed socket; ENOTCONN without a peer."""
        sk = sk_of(sock)
        if not peer:
            return sk.name
        if sk.peer is None:
            raise err(errno.ENOTCONN)
        return sk.peer.name

    def shutdown(self, sock: Socket, how: int) -> None:
        """unix_shutdown(): a connection's other side is shut down the other way round.

        Unlike TCP it takes a socket that is not connected. EINVAL for an unknown ``how``.
        """
        if not SHUT_RD <= how <= SHUT_RDWR:
            raise err(errno.EINVAL)
        sk = sk_of(sock)
        mask = how + 1
        sk.shutdown |= mask
        sk.state_change()
        peer = sk.peer
        if peer is not None and sk.type != SOCK_DGRAM:
            if mask & RCV_SHUTDOWN:
                peer.shutdown |= SEND_SHUTDOWN
            if mask & SEND_SHUTDOWN:
                peer.shutdown |= RCV_SHUTDOWN
            peer.state_change()

    def poll(self, sock: Socket, table: PollTable | None) -> int:
        """unix_poll()."""
        sk: UnixSock = sock.sk  # type: ignore[assignment]  # create() made it; sk_of costs twice the rest
        if table is not None:
            table.wait(sk.sleep_queue())
        mask = 0
        if sk.err:
            mask = EPOLLERR
        if sk.shutdown:
            if sk.shutdown & RCV_SHUTDOWN:
                mask |= EPOLLRDHUP | POLL_READABLE
            if sk.shutdown == SHUTDOWN_MASK:
                mask |= EPOLLHUP
        if sk.inbox or sk.pending:
            mask |= POLL_READABLE
        if sk.state == TCP_CLOSE:
            mask |= EPOLLHUP
        if sk.writable():  # also after the other side has shut down: nobody may get stuck
            mask |= POLL_WRITABLE
        return mask

    def ioctl(self, sock: Socket, cmd: int, arg: bytes | int) -> bytes | int:
        """SIOCINQ (FIONREAD): bytes to read, of a datagram socket those of the next message; EINVAL for a
        listener. SIOCOUTQ: bytes of buffer under way. SIOCATMARK: whether the urgent byte is next. An int, or packed
        into the caller's buffer. SIOCUNIXFILE: a real descriptor of the node (O_PATH), always an int.
        """
        sk = sk_of(sock)
        if cmd == SIOCUNIXFILE:
            return open_node(sk)
        if cmd == SIOCINQ:
            value = self._inq(sk)
        elif cmd == SIOCOUTQ:
            value = sk.wmem_alloc
        elif cmd == SIOCATMARK:
            value = int(at_mark(sk))
        else:
            raise err(errno.ENOTTY)
        return value if isinstance(arg, int) else value.to_bytes(4, "little") + arg[4:]

    def _inq(self, sk: UnixSock) -> int:
        if sk.state == TCP_LISTEN:
            raise err(errno.EINVAL)
        if not sk.inbox:
            return 0
        if sk.type == SOCK_DGRAM:
            return len(sk.inbox[0].data)
        return bytes_queued(sk)

"""SO_PEEK_OFF on a connection: MSG_PEEK behind what it has shown before (tcp_recvmsg_locked, sk_peek_offset).

Reads move the offset back, and the fast one does not know of it; so the offset is kept with the place in the stream
that it was counted from, and brought up to date when somebody asks.
"""

from __future__ import annotations

import errno

from pysock.core.errors import err
from pysock.core.sock import RCV_SHUTDOWN, SOCK_DONE
from pysock.core.sock_ext import ext_of
from pysock.uapi.socket import MSG_WAITALL
from pysock.uapi.tcp import TCP_CLOSE, TCP_LISTEN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.families.inet.tcp.sock import TcpSock


def offset_of(sk: TcpSock) -> int:
    """The offset from the next byte to read on, at least 0."""
    ext = ext_of(sk)
    now = sk.rcv_nxt - sk.rx_bytes - (1 if sk.flags & SOCK_DONE else 0)  # copied_seq; a FIN counts one
    if ext.peek_seq >= 0:
        ext.peek_off = max(ext.peek_off - (now - ext.peek_seq), 0)
    ext.peek_seq = now
    return max(ext.peek_off, 0)


def receive(sk: TcpSock, size: int, flags: int) -> bytes:
    """At most ``size`` bytes from the offset on, which they move forward; otherwise as `recv.recvmsg`."""
    if sk.state == TCP_LISTEN:
        raise err(errno.ENOTCONN)
    target = max(size if flags & MSG_WAITALL else min(sk.rcvlowat, size), 1)
    deadline = sk.rcv_deadline(flags)
    while True:
        offset = offset_of(sk)
        available = min(sk.rx_bytes - offset, size)
        over = sk.err or sk.flags & SOCK_DONE or sk.shutdown & RCV_SHUTDOWN or sk.state == TCP_CLOSE or not deadline
        if available >= target or (available > 0 and over):
            ext_of(sk).peek_off = offset + available
            return _queued(sk, offset, available)
        if sk.flags & SOCK_DONE:
            return b""
        if sk.err:
            raise err(sk.take_error())
        if sk.shutdown & RCV_SHUTDOWN:
            return b""
        if sk.state == TCP_CLOSE:
            raise err(errno.ENOTCONN)
        if not deadline:
            raise err(errno.EAGAIN)
        if not sk.wait(deadline):
            deadline = 0


def _queued(sk: TcpSock, offset: int, size: int) -> bytes:
    skip = sk.copied_off + offset
    return b"".join(sk.rx_queue or ())[skip : skip + size]

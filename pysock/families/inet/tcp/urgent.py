"""Urgent data (RFC 9293 3.8.5, RFC 6093; tcp(7); tcp_check_urg, tcp_urg and tcp_recv_urg).

TCP has no second channel: the urgent pointer names one byte of the stream, the mark. BSD and Linux put the pointer one
past that byte and take it out of the stream, for recv(MSG_OOB), unless SO_OOBINLINE leaves it there. Ordinary reads
stop at the mark once, so that a program can find it (SIOCATMARK). A newer mark replaces an older one, whose byte
becomes an ordinary one if nobody has read that far.

Sending: ``TcpSock.snd_up`` is the end of the urgent byte. Until it is acknowledged, every segment that begins before it
carries the pointer, and no super-segments are made; data behind it is ordinary.

A socket keeps a `ReceiveExtra` only while there is a mark (or with TCP_INQ); without one, reads go the fast way.
"""

from __future__ import annotations

import errno

from pysock.core.errors import err
from pysock.core.sock import RCV_SHUTDOWN, SOCK_DONE, SOCK_OOBINLINE, WAKE_READABLE
from pysock.uapi.poll import EPOLLPRI, EPOLLRDBAND
from pysock.uapi.socket import MSG_OOB, MSG_PEEK, MSG_TRUNC
from pysock.uapi.tcp import TCP_CLOSE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.skbuff import SkBuff
    from pysock.core.sock import MsgHdr
    from pysock.families.inet.tcp.sock import TcpSock

# `ReceiveExtra.state`
URG_NONE = 0
URG_NOT_YET = 1  # the pointer came, the byte did not
URG_VALID = 2  # the byte waits for MSG_OOB
URG_READ = 3  # it was read; the mark still stands

_WAKE = WAKE_READABLE | EPOLLPRI | EPOLLRDBAND


class ReceiveExtra:
    """What keeps recv from going the fast way: the urgent byte (its sequence number, ``state``, the byte itself), and
    whether TCP_INQ is on.
    """

    __slots__ = ("byte", "inq", "seq", "state")

    def __init__(self) -> None:
        self.seq = 0
        self.state = URG_NONE
        self.byte = b""
        self.inq = False


def copied_seq(sk: TcpSock) -> int:
    """The sequence number of the next byte that the program reads."""
    return sk.rcv_nxt - sk.rx_bytes - (1 if sk.flags & SOCK_DONE else 0)


def mark(sk: TcpSock) -> int:
    """How many bytes are to be read before the mark; -1 without one."""
    extra = sk.rcv_extra
    if extra is None or not extra.state:
        return -1
    return extra.seq - copied_seq(sk)


def forget(sk: TcpSock) -> None:
    """The mark was passed."""
    extra = sk.rcv_extra
    if extra is not None:
        extra.state = URG_NONE
        if not extra.inq:
            sk.rcv_extra = None


# Coming in -------------------------------------------------------------------------------------------------


def pointer(sk: TcpSock, seq: int, pointer: int) -> None:
    """An acceptable segment at ``seq`` has the URG bit and this urgent pointer (tcp_check_urg)."""
    at = seq + (pointer - 1 if pointer else 0)
    copied = copied_seq(sk)
    if at < copied or at < sk.rcv_nxt:
        return  # seen, or old
    extra = sk.rcv_extra
    if extra is None:
        extra = sk.rcv_extra = ReceiveExtra()
    elif extra.state:
        if at <= extra.seq:
            return
        if extra.seq == copied and not sk.flags & SOCK_OOBINLINE and sk.rx_bytes:
            skip(sk)  # the program stands at the old mark, whose byte is no data
    extra.seq = at
    extra.state = URG_NOT_YET


def catch(sk: TcpSock, skb: SkBuff, seq: int, header_len: int, n: int) -> None:
    """Take the urgent byte out of the segment at ``seq`` if it has it (tcp_urg)."""
    extra = sk.rcv_extra
    assert extra is not None
    offset = extra.seq - seq
    if extra.state != URG_NOT_YET or not 0 <= offset < n:
        return
    extra.byte = byte_at(skb, header_len + offset)
    extra.state = URG_VALID
    queue = sk.wait_queue
    if queue is not None and queue.entries:
        queue.wake(_WAKE)


def byte_at(skb: SkBuff, offset: int) -> bytes:
    """One byte of a packet whose head may end before it."""
    linear = skb.len - skb.data_len
    if offset < linear:
        return bytes(skb.head[skb.data + offset : skb.data + offset + 1])
    offset -= linear
    for frag in skb.frags:
        if offset < len(frag):
            return bytes(frag[offset : offset + 1])
        offset -= len(frag)
    return b""


# Reading ---------------------------------------------------------------------------------------------------


def recv(sk: TcpSock, size: int, flags: int, msg: MsgHdr | None) -> bytes:
    """recv(MSG_OOB): the urgent byte (tcp_recv_urg).

    EINVAL: there is none, it was read, or it is in line. EAGAIN: announced, but not here yet. ENOTCONN.
    """
    extra = sk.rcv_extra
    if sk.flags & SOCK_OOBINLINE or extra is None or extra.state in (URG_NONE, URG_READ):
        raise err(errno.EINVAL)
    if sk.state == TCP_CLOSE and not sk.flags & SOCK_DONE:
        raise err(errno.ENOTCONN)
    if extra.state == URG_VALID:
        if not flags & MSG_PEEK:
            extra.state = URG_READ
        if msg is not None:
            msg.flags |= MSG_OOB if size else MSG_OOB | MSG_TRUNC
        return extra.byte[:size]
    if sk.state == TCP_CLOSE or sk.shutdown & RCV_SHUTDOWN:
        return b""
    raise err(errno.EAGAIN)


def skip(sk: TcpSock) -> None:
    """Drop the next byte of the receive queue."""
    queue = sk.rx_queue
    assert queue is not None
    sk.copied_off += 1
    sk.rx_bytes -= 1
    if sk.copied_off == len(queue[0]):
        queue.popleft()
        sk.copied_off = 0


def pass_mark(sk: TcpSock) -> None:
    """A read begins at the mark: the urgent byte is no part of it, unless it is in line."""
    if sk.rx_bytes:
        if not sk.flags & SOCK_OOBINLINE:
            skip(sk)
        forget(sk)


def readable(sk: TcpSock) -> int:
    """How many bytes a read that begins now finds before it has to stop."""
    ahead = mark(sk)
    if ahead < 0:
        return sk.rx_bytes
    if ahead:
        return min(ahead, sk.rx_bytes)
    return sk.rx_bytes if sk.flags & SOCK_OOBINLINE else max(sk.rx_bytes - 1, 0)


def inq(sk: TcpSock) -> int:
    """SIOCINQ: what can be read, up to the mark (tcp_inq)."""
    ahead = mark(sk)
    if ahead < 0 or sk.flags & SOCK_OOBINLINE or ahead >= sk.rx_bytes:
        return sk.rx_bytes
    return ahead


def poll(sk: TcpSock) -> tuple[int, int]:
    """(how many bytes of the queue are none to read, EPOLLPRI while MSG_OOB has something)."""
    extra = sk.rcv_extra
    if extra is None or not extra.state:
        return 0, 0
    hole = 1 if extra.seq == copied_seq(sk) and not sk.flags & SOCK_OOBINLINE else 0
    return hole, EPOLLPRI if extra.state == URG_VALID else 0


# Going out -------------------------------------------------------------------------------------------------


def pointer_for(sk: TcpSock, seq: int) -> int:
    """The urgent pointer of a segment that begins at ``seq``, 0 for none (tcp_transmit_skb)."""
    up = sk.snd_up
    if up <= sk.snd_una or seq >= up:
        return 0
    if up - seq <= 0xFFFF:
        return up - seq
    return 0xFFFF if seq + 0xFFFF > sk.snd_nxt else 0

"""recvmsg() on a TCP socket (tcp_recvmsg): hand out queued payload, the same object when it fits, and open the
window.
"""

from __future__ import annotations

import errno
from struct import Struct

from pysock.core.clock import NEVER
from pysock.core.errors import err
from pysock.core.sock import RCV_SHUTDOWN, SOCK_DONE, SOCK_OOBINLINE, MsgHdr
from pysock.core.sockopt_set import SOCK_PEEK_OFF, SOCK_RCVBUF_LOCKED
from pysock.families.inet.tcp import peek, urgent
from pysock.families.inet.tcp.output import select_window, send_ack
from pysock.families.inet.tcp.sock import TcpSock
from pysock.uapi.in_ import IPPROTO_TCP
from pysock.uapi.socket import MSG_DONTWAIT, MSG_ERRQUEUE, MSG_OOB, MSG_PEEK, MSG_TRUNC, MSG_WAITALL
from pysock.uapi.tcp import TCP_CLOSE, TCP_CM_INQ, TCP_ESTABLISHED, TCP_LISTEN, TCP_SYN_RECV, TCP_SYN_SENT

_int = Struct("=i").pack


def recvmsg(sk: TcpSock, size: int, flags: int, msg: MsgHdr | None = None) -> bytes:
    """At most ``size`` bytes; b"" at the end of the stream. EAGAIN, ENOTCONN, and the connection's error (tcp(7)).

    Inside, a result may be shorter than what is queued only when ``size`` says so.
    """
    while not flags & ~MSG_DONTWAIT and sk.rcv_extra is None:
        queue = sk.rx_queue
        if queue:
            chunk = queue[0]
            n = len(chunk)
            if sk.copied_off or n > size or (n < size and (len(queue) > 1 or n < sk.rcvlowat)):
                break
            queue.popleft()
            sk.rx_bytes -= n
            # Only then can there be something to tell the peer: see cleanup_rbuf().
            if not sk.pingpong or sk.rcv_nxt - sk.rcv_wup > sk.rcv_mss or 2 * (sk.rcv_adv - sk.rcv_nxt) <= sk.win_space:
                cleanup_rbuf(sk, n)
            return chunk if type(chunk) is bytes else bytes(chunk)
        if flags or not size or sk.state != TCP_ESTABLISHED or sk.err or sk.shutdown or sk.rcvtimeo != NEVER:
            break
        sk.wait(NEVER)
    if flags & MSG_ERRQUEUE:
        return sk.prot.recv_error(sk, size, flags, msg)  # type: ignore[attr-defined,no-any-return]  # TCP's has it
    if flags & MSG_PEEK and sk.flags & SOCK_PEEK_OFF and not flags & MSG_OOB:
        return peek.receive(sk, size, flags)
    data = _recvmsg_slow(sk, size, flags, msg)
    if msg is not None and sk.rcv_extra is not None and sk.rcv_extra.inq and not flags & MSG_OOB:
        left = sk.rx_bytes or (1 if sk.flags & SOCK_DONE else 0)  # after a FIN: go on, there is an end to read
        msg.add_control(IPPROTO_TCP, TCP_CM_INQ, _int(left))
    return data


def _recvmsg_slow(sk: TcpSock, size: int, flags: int, msg: MsgHdr | None) -> bytes:
    if sk.state == TCP_LISTEN:
        raise err(errno.ENOTCONN)
    if flags & MSG_OOB:
        return urgent.recv(sk, size, flags, msg)
    target = 1
    if flags & MSG_WAITALL:
        target = size
    elif sk.rcvlowat > 1:
        target = min(sk.rcvlowat, size)
    target = max(target, 1) if size else 0
    deadline = NEVER if not flags and sk.rcvtimeo == NEVER else sk.rcv_deadline(flags)
    taken: list[bytes | memoryview] = []
    got = 0
    while True:
        here = sk.rx_bytes
        ahead = -1
        if sk.rcv_extra is not None:
            ahead = urgent.mark(sk)
            if not ahead and got:
                break
            if not ahead and not flags & MSG_PEEK:
                urgent.pass_mark(sk)
            here = urgent.readable(sk)
        if flags & MSG_PEEK:
            if here and (here >= target or here == ahead):
                return _peek(sk, min(size, here))
        elif here and got < size:
            got += take(sk, min(size - got, here), taken, keep=not flags & MSG_TRUNC)
            cleanup_rbuf(sk, got)
            if ahead > 0 and not urgent.mark(sk):
                break
        if got >= target and (got or not size):
            break
        if got and (sk.err or sk.state == TCP_CLOSE or sk.shutdown & RCV_SHUTDOWN):
            break
        if flags & MSG_PEEK and here and (sk.err or sk.shutdown & RCV_SHUTDOWN or not deadline):
            return _peek(sk, min(size, here))
        if sk.flags & SOCK_DONE:
            break
        if sk.err:
            if got:
                break
            raise err(sk.take_error())
        if sk.shutdown & RCV_SHUTDOWN:
            break
        if sk.state == TCP_CLOSE:
            raise err(errno.ENOTCONN)
        if not deadline:
            if got:
                break
            raise err(errno.EAGAIN)
        if sk.state in (TCP_SYN_SENT, TCP_SYN_RECV) and not sk.dport:
            raise err(errno.ENOTCONN)
        if not sk.wait(deadline):
            if got:
                break
            raise err(errno.EAGAIN)
    if flags & MSG_TRUNC:
        return bytes(got)
    if len(taken) == 1:
        piece = taken[0]
        return piece if type(piece) is bytes else bytes(piece)
    return b"".join(taken)


def take(sk: TcpSock, size: int, into: list[bytes | memoryview], keep: bool = True) -> int:
    """Move up to ``size`` queued bytes to ``into``; a chunk that is read in part stays with an offset."""
    queue = sk.rx_queue
    assert queue is not None
    offset = sk.copied_off
    got = 0
    while queue and got < size:
        chunk = queue[0]
        available = len(chunk) - offset
        n = min(available, size - got)
        if keep:
            into.append(chunk if n == len(chunk) else memoryview(chunk)[offset : offset + n])
        got += n
        if n == available:
            queue.popleft()
            offset = 0
        else:
            offset += n
    sk.copied_off = offset
    sk.rx_bytes -= got
    return got


def _peek(sk: TcpSock, size: int) -> bytes:
    out: list[bytes | memoryview] = []
    offset = sk.copied_off
    if not urgent.mark(sk) and not sk.flags & SOCK_OOBINLINE:
        offset += 1
    left = size
    for chunk in sk.rx_queue or ():
        if not left:
            break
        piece = memoryview(chunk)[offset : offset + left]
        out.append(piece)
        left -= len(piece)
        offset = max(offset - len(chunk), 0)
    return b"".join(out)


def cleanup_rbuf(sk: TcpSock, copied: int) -> None:
    """tcp_cleanup_rbuf(): acknowledge now if that is worth a segment, or if the window grew a lot by this read."""
    rcv_nxt = sk.rcv_nxt
    if sk.delack_at != NEVER and (
        rcv_nxt - sk.rcv_wup > sk.rcv_mss or (copied and not sk.pingpong and not sk.rx_bytes)
    ):
        sk.kernel.tick()
        _grow_rcvbuf(sk)
        send_ack(sk)
        return
    if not copied or sk.shutdown & RCV_SHUTDOWN:
        return
    offered = sk.rcv_adv - rcv_nxt
    if offered < 0:
        offered = 0
    if 2 * offered <= sk.win_space:
        sk.kernel.tick()
        _grow_rcvbuf(sk)
        before = sk.rcv_adv
        window = select_window(sk) << sk.rcv_wscale
        sk.rcv_adv = before
        if window and window >= 2 * offered:
            send_ack(sk)


def _grow_rcvbuf(sk: TcpSock) -> None:
    """tcp_rcv_space_adjust(), in short: a program that keeps up gets a larger buffer, up to tcp_rmem[2]."""
    tcp = sk.tcp
    if sk.rcvbuf >= tcp.rmem[2] or sk.flags & SOCK_RCVBUF_LOCKED or not tcp.moderate_rcvbuf:
        return
    read = sk.rcv_nxt - sk.rx_bytes - sk.rcvq_seq
    now = sk.kernel.now
    interval = max(sk.srtt >> 3, 1_000_000)
    if now - sk.rcvq_time < interval and read < sk.win_space:
        return
    if 2 * read > sk.win_space:
        sk.rcvbuf = min(max(sk.rcvbuf, 4 * read), tcp.rmem[2])
        sk.set_rcvbuf_window()
    sk.rcvq_seq = sk.rcv_nxt - sk.rx_bytes
    sk.rcvq_time = now

"""sendmsg() on a TCP socket (tcp_sendmsg): take the program's bytes by reference, send what may leave now, wait for
room.
"""

from __future__ import annotations

import errno
from collections import deque

from pysock.core.errors import err
from pysock.core.sock import SEND_SHUTDOWN, MsgHdr
from pysock.core.sock_cmsg import SendCookie, parse_send
from pysock.core.sockopt_set import SOCK_TX_TSTAMP, TX_STAMPED
from pysock.families.inet import zerocopy
from pysock.families.inet.tcp.ack import queued_bytes
from pysock.families.inet.tcp.output import write_xmit, xmit_data
from pysock.families.inet.tcp.rare import notsent_room
from pysock.families.inet.tcp.sock import NAGLE_CORK, NAGLE_OFF, TcpSock
from pysock.families.inet.tcp.states import CAN_SEND
from pysock.uapi.socket import MSG_MORE, MSG_OOB, MSG_ZEROCOPY, SOL_SOCKET
from pysock.uapi.tcp import TCP_ESTABLISHED, TCP_SYN_RECV, TCP_SYN_SENT

_HELD = MSG_MORE | MSG_OOB | MSG_ZEROCOPY


def sendmsg(sk: TcpSock, data: bytes, flags: int, msg: MsgHdr | None = None) -> int:
    """Queue ``data``; block while the buffer is full, unless told not to. Returns how many bytes were taken.

    EPIPE after shutdown, without a connection and after a lost one, EAGAIN when not a byte fits and blocking is off;
    EINVAL and EPERM for control messages.
    """
    n = len(data)
    # Fast path: nothing waits, the whole of it may leave as one segment. (In this state SHUT_WR was not called.)
    if (
        sk.state == TCP_ESTABLISHED
        and n
        and n <= sk.size_goal
        and not sk.unsent_bytes
        and not sk.err
        and not sk.ca_state
        and not flags & _HELD
        and not sk.flags & SOCK_TX_TSTAMP
        and (msg is None or not msg.control)
    ):
        nonagle = sk.nonagle
        used = sk.snd_nxt + n - sk.snd_una
        if (
            used <= sk.snd_wnd
            and used <= sk.sndbuf
            and n <= (sk.cwnd - sk.packets_out) * sk.mss
            and nonagle <= NAGLE_OFF
            and (nonagle or used == n or sk.snd_sml <= sk.snd_una or n == sk.mss)
        ):
            xmit_data(sk, (data,), n)
            return n
    tsflags = _stamps_wanted(sk, msg) if msg is not None or sk.flags & SOCK_TX_TSTAMP else 0
    taken = _sendmsg_slow(sk, data, flags, tsflags)
    if tsflags and 0 < taken < n:
        _mark(sk, tsflags)
    if flags & MSG_ZEROCOPY and taken:
        zerocopy.completed(sk)
    return taken


def _stamps_wanted(sk: TcpSock, msg: MsgHdr | None) -> int:
    """What the program wants to hear of this send (SOF_TIMESTAMPING_*; 0: nothing): what the socket says, or a control
    message of level SOL_SOCKET (sock_cmsg_send); those of other levels are ignored. EINVAL, EPERM.
    """
    cookie = SendCookie(sk)
    for level, kind, data in msg.control if msg is not None else ():
        if level == SOL_SOCKET:
            parse_send(sk, kind, data, cookie)
    return cookie.tsflags if cookie.tsflags & TX_STAMPED else 0


def _mark(sk: TcpSock, tsflags: int) -> None:
    from pysock.families.inet.tcp.stamps import mark

    mark(sk, tsflags)


def _sendmsg_slow(sk: TcpSock, data: bytes, flags: int, tsflags: int) -> int:
    deadline = sk.snd_deadline(flags)
    if sk.state in (TCP_SYN_SENT, TCP_SYN_RECV):
        _wait_connected(sk, deadline)
    _check(sk)
    total = len(data)
    taken = 0
    view: bytes | memoryview = data
    while taken < total:
        room = sk.sndbuf - queued_bytes(sk)
        if room <= 0 or not notsent_room(sk, 0):
            # Nothing more will join what waits, so neither Nagle nor cork may hold it (TCP_NAGLE_PUSH). Packets move
            # when the kernel is left: only then can room appear.
            write_xmit(sk, push=True)
            sk.nospace = True
            if deadline == 0:
                sk.kernel.softnet.run_pending()
                if sk.sndbuf - queued_bytes(sk) <= 0 or not notsent_room(sk, 0):
                    if taken:
                        return taken
                    raise err(errno.EAGAIN)
                continue
            if not sk.wait(deadline):
                if taken:
                    return taken
                raise err(errno.EAGAIN)
            if sk.err or sk.shutdown & SEND_SHUTDOWN or sk.state not in CAN_SEND:
                if taken:
                    return taken
                _check(sk)
            continue
        n = min(room, total - taken)
        if n == total:
            piece: bytes | memoryview = data
        else:
            view = memoryview(data)
            piece = view[taken : taken + n]
        queue = sk.unsent
        if queue is None:
            queue = sk.unsent = deque()
        queue.append(piece)
        sk.unsent_bytes += n
        taken += n
        if flags & MSG_OOB and taken == total:
            sk.snd_up = sk.write_seq  # the urgent byte is the last one (tcp_mark_urg)
        if tsflags and taken == total:
            _mark(sk, tsflags)
        _push(sk, flags if taken == total else flags | MSG_MORE)
    return taken


def _push(sk: TcpSock, flags: int) -> None:
    """tcp_push(): MSG_MORE holds a partial segment back as TCP_CORK does."""
    if flags & MSG_MORE and not sk.nonagle & NAGLE_CORK:
        sk.nonagle |= NAGLE_CORK
        write_xmit(sk)
        sk.nonagle &= ~NAGLE_CORK
    else:
        write_xmit(sk)


def _check(sk: TcpSock) -> None:
    """Why nothing can be sent, if so."""
    if sk.err:
        number = sk.take_error()
        raise err(number)
    if sk.shutdown & SEND_SHUTDOWN:
        raise err(errno.EPIPE)
    if sk.state not in CAN_SEND:
        raise err(errno.EPIPE)


def _wait_connected(sk: TcpSock, deadline: int) -> None:
    """sk_stream_wait_connect()."""
    while sk.state in (TCP_SYN_SENT, TCP_SYN_RECV) and not sk.err:
        if not deadline or not sk.wait(deadline):
            raise err(errno.EAGAIN)

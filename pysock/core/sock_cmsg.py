"""Control messages of level SOL_SOCKET, for sockets of every family that queue packets.

What a receive tells beside the data: receive times, drops, mark and priority (sock_recv_cmsgs; SO_TIMESTAMP and its
kin, SO_TIMESTAMPING, SO_RXQ_OVFL, SO_RCVMARK, SO_RCVPRIORITY), and UDP_GRO's segment size. `receive_common` is called
when `Sock.flags` has a bit of SOCK_RECV_EXTRAS; `mark_arrival` when such a packet is queued.

What a send says about its packets (__sock_cmsg_send): a `SendCookie`, which `apply` puts into each of them.
"""

from __future__ import annotations

import errno
import sys
from struct import Struct

from pysock.core.capability import CAP_NET_ADMIN, CAP_NET_RAW
from pysock.core.clock import NSEC_PER_SEC, NSEC_PER_USEC
from pysock.core.errors import err
from pysock.core.sock import SOCK_RCVTSTAMPNS, SOCK_TIMESTAMP
from pysock.core.sock_ext import ext_of
from pysock.core.sockopt_set import (
    SOCK_NOTE_CPU,
    SOCK_RCVMARK,
    SOCK_RCVPRIORITY,
    SOCK_RX_TSTAMP,
    SOCK_RXQ_OVFL,
    SOCK_TSTAMP_NEW,
    SOCK_UDP_GRO,
    need,
)
from pysock.uapi import socket as so
from pysock.uapi.tcp import TCP_ESTABLISHED
from pysock.uapi.udp import UDP_GRO

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from pysock.core.skbuff import SkBuff
    from pysock.core.sock import MsgHdr, Sock

_TIME: Final = Struct("=qq")
_THREE_TIMES: Final = Struct("=6q")
_U32: Final = Struct("=I")
_STAMPED: Final = SOCK_TIMESTAMP | SOCK_RX_TSTAMP
_TX_RECORD: Final = (
    so.SOF_TIMESTAMPING_TX_HARDWARE | so.SOF_TIMESTAMPING_TX_SOFTWARE | so.SOF_TIMESTAMPING_TX_SCHED
    | so.SOF_TIMESTAMPING_TX_ACK | so.SOF_TIMESTAMPING_TX_COMPLETION
)  # fmt: skip
_TIMESTAMPING: Final = (so.SO_TIMESTAMPING, so.SO_TIMESTAMPING_NEW)


# Out -----------------------------------------------------------------------------------------------------


class SendCookie:
    """What holds for the packets of one send: what the socket says, or the send itself (struct sockcm_cookie).

    ``gso_size`` is UDP_SEGMENT's (bytes of payload of a datagram, 0: all are one).
    ``tsflags`` are SOF_TIMESTAMPING_*, ``ts_opt_id`` the program's own number for the notices (-1: the socket counts),
    ``txtime`` the instant to leave in ns of the socket's clock (0: now).
    """

    __slots__ = ("gso_size", "mark", "priority", "ts_opt_id", "tsflags", "txtime")

    def __init__(self, sk: Sock) -> None:
        self.mark = sk.mark
        self.priority = sk.priority
        self.tsflags = 0 if sk.ext is None else sk.ext.tsflags
        self.ts_opt_id = -1
        self.txtime = self.gso_size = 0

    def apply(self, sk: Sock, skb: SkBuff) -> None:
        """Let a packet of the send say it too."""
        if self.priority:
            skb.priority = self.priority
        if self.mark:
            skb.mark = self.mark
        if self.txtime:
            skb.tstamp = self.txtime


def parse_send(sk: Sock, kind: int, data: bytes, cookie: SendCookie) -> None:
    """One control message of level SOL_SOCKET, in a send on ``sk``. EINVAL for a malformed one, one that there is not,
    or one that an option must allow first (SO_TXTIME, SOF_TIMESTAMPING_OPT_ID); EPERM.
    """
    if kind in (so.SCM_RIGHTS, so.SCM_CREDENTIALS):
        return
    if kind == so.SO_MARK:
        need(sk.creds, CAP_NET_RAW, CAP_NET_ADMIN)
        cookie.mark = _number(data, 4)
    elif kind == so.SO_PRIORITY:
        priority = _number(data, 4)
        if priority > 6:
            need(sk.creds, CAP_NET_RAW, CAP_NET_ADMIN)
        cookie.priority = priority
    elif kind == so.SCM_TXTIME and sk.ext is not None and sk.ext.has_txtime:
        cookie.txtime = _number(data, 8)
    elif kind in _TIMESTAMPING:
        flags = _number(data, 4)
        if flags & ~_TX_RECORD:
            raise err(errno.EINVAL)
        cookie.tsflags = cookie.tsflags & ~_TX_RECORD | flags
    elif kind == so.SCM_TS_OPT_ID and _numbers_sends(sk):
        cookie.ts_opt_id = _number(data, 4)
    else:
        raise err(errno.EINVAL)


def _number(data: bytes, size: int) -> int:
    if len(data) != size:
        raise err(errno.EINVAL)
    return int.from_bytes(data, sys.byteorder)


def _numbers_sends(sk: Sock) -> bool:
    return sk.type != so.SOCK_STREAM and sk.ext is not None and bool(sk.ext.tsflags & so.SOF_TIMESTAMPING_OPT_ID)


# In ------------------------------------------------------------------------------------------------------


def mark_arrival(sk: Sock, skb: SkBuff) -> None:
    """``skb`` is about to be queued: note when, on which CPU, and how many were dropped before it."""
    if sk.flags & _STAMPED and not skb.tstamp:
        skb.tstamp = sk.kernel.clock.time_ns()
    if sk.flags & SOCK_RXQ_OVFL and sk.ext is not None and sk.ext.drops:
        skb.need_ext().dropcount = sk.ext.drops
    if sk.flags & SOCK_NOTE_CPU and sk.state == TCP_ESTABLISHED:
        note_cpu(sk, skb)


def note_cpu(sk: Sock, skb: SkBuff) -> None:
    """``skb`` came in for the connection ``sk``, on this CPU (sk_incoming_cpu_update, sock_rps_save_rxhash)."""
    ext = ext_of(sk)
    ext.incoming_cpu = sk.kernel.softnet.cpu
    ext.rxhash = skb.hash


def receive_common(sk: Sock, skb: SkBuff, msg: MsgHdr) -> None:
    """Append what the socket asked for about ``skb``, in Linux's order."""
    receive_timestamp(sk, skb.tstamp, msg)
    flags = sk.flags
    if flags & SOCK_RXQ_OVFL and skb.ext is not None and skb.ext.dropcount:
        msg.add_control(so.SOL_SOCKET, so.SO_RXQ_OVFL, _U32.pack(skb.ext.dropcount & 0xFFFFFFFF))
    if flags & SOCK_RCVMARK:
        msg.add_control(so.SOL_SOCKET, so.SO_MARK, _U32.pack(skb.mark))
    if flags & SOCK_RCVPRIORITY:
        msg.add_control(so.SOL_SOCKET, so.SO_PRIORITY, _U32.pack(skb.priority & 0xFFFFFFFF))
    if flags & SOCK_UDP_GRO and skb.gso_size:
        msg.add_control(so.SOL_UDP, UDP_GRO, _U32.pack(skb.gso_size))


def receive_timestamp(sk: Sock, stamp: int, msg: MsgHdr) -> None:
    """The time of arrival, ``stamp`` ns of wall-clock time, 0: now (__sock_recv_timestamp)."""
    flags = sk.flags
    if not flags & _STAMPED:
        return
    new = flags & SOCK_TSTAMP_NEW
    seconds, rest = divmod(stamp or sk.kernel.clock.time_ns(), NSEC_PER_SEC)
    if flags & SOCK_TIMESTAMP:
        if flags & SOCK_RCVTSTAMPNS:
            kind = so.SO_TIMESTAMPNS_NEW if new else so.SCM_TIMESTAMPNS
            msg.add_control(so.SOL_SOCKET, kind, _TIME.pack(seconds, rest))
        else:
            kind = so.SO_TIMESTAMP_NEW if new else so.SCM_TIMESTAMP
            msg.add_control(so.SOL_SOCKET, kind, _TIME.pack(seconds, rest // NSEC_PER_USEC))
    if flags & SOCK_RX_TSTAMP:
        add_timestamping(sk, seconds * NSEC_PER_SEC + rest, msg)


def add_timestamping(sk: Sock, stamp: int, msg: MsgHdr) -> None:
    """struct scm_timestamping with a software time alone (put_cmsg_scm_timestamping)."""
    kind = so.SO_TIMESTAMPING_NEW if sk.flags & SOCK_TSTAMP_NEW else so.SCM_TIMESTAMPING
    msg.add_control(so.SOL_SOCKET, kind, _THREE_TIMES.pack(*divmod(stamp, NSEC_PER_SEC), 0, 0, 0, 0))


def count_drop(sk: Sock) -> None:
    """A packet was refused (sk_drops_inc)."""
    ext_of(sk).drops += 1

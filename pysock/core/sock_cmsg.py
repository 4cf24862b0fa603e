"""What a receive tells beside the data, for sockets of every family that queue packets: receive times, drops, mark and
priority (sock_recv_cmsgs; SO_TIMESTAMP and its kin, SO_TIMESTAMPING, SO_RXQ_OVFL, SO_RCVMARK, SO_RCVPRIORITY).

`receive_common` is called when `Sock.flags` has a bit of SOCK_RECV_EXTRAS; `mark_arrival` when such a packet is queued.
"""

from __future__ import annotations

from struct import Struct

from pysock.core.clock import NSEC_PER_SEC, NSEC_PER_USEC
from pysock.core.sock import SOCK_RCVTSTAMPNS, SOCK_TIMESTAMP
from pysock.core.sock_ext import ext_of
from pysock.core.sockopt_set import (
    SOCK_NOTE_CPU,
    SOCK_RCVMARK,
    SOCK_RCVPRIORITY,
    SOCK_RX_TSTAMP,
    SOCK_RXQ_OVFL,
    SOCK_TSTAMP_NEW,
)
from pysock.uapi import socket as so
from pysock.uapi.tcp import TCP_ESTABLISHED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from pysock.core.skbuff import SkBuff
    from pysock.core.sock import MsgHdr, Sock

_TIME: Final = Struct("=qq")
_THREE_TIMES: Final = Struct("=6q")
_U32: Final = Struct("=I")
_STAMPED: Final = SOCK_TIMESTAMP | SOCK_RX_TSTAMP


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

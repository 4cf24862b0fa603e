"""When a packet left: SO_TIMESTAMPING's transmit times, read from the error queue (__skb_tstamp_tx,
Documentation/networking/timestamping.rst).

A send with SOF_TIMESTAMPING_TX_SCHED or _TX_SOFTWARE, which the socket or a control message asks for, marks its packet
with a `TxStamp`. The device layer tells it when the queueing discipline gets the packet (each one on the way, where
devices are stacked) and when the driver does; each time a notice is queued: the frame, or nothing with _OPT_TSONLY; the
time in an SCM_TIMESTAMPING message; and a struct sock_extended_err with ENOMSG, which of the two it is in ee_info, and
with _OPT_ID the number of the send in ee_data, which SCM_TS_OPT_ID may choose.

TCP, which has _TX_ACK too and counts bytes, is in tcp/stamps.py. Not here: hardware times.
"""

from __future__ import annotations

import errno

from pysock.core.dev_xmit import enable_tx_stamps
from pysock.core.skb_data import skb_to_bytes
from pysock.core.sock_cmsg import add_timestamping
from pysock.core.sock_ext import ext_of
from pysock.core.sockopt_set import TX_STAMPED
from pysock.families.inet.ip_error import ExtendedError, queue_error
from pysock.uapi import socket as so

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from pysock.core.skbuff import SkBuff
    from pysock.core.sock import MsgHdr, Sock
    from pysock.core.sock_cmsg import SendCookie
    from pysock.families.inet.inet_sock import InetSock

SO_EE_ORIGIN_TIMESTAMPING: Final = 4
_LEAVES: Final = so.SOF_TIMESTAMPING_TX_SCHED | so.SOF_TIMESTAMPING_TX_SOFTWARE
_FLAG_OF: Final = {
    so.SCM_TSTAMP_SCHED: so.SOF_TIMESTAMPING_TX_SCHED,
    so.SCM_TSTAMP_SND: so.SOF_TIMESTAMPING_TX_SOFTWARE,
    so.SCM_TSTAMP_ACK: so.SOF_TIMESTAMPING_TX_ACK,
}


class SentAt(ExtendedError):
    """A packet left at ``stamp``, ns of wall-clock time."""

    __slots__ = ("data", "stamp")

    def __init__(self, kind: int, key: int, stamp: int) -> None:
        ExtendedError.__init__(self, errno.ENOMSG, SO_EE_ORIGIN_TIMESTAMPING, 0, 0, kind, None, None)
        self.data = key
        self.stamp = stamp

    def describe(self, sk: Sock, msg: MsgHdr) -> None:
        if ext_of(sk).tsflags & so.SOF_TIMESTAMPING_SOFTWARE:
            add_timestamping(sk, self.stamp, msg)


class TxStamp:
    """Who wants to know about a packet: ``sk``; what its ``flags`` (SOF_TIMESTAMPING_*) ask for; under which number."""

    __slots__ = ("flags", "key", "sk")

    def __init__(self, sk: InetSock, flags: int, key: int) -> None:
        self.sk = sk
        self.flags = flags
        self.key = key

    def __call__(self, skb: SkBuff, kind: int) -> None:
        """It is a frame from ``skb.data`` on."""
        if self.flags & _FLAG_OF[kind]:
            self.notice(kind, b"" if self.bare else skb_to_bytes(skb))

    def notice(self, kind: int, data: bytes) -> None:
        """Queue a notice of ``kind`` (SCM_TSTAMP_*), which quotes ``data``."""
        queue_error(self.sk, SentAt(kind, self.key, self.sk.kernel.clock.time_ns()), data)

    @property
    def bare(self) -> bool:
        """The notices quote nothing."""
        return ext_of(self.sk).tsflags & so.SOF_TIMESTAMPING_OPT_TSONLY != 0


def mark(sk: InetSock, skb: SkBuff, cookie: SendCookie) -> None:
    """Let a datagram that ``sk`` is about to send tell when it leaves, if that was asked for."""
    flags = cookie.tsflags
    if not flags & _LEAVES:
        return
    key = 0
    if flags & so.SOF_TIMESTAMPING_OPT_ID:
        key = cookie.ts_opt_id
        if key < 0:
            ext = ext_of(sk)
            key = ext.tskey
            ext.tskey = key + 1 & 0xFFFFFFFF
    enable_tx_stamps(sk.net)
    skb.need_ext().tx_stamp = TxStamp(sk, flags & TX_STAMPED, key)

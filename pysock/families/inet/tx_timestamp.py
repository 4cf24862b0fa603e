"""When a datagram left: SO_TIMESTAMPING's transmit times, read from the error queue (__skb_tstamp_tx,
Documentation/networking/timestamping.rst).

A send with SOF_TIMESTAMPING_TX_SCHED or _TX_SOFTWARE queues a notice for each of the two: the frame as it was given
to the device, or nothing with _OPT_TSONLY; the time in an SCM_TIMESTAMPING message; and a struct sock_extended_err with
ENOMSG, which of the two it is in ee_info, and with _OPT_ID the number of the send in ee_data. Queue and device are
asked in the same instant here, so both times are the same.

Not here: hardware times, _TX_ACK, and what TCP and IPv6 do of this.
"""

from __future__ import annotations

import errno

from pysock.core.sock_cmsg import add_timestamping
from pysock.core.sock_ext import ext_of
from pysock.families.inet.ip_error import ExtendedError, queue_error
from pysock.uapi import socket as so

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from pysock.core.sock import MsgHdr, Sock
    from pysock.families.inet.inet_sock import InetSock

SO_EE_ORIGIN_TIMESTAMPING: Final = 4
SCM_TSTAMP_SND: Final = 0
SCM_TSTAMP_SCHED: Final = 1
_KINDS: Final = (
    (so.SOF_TIMESTAMPING_TX_SCHED, SCM_TSTAMP_SCHED),
    (so.SOF_TIMESTAMPING_TX_SOFTWARE, SCM_TSTAMP_SND),
)


class SentAt(ExtendedError):
    """A datagram left at ``stamp``, ns of wall-clock time."""

    __slots__ = ("data", "stamp")

    def __init__(self, kind: int, key: int, stamp: int) -> None:
        ExtendedError.__init__(self, errno.ENOMSG, SO_EE_ORIGIN_TIMESTAMPING, 0, 0, kind, None, None)
        self.data = key
        self.stamp = stamp

    def describe(self, sk: Sock, msg: MsgHdr) -> None:
        if ext_of(sk).tsflags & so.SOF_TIMESTAMPING_SOFTWARE:
            add_timestamping(sk, self.stamp, msg)


def sent(sk: InetSock, head: bytes, data: bytes) -> None:
    """A datagram, ``data`` behind the headers ``head``, is about to leave ``sk``, which has SOCK_TX_TSTAMP."""
    ext = ext_of(sk)
    flags = ext.tsflags
    key = 0
    if flags & so.SOF_TIMESTAMPING_OPT_ID:
        key = ext.tskey
        ext.tskey = key + 1 & 0xFFFFFFFF
    frame = b"" if flags & so.SOF_TIMESTAMPING_OPT_TSONLY else head + data
    now = sk.kernel.clock.time_ns()
    for flag, kind in _KINDS:
        if flags & flag:
            queue_error(sk, SentAt(kind, key, now), frame)

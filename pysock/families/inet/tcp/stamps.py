"""Transmit times of a byte stream (tcp_tx_timestamp, tcp_ack_tstamp; SO_TIMESTAMPING).

A send's mark is its last byte: a notice tells when the segment with that byte came to the queueing discipline, when to
the driver, and when all before it and itself were acknowledged (SOF_TIMESTAMPING_TX_ACK). With SOF_TIMESTAMPING_OPT_ID
the notice has the byte's number, counted from what was unacknowledged (with _OPT_ID_TCP: unwritten) when that was set.
Of several marks in one segment the last counts. Notices of acknowledgements quote the payload alone, the others the
whole frame.

A socket with marks pays for them, nobody else: its route is a detour, so `ip_output.stamp` comes by with each segment,
and its retransmission queue is one that tells when something leaves it.
"""

from __future__ import annotations

from collections import deque

from pysock.core.dev_xmit import enable_tx_stamps
from pysock.core.skb_data import skb_copy_bits
from pysock.core.sock_ext import ext_of
from pysock.core.sockopt_set import SOCK_TX_TSTAMP, TX_STAMPED
from pysock.families.inet.tcp.rare import rare_of
from pysock.families.inet.tcp.sock import Segment, TcpSock
from pysock.families.inet.tx_timestamp import TxStamp
from pysock.uapi import socket as so

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import SupportsIndex

    from pysock.core.skbuff import SkBuff

_M32 = 0xFFFFFFFF


class StampedQueue(deque[Segment]):
    """A retransmission queue whose socket has marks."""

    __slots__ = ("sk",)

    def __init__(self, sk: TcpSock, segments: deque[Segment] | None) -> None:
        deque.__init__(self, segments or ())
        self.sk = sk

    def __delitem__(self, index: SupportsIndex) -> None:  # type: ignore[override]  # a deque has no slices
        segment = self[index]
        deque.__delitem__(self, index)
        if index == 0:
            _acknowledged(self.sk, segment)


def first_key(sk: TcpSock, written: bool) -> int:
    """Which byte has number 0."""
    return sk.write_seq if written else sk.snd_una


def mark(sk: TcpSock, tsflags: int) -> None:
    """The last byte that was written is one to be told about."""
    if not sk.flags & SOCK_TX_TSTAMP:  # a control message asks, not the socket
        sk.flags |= SOCK_TX_TSTAMP
        sk.reset_flows()
    enable_tx_stamps(sk.net)
    if not isinstance(sk.rtx_queue, StampedQueue):
        sk.rtx_queue = StampedQueue(sk, sk.rtx_queue)
    rare = rare_of(sk)
    if rare.marks is None:
        rare.marks = deque()
    last = sk.write_seq - 1
    key = (last - ext_of(sk).tskey) & _M32 if tsflags & so.SOF_TIMESTAMPING_OPT_ID else 0
    rare.marks.append((last, TxStamp(sk, tsflags & TX_STAMPED, key)))


def departs(sk: TcpSock, skb: SkBuff) -> None:
    """A segment is on its way: has it a marked byte?"""
    n = skb.data_len
    marks = None if sk.rare is None else sk.rare.marks
    if not n or not marks:
        return
    at = skb.transport_header - skb.data
    number = int.from_bytes(skb_copy_bits(skb, at + 4, 4), "big")
    start = sk.snd_una + ((number - sk.snd_una) & _M32)
    inside = [stamp for last, stamp in marks if start <= last < start + n]
    if inside:
        skb.need_ext().tx_stamp = inside[-1]


def _acknowledged(sk: TcpSock, segment: Segment) -> None:
    """Everything before the end of ``segment`` arrived."""
    marks = None if sk.rare is None else sk.rare.marks
    done = None
    while marks and marks[0][0] < segment.end_seq:
        done = marks.popleft()[1]
    if done is not None and done.flags & so.SOF_TIMESTAMPING_TX_ACK:
        done.notice(so.SCM_TSTAMP_ACK, b"" if done.bare else b"".join(segment.frags))

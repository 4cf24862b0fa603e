"""Pacing: a connection's segments leave one after another at its rate, instead of as a burst (tcp_update_pacing_rate,
tcp_update_skb_after_send, tcp_pacing_check, tcp_tso_autosize).

Only who asks for it is paced: by SO_MAX_PACING_RATE, or because the device's queueing discipline looks at sockets
(fq). The rate is twice what cwnd and the round trip make in slow start, 1.2 times that afterwards, SO_MAX_PACING_RATE
at most. The first ten segments leave at once.

How it works without a question on the fast path: the route of such a socket is a detour, so `ip_output.stamp` comes by
with every packet and calls `departs`, which reckons the instant of the next one and sets the socket's ``size_goal``
to 0. Nothing fits that, so `output.write_xmit` ends up asking `may_send`, which gives the goal back for one segment
when the instant has come, and has a timer wait for it when not.
"""

from __future__ import annotations

from pysock.core.clock import NSEC_PER_SEC
from pysock.core.sock_ext import NO_PACING_LIMIT
from pysock.core.timer import Timer
from pysock.families.inet.ip_output import is_paced
from pysock.families.inet.tcp import output
from pysock.families.inet.tcp.rare import rare_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from pysock.core.skbuff import SkBuff
    from pysock.families.inet.tcp.sock import TcpSock

SLOW_START_RATIO: Final = 200  # percent: tcp_pacing_ss_ratio
AVOIDANCE_RATIO: Final = 120  # tcp_pacing_ca_ratio
_AT_ONCE: Final = 10  # data segments
_MIN_SEGMENTS: Final = 2  # of a super-segment, however slow: tcp_min_tso_segs
_SHIFT: Final = 10  # a super-segment is about a ms's worth: sk_pacing_shift


class Pacer:
    """``next`` is the instant (ns) before which no new data leaves, ``goal`` the true size goal, ``segments`` how many
    were sent.
    """

    __slots__ = ("goal", "next", "segments", "timer")

    def __init__(self, sk: TcpSock) -> None:
        self.next = 0
        self.goal = sk.mss
        self.segments = 0
        self.timer = Timer(lambda: _on_timer(sk))


def rate_of(sk: TcpSock) -> int:
    """sk_pacing_rate, bytes a second; NO_PACING_LIMIT while no round trip was measured."""
    ceiling = NO_PACING_LIMIT if sk.ext is None else sk.ext.pacing_rate
    if not sk.srtt:
        return ceiling
    ratio = SLOW_START_RATIO if sk.cwnd < sk.ssthresh // 2 else AVOIDANCE_RATIO
    rate = sk.mss * max(sk.cwnd, sk.packets_out) * ratio * (NSEC_PER_SEC // 100) * 8 // sk.srtt
    return min(rate, ceiling)


def departs(sk: TcpSock, skb: SkBuff) -> None:
    """A packet with data is on its way: when may the next one leave?"""
    n = skb.data_len
    if not n:
        return
    rare = rare_of(sk)
    pacer = rare.pacer
    if pacer is None:
        pacer = rare.pacer = Pacer(sk)
    if sk.size_goal:
        pacer.goal = max(sk.size_goal, pacer.goal)
        sk.size_goal = 0
    prior = pacer.next
    at = skb.tstamp = max(prior, sk.kernel.now)
    pacer.segments += -(-n // sk.mss)
    rate = rate_of(sk)
    if rate and rate != NO_PACING_LIMIT and pacer.segments >= _AT_ONCE:
        duration = n * NSEC_PER_SEC // rate
        at += duration - min(duration // 2, at - prior)  # what was late does not make the next one late too
    pacer.next = at


def may_send(sk: TcpSock) -> bool:
    """Whether the next segment may leave, of ``size_goal`` bytes at most; if not yet, a timer will see to it."""
    pacer = None if sk.rare is None else sk.rare.pacer
    if pacer is None:
        return False
    rt = sk.dst
    if rt is None or not is_paced(sk, rt.dev):  # not any more
        sk.size_goal = pacer.goal
        return True
    if sk.kernel.now < pacer.next:
        sk.kernel.timers.mod_timer(pacer.timer, pacer.next)
        return False
    mss = sk.mss
    segments = max((rate_of(sk) >> _SHIFT) // mss, _MIN_SEGMENTS)
    sk.size_goal = max(min(segments * mss, pacer.goal), 1)
    return True


def _on_timer(sk: TcpSock) -> None:
    if sk.unsent_bytes:
        output.write_xmit(sk)

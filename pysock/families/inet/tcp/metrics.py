"""What a route prescribes to the connections that use it (RTAX_*, ip-route(8); tcp_connect_init, tcp_init_metrics).

    advmss    the MSS that we offer, whatever the MTU        initcwnd  segments of the first flight
    window    most that we ever offer, in bytes              initrwnd  segments that our SYN offers
    rtt       the round trip to expect, in eighths of ms     rto_min   the shortest timeout, in ms, if it is locked

Linux takes rtt from a cache by peer, which it fills from the route when an earlier connection ends; here it holds at
once.
"""

from __future__ import annotations

from pysock.core.clock import NSEC_PER_MSEC
from pysock.families.inet.fib import (
    RTAX_ADVMSS,
    RTAX_INITCWND,
    RTAX_INITRWND,
    RTAX_LOCK,
    RTAX_RTO_MIN,
    RTAX_RTT,
    RTAX_WINDOW,
)
from pysock.families.inet.tcp import rtt
from pysock.families.inet.tcp.af import longest_payload
from pysock.families.inet.tcp.rare import rare_of
from pysock.families.inet.tcp.sock import RTO_MAX, RTO_MIN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.families.inet.route import Rtable
    from pysock.families.inet.tcp.af import TcpAf
    from pysock.families.inet.tcp.sock import TcpSock


def offered_mss(af: TcpAf, rt: Rtable | None) -> int:
    """The MSS to offer over ``rt`` (dst_metric_advmss)."""
    if rt is None or not rt.metrics:
        return longest_payload(af, rt)
    return min(rt.metrics.get(RTAX_ADVMSS, 0), af.longest - af.headers) or longest_payload(af, rt)


def syn_window(space: int, rt: Rtable | None, mss: int) -> int:
    """The window of a SYN, which is never scaled, for ``space`` bytes of buffer (tcp_select_initial_window)."""
    window = min(space, 0xFFFF)
    if rt is not None and rt.metrics:
        window = min(window, rt.metrics.get(RTAX_WINDOW, 0) or window)
        window = min(window, rt.metrics.get(RTAX_INITRWND, 0) * mss or window)
    return window


def use_route(sk: TcpSock, metrics: dict[int, int]) -> None:
    """A connection begins to use a route: its window is limited unless the program limited it (TCP_WINDOW_CLAMP)."""
    if not sk.window_clamp and metrics.get(RTAX_WINDOW, 0):
        sk.window_clamp = metrics[RTAX_WINDOW]
        sk.set_rcvbuf_window()


def established(sk: TcpSock, metrics: dict[int, int]) -> None:
    """A connection is open: its first flight and timeout."""
    sk.cwnd = metrics.get(RTAX_INITCWND, 0) or sk.cwnd
    least = RTO_MIN
    if metrics.get(RTAX_LOCK, 0) >> RTAX_RTO_MIN & 1 and metrics.get(RTAX_RTO_MIN, 0):
        least = metrics[RTAX_RTO_MIN] * NSEC_PER_MSEC
        rare = rare_of(sk)
        if rare.rto_min == RTO_MIN:
            rare.rto_min = least
            if sk.srtt:
                rtt.set_rto(sk)
    expected = metrics.get(RTAX_RTT, 0) * NSEC_PER_MSEC
    if expected > sk.srtt:
        expected >>= 3
        sk.rto = min(expected + max(2 * expected, least), RTO_MAX)

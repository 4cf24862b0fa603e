"""Path MTU discovery for connections (RFC 1191 6.5; tcp_v4_mtu_reduced, tcp_sync_mss, tcp_simple_retransmit).

When a router says that a segment was too big, the MSS shrinks, and what was sent with the old one is cut and sent again
at once: it is gone for certain, and not because of congestion.
"""

from __future__ import annotations

from pysock.families.inet.ip_fragment import accepts_pmtu
from pysock.families.inet.nexthop import update_pmtu
from pysock.families.inet.tcp.af import longest_payload
from pysock.families.inet.tcp.recovery import mark_lost, retransmit_lost
from pysock.families.inet.tcp.sock import CA_LOSS, TcpSock
from pysock.uapi.in_ import IP_PMTUDISC_DONT
from pysock.uapi.tcp import TCP_CLOSE, TCP_LISTEN

_TIMESTAMPS = 12


def mtu_reduced(sk: TcpSock, mtu: int) -> None:
    """"Fragmentation needed" about a segment in flight: a router on the way takes at most ``mtu`` bytes."""
    if sk.state in (TCP_LISTEN, TCP_CLOSE) or not accepts_pmtu(sk):
        return
    update_pmtu(sk.inet, sk.daddr, mtu)
    if sk.pmtudisc != IP_PMTUDISC_DONT:
        sync_mss(sk)


def sync_mss(sk: TcpSock) -> None:
    """The path to the peer takes less now: fit into it (tcp_sync_mss)."""
    try:
        rt = sk.af.rebuild_route(sk)
    except OSError:
        return
    mss = longest_payload(sk.af, rt) - len(sk.ip_options) - (_TIMESTAMPS if sk.ts_ok else 0)
    if mss < sk.mss:
        _shrink(sk, mss)


def _shrink(sk: TcpSock, mss: int) -> None:
    """Count what is in flight in segments of ``mss`` bytes, and send again those that were larger."""
    old, sk.mss = sk.mss, mss
    sk.size_goal = mss if sk.size_goal == old else max(sk.size_goal, mss)
    for segment in sk.rtx_queue or ():
        n = segment.end_seq - segment.seq
        segs = max(1, -(-n // mss))
        sk.packets_out += segs - segment.segs
        if segment.sacked:
            sk.sack_out += segs - segment.segs
        if segment.lost:
            sk.lost_out += segs - segment.segs
        if segment.resent:
            sk.retrans_out -= segment.segs
            segment.resent = False
        too_big = min(n, old) > mss and not segment.sacked
        segment.segs = segs
        if too_big:
            mark_lost(sk, segment)
    if sk.lost_out:
        if sk.ca_state != CA_LOSS:
            sk.ca_state = CA_LOSS
            sk.recover = sk.snd_nxt
            sk.ssthresh = max(sk.cwnd, 2)
        retransmit_lost(sk)

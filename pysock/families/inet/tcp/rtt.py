"""The round-trip estimator and the retransmission timeout (RFC 6298, with Linux's bounds).

A sample is taken once a round trip and at most once a `SAMPLE_INTERVAL` (RFC 6298 3 asks for no more): the RTO's
granularity is 1 ms, and on a loopback an estimator that runs for every ACK would cost more than IP does.

``srtt`` is kept as 8 times the smoothed time and ``rttvar`` as 4 times the deviation, in ns, so that both updates are
a shift.
"""

from __future__ import annotations

from pysock.core.clock import NSEC_PER_MSEC
from pysock.families.inet.tcp.sock import RTO_MAX, RTO_MIN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.families.inet.tcp.sock import TcpSock


#: ns between two samples
SAMPLE_INTERVAL = NSEC_PER_MSEC


def update(sk: TcpSock, sample: int) -> None:
    """Take in one measurement in ns (tcp_rtt_estimator, tcp_set_rto). Never one of a retransmitted segment (Karn)."""
    sk.rtt_at = sk.kernel.now
    if not sk.min_rtt or sample < sk.min_rtt:
        sk.min_rtt = sample
    srtt = sk.srtt
    if srtt:
        delta = sample - (srtt >> 3)
        sk.srtt = srtt + delta
        if delta < 0:
            delta = -delta
        sk.rttvar += delta - (sk.rttvar >> 2)
    else:
        sk.srtt = max(sample, 1) << 3
        sk.rttvar = sample << 1
    set_rto(sk)


def set_rto(sk: TcpSock) -> None:
    """RTO = SRTT + max(RTO_MIN, 4 * RTTVAR), at most RTO_MAX (RFC 6298 2.3; the minimum is Linux's reading of G)."""
    var = sk.rttvar
    rare = sk.rare
    if rare is not None:
        sk.rto = min((sk.srtt >> 3) + max(var, rare.rto_min), rare.rto_max)
    else:
        rto = (sk.srtt >> 3) + (var if var > RTO_MIN else RTO_MIN)
        sk.rto = rto if rto < RTO_MAX else RTO_MAX
    sk.backoff = 0


def stamped_before(sk: TcpSock, echo: int, at: int) -> bool:
    """Whether ``echo``, a timestamp of ours that came back (0: none did), is older than the instant ``at`` (ns)."""
    return echo != 0 and bool((echo - at // NSEC_PER_MSEC - sk.ts_offset) & 0x80000000)

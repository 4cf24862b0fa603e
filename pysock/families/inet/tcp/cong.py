"""Congestion control (RFC 5681): small interchangeable objects, no state of their own.

What an algorithm keeps about a connection is on the `TcpSock` (``cwnd``, ``ssthresh``, ``cwnd_cnt``, in segments), or
in an object of its own in ``cong_state``.
`NoControl` is the base with no-op answers and a useful algorithm for tests at once; `Reno` is the default here
(Linux: tcp_cong.c).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.families.inet.tcp.sock import TcpSock


class CongestionControl:
    """struct tcp_congestion_ops. Methods run in softirq context under the kernel lock and must not raise."""

    __slots__ = ()
    name = "none"

    def init(self, sk: TcpSock) -> None:
        """The connection is established."""

    def ssthresh(self, sk: TcpSock) -> int:
        """The slow-start threshold after a loss, in segments (at least 2)."""
        return max(sk.cwnd, 2)

    def cong_avoid(self, sk: TcpSock, acked: int) -> None:
        """``acked`` segments were acknowledged while the window was the limit."""


class Reno(CongestionControl):
    """RFC 5681: slow start, then one segment a round trip; half the window at a loss."""

    __slots__ = ()
    name = "reno"

    def ssthresh(self, sk: TcpSock) -> int:
        return max(sk.cwnd >> 1, 2)

    def cong_avoid(self, sk: TcpSock, acked: int) -> None:
        if sk.cwnd < sk.ssthresh:
            room = sk.ssthresh - sk.cwnd
            grown = min(acked, room)
            sk.cwnd += grown
            acked -= grown
            if not acked:
                return
        sk.cwnd_cnt += acked
        if sk.cwnd_cnt >= sk.cwnd:
            sk.cwnd_cnt -= sk.cwnd
            sk.cwnd += 1


RENO = Reno()
NO_CONTROL = CongestionControl()
BUILTIN = {algorithm.name: algorithm for algorithm in (RENO, NO_CONTROL)}

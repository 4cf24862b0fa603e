"""CUBIC (RFC 9438; Linux: tcp_cubic.c): a window that grows with time since the last loss, not with round trips.

After a loss the window is a cubic function of time that comes back to where the loss was, stays near it for a while,
and then looks for more; it never falls behind what Reno would have. HyStart is not here: slow start is Reno's.

`net.ipv4.tcp_congestion_control` and TCP_CONGESTION choose it by its name.
"""

from __future__ import annotations

from pysock.core.clock import NSEC_PER_SEC
from pysock.families.inet.tcp.cong import CongestionControl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from pysock.families.inet.tcp.sock import TcpSock

C: Final = 0.4  # segments a second cubed (RFC 9438 5.1)
BETA: Final = 717 / 1024  # what a loss leaves of the window
#: segments a round trip by which Reno's window grows when it falls to BETA only (RFC 9438 4.3)
ALPHA: Final = 3 * (1 - BETA) / (1 + BETA)


class CubicState:
    """What it keeps of a connection: ``last_max`` (the window at the last loss), ``origin`` (where the curve is flat)
    and ``reno`` (what Reno would have) are segments, ``start`` is ns (0: no epoch), ``k`` seconds from there to
    ``origin``. ``credit`` are segments acknowledged and not yet turned into growth.
    """

    __slots__ = ("credit", "k", "last_max", "origin", "reno", "start")

    def __init__(self) -> None:
        self.last_max = self.origin = self.reno = self.k = self.credit = 0.0
        self.start = 0


class Cubic(CongestionControl):
    __slots__ = ()
    name = "cubic"

    def init(self, sk: TcpSock) -> None:
        sk.cong_state = CubicState()

    def ssthresh(self, sk: TcpSock) -> int:
        state = state_of(sk)
        cwnd = sk.cwnd
        state.start = 0
        # Fast convergence (RFC 9438 4.7): less than last time means that somebody new wants a share.
        state.last_max = cwnd * (1 + BETA) / 2 if cwnd < state.last_max else cwnd
        return max(int(cwnd * BETA), 2)

    def cong_avoid(self, sk: TcpSock, acked: int) -> None:
        if sk.cwnd < sk.ssthresh:
            grown = min(acked, sk.ssthresh - sk.cwnd)
            sk.cwnd += grown
            acked -= grown
            if not acked:
                return
        state = state_of(sk)
        now = sk.kernel.now
        if not state.start:
            _begin(state, sk.cwnd, now)
        target = _target(state, sk.cwnd, now - state.start + sk.min_rtt, acked)
        # A round trip from now on the window shall be ``target``, but no more than half as much again (RFC 9438 4.4).
        state.credit += acked * (min(target, 1.5 * sk.cwnd) - sk.cwnd) / sk.cwnd
        if state.credit >= 1:
            whole = int(state.credit)
            sk.cwnd += whole
            state.credit -= whole


def state_of(sk: TcpSock) -> CubicState:
    """The connection's; new when another algorithm was at work before."""
    state = sk.cong_state
    if not isinstance(state, CubicState):
        state = sk.cong_state = CubicState()
    return state


def _begin(state: CubicState, cwnd: int, now: int) -> None:
    """The first growth after a loss, or at all: where the curve begins (RFC 9438 4.2)."""
    state.start = now
    state.reno = cwnd
    state.credit = 0.0
    if cwnd < state.last_max:
        state.k = ((state.last_max - cwnd) / C) ** (1 / 3)
        state.origin = state.last_max
    else:
        state.k = 0.0
        state.origin = cwnd


def _target(state: CubicState, cwnd: int, elapsed: int, acked: int) -> float:
    """The window that this moment is for, at least a little more than now."""
    t = elapsed / NSEC_PER_SEC - state.k
    state.reno += ALPHA * acked / cwnd
    return max(C * t * t * t + state.origin, state.reno, cwnd + 0.01)


CUBIC = Cubic()

"""When a quiet connection is asked for a sign of life (SO_KEEPALIVE; RFC 1122 4.2.3.6). The timer itself is in
`timers`.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.families.inet.tcp.sock import TcpSock


def keepalive_time(sk: TcpSock) -> int:
    return sk.keepidle or sk.tcp.keepalive_time


def idle_time(sk: TcpSock) -> int:
    """How long nothing has come from the peer (keepalive_time_elapsed)."""
    return sk.kernel.now - max(sk.last_rcv, sk.lrcvtime)


def start_keepalive(sk: TcpSock) -> None:
    """Arm the keepalive timer of a connection that has SO_KEEPALIVE: what it has been idle already counts."""
    sk.probes_out = 0
    sk.keepalive_at = sk.kernel.now + max(keepalive_time(sk) - idle_time(sk), 0)
    sk.arm(sk.keepalive_at)

"""Connections made and ended: handshake, accept, and the close of both ends."""

from __future__ import annotations

from benchmarks.rows.common import LOCALHOST, clock
from benchmarks.stack import Stack


def tcp_crr(stack: Stack, count: int) -> float:
    """Connections a second.  The client closes first, so TIME_WAIT is on its side.

    Each round has a listener, and so a port, of its own: the ports that wait from the last round are in
    nobody's way.
    """
    net = stack.net
    with net.socket(net.AF_INET, net.SOCK_STREAM) as listener:
        listener.bind((LOCALHOST, 0))
        listener.listen(16)
        address = listener.getsockname()
        start = clock()
        for _ in range(count):
            client = net.socket(net.AF_INET, net.SOCK_STREAM)
            client.connect(address)
            server, _ = listener.accept()
            client.close()
            server.close()
        return count / (clock() - start)

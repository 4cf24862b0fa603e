"""A device that goes away, down or out of carrier with packets waiting in each kind of discipline."""

from __future__ import annotations

import pytest
from support.qdiscs import Line, udp

from pysock.core.device import dev_close, netif_carrier_off, netif_stop_queue, unregister_netdev
from pysock.core.skbuff import SkBuff

KINDS = {
    "pfifo": {},
    "pfifo_fast": {},
    "prio": {},
    "tbf": {"rate": 100, "burst": 1000, "limit": 100_000},
    "fq": {"maxrate": 100},
    "fq_codel": {},
}


@pytest.mark.parametrize("how", ["down", "unregister"])
@pytest.mark.parametrize("kind", KINDS)
def test_everything_is_freed_and_no_timer_stays(kind: str, how: str) -> None:
    line = Line(kind, **KINDS[kind])
    if kind not in ("tbf", "fq"):
        netif_stop_queue(line.dev)
    freed: list[SkBuff] = []
    for number in range(5):
        skb = udp(500, number)
        skb.destructor = freed.append
        line.send(skb)
    assert line.qdisc.statistics()["qlen"] > 0
    if how == "down":
        dev_close(line.dev)
    else:
        unregister_netdev(line.dev)
    assert len(freed) == 5
    assert (line.qdisc.qlen, line.qdisc.backlog) == (0, 0)
    assert not line.kernel.advance()


def test_without_carrier_nothing_is_queued() -> None:
    line = Line("fq")
    netif_carrier_off(line.dev)
    line.send(udp(100))
    assert line.qdisc.statistics()["qlen"] == 0
    assert line.dev.stats.tx_dropped == 1

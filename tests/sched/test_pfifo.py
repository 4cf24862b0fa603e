"""pfifo and bfifo: one queue, limited in packets or in bytes."""

from __future__ import annotations

import errno

import pytest
from support.devices import boot, make, packet

from pysock.core.dev_xmit import NET_XMIT_DROP, NET_XMIT_SUCCESS
from pysock.core.device import NetDevice
from pysock.core.skbuff import SkBuff
from pysock.sched.noqueue import NoQueue
from pysock.sched.pfifo import Bfifo, Pfifo


@pytest.fixture
def dev() -> NetDevice:
    return make(boot(), queue=True)


def test_pfifo_counts_packets(dev: NetDevice) -> None:
    qdisc = Pfifo(dev, limit=2)
    order = [packet(dev, bytes(n)) for n in (1000, 0, 1)]
    assert [qdisc.enqueue(skb) for skb in order] == [NET_XMIT_SUCCESS, NET_XMIT_SUCCESS, NET_XMIT_DROP]
    assert qdisc.peek() is order[0]
    assert [qdisc.dequeue(), qdisc.dequeue(), qdisc.dequeue()] == [order[0], order[1], None]
    assert qdisc.peek() is None
    assert qdisc.drops == 1


def test_bfifo_counts_bytes(dev: NetDevice) -> None:
    qdisc = Bfifo(dev, limit=100)
    assert qdisc.enqueue(packet(dev, bytes(66))) == NET_XMIT_SUCCESS  # 80
    assert qdisc.enqueue(packet(dev, bytes(7))) == NET_XMIT_DROP  # 101
    assert qdisc.enqueue(packet(dev, bytes(6))) == NET_XMIT_SUCCESS  # 100
    assert qdisc.enqueue(packet(dev, b"")) == NET_XMIT_DROP
    assert qdisc.backlog == 100


def test_default_limits(dev: NetDevice) -> None:
    assert Pfifo(dev).dump() == {"limit": 10}
    assert Bfifo(dev).dump() == {"limit": 10 * 1514}
    assert Pfifo(dev, limit=0).enqueue(packet(dev)) == NET_XMIT_DROP


@pytest.mark.parametrize("kind", [Pfifo, Bfifo])
@pytest.mark.parametrize("limit", [-1, 1 << 32])
def test_bad_limits(dev: NetDevice, kind: type[Pfifo] | type[Bfifo], limit: int) -> None:
    with pytest.raises(OSError) as info:
        kind(dev, limit=limit)
    assert info.value.errno == errno.EINVAL


def test_purge_frees(dev: NetDevice) -> None:
    qdisc = Pfifo(dev)
    freed: list[SkBuff] = []
    for _ in range(3):
        skb = packet(dev)
        skb.destructor = freed.append
        qdisc.enqueue(skb)
    qdisc.purge()
    assert len(freed) == 3
    assert (qdisc.qlen, qdisc.backlog) == (0, 0)


def test_noqueue_holds_nothing(dev: NetDevice) -> None:
    qdisc = NoQueue(dev)
    assert qdisc.queueless
    assert qdisc.enqueue(packet(dev)) == NET_XMIT_DROP
    assert qdisc.dequeue() is qdisc.peek() is None

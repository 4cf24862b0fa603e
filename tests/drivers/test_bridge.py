"""The bridge: learning, ageing, flooding, what it keeps to itself, and ports that come and go."""

from __future__ import annotations

import errno

import pytest
from support.devices import boot, frame, make, ops_of, wire

from pysock.core.dev import netif_rx
from pysock.core.device import NetDevice, dev_close, dev_open, unregister_netdev
from pysock.core.eth import eth_type_trans
from pysock.core.skbuff import SkBuff
from pysock.drivers.bridge import br_add_if, br_del_if
from pysock.drivers.bridge.device import BridgeOps
from pysock.drivers.bridge.fdb import AGEING_NS

A, B, C = (bytes((2, 0, 0, 0, 1, n)) for n in range(3))
ALL = b"\xff" * 6


class Lan:
    """A bridge with three ports."""

    def __init__(self) -> None:
        self.kernel = boot()
        net = self.kernel.init_net
        self.kernel.enter()
        self.br = self.kernel.dev_layer.create_device(net, "bridge", "br0")
        dev_open(self.br)
        self.ports = [wire(self.kernel, f"w{n}") for n in range(3)]
        for port in self.ports:
            br_add_if(self.br, port)
        self.kernel.leave()
        assert isinstance(self.br.netdev_ops, BridgeOps)
        self.ops = self.br.netdev_ops

    def arrive(self, at: int, src: bytes, dst: bytes, payload: bytes = b"x", ethertype: int = 0x88B5) -> list[int]:
        """A frame comes in at a port; the ports that it goes out of."""
        before = [len(ops_of(port).sent) for port in self.ports]
        raw = frame(payload, ethertype, dst, src)
        skb = SkBuff(raw, 0, len(raw))
        self.kernel.enter()
        eth_type_trans(skb, self.ports[at])
        netif_rx(skb)
        self.kernel.leave()
        found = [n for n, port in enumerate(self.ports) if len(ops_of(port).sent) > before[n]]
        for n in found:
            assert ops_of(self.ports[n]).sent[-1] == raw
        return found


def test_unknown_is_flooded_and_known_is_not() -> None:
    lan = Lan()
    assert lan.arrive(0, A, B) == [1, 2]
    assert lan.arrive(1, B, A) == [0]
    assert lan.arrive(0, A, B) == [1]
    assert lan.arrive(2, C, ALL) == [0, 1]
    assert lan.arrive(0, B, C) == [2]  # B has moved
    assert lan.arrive(2, C, B) == [0]


def test_a_frame_for_its_own_side_stays_there() -> None:
    lan = Lan()
    lan.arrive(0, A, ALL)
    assert lan.arrive(0, B, A) == []


def test_what_was_not_heard_for_five_minutes_is_forgotten() -> None:
    lan = Lan()
    lan.arrive(0, A, ALL)
    lan.kernel.sleep(AGEING_NS - 1)
    assert lan.arrive(1, B, A) == [0]
    lan.kernel.sleep(2)
    assert lan.arrive(1, B, A) == [0, 2]
    lan.kernel.sleep(2 * AGEING_NS)
    assert lan.ops.fdb.learned == 0
    assert [known.state for known in lan.ops.learned.values()] == ["permanent"]
    assert not lan.ops.fdb.timer.pending


def test_frames_for_the_bridge_go_up_and_no_further() -> None:
    lan = Lan()
    before = lan.br.stats.rx_packets
    assert lan.arrive(0, A, lan.br.dev_addr) == []
    assert lan.br.stats.rx_packets == before + 1
    assert lan.arrive(0, A, b"\x01\x80\xc2\0\0\0") == [1, 2]  # who has no spanning tree hands on BPDUs
    assert lan.arrive(0, A, b"\x01\x80\xc2\0\0\1") == []  # pause
    assert lan.arrive(0, ALL, B) == []  # nobody is a group
    assert ALL not in lan.ops.learned


def test_the_bridge_itself_sends() -> None:
    lan = Lan()
    lan.arrive(2, C, ALL)
    for dst, expected in ((C, [2]), (B, [0, 1, 2])):
        for port in lan.ports:
            ops_of(port).sent.clear()
        raw = frame(b"x", dst=dst, src=lan.br.dev_addr)
        skb = SkBuff(raw, 0, len(raw))
        skb.dev = lan.br
        lan.kernel.enter()
        lan.br.queue_xmit(skb)
        lan.kernel.leave()
        assert [n for n, port in enumerate(lan.ports) if ops_of(port).sent == [raw]] == expected


def igmp(kind: int) -> bytes:
    return bytes((0x46, 0, 0, 32)) + bytes(5) + b"\2" + bytes(14) + bytes((kind,)) + bytes(7)


def test_reports_of_membership_go_only_to_queriers() -> None:
    lan = Lan()
    group = b"\x01\0\x5e\0\0\x05"
    assert lan.arrive(0, A, group, igmp(0x16), 0x0800) == []
    assert lan.arrive(1, B, group, igmp(0x11), 0x0800) == [0, 2]
    assert lan.arrive(0, A, group, igmp(0x16), 0x0800) == [1]
    mld = bytes((0x60, 0, 0, 0, 0, 16, 0, 1)) + bytes(32) + bytes((58, 0, 5, 2, 0, 0, 1, 0, 143)) + bytes(7)
    assert lan.arrive(0, A, b"\x33\x33\0\0\0\x16", mld, 0x86DD) == [1]
    assert lan.arrive(0, A, group, b"data for the group") == [1, 2]


def test_ports_come_and_go() -> None:
    lan = Lan()
    lan.arrive(1, B, ALL)
    lan.kernel.enter()
    dev_close(lan.ports[1])
    assert B not in lan.ops.learned
    lan.kernel.leave()
    assert lan.arrive(0, A, B) == [2]
    lan.kernel.enter()
    br_del_if(lan.br, lan.ports[0])
    unregister_netdev(lan.ports[2])
    lan.kernel.leave()
    assert list(lan.ops.ports) == [lan.ports[1]]
    assert not lan.br.carrier
    assert lan.ports[0].promiscuity == 0
    lan.kernel.enter()
    unregister_netdev(lan.br)
    lan.kernel.leave()
    assert lan.ports[1].rx_handler is None
    assert lan.kernel.errors.total == 0


def test_who_may_be_a_port() -> None:
    lan = Lan()
    other = lan.kernel.dev_layer.create_device(lan.kernel.init_net, "bridge", "br1")
    loopback: NetDevice = lan.kernel.dev_layer.create_device(lan.kernel.init_net, "loopback", "lo1")
    for dev, number in ((lan.ports[0], errno.EBUSY), (other, errno.ELOOP), (loopback, errno.EINVAL)):
        with pytest.raises(OSError, match=r"\[Errno \d+\]") as caught:
            br_add_if(lan.br, dev)
        assert caught.value.errno == number
    with pytest.raises(OSError, match="no bridge"):
        br_add_if(lan.ports[0], make(lan.kernel))
    with pytest.raises(OSError, match="Invalid"):
        br_del_if(lan.br, other)

"""Transmitting without a queue: the direct path, what makes a packet fit a device, taps, and drivers that fail."""

from __future__ import annotations

import errno

import pytest
from support.devices import ETH_P_TEST, boot, frame, make, ops_of, packet, softirqs, wire

from pysock.core.dev import PacketType, dev_add_pack, dev_queue_xmit, dev_remove_pack
from pysock.core.device import (
    NETDEV_TX_OK,
    NetDevice,
    NetDeviceOps,
    dev_close,
    netif_start_queue,
    netif_stop_queue,
    netif_wake_queue,
    register_netdev,
)
from pysock.core.kernel import Kernel
from pysock.core.netdev_features import NETIF_F_HW_CSUM, NETIF_F_IP_CSUM, NETIF_F_SG, NETIF_F_TAKES_ALL, NETIF_F_TSO
from pysock.core.skb_copy import skb_clone
from pysock.core.skb_data import skb_append_frag, skb_append_frag_list, skb_to_bytes
from pysock.core.skbuff import CHECKSUM_NONE, CHECKSUM_PARTIAL, SkBuff, skb_orphan
from pysock.uapi.if_ether import ETH_P_ALL, ETH_P_IP, ETH_P_IPV6
from pysock.uapi.if_packet import PACKET_HOST, PACKET_OUTGOING
from pysock.wire.checksum import verify


@pytest.fixture
def kernel() -> Kernel:
    return boot()


def test_straight_to_the_driver(kernel: Kernel) -> None:
    dev = wire(kernel)
    assert dev.xmit_direct
    assert dev_queue_xmit(packet(dev, b"one")) == 0
    assert dev.queue_xmit(packet(dev, b"two")) == 0
    assert ops_of(dev).sent == [frame(b"one"), frame(b"two")]
    assert (dev.stats.tx_packets, dev.stats.tx_bytes) == (2, 2 * 17)


def test_no_device() -> None:
    assert dev_queue_xmit(packet(None)) == -errno.ENODEV


def test_a_device_that_is_down(kernel: Kernel) -> None:
    dev = make(kernel)
    register_netdev(dev)
    freed: list[SkBuff] = []
    skb = packet(dev)
    skb.destructor = freed.append
    assert dev.queue_xmit(skb) == -errno.ENETDOWN
    assert freed == [skb]
    assert dev.stats.tx_dropped == 1


def test_a_kept_transmit_function_follows_the_device(kernel: Kernel) -> None:
    dev = wire(kernel)
    xmit = dev.queue_xmit  # what a route keeps
    assert xmit(packet(dev)) == 0
    dev_close(dev)
    assert xmit(packet(dev)) == -errno.ENETDOWN
    assert len(ops_of(dev).sent) == 1


def test_a_stopped_device_without_a_queue_drops(kernel: Kernel) -> None:
    dev = wire(kernel)
    netif_stop_queue(dev)
    assert dev.queue_xmit(packet(dev)) == -errno.ENETDOWN
    netif_wake_queue(dev)
    assert dev.queue_xmit(packet(dev)) == 0
    netif_stop_queue(dev)
    netif_start_queue(dev)
    assert dev.queue_xmit(packet(dev)) == 0
    assert dev.stats.tx_dropped == 1
    assert len(ops_of(dev).sent) == 2


@pytest.mark.parametrize("features", [NETIF_F_TAKES_ALL, NETIF_F_SG])
def test_busy_without_a_queue_is_a_drop(kernel: Kernel, features: int) -> None:
    dev = wire(kernel, features=features)
    ops_of(dev).room = 0
    dev.queue_xmit(packet(dev))
    assert dev.stats.tx_dropped == 1


# --- drivers that raise -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("features", [NETIF_F_TAKES_ALL, NETIF_F_SG])
def test_a_driver_that_raises_loses_the_packet_and_nothing_else(kernel: Kernel, features: int) -> None:
    dev = wire(kernel, features=features)
    freed: list[SkBuff] = []
    ops_of(dev).raises["start_xmit"] = IndexError("ring")
    for _ in range(3):
        skb = packet(dev)
        skb.destructor = freed.append
        assert dev.queue_xmit(skb) == 0
    assert dev.stats.tx_errors == 3
    assert len(freed) == 3  # the senders got their buffer space back
    (record,) = kernel.errors.records()
    assert (record.owner, record.where, record.count) == ("test-plugin", "ndo_start_xmit", 3)
    ops_of(dev).raises.clear()
    dev.queue_xmit(packet(dev))
    assert len(ops_of(dev).sent) == 1


def test_a_driver_that_raises_after_it_freed_the_packet(kernel: Kernel) -> None:
    freed: list[SkBuff] = []

    class Late(NetDeviceOps):
        def ndo_start_xmit(self, skb: SkBuff, dev: NetDevice) -> int:
            skb_orphan(skb)
            raise RuntimeError("after the fact")

    dev = wire(kernel, ops=Late())
    skb = packet(dev)
    skb.destructor = freed.append
    dev.queue_xmit(skb)
    assert freed == [skb]


def test_a_driver_without_ndo_start_xmit(kernel: Kernel) -> None:
    dev = wire(kernel, ops=NetDeviceOps())
    dev.queue_xmit(packet(dev))
    assert dev.stats.tx_errors == 1
    assert "has no ndo_start_xmit" in kernel.errors.records()[0].text


def test_a_driver_that_returns_nothing_counts_as_done(kernel: Kernel) -> None:
    class Careless(NetDeviceOps):
        def ndo_start_xmit(self, skb: SkBuff, dev: NetDevice) -> int:
            return None  # type: ignore[return-value]  # what a driver without annotations may do

    dev = wire(kernel, ops=Careless())
    assert dev.queue_xmit(packet(dev)) == 0
    assert dev.stats.tx_dropped == 0


# --- making packets fit -----------------------------------------------------------------------------------------------


def partial(dev: NetDevice, payload: bytes, ethertype: int = ETH_P_IP) -> SkBuff:
    """A frame whose payload has its checksum field at offset 2, still to be summed; the pseudo header is empty."""
    skb = packet(dev, payload, ethertype)
    skb.ip_summed = CHECKSUM_PARTIAL
    skb.transport_header = 14
    skb.csum_offset = 2
    return skb


@pytest.mark.parametrize("features", [0, NETIF_F_SG])
def test_a_checksum_the_device_cannot_finish(kernel: Kernel, features: int) -> None:
    dev = wire(kernel, features=features)
    skb = partial(dev, b"\x12\x34\0\0\x56\x78")
    original = skb.head
    dev.queue_xmit(skb)
    (sent,) = ops_of(dev).sent
    assert verify(sent[14:])
    assert sent[14:16] == b"\x12\x34"
    assert original[16:18] == b"\0\0"  # the sender's bytes are its own
    assert ops_of(dev).skbs[0].ip_summed == CHECKSUM_NONE


def test_a_checksum_of_a_clone_leaves_the_original_alone(kernel: Kernel) -> None:
    dev = wire(kernel, features=0)
    kept = partial(dev, b"\x12\x34\0\0\x56\x78")
    dev.queue_xmit(skb_clone(kept))
    assert skb_to_bytes(kept)[16:18] == b"\0\0"
    assert verify(ops_of(dev).sent[0][14:])


def test_a_checksum_the_device_finishes_itself(kernel: Kernel) -> None:
    for features, ethertype in ((NETIF_F_HW_CSUM, ETH_P_IPV6), (NETIF_F_IP_CSUM, ETH_P_IP)):
        dev = wire(kernel, features=features)
        dev.queue_xmit(partial(dev, b"\x12\x34\0\0\x56\x78", ethertype))
        assert ops_of(dev).skbs[0].ip_summed == CHECKSUM_PARTIAL
    dev = wire(kernel, features=NETIF_F_IP_CSUM)
    dev.queue_xmit(partial(dev, b"\x12\x34\0\0\x56\x78", ETH_P_IPV6))
    assert ops_of(dev).skbs[0].ip_summed == CHECKSUM_NONE


def test_a_checksum_field_outside_the_packet_is_the_senders_error(kernel: Kernel) -> None:
    dev = wire(kernel, features=0)
    skb = partial(dev, b"\x12\x34\0\0")
    skb.csum_offset = 1000
    assert dev.queue_xmit(skb) == -errno.ENOMEM
    assert ops_of(dev).sent == []
    assert dev.stats.tx_dropped == 1
    assert kernel.errors.total == 1


def test_frags_are_joined_for_a_device_without_sg(kernel: Kernel) -> None:
    for features, frags in ((0, 0), (NETIF_F_SG, 2)):
        dev = wire(kernel, features=features)
        skb = packet(dev, b"ab")
        skb_append_frag(skb, b"cd")
        skb_append_frag(skb, b"ef")
        dev.queue_xmit(skb)
        assert ops_of(dev).sent == [frame(b"abcdef")]
        assert len(ops_of(dev).skbs[0].frags) == frags


def test_a_frag_list_becomes_frags_for_a_device_that_knows_only_those(kernel: Kernel) -> None:
    dev = wire(kernel, features=NETIF_F_SG)
    skb = packet(dev, b"ab")
    skb_append_frag_list(skb, SkBuff(b"cd", 0, 2))
    dev.queue_xmit(skb)
    assert ops_of(dev).sent == [frame(b"abcd")]
    assert ops_of(dev).skbs[0].frags == (b"cd",)


def test_a_super_segment_nobody_can_cut(kernel: Kernel) -> None:
    dev = wire(kernel, features=NETIF_F_SG | NETIF_F_HW_CSUM)
    skb = packet(dev, bytes(5000), ETH_P_IP)
    skb.gso_size = 1000
    assert dev.queue_xmit(skb) == -errno.ENOMEM
    assert dev.stats.tx_dropped == 1


def test_a_super_segment_is_cut_by_the_hook(kernel: Kernel) -> None:
    dev = wire(kernel, features=NETIF_F_SG)
    asked: list[int] = []

    def cut(skb: SkBuff, features: int) -> list[SkBuff]:
        asked.append(features)
        return [packet(None, part, ETH_P_IP) for part in (b"one", b"two")]

    kernel.dev_layer.gso_segment = cut
    skb = packet(dev, bytes(50), ETH_P_IP)
    skb.gso_size = 25
    freed: list[SkBuff] = []
    skb.destructor = freed.append
    assert dev.queue_xmit(skb) == 0
    assert ops_of(dev).sent == [frame(b"one", ETH_P_IP), frame(b"two", ETH_P_IP)]
    assert asked == [dev.features]
    assert freed == [ops_of(dev).skbs[-1]]  # the sender pays until the last has left
    assert all(one.dev is dev for one in ops_of(dev).skbs)


def test_a_cutter_that_raises_is_contained(kernel: Kernel) -> None:
    def cut(skb: SkBuff, features: int) -> list[SkBuff]:
        raise ValueError("not my protocol")

    kernel.dev_layer.gso_segment = cut
    dev = wire(kernel, features=NETIF_F_SG)
    skb = packet(dev, bytes(50), ETH_P_IP)
    skb.gso_size = 25
    dev.queue_xmit(skb)
    assert dev.stats.tx_dropped == 1
    assert kernel.errors.count("gso") == 1


def test_tso_is_for_its_own_protocol(kernel: Kernel) -> None:
    dev = wire(kernel, features=NETIF_F_SG | NETIF_F_HW_CSUM | NETIF_F_TSO)
    for ethertype, sent in ((ETH_P_IP, 1), (ETH_P_IPV6, 1)):  # the second is dropped: no TSO6
        skb = packet(dev, bytes(5000), ethertype)
        skb.gso_size = 1000
        dev.queue_xmit(skb)
        assert len(ops_of(dev).sent) == sent
    assert dev.stats.tx_dropped == 1


# --- taps -------------------------------------------------------------------------------------------------------------


def test_a_tap_sees_what_is_sent_before_the_driver(kernel: Kernel) -> None:
    dev, other = wire(kernel), wire(kernel)
    seen: list[tuple[str, int, bytes, int]] = []

    def tap(skb: SkBuff, on: NetDevice) -> None:
        seen.append((on.name, skb.pkt_type, skb_to_bytes(skb), len(ops_of(on).sent)))

    everywhere = PacketType(kernel.init_net, ETH_P_ALL, tap)
    dev_add_pack(everywhere)
    assert not dev.xmit_direct
    dev.queue_xmit(packet(dev))
    other.queue_xmit(packet(other))
    assert seen == [("w0", PACKET_OUTGOING, frame(), 0), ("w1", PACKET_OUTGOING, frame(), 0)]
    assert ops_of(dev).skbs[0].pkt_type == PACKET_HOST
    dev_remove_pack(everywhere)
    assert dev.xmit_direct
    dev.queue_xmit(packet(dev))
    assert len(seen) == 2
    with pytest.raises(OSError) as info:
        dev_remove_pack(everywhere)
    assert info.value.errno == errno.ENOENT


def test_a_tap_of_one_device(kernel: Kernel) -> None:
    dev, other = wire(kernel), wire(kernel)
    seen: list[NetDevice] = []

    def tap(skb: SkBuff, on: NetDevice) -> None:
        seen.append(on)

    mine = PacketType(kernel.init_net, ETH_P_ALL, tap, dev)
    dev_add_pack(mine)
    assert other.xmit_direct
    dev.queue_xmit(packet(dev))
    other.queue_xmit(packet(other))
    assert seen == [dev]
    dev_remove_pack(mine)
    assert dev.xmit_direct


def test_a_tap_is_there_for_devices_that_come_later(kernel: Kernel) -> None:
    seen: list[str] = []

    def tap(skb: SkBuff, on: NetDevice) -> None:
        seen.append(on.name)

    dev_add_pack(PacketType(kernel.init_net, ETH_P_ALL, tap))
    dev = wire(kernel, "late")
    dev.queue_xmit(packet(dev))
    assert seen == ["late"]


def test_a_tap_that_raises_spoils_nothing(kernel: Kernel) -> None:
    seen: list[SkBuff] = []

    def bad(skb: SkBuff, dev: NetDevice) -> None:
        raise ValueError("bad tap")

    def good(skb: SkBuff, dev: NetDevice) -> None:
        seen.append(skb)

    dev_add_pack(PacketType(kernel.init_net, ETH_P_ALL, bad))
    dev_add_pack(PacketType(kernel.init_net, ETH_P_ALL, good))
    dev = wire(kernel)
    for _ in range(2):
        dev.queue_xmit(packet(dev))
    assert len(seen) == len(ops_of(dev).sent) == 2
    (record,) = kernel.errors.records()
    assert record.count == 2
    assert record.where.endswith("bad")


# --- the watchdog -----------------------------------------------------------------------------------------------------


def test_a_queue_that_stays_stopped(kernel: Kernel) -> None:
    dev = wire(kernel, queue=True, setup=lambda dev: setattr(dev, "watchdog_timeo", 5_000_000_000))
    start = kernel.now
    netif_stop_queue(dev)
    assert kernel.advance()
    assert kernel.now == start + 5_000_000_000
    assert ops_of(dev).calls.count("tx_timeout") == 1
    kernel.advance()
    assert ops_of(dev).calls.count("tx_timeout") == 2
    ops_of(dev).raises["tx_timeout"] = RuntimeError("reset failed")
    kernel.advance()
    assert kernel.errors.count("test-plugin") == 1
    netif_wake_queue(dev)
    softirqs(kernel)
    assert not kernel.advance()  # no timer is left
    assert ops_of(dev).calls.count("tx_timeout") == 3


def test_no_watchdog_unless_the_driver_wants_one(kernel: Kernel) -> None:
    dev = wire(kernel, queue=True)
    netif_stop_queue(dev)
    assert not kernel.advance()


def test_ops_may_be_called_by_their_linux_names(kernel: Kernel) -> None:
    dev = wire(kernel)
    assert dev.netdev_ops.ndo_start_xmit(packet(dev, b"x", ETH_P_TEST), dev) == NETDEV_TX_OK
    softirqs(kernel)
    assert dev.get_stats().tx_packets == 1

"""Receiving: the backlog, handlers by EtherType, references, and everything that can be wrong with what arrives."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.devices import ETH_P_TEST, MAC, boot, frame, softirqs, wire

from pysock.core.dev import PacketType, dev_add_pack, dev_remove_pack, netif_receive_skb, netif_rx
from pysock.core.device import NetDevice, dev_close, netif_napi_add
from pysock.core.eth import eth_type_trans
from pysock.core.kernel import Kernel
from pysock.core.skb_copy import skb_share_check
from pysock.core.skb_data import skb_to_bytes
from pysock.core.skbuff import SkBuff, consume_skb
from pysock.core.softirq import NET_RX_DROP, NET_RX_SUCCESS
from pysock.uapi.if_ether import ETH_P_ALL
from pysock.uapi.if_packet import PACKET_BROADCAST, PACKET_HOST, PACKET_MULTICAST, PACKET_OTHERHOST


@pytest.fixture
def kernel() -> Kernel:
    return boot()


def arrived(dev: NetDevice, data: bytes | None = None) -> SkBuff:
    """A frame as a driver has it after eth_type_trans."""
    data = frame(dst=dev.dev_addr) if data is None else data
    skb = SkBuff(data, 0, len(data))
    assert eth_type_trans(skb, dev)
    return skb


def test_to_the_handler_of_its_protocol(kernel: Kernel) -> None:
    dev = wire(kernel)
    seen: list[bytes] = []

    def handler(skb: SkBuff) -> None:
        seen.append(bytes(skb.head[skb.data :]))
        assert skb.network_header == skb.data
        consume_skb(skb)

    dev_add_pack(PacketType(kernel.init_net, ETH_P_TEST, handler))
    assert netif_rx(arrived(dev)) == NET_RX_SUCCESS
    assert seen == []  # not before the softirq
    softirqs(kernel)
    assert seen == [b"payload"]
    assert (dev.stats.rx_packets, dev.stats.rx_bytes) == (1, 21)


def test_nobody_wants_it(kernel: Kernel) -> None:
    dev = wire(kernel)
    skb = arrived(dev)
    freed: list[SkBuff] = []
    skb.destructor = freed.append
    netif_rx(skb)
    softirqs(kernel)
    assert dev.stats.rx_nohandler == 1
    assert freed == [skb]


def test_no_device_or_one_that_is_down(kernel: Kernel) -> None:
    dev = wire(kernel)
    skb = arrived(dev)
    dev_close(dev)
    assert netif_rx(skb) == NET_RX_DROP
    assert (dev.stats.rx_dropped, dev.stats.rx_packets) == (1, 0)
    for deliver in (netif_rx, netif_receive_skb):
        assert deliver(SkBuff(b"", 0, 0)) == NET_RX_DROP


def test_the_backlog_is_bounded(kernel: Kernel) -> None:
    dev = wire(kernel)
    kernel.init_net.sysctl.write("net.core.netdev_max_backlog", "3")
    results = [netif_rx(arrived(dev)) for _ in range(5)]
    assert results == [NET_RX_SUCCESS] * 3 + [NET_RX_DROP] * 2
    assert dev.stats.rx_dropped == 2
    assert dev.stats.rx_packets == 3
    assert kernel.softnet.dropped == 2
    softirqs(kernel)
    assert dev.stats.rx_nohandler == 3
    assert netif_rx(arrived(dev)) == NET_RX_SUCCESS


def test_each_of_several_handlers_has_a_reference(kernel: Kernel) -> None:
    dev = wire(kernel)
    seen: list[bytes] = []

    def careful(skb: SkBuff) -> None:
        skb = skb_share_check(skb)
        seen.append(bytes(skb.head[skb.data :]))
        skb.data += 3  # its own now
        skb.len -= 3
        consume_skb(skb)

    handlers = [PacketType(kernel.init_net, ETH_P_TEST, lambda skb, call=careful: call(skb)) for _ in range(3)]
    for pt in handlers:
        dev_add_pack(pt)
    skb = arrived(dev)
    freed: list[SkBuff] = []
    skb.destructor = freed.append
    kernel.dev_layer.receive_skb(skb)
    assert seen == [b"payload"] * 3
    assert freed == [skb]
    for pt in handlers:
        dev_remove_pack(pt)
    assert ETH_P_TEST not in kernel.init_net.ptype_base


def test_a_handler_of_one_device(kernel: Kernel) -> None:
    dev, other = wire(kernel), wire(kernel)
    seen: list[NetDevice | None] = []

    def handler(skb: SkBuff) -> None:
        seen.append(skb.dev)
        consume_skb(skb)

    mine = PacketType(kernel.init_net, ETH_P_TEST, handler, dev)
    dev_add_pack(mine)
    for one in (dev, other, dev):
        kernel.dev_layer.receive_skb(arrived(one))
    assert seen == [dev, dev]
    dev_remove_pack(mine)
    with pytest.raises(OSError) as info:
        dev_remove_pack(mine)
    assert info.value.errno == errno.ENOENT


def test_a_handler_may_take_itself_off(kernel: Kernel) -> None:
    dev = wire(kernel)
    seen: list[str] = []

    def once(skb: SkBuff) -> None:
        seen.append("once")
        dev_remove_pack(first)
        consume_skb(skb)

    def always(skb: SkBuff) -> None:
        seen.append("always")
        consume_skb(skb)

    first = PacketType(kernel.init_net, ETH_P_TEST, once)
    dev_add_pack(first)
    dev_add_pack(PacketType(kernel.init_net, ETH_P_TEST, always))
    for _ in range(2):
        kernel.dev_layer.receive_skb(arrived(dev))
    assert seen == ["once", "always", "always"]


@pytest.mark.parametrize("company", [False, True])
def test_a_handler_that_raises_is_reported_once(kernel: Kernel, company: bool) -> None:
    dev = wire(kernel)
    seen: list[SkBuff] = []

    def broken(skb: SkBuff) -> None:
        raise KeyError("unknown option")

    def fine(skb: SkBuff) -> None:
        seen.append(skb)
        consume_skb(skb)

    dev_add_pack(PacketType(kernel.init_net, ETH_P_TEST, broken))
    if company:
        dev_add_pack(PacketType(kernel.init_net, ETH_P_TEST, fine))
    for _ in range(3):
        netif_rx(arrived(dev))
    softirqs(kernel)
    (record,) = kernel.errors.records()
    assert record.owner == f"packet type {ETH_P_TEST:#06x}"
    assert record.where.endswith("broken")
    assert record.count == 3
    assert dev.stats.rx_dropped == 3
    assert len(seen) == (3 if company else 0)


def test_taps_see_it_first_and_whole(kernel: Kernel) -> None:
    dev = wire(kernel)
    order: list[tuple[str, bytes]] = []

    def tap(skb: SkBuff, on: NetDevice) -> None:
        assert on is dev
        order.append(("tap", skb_to_bytes(skb)))

    def handler(skb: SkBuff) -> None:
        order.append(("handler", b""))
        consume_skb(skb)

    dev_add_pack(PacketType(kernel.init_net, ETH_P_TEST, handler))
    dev_add_pack(PacketType(kernel.init_net, ETH_P_ALL, tap))
    netif_rx(arrived(dev))
    softirqs(kernel)
    assert order == [("tap", frame(dst=MAC)), ("handler", b"")]


def test_a_tap_sees_even_what_nobody_handles(kernel: Kernel) -> None:
    dev = wire(kernel)
    seen: list[int] = []

    def tap(skb: SkBuff, on: NetDevice) -> None:
        seen.append(skb.pkt_type)
        raise ValueError("and it is broken")

    dev_add_pack(PacketType(kernel.init_net, ETH_P_ALL, tap))
    netif_rx(arrived(dev))
    softirqs(kernel)
    assert seen == [PACKET_HOST]
    assert dev.stats.rx_nohandler == 1
    assert kernel.errors.total == 1


def test_a_napi_driver(kernel: Kernel) -> None:
    dev = wire(kernel)
    ring = [arrived(dev) for _ in range(100)]
    got: list[SkBuff] = []
    dev_add_pack(PacketType(kernel.init_net, ETH_P_TEST, got.append))

    def poll(budget: int) -> int:
        work = 0
        while ring and work < budget:
            netif_receive_skb(ring.pop())
            work += 1
        if work < budget:
            napi.complete_done(work)
        return work

    napi = netif_napi_add(dev, poll)
    assert napi.schedule()
    assert not napi.schedule()
    softirqs(kernel)
    assert len(got) == 100
    assert not napi.scheduled
    assert dev.stats.rx_packets == 100


def test_a_poll_that_raises_takes_nobody_down(kernel: Kernel) -> None:
    dev = wire(kernel)

    def poll(budget: int) -> int:
        raise RuntimeError("ring corrupt")

    netif_napi_add(dev, poll).schedule()
    netif_rx(arrived(dev))
    softirqs(kernel)
    assert dev.stats.rx_nohandler == 1
    assert kernel.errors.count("test-plugin") == 1


# --- eth_type_trans ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dst", "pkt_type"),
    [
        (MAC, PACKET_HOST),
        (b"\xff" * 6, PACKET_BROADCAST),
        (b"\x01\0\x5e\0\0\1", PACKET_MULTICAST),
        (b"\x02\0\0\0\0\x99", PACKET_OTHERHOST),
    ],
)
def test_whom_a_frame_is_for(kernel: Kernel, dst: bytes, pkt_type: int) -> None:
    skb = arrived(wire(kernel), frame(dst=dst))
    assert skb.pkt_type == pkt_type
    assert skb.protocol == ETH_P_TEST
    assert (skb.mac_header, skb.data, skb.len) == (0, 14, 7)


@pytest.mark.parametrize(("payload", "protocol"), [(b"\xff\xff\0\0", 0x0001), (b"\xaa\xaa\x03", 0x0004), (b"", 0x0004)])
def test_frames_with_a_length_instead_of_a_type(kernel: Kernel, payload: bytes, protocol: int) -> None:
    assert arrived(wire(kernel), frame(payload, len(payload))).protocol == protocol


@given(st.binary(max_size=80), st.integers(0, 80), st.booleans())
def test_nothing_that_arrives_raises_or_is_lost(data: bytes, cut: int, writable: bool) -> None:
    """Every frame is counted exactly once: too short, without a handler, or handled; and nothing is reported."""
    kernel = boot()
    dev = wire(kernel)
    handled: list[SkBuff] = []
    dev_add_pack(PacketType(kernel.init_net, 0x0800, handled.append))
    cut = min(cut, len(data))
    # A frame whose tail is in a frag, as a driver with header split has it.
    skb = SkBuff(bytearray(data[:cut]) if writable else data[:cut], 0, len(data), len(data) - cut, (data[cut:],))
    if eth_type_trans(skb, dev):
        netif_rx(skb)
        softirqs(kernel)
    stats = dev.stats
    assert stats.rx_length_errors == (len(data) < 14)
    assert stats.rx_length_errors + stats.rx_nohandler + len(handled) == 1
    assert kernel.errors.total == 0

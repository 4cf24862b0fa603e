"""The loopback device: what is sent comes back, byte for byte, and nothing of its sender with it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.devices import boot, softirqs

from pysock.core.dev import PacketType, dev_add_pack
from pysock.core.device import NetDevice, dev_close
from pysock.core.kernel import Kernel
from pysock.core.skb_data import skb_append_frag, skb_to_bytes
from pysock.core.skbuff import CHECKSUM_PARTIAL, SkBuff, skb_push_data
from pysock.uapi.if_ import ARPHRD_LOOPBACK, IFF_LOOPBACK, IFF_RUNNING, IFF_UP
from pysock.uapi.if_ether import ETH_P_ALL, ETH_P_IP, ETH_P_IPV6
from pysock.uapi.if_packet import PACKET_BROADCAST, PACKET_HOST, PACKET_OTHERHOST, PACKET_OUTGOING


@pytest.fixture
def kernel() -> Kernel:
    return boot()


def loopback(kernel: Kernel) -> NetDevice:
    lo = kernel.init_net.loopback_dev
    assert lo is not None
    return lo


def outgoing(lo: NetDevice, payload: bytes = b"payload", ethertype: int = ETH_P_IP, dst: bytes = bytes(6)) -> SkBuff:
    data = dst + bytes(6) + ethertype.to_bytes(2, "big") + payload
    skb = SkBuff(data, 0, len(data))
    skb.dev = lo
    return skb


def receive(kernel: Kernel, ethertype: int = ETH_P_IP) -> list[SkBuff]:
    got: list[SkBuff] = []
    dev_add_pack(PacketType(kernel.init_net, ethertype, got.append))
    return got


def test_what_it_is(kernel: Kernel) -> None:
    lo = loopback(kernel)
    assert (lo.name, lo.ifindex, lo.mtu, lo.type) == ("lo", 1, 65536, ARPHRD_LOOPBACK)
    assert lo.get_flags() & 0xFFFF == IFF_UP | IFF_LOOPBACK | IFF_RUNNING
    assert (lo.dev_addr, lo.broadcast) == (bytes(6), bytes(6))
    assert lo.xmit_direct
    assert lo.owner == "pysock.drivers.plugin"


@pytest.mark.parametrize("ethertype", [ETH_P_IP, ETH_P_IPV6, 0x88B5])
def test_a_frame_comes_back(kernel: Kernel, ethertype: int) -> None:
    lo = loopback(kernel)
    got = receive(kernel, ethertype)
    skb = outgoing(lo, ethertype=ethertype)
    assert lo.queue_xmit(skb) == 0
    assert got == []  # not before the softirq: no recursion into the receiver
    softirqs(kernel)
    (back,) = got
    assert back is skb
    assert back.dev is lo
    assert back.protocol == ethertype
    assert (back.mac_header, back.network_header, back.data, back.len) == (0, 14, 14, 7)
    assert skb_to_bytes(back) == bytes(12) + ethertype.to_bytes(2, "big") + b"payload"
    stats = lo.get_stats()
    assert (stats.tx_packets, stats.tx_bytes, stats.rx_packets, stats.rx_bytes) == (1, 21, 1, 21)


def test_nothing_of_the_sender_comes_along(kernel: Kernel) -> None:
    lo = loopback(kernel)
    got = receive(kernel)
    freed: list[SkBuff] = []
    skb = outgoing(lo)
    skb.dst = object()
    skb.destructor = freed.append
    skb.pkt_type = PACKET_OUTGOING
    lo.queue_xmit(skb)
    assert freed == [skb]  # the sender's buffer space is free as soon as it is sent
    softirqs(kernel)
    assert got[0].sk is None
    assert got[0].dst is None
    assert got[0].pkt_type == PACKET_HOST


def test_payload_checksum_and_super_segments_pass_untouched(kernel: Kernel) -> None:
    lo = loopback(kernel)
    got = receive(kernel)
    skb = outgoing(lo)
    payload = bytes(60000)
    skb_append_frag(skb, payload)
    skb.ip_summed = CHECKSUM_PARTIAL
    skb.gso_size = 1460
    lo.queue_xmit(skb)
    softirqs(kernel)
    (back,) = got
    assert back.frags[0] is payload
    assert back.ip_summed == CHECKSUM_PARTIAL
    assert back.gso_size == 1460
    assert back.len == 60007


def test_frames_that_do_not_start_the_buffer(kernel: Kernel) -> None:
    lo = loopback(kernel)
    got = receive(kernel)
    skb = SkBuff(bytearray(100), 60, 0)
    skb.len = 7
    skb_push_data(skb, bytes(12) + b"\x08\0")
    skb.dev = lo
    lo.queue_xmit(skb)
    softirqs(kernel)
    assert (got[0].mac_header, got[0].data, got[0].len) == (46, 60, 7)


@pytest.mark.parametrize(
    ("dst", "pkt_type"), [(bytes(6), PACKET_HOST), (b"\xff" * 6, PACKET_BROADCAST), (b"\2" * 6, PACKET_OTHERHOST)]
)
def test_a_raw_frame_may_be_for_somebody_else(kernel: Kernel, dst: bytes, pkt_type: int) -> None:
    lo = loopback(kernel)
    lo.broadcast = b"\xff" * 6
    got = receive(kernel)
    lo.queue_xmit(outgoing(lo, dst=dst))
    softirqs(kernel)
    assert got[0].pkt_type == pkt_type


def test_a_full_backlog_drops_and_counts(kernel: Kernel) -> None:
    lo = loopback(kernel)
    kernel.init_net.sysctl.set("net.core.netdev_max_backlog", 2)
    freed: list[SkBuff] = []
    for _ in range(3):
        skb = outgoing(lo)
        skb.destructor = freed.append
        assert lo.queue_xmit(skb) == 0  # lost on the wire: the sender is not told
    assert len(freed) == 3
    stats = lo.get_stats()
    assert (stats.tx_packets, stats.rx_dropped) == (2, 1)


def test_taps_see_each_frame_on_its_way_out_and_in(kernel: Kernel) -> None:
    lo = loopback(kernel)
    receive(kernel)
    seen: list[tuple[int, bytes]] = []

    def tap(skb: SkBuff, dev: NetDevice) -> None:
        seen.append((skb.pkt_type, skb_to_bytes(skb)))

    dev_add_pack(PacketType(kernel.init_net, ETH_P_ALL, tap))
    lo.queue_xmit(outgoing(lo))
    softirqs(kernel)
    data = bytes(12) + b"\x08\0payload"
    assert seen == [(PACKET_OUTGOING, data), (PACKET_HOST, data)]


def test_down_it_takes_nothing(kernel: Kernel) -> None:
    lo = loopback(kernel)
    dev_close(lo)
    assert lo.queue_xmit(outgoing(lo)) < 0
    assert lo.get_stats().tx_dropped == 1


def test_an_answer_from_the_receiver_does_not_recurse(kernel: Kernel) -> None:
    lo = loopback(kernel)
    depth = deepest = bounces = 0

    def bounce(skb: SkBuff) -> None:
        nonlocal depth, deepest, bounces
        depth += 1
        deepest = max(deepest, depth)
        bounces += 1
        if bounces < 200:
            lo.queue_xmit(outgoing(lo))
        depth -= 1

    dev_add_pack(PacketType(kernel.init_net, ETH_P_IP, bounce))
    lo.queue_xmit(outgoing(lo))
    while kernel.softnet.pending:
        softirqs(kernel)
    assert bounces == 200
    assert deepest == 1


@given(st.binary(max_size=40), st.integers(0, 40), st.integers(0, 3))
def test_any_bytes_are_received_or_counted(data: bytes, cut: int, offset: int) -> None:
    """A frame of any bytes and shape never raises, and is counted exactly once."""
    kernel = boot()
    lo = loopback(kernel)
    got = receive(kernel)
    cut = min(cut, len(data))
    skb = SkBuff(bytes(offset) + data[:cut], offset, len(data), len(data) - cut, (data[cut:],))
    skb.dev = lo
    lo.queue_xmit(skb)
    softirqs(kernel)
    stats = lo.get_stats()
    assert stats.rx_length_errors == (len(data) < 14)
    assert len(got) + stats.rx_nohandler + stats.rx_length_errors == 1
    assert kernel.errors.total == 0

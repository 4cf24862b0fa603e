"""UDP's offloads in the core: super-packets are cut into the datagrams that they stand for, and datagrams for a socket
with UDP_GRO are glued together by Linux's rules.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.devices import MAC, PEER, boot, ops_of, wire

from pysock.core.device import NetDevice
from pysock.core.eth import eth_type_trans
from pysock.core.gro import GRO_HELD, GRO_MERGED, GRO_NORMAL, Gro
from pysock.core.gso import SKB_GSO_UDP_L4, gso_segment
from pysock.core.kernel import Kernel
from pysock.core.netdev_features import (
    NETIF_F_GRO,
    NETIF_F_GSO,
    NETIF_F_GSO_UDP_L4,
    NETIF_F_HW_CSUM,
    NETIF_F_SG,
    NETIF_F_TAKES_ALL,
)
from pysock.core.skb_data import skb_checksum_help, skb_to_bytes
from pysock.core.skbuff import CHECKSUM_PARTIAL, SkBuff
from pysock.sched.packets import wire_length
from pysock.uapi.if_ether import ETH_P_IP, ETH_P_IPV6
from pysock.wire import ethernet, ipv4, ipv6, udp
from pysock.wire.addr import inet_aton
from pysock.wire.checksum import finish, partial, pseudo_v4, pseudo_v6, verify

SIZE = 100
LINK = ethernet.HEADER_SIZE
SRC4, DST4 = inet_aton("10.0.0.1"), inet_aton("10.0.0.2")
SRC6, DST6 = b"\xfd" + bytes(14) + b"\1", b"\xfd" + bytes(14) + b"\2"
HOPOPTS = bytes((17, 0, 1, 4, 0, 0, 0, 0))
DF = 0x40


def pseudo_of(version: int, length: int) -> int:
    return pseudo_v4(SRC4, DST4, 17, length) if version == 4 else pseudo_v6(SRC6, DST6, 17, length)


def frame(
    number: int = 0,
    payload: bytes | None = None,
    *,
    n: int = SIZE,
    version: int = 4,
    sport: int = 1000,
    ident: int | None = None,
    df: int = DF,
    ttl: int = 64,
    tos: int = 0,
    flow: int = 0,
    options: bytes = b"",
    change: Callable[[bytearray], None] | None = None,
) -> bytes:
    """The ``number``-th datagram of a flow, every field right unless a test wants it otherwise."""
    if payload is None:
        payload = bytes((number & 0xFF,)) * n
    datagram = bytearray(udp.build(sport, 9, payload))
    datagram[6:8] = (finish(pseudo_of(version, len(datagram)) + partial(datagram)) or 0xFFFF).to_bytes(2, "big")
    if version == 4:
        number = 100 + number if ident is None else ident
        packet = ipv4.build(SRC4, DST4, 17, bytes(datagram), ident=number & 0xFFFF, flags=df << 8, ttl=ttl, tos=tos)
    else:
        first = 0 if options else 17
        packet = ipv6.build(
            SRC6, DST6, first, options + bytes(datagram), hop_limit=ttl, traffic_class=tos, flow_label=flow
        )
    whole = bytearray(ethernet.build(MAC, PEER, ETH_P_IP if version == 4 else ETH_P_IPV6, packet))
    if change is not None:
        change(whole)
    return bytes(whole)


def super_packet(payload: bytes, gso_size: int, version: int = 4, options: bytes = b"") -> SkBuff:
    """As UDP_SEGMENT hands it down: one header for all, the payload in a fragment, the checksum left to others."""
    raw = frame(0, payload, version=version, ident=0xFFFF, options=options)
    at = len(raw) - len(payload) - udp.HEADER_SIZE
    length = udp.HEADER_SIZE + len(payload)
    head = raw[: at + 6] + pseudo_of(version, length).to_bytes(2, "big")
    skb = SkBuff(head, 0, len(head) + len(payload), len(payload), (payload,))
    skb.protocol = ETH_P_IP if version == 4 else ETH_P_IPV6
    skb.network_header = LINK
    skb.transport_header = at
    skb.ip_summed = CHECKSUM_PARTIAL
    skb.csum_offset = udp.CHECKSUM_OFFSET
    skb.gso_size = gso_size
    skb.gso_type = SKB_GSO_UDP_L4
    return skb


def contents(raw: bytes, version: int, options: bytes = b"") -> tuple[int, bytes]:
    """Identification and payload of a finished frame; lengths and checksums must be right."""
    if version == 4:
        assert ipv4.verify(raw, LINK)
        ip = ipv4.parse(raw, LINK)
        assert ip.total_length == len(raw) - LINK
        ident, at = ip.ident, LINK + ip.size
    else:
        assert ipv6.parse(raw, LINK).payload_length == len(raw) - LINK - 40
        ident, at = 0, LINK + 40 + len(options)
    datagram = raw[at:]
    assert udp.parse(datagram).length == len(datagram)
    assert verify(datagram, pseudo_of(version, len(datagram)))
    return ident, datagram[udp.HEADER_SIZE :]


# GSO -----------------------------------------------------------------------------------------------------


@given(st.integers(2, 900), st.integers(1, 200), st.sampled_from([(4, b""), (6, b""), (6, HOPOPTS)]))
def test_the_datagrams_are_the_payload_cut_at_gso_size(n: int, size: int, kind: tuple[int, bytes]) -> None:
    version, options = kind
    payload = bytes(i * 7 & 0xFF for i in range(n))
    skb = super_packet(payload, size, version, options)
    before = skb_to_bytes(skb)
    found = gso_segment(skb)
    assert skb_to_bytes(skb) == before
    if n <= size:
        assert found == []  # that is no super-packet
        return
    pieces = []
    for number, one in enumerate(found):
        assert (one.ip_summed, one.gso_size, one.gso_type) == (CHECKSUM_PARTIAL, 0, 0)
        skb_checksum_help(one)
        ident, data = contents(skb_to_bytes(one), version, options)
        assert ident == ((0xFFFF + number) & 0xFFFF if version == 4 else 0)
        pieces.append(data)
    assert pieces == [payload[at : at + size] for at in range(0, n, size)]


def test_what_is_no_udp() -> None:
    for at, value in ((LINK + 9, 6), (LINK, 0x65), (LINK, 0x44)):
        skb = super_packet(bytes(300), 100)
        head = bytearray(skb.head)
        head[at] = value
        skb.head = head
        assert gso_segment(skb) == []
    tcp = super_packet(bytes(300), 100)
    tcp.gso_type = 0
    assert gso_segment(tcp) == []


@pytest.mark.parametrize(
    ("features", "packets"),
    [(NETIF_F_SG | NETIF_F_HW_CSUM | NETIF_F_GSO_UDP_L4, 1), (NETIF_F_SG | NETIF_F_HW_CSUM, 3), (0, 3)],
)
def test_it_is_cut_for_a_device_that_does_not(features: int, packets: int) -> None:
    kernel = boot()
    dev = wire(kernel, features=features | NETIF_F_GSO)
    seen: list[int] = []
    dev.ptype_all = (lambda skb, dev: seen.append(skb.gso_size),)
    dev.update_path()
    skb = super_packet(bytes(range(250)), 100)
    skb.priority, skb.mark, skb.tstamp = 5, 6, 7
    assert dev.queue_xmit(skb) == 0
    kernel.enter()
    kernel.leave()
    sent = ops_of(dev)
    assert len(sent.sent) == packets
    assert seen == [100 if packets == 1 else 0] * packets
    assert [(one.priority, one.mark, one.tstamp) for one in sent.skbs] == [(5, 6, 7)] * packets
    if not features:
        assert b"".join(contents(raw, 4)[1] for raw in sent.sent) == bytes(range(250))


def test_what_it_takes_on_the_wire() -> None:
    assert wire_length(super_packet(bytes(250), 100)) == 250 + 3 * (LINK + 20 + 8)
    assert wire_length(super_packet(bytes(2), 1)) == 2 + 2 * (LINK + 20 + 8)


# GRO -----------------------------------------------------------------------------------------------------


@cache
def kernel() -> Kernel:
    return boot()


class Receiver:
    """A device, what went up the stack, and what the UDP sockets of its namespace want."""

    def __init__(self, wanted: bool = True) -> None:
        features = NETIF_F_TAKES_ALL | NETIF_F_GRO
        self.dev: NetDevice = wire(kernel(), features=features)
        self.dev.features = features
        self.dev.net.udp_gro = self._wanted
        self.wanted = wanted
        self.asked: list[tuple[bytes, int]] = []
        self.up: list[SkBuff] = []
        self.gro = Gro(self._receive)

    def _wanted(self, names: bytes, ifindex: int) -> bool:
        self.asked.append((names, ifindex))
        return self.wanted

    def _receive(self, skb: SkBuff) -> int:
        self.up.append(skb)
        return 0

    def feed(self, *frames: bytes) -> list[int]:
        found = []
        for one in frames:
            skb = SkBuff(one, 0, len(one))
            eth_type_trans(skb, self.dev)
            found.append(self.gro.receive(skb))
        return found

    def sizes(self) -> list[int]:
        """How many datagrams each packet stands for that went up so far, after a flush."""
        self.gro.flush()
        up, self.up = self.up, []
        return [skb.gso_segs or 1 for skb in up]


def cut_again(skb: SkBuff) -> list[bytes]:
    skb.network_header = skb.data
    skb.len += skb.data - skb.mac_header
    skb.data = skb.mac_header
    found = gso_segment(skb) if skb.gso_size else [skb]
    for one in found:
        skb_checksum_help(one)
    return [skb_to_bytes(one) for one in found]


@pytest.mark.parametrize("version", [4, 6])
def test_datagrams_of_a_flow_are_glued_and_cut_again_as_they_were(version: int) -> None:
    receiver = Receiver()
    frames = [frame(n, version=version) for n in range(5)] + [frame(5, version=version, n=30)]
    assert receiver.feed(*frames) == [GRO_HELD] + [GRO_MERGED] * 5
    (skb,) = receiver.up  # the short one is the last
    assert (skb.gso_size, skb.gso_segs, skb.gso_type) == (SIZE, 6, SKB_GSO_UDP_L4)
    names = (SRC4 + DST4 if version == 4 else SRC6 + DST6) + (1000).to_bytes(2, "big") + (9).to_bytes(2, "big")
    assert set(receiver.asked) == {(names, receiver.dev.ifindex)}
    assert cut_again(skb) == frames


@given(st.lists(st.integers(0, SIZE), min_size=1, max_size=12), st.sampled_from([4, 6]))
def test_nothing_is_lost_or_changed(sizes: list[int], version: int) -> None:
    receiver = Receiver()
    frames = [frame(number, n=n, version=version) for number, n in enumerate(sizes)]
    receiver.feed(*frames)
    receiver.gro.flush()
    assert [one for skb in receiver.up for one in cut_again(skb)] == frames


def no_sum(raw: bytearray) -> None:
    raw[40:42] = b"\0\0"


def bad_sum(raw: bytearray) -> None:
    raw[-1] ^= 1


def wrong_length(raw: bytearray) -> None:
    raw[39] -= 1


#: What the second of two datagrams is like, and in how many packets they and a third go up.
OTHERS: dict[str, tuple[dict[str, object], list[int]]] = {
    "like the first": ({}, [3]),
    "longer than the first": ({"n": SIZE + 1}, [1, 2]),
    "shorter than the first": ({"n": 5}, [2, 1]),
    "empty": ({"n": 0}, [1, 1, 1]),
    "without a checksum": ({"change": no_sum}, [1, 1, 1]),
    "a wrong checksum": ({"change": bad_sum}, [1, 1, 1]),
    "a length of its own": ({"change": wrong_length}, [1, 1, 1]),
    "another TTL": ({"ttl": 63}, [1, 1, 1]),
    "another type of service": ({"tos": 1}, [1, 1, 1]),
    "may be fragmented": ({"df": 0}, [1, 1, 1]),
    "an identification out of order": ({"ident": 9}, [1, 1, 1]),
}


@pytest.mark.parametrize("name", OTHERS)
def test_every_rule(name: str) -> None:
    """Whoever does not fit sends out what is held, and is held itself if it may be."""
    fields, expected = OTHERS[name]
    receiver = Receiver()
    receiver.feed(frame(0), frame(1, **fields), frame(2))  # type: ignore[arg-type]
    assert receiver.sizes() == expected


def test_no_more_than_64() -> None:
    receiver = Receiver()
    receiver.feed(*(frame(n) for n in range(70)))
    assert [skb.gso_segs for skb in receiver.up] == [64]
    assert receiver.sizes() == [64, 6]


def test_below_64_kib() -> None:
    receiver = Receiver()
    receiver.feed(*(frame(n, n=10_000) for n in range(8)))
    assert receiver.sizes() == [6, 2]


def test_flows_do_not_disturb_each_other() -> None:
    receiver = Receiver()
    receiver.feed(frame(0), frame(0, sport=2), frame(1), frame(1, sport=2), frame(0, version=6))
    assert receiver.sizes() == [2, 2, 1]


def test_a_socket_that_does_not_ask_for_it() -> None:
    receiver = Receiver(wanted=False)
    assert receiver.feed(frame(0), frame(1)) == [GRO_NORMAL] * 2
    receiver.dev.net.udp_gro = None
    assert receiver.feed(frame(0), frame(1)) == [GRO_NORMAL] * 2

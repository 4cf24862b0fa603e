"""IP input: what is dropped and where it is counted, what is delivered (RFC 791, RFC 1122 3.2.1)."""

from __future__ import annotations

import pytest
from support.dgram_api import Host

from pysock.core.dev import netif_rx
from pysock.core.skb_data import skb_copy_bits
from pysock.core.skbuff import CHECKSUM_UNNECESSARY, SkBuff
from pysock.uapi.if_ether import ETH_P_IP
from pysock.wire import ipv4, udp
from pysock.wire.checksum import checksum

ME = bytes((10, 0, 0, 1))
PEER = bytes((10, 0, 0, 2))
ADDRESSES = (PEER, ME)


def good(payload: bytes = b"hello", **options: object) -> bytes:
    return ipv4.build(PEER, ME, 17, udp.build(7, 5000, payload, addresses=ADDRESSES), **options)  # type: ignore[arg-type]


def patched(at: int, value: bytes) -> bytes:
    """A good datagram with bytes changed, and its header checksum right again."""
    raw = bytearray(good())
    raw[at : at + len(value)] = value
    raw[10:12] = b"\0\0"
    size = max(20, (raw[0] & 15) * 4)
    raw[10:12] = checksum(raw[:size]).to_bytes(2, "big")
    return bytes(raw)


@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        b"\x45",
        good()[:19],
        patched(0, b"\x55"),  # version
        patched(0, b"\x65"),
        patched(0, b"\x44"),  # header length below 20
        patched(0, b"\x40"),
        patched(0, b"\x4f")[:59],  # a header longer than the datagram
        patched(2, b"\0\x13"),  # total length below the header's
        patched(2, b"\0\0"),
        patched(2, b"\xff\xff"),  # total length beyond what came
        good(checksum=0x1234),
    ],
)
@pytest.mark.parametrize("wrap", [bytes, bytearray])
def test_headers_that_are_none(host: Host, datagram: bytes, wrap: type) -> None:
    sock = host.bound("10.0.0.1", 5000)
    host.inject(good())  # the flow is known: not even then
    host.inject(wrap(datagram), ip_summed=CHECKSUM_UNNECESSARY)
    counted = host.counted()
    assert counted["IpInReceives"] == 2
    assert counted["IpInHdrErrors"] == 1
    assert counted["IpInDelivers"] == 1
    assert len(host.sk(sock).receive_queue or ()) == 1
    assert not host.sent()


def test_a_wrong_header_checksum_has_a_counter_of_its_own(host: Host) -> None:
    host.inject(good(checksum=0x1234))
    assert host.counted()["IpExtInCsumErrors"] == 1


@pytest.mark.parametrize(
    ("src", "dst"),
    [
        (PEER, bytes((192, 0, 2, 1))),  # no route: nobody's
        (PEER, bytes((10, 0, 0, 9))),  # a neighbour's, and we are no router
        (b"\x7f\0\0\1", ME),  # martians (RFC 1812 5.3.7)
        (PEER, b"\x7f\0\0\1"),
        (b"\xff" * 4, ME),
        (bytes((224, 0, 0, 1)), ME),
    ],
)
def test_addresses_that_are_not_for_us(host: Host, src: bytes, dst: bytes) -> None:
    host.bound("0.0.0.0", 5000)
    host.inject(ipv4.build(src, dst, 17, udp.build(7, 5000, b"x")))
    assert host.counted()["IpInAddrErrors"] == 1
    assert "IpInDelivers" not in host.counted()
    assert not host.sent()


@pytest.mark.parametrize("flags", [0, ipv4.DF, ipv4.RESERVED, ipv4.DF | ipv4.RESERVED])
@pytest.mark.parametrize("vouched", [0, CHECKSUM_UNNECESSARY])
def test_what_is_no_fragment(host: Host, flags: int, vouched: int) -> None:
    sock = host.bound("10.0.0.1", 5000)
    for _ in range(2):
        host.inject(good(flags=flags), ip_summed=vouched)
        assert host.recvfrom(sock)[0] == b"hello"


@pytest.mark.parametrize("cut", [0, 1, 19, 20, 24, 27, 28, 30, 33])
def test_a_datagram_in_pieces(host: Host, cut: int) -> None:
    """However a driver divides it between the linear part and a fragment."""
    sock = host.bound("10.0.0.1", 5000)
    raw = good()
    for summed in (0, CHECKSUM_UNNECESSARY):
        skb = SkBuff(raw[:cut], 0, len(raw), len(raw) - cut, (raw[cut:],) if cut < len(raw) else ())
        skb.dev = host.dev
        skb.protocol = ETH_P_IP
        skb.ip_summed = summed
        host.kernel.enter()
        netif_rx(skb)
        host.kernel.leave()
        assert host.recvfrom(sock) == (b"hello", ("10.0.0.2", 7))


def test_counters_of_broadcast_and_multicast(host: Host) -> None:
    host.inject(ipv4.build(PEER, bytes((10, 0, 0, 255)), 17, udp.build(7, 5000)))
    host.inject(ipv4.build(PEER, bytes((224, 0, 0, 1)), 17, udp.build(7, 5000)))
    counted = host.counted()
    assert (counted["IpExtInBcastPkts"], counted["IpExtInMcastPkts"]) == (1, 1)
    assert counted["UdpIgnoredMulti"] == 2


def test_an_unknown_protocol_to_everybody_is_not_answered(host: Host) -> None:
    host.inject(ipv4.build(PEER, bytes((10, 0, 0, 255)), 200, b"x"))
    assert host.counted()["IpInUnknownProtos"] == 1
    assert not host.sent()


def test_a_protocol_handler_gets_the_payload(host: Host) -> None:
    got: list[tuple[int, int, int, bytes]] = []

    def handler(skb: SkBuff) -> None:
        got.append((skb.network_header, skb.transport_header, skb.data, skb_copy_bits(skb, 0, skb.len)))

    host.inet.protos[200] = handler
    host.inject(ipv4.build(PEER, ME, 200, b"payload", options=b"\1\1\1\0") + b"padding")
    assert got == [(0, 24, 24, b"payload")]


def test_a_handler_that_raises_costs_its_packet_only(host: Host) -> None:
    def handler(skb: SkBuff) -> None:
        raise ValueError("broken plugin")

    host.inet.protos[200] = handler
    sock = host.bound("10.0.0.1", 5000)
    host.inject(ipv4.build(PEER, ME, 200, b"x"))
    host.inject(good())
    assert host.recvfrom(sock)[0] == b"hello"
    assert "broken plugin" in host.log[0]

"""IP output: headers, sizes, and what becomes of a datagram that cannot leave (RFC 791)."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given, strategies
from support.dgram_api import Host, fails

from pysock.core.skbuff import SkBuff
from pysock.families.inet import route
from pysock.families.inet.ip_fragment import df_of
from pysock.families.inet.ip_output import build_header_template, checked, send_datagram, send_packet
from pysock.uapi.in_ import IP_MTU_DISCOVER, IPPROTO_IP
from pysock.wire import ipv4
from pysock.wire.checksum import fold, partial

ME = bytes((10, 0, 0, 1))
PEER = bytes((10, 0, 0, 2))


def send(host: Host, payload: bytes, protocol: int = 200, **options: object) -> int:
    rt = route.output(host.inet, PEER)
    host.kernel.enter()
    try:
        return send_datagram(host.inet, rt, protocol, SkBuff(payload, 0, len(payload)), **options)  # type: ignore[arg-type]
    finally:
        host.kernel.leave()


@given(
    tos=strategies.integers(0, 255),
    ttl=strategies.integers(0, 255),
    protocol=strategies.integers(0, 255),
    frag=strategies.sampled_from([0, ipv4.DF]),
    addresses=strategies.binary(min_size=8, max_size=8),
)
def test_the_constant_parts_of_a_header(tos: int, ttl: int, protocol: int, frag: int, addresses: bytes) -> None:
    first, middle, both, total = build_header_template(protocol, tos, ttl, frag, addresses[:4], addresses[4:])
    assert first + b"\0\0\0\0" + middle + b"\0\0" + both == ipv4.build(
        addresses[:4], addresses[4:], protocol, tos=tos, ttl=ttl, flags=frag, checksum=0
    ).replace(b"\0\x14", b"\0\0", 1)
    assert total == fold(partial(first + middle + both)) % 0xFFFF


@given(
    payload=strategies.binary(max_size=200),
    tos=strategies.integers(0, 255),
    ttl=strategies.integers(1, 255),
    ident=strategies.integers(0, 0xFFFF),
    frag=strategies.sampled_from([0, ipv4.DF]),
)
def test_a_datagram_is_what_the_format_says(payload: bytes, tos: int, ttl: int, ident: int, frag: int) -> None:
    host = Host()
    assert send(host, payload, tos=tos, ttl=ttl, ident=ident, frag=frag) == 0
    assert host.sent() == [ipv4.build(ME, PEER, 200, payload, tos=tos, ttl=ttl, ident=ident, flags=frag)]
    assert host.counted()["IpOutRequests"] == 1


def test_defaults(host: Host) -> None:
    send(host, b"a")
    send(host, b"b")
    first, second = (ipv4.parse(sent) for sent in host.sent())
    assert (first.ttl, first.tos, first.flags) == (64, 0, 0)
    assert first.ident != second.ident  # it may be fragmented on its way


def test_offsets_are_set_for_the_device(host: Host) -> None:
    send(host, b"payload")
    (skb,) = host.wire.skbs
    assert (skb.network_header, skb.transport_header, skb.dev) == (14, 34, host.dev)


def test_too_long(host: Host) -> None:
    assert send(host, bytes(1480), frag=ipv4.DF) == 0
    assert send(host, bytes(1481), frag=ipv4.DF) == -errno.EMSGSIZE
    assert send(host, bytes(65516)) == -errno.EMSGSIZE
    assert len(host.sent()) == 1
    assert host.counted()["IpFragFails"] == 1  # the other was never a datagram


def test_what_the_device_says_is_passed_on(host: Host) -> None:
    rt = route.output(host.inet, PEER)
    for answer, expected in ((0, 0), (1, -errno.ENOBUFS), (2, 0), (-errno.ENETDOWN, -errno.ENETDOWN)):
        rt.xmit = lambda skb, answer=answer: answer  # type: ignore[misc]
        assert send(host, b"x") == expected
    assert host.counted()["IpOutDiscards"] == 1


def test_a_header_of_the_callers_own(host: Host) -> None:
    rt = route.output(host.inet, PEER)
    whole = ipv4.build(PEER, ME, 99, b"payload", options=b"\1\1\1\0")
    host.kernel.enter()
    assert send_packet(host.inet, rt, whole[:24], SkBuff(b"", 0, 7, 7, (b"payload",))) == 0
    host.kernel.leave()
    assert host.sent() == [whole]
    assert host.wire.skbs[0].transport_header == 38


@pytest.mark.parametrize(("mode", "df"), [(0, 0), (1, ipv4.DF), (2, ipv4.DF), (3, ipv4.DF), (4, 0), (5, 0)])
def test_who_forbids_fragments(host: Host, mode: int, df: int) -> None:
    sock = host.socket()
    host.setopt(sock, IPPROTO_IP, IP_MTU_DISCOVER, mode)
    assert df_of(host.sk(sock), route.output(host.inet, PEER)) == df


def test_checked() -> None:
    checked(0)
    fails(errno.EMSGSIZE, checked, -errno.EMSGSIZE)

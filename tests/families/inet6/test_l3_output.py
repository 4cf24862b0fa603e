"""IPv6 output: headers, connected sockets' template, groups that we are in ourselves."""

from __future__ import annotations

import errno
from types import SimpleNamespace

import pytest
from support.inet6_hosts import Wire6, a6, parsed

from pysock.core.device import dev_set_mtu
from pysock.core.skbuff import SkBuff
from pysock.families.inet6 import ip6_output, mcast
from pysock.families.inet6.addr import ANY6
from pysock.wire import ipv6

ME = a6("2001:db8::1")
PEER = a6("2001:db8::2")
GROUP = a6("ff02::77")


def flow(wire: Wire6, daddr: bytes = PEER, saddr: bytes = ME) -> SimpleNamespace:
    """As much of a connected socket as output looks at."""
    part = ip6_output.FlowPart(wire.inet6)
    part.saddr, part.daddr = saddr, daddr
    return SimpleNamespace(pinet6=part, dst=None, bound_dev_if=0, protocol=200, priority=0, mark=0, flags=0, ext=None)


def push(wire: Wire6, sk: SimpleNamespace, payload: bytes = b"payload", gso_size: int = 0) -> int:
    def go() -> int:
        skb = SkBuff(b"", 0, len(payload), len(payload), (payload,))
        skb.gso_size = gso_size
        return ip6_output.queue_xmit(sk, skb)  # type: ignore[arg-type]

    return wire.call(go)


def test_every_field_of_the_header(wire: Wire6) -> None:
    wire.send(PEER, b"payload", tclass=0xAB, flowlabel=0x12345, hoplimit=9)
    (packet,) = wire.sent()
    assert packet == ipv6.build(ME, PEER, 200, b"payload", traffic_class=0xAB, flow_label=0x12345, hop_limit=9)
    sk = flow(wire)
    sk.pinet6.tclass, sk.pinet6.flow_label, sk.pinet6.hop_limit = 0xAB, 0x12345, 9
    assert push(wire, sk) == 0
    assert wire.sent() == [packet]


def test_the_template_lasts_until_routes_change(wire: Wire6) -> None:
    sk = flow(wire)
    push(wire, sk)
    first = sk.dst
    push(wire, sk)
    assert sk.dst is first
    wire.sysctl("net.ipv6.conf.w0.hop_limit", 7)
    push(wire, sk)
    assert [ipv6.parse(packet).hop_limit for packet in wire.sent()] == [64, 64, 7]


def test_no_route_any_more(wire: Wire6) -> None:
    sk = flow(wire, a6("2001:db9::1"))
    assert push(wire, sk) == -errno.ENETUNREACH
    assert wire.counted()["Ip6OutNoRoutes"] == 1
    assert wire.sent() == []


def test_connections_are_never_fragmented(wire: Wire6) -> None:
    wire.call(dev_set_mtu, wire.dev(), 1280)
    sk = flow(wire)
    assert push(wire, sk, bytes(1241)) == -errno.EMSGSIZE
    assert wire.counted()["Ip6FragFails"] == 1
    assert push(wire, sk, bytes(1240)) == 0
    assert len(wire.sent()) == 1


def test_super_segments_pass_loopback_whole(wire: Wire6) -> None:
    wire.listen()
    sk = flow(wire, a6("::1"), a6("::1"))
    data = bytes(200_000)
    assert push(wire, sk, data, gso_size=65_000) == 0
    assert wire.got == [data]


@pytest.mark.parametrize(
    ("options", "copies", "leaves"),
    [({}, 1, 1), ({"loop": False}, 0, 1), ({"hoplimit": 0}, 1, 0)],
)
def test_groups_that_we_are_in(wire: Wire6, options: dict[str, int], copies: int, leaves: int) -> None:
    wire.listen()
    wire.call(mcast.join, wire.inet6, wire.dev(), GROUP)
    wire.lab.settle(10)
    wire.sent()
    wire.send(GROUP, b"data", **options)
    assert wire.got == [b"data"] * copies
    assert [parsed(packet)[3] for packet in wire.sent()] == [b"data"] * leaves
    assert wire.counted()["Ip6OutMcastPkts"] >= 1


def test_groups_of_this_node_do_not_leave(wire: Wire6) -> None:
    wire.listen()
    wire.send(a6("ff01::1"), b"data")
    assert wire.got == [b"data"]
    assert wire.sent() == []


def test_a_packet_with_its_own_header(wire: Wire6) -> None:
    packet = ipv6.build(ANY6, PEER, 59, hop_limit=3)

    def go(data: bytes) -> int:
        from pysock.families.inet6 import route

        return ip6_output.send_packet(wire.inet6, route.output(wire.inet6, PEER), SkBuff(data, 0, len(data)))

    assert wire.call(go, packet) == 0
    assert wire.sent() == [packet]
    assert wire.call(go, packet + bytes(1461)) == -errno.EMSGSIZE

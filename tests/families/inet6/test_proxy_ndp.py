"""Answering for neighbours behind us: `ip -6 neigh add proxy` and net.ipv6.conf.*.proxy_ndp."""

from __future__ import annotations

import errno
from collections.abc import Iterator

import pytest
from support.inet6_hosts import PEER_MAC, Ether6, Lab6, a6, parsed

from pysock.core.neighbour import NUD_VALID
from pysock.families.inet6.addr import solicited_node
from pysock.families.inet6.fib6_config import add_route
from pysock.uapi.if_packet import PACKET_MULTICAST
from pysock.wire import icmpv6, ipv6
from pysock.wire.icmpv6 import NA_ROUTER, NA_SOLICITED, NEIGHBOUR_ADVERT, NEIGHBOUR_SOLICIT, OPT_SOURCE_LL

FAR = "2001:db8::99"
PEER = a6("2001:db8::2")
SOURCE = icmpv6.build_option(OPT_SOURCE_LL, PEER_MAC)


@pytest.fixture
def proxy() -> Iterator[Ether6]:
    ether = Ether6()
    ether.add("2001:db8::1/64")
    ether.lab.settle()
    ether.sysctl("net.ipv6.conf.all.forwarding", 1)
    ether.sysctl("net.ipv6.conf.all.proxy_ndp", 1)
    ether.call(ether.inet6.nd.proxy_add, ether.w0, a6(FAR))
    ether.lab.settle(10)
    ether.sent()
    yield ether
    assert ether.log == []


def ask(ether: Ether6, src: bytes = PEER, dst: bytes | None = None, options: bytes = SOURCE) -> None:
    to = solicited_node(a6(FAR)) if dst is None else dst
    body = icmpv6.build_neighbour(NEIGHBOUR_SOLICIT, a6(FAR), 0, options, addresses=(src, to))
    fields = {"pkt_type": PACKET_MULTICAST} if to[0] == 0xFF else {}
    ether.inject(ipv6.build(src, to, 58, body, hop_limit=255), **fields)


def answers(ether: Ether6) -> list[tuple[ipv6.Ipv6Header, bytes]]:
    return [
        (header, message)
        for header, _, protocol, message in map(parsed, ether.sent())
        if protocol == 58 and message[0] == NEIGHBOUR_ADVERT
    ]


def test_the_owner_may_answer_first(proxy: Ether6) -> None:
    """The answer comes within proxy_delay, from an address of ours, and does not override."""
    ask(proxy)
    assert answers(proxy) == []
    proxy.lab.settle(0.8)
    ((header, message),) = answers(proxy)
    assert header.src in (a6("2001:db8::1"), proxy.linklocal())
    assert header.dst == PEER
    assert int.from_bytes(message[4:8], "big") == NA_SOLICITED
    assert message[8:24] == a6(FAR)
    assert message[24:] == icmpv6.build_option(icmpv6.OPT_TARGET_LL, proxy.w0.dev_addr)
    neigh = proxy.inet6.nd.lookup(proxy.w0, PEER)
    assert neigh is not None
    assert neigh.ha == PEER_MAC


def test_at_once_if_nothing_is_to_wait_for(proxy: Ether6) -> None:
    proxy.sysctl("net.ipv6.neigh.w0.proxy_delay", 0)
    ask(proxy)
    assert len(answers(proxy)) == 1


def test_a_question_by_unicast_is_not_sent_on(proxy: Ether6) -> None:
    ask(proxy, dst=a6(FAR))
    ((_, message),) = answers(proxy)
    assert int.from_bytes(message[4:8], "big") == NA_SOLICITED
    assert len(message) == 24
    assert proxy.counted().get("Ip6OutForwDatagrams", 0) == 0


def test_a_probe_for_a_duplicate_is_told_to_all(proxy: Ether6) -> None:
    ask(proxy, src=bytes(16), options=b"")
    proxy.lab.settle(1)
    ((header, message),) = answers(proxy)
    assert header.dst == a6("ff02::1")
    assert int.from_bytes(message[4:8], "big") == 0


def test_for_a_router(proxy: Ether6) -> None:
    proxy.call(proxy.inet6.nd.proxy_delete, proxy.w0, a6(FAR))
    proxy.call(proxy.inet6.nd.proxy_add, proxy.w0, a6(FAR), True)
    ask(proxy)
    proxy.lab.settle(1)
    ((_, message),) = answers(proxy)
    assert int.from_bytes(message[4:8], "big") == NA_SOLICITED | NA_ROUTER


@pytest.mark.parametrize("setting", ["proxy_ndp", "forwarding"])
def test_only_routers_that_are_told_to(proxy: Ether6, setting: str) -> None:
    proxy.sysctl(f"net.ipv6.conf.all.{setting}", 0)
    ask(proxy)
    proxy.lab.settle(1)
    assert answers(proxy) == []
    if setting == "proxy_ndp":
        proxy.sysctl("net.ipv6.conf.w0.proxy_ndp", 1)
        ask(proxy)
        proxy.lab.settle(1)
        assert len(answers(proxy)) == 1


def test_the_group_is_heard_as_long_as_there_is_a_proxy(proxy: Ether6) -> None:
    group = solicited_node(a6(FAR))
    assert group in proxy.w0.proto_priv["inet6"].groups  # type: ignore[attr-defined]  # an Inet6Dev
    proxy.call(proxy.inet6.nd.proxy_delete, proxy.w0, a6(FAR))
    assert group not in proxy.w0.proto_priv["inet6"].groups  # type: ignore[attr-defined]
    with pytest.raises(OSError) as caught:
        proxy.call(proxy.inet6.nd.proxy_add, None, a6(FAR))
    assert caught.value.errno == errno.EINVAL
    assert not proxy.inet6.nd.proxies


def test_a_link_local_address_means_another_link(proxy: Ether6) -> None:
    proxy.call(proxy.inet6.nd.proxy_add, proxy.w0, a6("fe80::99"))
    body = ipv6.build(a6("fe80::2"), a6("fe80::99"), 200, b"x")
    before = proxy.counted().get("Ip6InDiscards", 0)
    proxy.inject(body)
    assert proxy.counted()["Ip6InDiscards"] == before + 1
    assert proxy.counted().get("Ip6OutForwDatagrams", 0) == 0


def test_two_links_of_one_network() -> None:
    """A host reaches another, whose network it believes to be on, through the router between them."""
    lab = Lab6()
    a, router, b = lab.host(), lab.host(), lab.host()
    lab.cable(a, router)
    lab.cable(router, b)
    a.add("2001:db8::2/64")
    b.add(f"{FAR}/64")
    router.sysctl("net.ipv6.conf.all.forwarding", 1)
    router.sysctl("net.ipv6.conf.all.proxy_ndp", 1)
    lab.settle()
    for dev, address in (("eth0", PEER), ("eth1", a6(FAR))):
        other = router.dev("eth1" if dev == "eth0" else "eth0")
        router.call(add_route, router.inet6, address, 128, dev=router.dev(dev))
        router.call(router.inet6.nd.proxy_add, other, address)
    a.ping(a6(FAR))
    lab.settle(5)
    assert a.replies == [b"ping"]
    neigh = a.inet6.nd.lookup(a.dev(), a6(FAR))
    assert neigh is not None
    assert neigh.nud_state & NUD_VALID
    assert neigh.ha == router.dev("eth0").dev_addr
    assert lab.log == []

"""Netfilter hooks of IPv6: the five points, with the data at the IPv6 header."""

from __future__ import annotations

import errno

import pytest
from support.dgram_api import fails
from support.inet6_api import Ours6
from support.inet6_hosts import Host6, Lab6, a6

from pysock.core.netfilter import (
    NF_ACCEPT,
    NF_DROP,
    NF_INET_LOCAL_OUT,
    NF_INET_PRE_ROUTING,
    NFPROTO_IPV6,
    NfHookOps,
    NfState,
    nf_register_net_hook,
    nf_unregister_net_hook,
)
from pysock.core.skb_data import skb_copy_bits
from pysock.core.skbuff import SkBuff
from pysock.families.inet6.fib6_config import add_route
from pysock.uapi.socket import SOCK_STREAM

POINTS = ("prerouting", "input", "forward", "output", "postrouting")
HBH = bytes((0, 0, 1, 4, 0, 0, 0, 0))  # a hop-by-hop header with padding alone


class Watch:
    """Notes "point in>out" of each packet of protocol 200 (or that begins with extension headers) of a host."""

    def __init__(self, host: Host6) -> None:
        self.seen: list[str] = []
        for point in range(5):
            host.call(nf_register_net_hook, host.net, NfHookOps(self.hook, NFPROTO_IPV6, point))

    def hook(self, skb: SkBuff, state: NfState) -> int:
        packet = skb_copy_bits(skb, 0, skb.len)
        assert packet[0] >> 4 == 6
        assert len(packet) == 40 + int.from_bytes(packet[4:6], "big")
        if packet[6] in (0, 44, 200):
            names = [getattr(dev, "name", "-") for dev in (state.in_dev, state.out_dev)]
            self.seen.append(f"{POINTS[state.hook]} {names[0]}>{names[1]}")
        return NF_ACCEPT


@pytest.fixture
def hosts() -> tuple[Lab6, Host6, Host6]:
    lab = Lab6()
    a, b = lab.host(), lab.host()
    lab.cable(a, b)
    a.add("2001:db8::1/64")
    b.add("2001:db8::2/64")
    lab.settle()
    b.listen()
    a.send(a6("2001:db8::2"), b"fill the caches")
    lab.settle(1)
    b.got.clear()
    return lab, a, b


@pytest.mark.parametrize("options", [{}, {"hopopts": HBH}])
def test_a_packet_s_way(hosts: tuple[Lab6, Host6, Host6], options: dict[str, object]) -> None:
    lab, a, b = hosts
    out, back = Watch(a), Watch(b)
    assert a.send(a6("2001:db8::2"), b"hello", **options) == 0  # type: ignore[arg-type]
    lab.settle(1)
    assert b.got == [b"hello"]
    assert out.seen == ["output ->eth0", "postrouting ->eth0"]
    assert back.seen == ["prerouting eth0>-", "input eth0>-"]


def test_over_loopback(hosts: tuple[Lab6, Host6, Host6]) -> None:
    lab, _, b = hosts
    watch = Watch(b)
    assert b.send(a6("::1"), b"hello") == 0
    lab.settle(1)
    assert b.got == [b"hello"]
    assert watch.seen == ["output ->lo", "postrouting ->lo", "prerouting lo>-", "input lo>-"]


def test_a_router_s_points() -> None:
    lab = Lab6()
    a, router, b = lab.host(), lab.host(), lab.host()
    _, first = lab.cable(a, router)
    second, _ = lab.cable(router, b)
    a.add("2001:db8:1::1/64")
    router.add("2001:db8:1::fe/64", first.name)
    router.add("2001:db8:2::fe/64", second.name)
    b.add("2001:db8:2::2/64")
    router.sysctl("net.ipv6.conf.all.forwarding", 1)
    lab.settle()
    a.call(add_route, a.inet6, a6("::"), 0, gateway=a6("2001:db8:1::fe"), dev=a.dev())
    watch = Watch(router)
    b.listen()
    a.send(a6("2001:db8:2::2"), b"hello")
    lab.settle(1)
    assert b.got == [b"hello"]
    assert watch.seen == [
        f"prerouting {first.name}>-", f"forward {first.name}>{second.name}", f"postrouting ->{second.name}",
    ]  # fmt: skip


def test_drops(hosts: tuple[Lab6, Host6, Host6]) -> None:
    lab, a, b = hosts

    def hook(skb: SkBuff, state: NfState) -> int:
        return NF_DROP if skb.head[skb.data + 6] == 200 else NF_ACCEPT

    incoming = NfHookOps(hook, NFPROTO_IPV6, NF_INET_PRE_ROUTING)
    b.call(nf_register_net_hook, b.net, incoming)
    assert a.send(a6("2001:db8::2"), b"x") == 0
    lab.settle(1)
    assert (b.got, incoming.drops) == ([], 1)
    b.call(nf_unregister_net_hook, b.net, incoming)
    outgoing = NfHookOps(hook, NFPROTO_IPV6, NF_INET_LOCAL_OUT)
    a.call(nf_register_net_hook, a.net, outgoing)
    assert a.send(a6("2001:db8::2"), b"x") == -errno.EPERM
    a.call(nf_unregister_net_hook, a.net, outgoing)
    assert a.send(a6("2001:db8::2"), b"y") == 0
    lab.settle(1)
    assert b.got == [b"y"]
    assert a.inet6.nf is b.inet6.nf is None


def test_a_connection_meets_the_hooks_from_the_first_to_the_last() -> None:
    """One that exists already leaves its fast path, and returns to it."""
    api = Ours6()
    listener = api.bound(type=SOCK_STREAM)
    api.listen(listener)
    fd = api.socket(SOCK_STREAM)
    fails(errno.EINPROGRESS, api.connect, fd, api.name(listener))
    peer = api.accept(listener)[0]
    api.sendto(fd, b"before")
    assert api.recvfrom(peer)[0] == b"before"
    seen: list[int] = []

    def hook(skb: SkBuff, state: NfState) -> int:
        assert skb.head[skb.data] >> 4 == 6
        seen.append(state.hook)
        return NF_ACCEPT

    hooks = [NfHookOps(hook, NFPROTO_IPV6, point) for point in range(5)]
    for ops in hooks:
        nf_register_net_hook(api.task.net, ops)
    api.sendto(fd, b"while")
    assert api.recvfrom(peer)[0] == b"while"
    assert [point for point in (3, 4, 0, 1) if point in seen] == [3, 4, 0, 1]
    assert seen[:4] == [3, 4, 0, 1]
    for ops in hooks:
        nf_unregister_net_hook(api.task.net, ops)
    seen.clear()
    api.sendto(fd, b"after")
    assert api.recvfrom(peer)[0] == b"after"
    assert seen == []
    assert api.inet6.nf is None

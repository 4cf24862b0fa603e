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
    NF_REPEAT,
    NF_STOLEN,
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


def test_a_big_packet_is_seen_whole_by_who_sends_it(hosts: tuple[Lab6, Host6, Host6]) -> None:
    """Output hooks come before it is cut; LOCAL_IN of IPv6 comes before the extension headers, so it sees fragments."""
    lab, a, b = hosts
    out, back = Watch(a), Watch(b)
    assert a.send(a6("2001:db8::2"), bytes(4000)) == 0
    lab.settle(1)
    assert b.got == [bytes(4000)]
    assert out.seen == ["output ->eth0", "postrouting ->eth0"]
    assert back.seen == ["prerouting eth0>-", "input eth0>-"] * 3


def test_what_a_hook_holds_is_cut_when_it_goes_on(hosts: tuple[Lab6, Host6, Host6]) -> None:
    lab, a, b = hosts
    held: list[tuple[SkBuff, NfState]] = []

    def steal(skb: SkBuff, state: NfState) -> int:
        if skb.head[skb.data + 6] != 200:
            return NF_ACCEPT
        held.append((skb, state))
        return NF_STOLEN

    a.call(nf_register_net_hook, a.net, NfHookOps(steal, NFPROTO_IPV6, NF_INET_LOCAL_OUT))
    assert a.send(a6("2001:db8::2"), bytes(4000)) == 0
    lab.settle(1)
    assert b.got == []
    ((skb, state),) = held
    assert a.call(state.resume, skb) == 0
    lab.settle(1)
    assert b.got == [bytes(4000)]


@pytest.fixture
def routed() -> tuple[Lab6, Host6, Host6, Host6]:
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
    b.listen()
    a.send(a6("2001:db8:2::2"), b"fill the caches")
    lab.settle(1)
    b.got.clear()
    return lab, a, router, b


@pytest.mark.parametrize("point", range(5))
def test_every_point_has_every_verdict(routed: tuple[Lab6, Host6, Host6, Host6], point: int) -> None:
    """In order of priority: one looks twice, one steals and resumes, one drops; what comes behind does not see that."""
    lab, a, router, b = routed
    host = (router, b, router, a, a)[point]
    order: list[str] = []
    verdicts = {"first": [NF_REPEAT], "thief": [NF_STOLEN], "wall": [NF_ACCEPT, NF_DROP]}
    held: list[tuple[SkBuff, NfState]] = []

    def ops(name: str, priority: int) -> NfHookOps:
        def hook(skb: SkBuff, state: NfState) -> int:
            if skb.head[skb.data + 6] != 200:
                return NF_ACCEPT
            order.append(name)
            verdict = verdicts[name].pop(0) if verdicts.get(name) else NF_ACCEPT
            if verdict == NF_STOLEN:
                held.append((skb, state))
            return verdict

        return NfHookOps(hook, NFPROTO_IPV6, point, priority, name)

    hooks = [ops("last", 30), ops("wall", 20), ops("thief", 10), ops("first", -10)]
    for one in hooks:
        host.call(nf_register_net_hook, host.net, one)
    assert a.send(a6("2001:db8:2::2"), b"stolen") == 0
    lab.settle(1)
    assert (order, b.got) == (["first", "first", "thief"], [])
    ((skb, state),) = held
    host.call(state.resume, skb)
    lab.settle(1)
    assert (order[3:], b.got) == (["wall", "last"], [b"stolen"])
    order.clear()
    assert a.send(a6("2001:db8:2::2"), b"dropped") == (-errno.EPERM if point >= 3 else 0)
    lab.settle(1)
    assert (order, b.got) == (["first", "thief", "wall"], [b"stolen"])
    assert [one.drops for one in hooks] == [0, 1, 0, 0]

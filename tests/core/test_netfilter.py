"""Netfilter hooks: the five points, the verdicts, and what they cost who has none."""

from __future__ import annotations

import errno
import sys
from types import ModuleType

import pytest
from support.dgram_api import Ours
from support.hosts import HostApi, Hosts

from pysock.core.clock import NSEC_PER_SEC
from pysock.core.kernel import Kernel
from pysock.core.net import Net
from pysock.core.netfilter import (
    NF_ACCEPT,
    NF_DROP,
    NF_INET_FORWARD,
    NF_INET_LOCAL_IN,
    NF_INET_LOCAL_OUT,
    NF_INET_POST_ROUTING,
    NF_INET_PRE_ROUTING,
    NF_IP_PRI_FIRST,
    NF_IP_PRI_LAST,
    NF_QUEUE,
    NF_REPEAT,
    NF_STOLEN,
    NFPROTO_IPV4,
    NFPROTO_IPV6,
    NfHookOps,
    NfState,
    drop_err,
    netfilter_of,
    nf_register_net_hook,
    nf_unregister_net_hook,
)
from pysock.core.skb_copy import skb_cow
from pysock.core.skb_data import skb_copy_bits
from pysock.core.skbuff import SkBuff
from pysock.core.timer import Timer
from pysock.families.inet.route import output
from pysock.uapi.if_ether import ETH_P_IP
from pysock.wire.addr import inet_aton

POINTS = ("prerouting", "input", "forward", "output", "postrouting")


def name_of(dev: object) -> str:
    return getattr(dev, "name", "-")


class Watch:
    """Accepts all and notes "point in>out protocol" of each packet of a host."""

    def __init__(self, host: HostApi, *points: int) -> None:
        self.seen: list[str] = []
        self.ops = [NfHookOps(self.hook, NFPROTO_IPV4, point) for point in points or range(5)]
        for ops in self.ops:
            host.call(nf_register_net_hook, host.net, ops)

    def hook(self, skb: SkBuff, state: NfState) -> int:
        packet = skb_copy_bits(skb, 0, skb.len)
        assert packet[0] >> 4 == 4
        assert skb.len == int.from_bytes(packet[2:4], "big")
        self.seen.append(f"{POINTS[state.hook]} {name_of(state.in_dev)}>{name_of(state.out_dev)} {packet[9]}")
        return NF_ACCEPT

    def take(self) -> list[str]:
        seen, self.seen = self.seen, []
        return seen


def udp_pair(a: HostApi, b: HostApi, to: str = "10.0.0.2") -> tuple[int, int]:
    receiver = b.socket()
    b.bind(receiver, (to, 9))
    return a.socket(), receiver


def verdict_hook(host: HostApi, point: int, verdict: int) -> NfHookOps:
    ops = NfHookOps(lambda skb, state: verdict, NFPROTO_IPV4, point, name="verdict")
    host.call(nf_register_net_hook, host.net, ops)
    return ops


# --- the points --------------------------------------------------


def test_a_datagram_s_way() -> None:
    lab = Hosts()
    a, router, b = lab.routed()
    sender, receiver = udp_pair(a, b, "10.0.2.2")
    watches = [Watch(host) for host in (a, router, b)]
    a.sendto(sender, b"hello", ("10.0.2.2", 9))
    assert b.recv(receiver) == b"hello"
    assert [watch.take() for watch in watches] == [
        ["output ->eth0 17", "postrouting ->eth0 17"],
        ["prerouting eth0>- 17", "forward eth0>eth1 17", "postrouting ->eth1 17"],
        ["prerouting eth0>- 17", "input eth0>- 17"],
    ]
    a.sendto(sender, b"again", ("10.0.2.2", 9))  # every cache is filled now
    assert b.recv(receiver) == b"again"
    assert [len(watch.take()) for watch in watches] == [2, 3, 2]


def test_connections_that_exist_are_seen_too_and_only_while_there_are_hooks() -> None:
    lab = Hosts()
    a, b = lab.pair()
    listener = b.listen("10.0.0.2", 80)
    fd = a.tcp()
    a.connect(fd, ("10.0.0.2", 80))
    peer = b.accept(listener)
    a.sendto(fd, b"before")
    assert b.recv(peer) == b"before"
    handlers = a.net.ptype_base[ETH_P_IP]
    watches = [Watch(a), Watch(b)]
    a.sendto(fd, b"x")
    assert b.recv(peer) == b"x"
    assert watches[0].take()[:2] == ["output ->eth0 6", "postrouting ->eth0 6"]
    assert watches[1].take()[:2] == ["prerouting eth0>- 6", "input eth0>- 6"]
    assert output(a.inet, inet_aton("10.0.0.2")).inner is not None
    for host, watch in zip((a, b), watches, strict=True):
        for ops in watch.ops:
            host.call(nf_unregister_net_hook, host.net, ops)
    lab.sleep(1)
    for watch in watches:
        watch.take()
    a.sendto(fd, b"after")
    assert b.recv(peer) == b"after"
    assert [watch.take() for watch in watches] == [[], []]
    assert output(a.inet, inet_aton("10.0.0.2")).inner is None
    assert a.inet.nf is None
    assert a.net.ptype_base[ETH_P_IP] == handlers


def test_loopback_and_one_s_own_address() -> None:
    lab = Hosts()
    a, _ = lab.pair()
    receiver = a.socket()
    a.bind(receiver, ("0.0.0.0", 9))
    sender = a.socket()
    a.sendto(sender, b"fill the caches", ("127.0.0.1", 9))
    a.recv(receiver)
    watch = Watch(a)
    for to in ("127.0.0.1", "10.0.0.1"):
        for _ in range(2):
            a.sendto(sender, b"x", (to, 9))
            assert a.recv(receiver) == b"x"
            assert watch.take() == [
                "output ->lo 17", "postrouting ->lo 17", "prerouting lo>- 17", "input lo>- 17",
            ]  # fmt: skip


def test_a_big_datagram_is_seen_whole() -> None:
    """Output hooks come before it is cut, LOCAL_IN after it was put together."""
    lab = Hosts()
    a, b = lab.pair()
    sender, receiver = udp_pair(a, b)
    out, back = Watch(a), Watch(b)
    a.sendto(sender, bytes(4000), ("10.0.0.2", 9))
    assert b.recv(receiver) == bytes(4000)
    assert out.take() == ["output ->eth0 17", "postrouting ->eth0 17"]
    assert sorted(back.take()) == ["input eth0>- 17"] + ["prerouting eth0>- 17"] * 3


def test_multicast_is_asked_about_once() -> None:
    lab = Hosts()
    a, b = lab.pair()
    sender, _ = udp_pair(a, b)
    watch = Watch(a, NF_INET_LOCAL_OUT, NF_INET_POST_ROUTING)
    a.setopt(sender, 0, 32, inet_aton("10.0.0.1"))  # IP_MULTICAST_IF
    a.sendto(sender, b"x", ("224.0.0.9", 9))
    assert watch.take() == ["output ->eth0 17", "postrouting ->eth0 17"]


# --- verdicts --------------------------------------------------


@pytest.mark.parametrize(
    ("verdict", "number"), [(NF_DROP, errno.EPERM), (drop_err(errno.EHOSTUNREACH), errno.EHOSTUNREACH),
                            (NF_QUEUE, errno.EPERM), (99, errno.EPERM)]
)  # fmt: skip
def test_what_is_dropped_on_output_is_an_error_for_the_sender(verdict: int, number: int) -> None:
    lab = Hosts()
    a, b = lab.pair()
    sender, receiver = udp_pair(a, b)
    ops = verdict_hook(a, NF_INET_LOCAL_OUT, verdict)
    with pytest.raises(OSError) as info:
        a.sendto(sender, b"x", ("10.0.0.2", 9))
    assert info.value.errno == number
    assert ops.drops == 1
    assert netfilter_of(a.net).statistics() == {(NFPROTO_IPV4, "output", "verdict"): 1}
    a.call(nf_unregister_net_hook, a.net, ops)
    a.sendto(sender, b"y", ("10.0.0.2", 9))
    assert b.recv(receiver) == b"y"


@pytest.mark.parametrize("point", [NF_INET_PRE_ROUTING, NF_INET_LOCAL_IN])
def test_what_is_dropped_on_input_vanishes(point: int) -> None:
    lab = Hosts()
    a, b = lab.pair()
    sender, receiver = udp_pair(a, b)
    ops = verdict_hook(b, point, NF_DROP)
    a.sendto(sender, b"x", ("10.0.0.2", 9))
    lab.sleep(1)
    assert ops.drops == 1
    with pytest.raises(BlockingIOError):
        b.recvfrom(receiver)


def test_a_dropped_syn_is_sent_again() -> None:
    lab = Hosts()
    a, b = lab.pair()
    b.listen("10.0.0.2", 80)
    dropped: list[int] = []

    def hook(skb: SkBuff, state: NfState) -> int:
        if skb.head[skb.data + 9] == 6 and len(dropped) < 2:
            dropped.append(lab.kernel.now)
            return NF_DROP
        return NF_ACCEPT

    a.call(nf_register_net_hook, a.net, NfHookOps(hook, NFPROTO_IPV4, NF_INET_LOCAL_OUT))
    fd = a.tcp()
    a.connect(fd, ("10.0.0.2", 80))
    assert a.peer(fd) == ("10.0.0.2", 80)
    assert dropped[1] - dropped[0] == NSEC_PER_SEC


def test_order_and_repeat() -> None:
    lab = Hosts()
    a, b = lab.pair()
    sender, _ = udp_pair(a, b)
    order: list[str] = []

    def ops(name: str, priority: int, *verdicts: int) -> NfHookOps:
        answers = list(verdicts)

        def hook(skb: SkBuff, state: NfState) -> int:
            order.append(name)
            return answers.pop(0) if answers else NF_ACCEPT

        return NfHookOps(hook, NFPROTO_IPV4, NF_INET_LOCAL_OUT, priority, name)

    for one in (
        ops("last", NF_IP_PRI_LAST), ops("first", NF_IP_PRI_FIRST), ops("old", 0), ops("new", 0, NF_REPEAT, NF_REPEAT),
    ):  # fmt: skip
        a.call(nf_register_net_hook, a.net, one)
    a.sendto(sender, b"x", ("10.0.0.2", 9))
    assert order == ["first", "new", "new", "new", "old", "last"]
    assert [one.name for one in netfilter_of(a.net).hooks(NFPROTO_IPV4, NF_INET_LOCAL_OUT)] == [
        "first", "new", "old", "last",
    ]  # fmt: skip


def test_a_hook_that_never_stops_repeating() -> None:
    lab = Hosts()
    a, b = lab.pair()
    sender, _ = udp_pair(a, b)
    verdict_hook(a, NF_INET_POST_ROUTING, NF_REPEAT)
    with pytest.raises(PermissionError):
        a.sendto(sender, b"x", ("10.0.0.2", 9))


@pytest.mark.parametrize("point", range(5))
def test_a_stolen_packet_goes_on_later(point: int) -> None:
    lab = Hosts()
    a, router, b = lab.routed()
    sender, receiver = udp_pair(a, b, "10.0.2.2")
    behind: list[int] = []
    host = (router, b, router, a, a)[point]

    def steal(skb: SkBuff, state: NfState) -> int:
        def later() -> None:
            assert state.resume(skb) == 0

        lab.kernel.timers.mod_timer(Timer(later), lab.kernel.now + NSEC_PER_SEC)
        return NF_STOLEN

    def second(skb: SkBuff, state: NfState) -> int:
        behind.append(lab.kernel.now)
        return NF_ACCEPT

    for hook, priority in ((steal, 0), (second, 1)):
        host.call(nf_register_net_hook, host.net, NfHookOps(hook, NFPROTO_IPV4, point, priority))
    start = lab.kernel.now
    a.sendto(sender, b"x", ("10.0.2.2", 9))
    assert behind == []
    assert b.recv(receiver) == b"x"
    assert lab.kernel.now - start == NSEC_PER_SEC
    assert len(behind) == 1


def test_a_hook_may_change_the_packet() -> None:
    """It redirects what comes for one address to another that is ours, as DNAT does."""
    lab = Hosts()
    a, b = lab.pair()
    a.route("192.0.2.0/24", via="10.0.0.2")
    sender, receiver = udp_pair(a, b)

    def dnat(skb: SkBuff, state: NfState) -> int:
        skb_cow(skb, 0)
        at = skb.data
        assert isinstance(skb.head, bytearray)
        skb.head[at + 16 : at + 20] = inet_aton("10.0.0.2")
        return NF_ACCEPT

    b.call(nf_register_net_hook, b.net, NfHookOps(dnat, NFPROTO_IPV4, NF_INET_PRE_ROUTING))
    a.sendto(sender, b"x", ("192.0.2.1", 9))
    assert b.recv(receiver) == b"x"


# --- registering --------------------------------------------------


def test_a_hook_that_raises_is_contained() -> None:
    lab = Hosts()
    a, b = lab.pair()
    sender, receiver = udp_pair(a, b)

    def hook(skb: SkBuff, state: NfState) -> int:
        raise LookupError("in the hook")

    ops = NfHookOps(hook, NFPROTO_IPV4, NF_INET_LOCAL_IN, name="bad-plugin")
    b.call(nf_register_net_hook, b.net, ops)
    for _ in range(3):
        a.sendto(sender, b"x", ("10.0.0.2", 9))
    lab.sleep(1)
    assert ops.drops == 3
    assert lab.kernel.errors.count("bad-plugin") == 3
    assert len([line for line in lab.log if "bad-plugin" in line]) == 1
    b.call(nf_unregister_net_hook, b.net, ops)
    a.sendto(sender, b"y", ("10.0.0.2", 9))
    assert b.recv(receiver) == b"y"


def test_a_hook_that_takes_itself_off() -> None:
    lab = Hosts()
    a, b = lab.pair()
    sender, receiver = udp_pair(a, b)
    seen: list[int] = []

    def hook(skb: SkBuff, state: NfState) -> int:
        seen.append(state.hook)
        nf_unregister_net_hook(state.net, ops)
        return NF_ACCEPT

    ops = NfHookOps(hook, NFPROTO_IPV4, NF_INET_POST_ROUTING)
    a.call(nf_register_net_hook, a.net, ops)
    for _ in range(2):
        a.sendto(sender, b"x", ("10.0.0.2", 9))
        assert b.recv(receiver) == b"x"
    assert seen == [NF_INET_POST_ROUTING]


def test_bad_registrations() -> None:
    lab = Hosts()
    a = lab.host("a")

    def hook(skb: SkBuff, state: NfState) -> int:
        return NF_ACCEPT

    good = NfHookOps(hook, NFPROTO_IPV4, NF_INET_FORWARD)
    a.call(nf_register_net_hook, a.net, good)
    for ops, number in (
        (good, errno.EEXIST),
        (NfHookOps(hook, NFPROTO_IPV4, 5), errno.EINVAL),
        (NfHookOps(hook, 7, 0), errno.EPFNOSUPPORT),
    ):
        with pytest.raises(OSError) as info:
            a.call(nf_register_net_hook, a.net, ops)
        assert info.value.errno == number
    with pytest.raises(OSError) as info:
        a.call(nf_unregister_net_hook, a.net, NfHookOps(hook, NFPROTO_IPV4, NF_INET_FORWARD))
    assert info.value.errno == errno.ENOENT
    a.call(nf_unregister_net_hook, a.net, good)
    assert not netfilter_of(a.net).active(NFPROTO_IPV4)
    assert not netfilter_of(a.net).active(NFPROTO_IPV6)


def test_namespaces_have_their_own_hooks() -> None:
    lab = Hosts()
    a, b = lab.pair()
    sender, receiver = udp_pair(a, b)
    watch = Watch(a)
    assert b.inet.nf is None
    a.sendto(sender, b"x", ("10.0.0.2", 9))
    assert b.recv(receiver) == b"x"
    assert len(watch.take()) == 2


def test_a_plugin_registers_its_hooks_for_every_namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    """In pysock_net_init, whether its turn comes before the family's or after it."""
    seen: list[str] = []

    def pysock_net_init(net: Net) -> None:
        def hook(skb: SkBuff, state: NfState) -> int:
            seen.append(state.net.name)
            return NF_ACCEPT

        nf_register_net_hook(net, NfHookOps(hook, NFPROTO_IPV4, NF_INET_PRE_ROUTING))

    module = ModuleType("hooks_of_a_plugin")
    module.pysock_net_init = pysock_net_init  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    kernel = Kernel.boot(clock="virtual", seed=1, entry_points=False, strict=True, plugins=[module.__name__])
    api = Ours(kernel=kernel)
    receiver = api.bound()
    api.sendto(api.socket(), b"x", api.name(receiver))
    assert api.recvfrom(receiver)[0] == b"x"
    kernel.enter()
    other = kernel.new_net("other")
    kernel.leave()
    assert netfilter_of(other).active(NFPROTO_IPV4)
    assert seen == [kernel.init_net.name]

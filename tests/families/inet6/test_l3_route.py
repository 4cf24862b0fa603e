"""Routes: longest prefix, devices, failures, path MTU, whose a received packet is."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given, strategies
from support.devices import make
from support.inet6_hosts import Lab6, Wire6, a6

from pysock.core.device import NetDevice, dev_close, dev_open, register_netdev
from pysock.families.inet.fib import RTN_BLACKHOLE, RTN_LOCAL, RTN_MULTICAST, RTN_PROHIBIT, RTN_UNICAST, RTN_UNREACHABLE
from pysock.families.inet6 import route
from pysock.families.inet6.addr import ANY6, LOOPBACK6, prefix_of
from pysock.families.inet6.fib6 import Fib6Entry, Fib6Table


def add(wire: Wire6, prefix: str, dev: NetDevice | None, via: str | None = None, type: int = RTN_UNICAST) -> Fib6Entry:
    host, _, plen = prefix.partition("/")
    entry = Fib6Entry(a6(host), int(plen), type, dev, a6(via) if via else None)
    wire.call(wire.inet6.fib6.add, entry)
    return entry


def second(wire: Wire6, address: str) -> NetDevice:
    dev = make(wire.kernel, "w1", setup=lambda dev: setattr(dev, "dev_addr", b"\x02\0\0\0\0\x77"))
    register_netdev(dev)
    wire.call(dev_open, dev)
    wire.add(address, "w1", 0x82)
    return dev


def out(wire: Wire6, daddr: str, saddr: bytes = ANY6, oif: int = 0) -> route.Rt6:
    return wire.call(route.output, wire.inet6, a6(daddr), saddr, oif)


def failure(wire: Wire6, *args: object) -> int:
    with pytest.raises(OSError) as caught:
        out(wire, *args)  # type: ignore[arg-type]
    assert caught.value.errno is not None
    return caught.value.errno


def test_to_ourselves_over_loopback(wire: Wire6) -> None:
    rt = out(wire, "2001:db8::1")
    assert (rt.type, rt.dev.name, rt.saddr, rt.mtu) == (RTN_LOCAL, "lo", a6("2001:db8::1"), 65536)
    assert out(wire, "::").daddr == LOOPBACK6


def test_neighbours_and_gateways(wire: Wire6) -> None:
    near = out(wire, "2001:db8::5")
    assert (near.dev, near.gateway, near.saddr, near.mtu) == (wire.dev(), None, a6("2001:db8::1"), 1500)
    assert failure(wire, "2001:db9::5") == errno.ENETUNREACH
    add(wire, "::/0", wire.dev(), "2001:db8::fe")
    assert out(wire, "2001:db9::5").gateway == a6("2001:db8::fe")


@pytest.mark.parametrize(
    ("type", "number"),
    [(RTN_BLACKHOLE, errno.EINVAL), (RTN_UNREACHABLE, errno.EHOSTUNREACH), (RTN_PROHIBIT, errno.EACCES)],
)
def test_routes_that_say_no(wire: Wire6, type: int, number: int) -> None:
    add(wire, "2001:db9::/32", None, type=type)
    assert failure(wire, "2001:db9::5") == number


def test_the_longest_prefix_wins_then_the_metric(wire: Wire6) -> None:
    wide = add(wire, "2001:db9::/32", wire.dev(), "2001:db8::a")
    narrow = add(wire, "2001:db9:1::/48", wire.dev(), "2001:db8::b")
    assert out(wire, "2001:db9:1::1").gateway == narrow.gateway
    assert out(wire, "2001:db9:2::1").gateway == wide.gateway
    better = Fib6Entry(a6("2001:db9:1::"), 48, RTN_UNICAST, wire.dev(), a6("2001:db8::c"), metric=1)
    wire.call(wire.inet6.fib6.add, better)
    assert out(wire, "2001:db9:1::1").gateway == better.gateway
    wire.call(wire.inet6.fib6.remove, better)
    assert out(wire, "2001:db9:1::1").gateway == narrow.gateway


def test_a_route_is_added_once_and_removed_once(wire: Wire6) -> None:
    entry = add(wire, "2001:db9::/32", wire.dev(), "2001:db8::a")
    with pytest.raises(FileExistsError):
        add(wire, "2001:db9::/32", wire.dev(), "2001:db8::a")
    wire.call(wire.inet6.fib6.remove, entry)
    with pytest.raises(ProcessLookupError):
        wire.call(wire.inet6.fib6.remove, entry)
    with pytest.raises(OSError, match="Invalid argument"):
        add(wire, "2001:db9::1/32", wire.dev())


def test_the_device_chooses_among_routes_for_one_prefix(wire: Wire6) -> None:
    w1 = second(wire, "2001:db8:1::1/64")
    link = wire.linklocal()
    wire.lab.settle()
    for dev in (wire.dev(), w1):
        rt = out(wire, "fe80::9", oif=dev.ifindex)
        assert rt.dev is dev
        assert out(wire, "ff02::1", oif=dev.ifindex).dev is dev
    assert out(wire, "fe80::9", oif=wire.dev().ifindex).saddr == link
    assert failure(wire, "2001:db8::5", ANY6, w1.ifindex) == errno.ENETUNREACH
    assert failure(wire, "2001:db8::5", ANY6, 99) == errno.ENODEV


def test_groups(wire: Wire6) -> None:
    rt = out(wire, "ff02::1")
    assert (rt.type, rt.dev, rt.saddr, rt.hop_limit) == (RTN_MULTICAST, wire.dev(), wire.linklocal(), 1)
    assert rt.hh == bytes.fromhex("333300000001") + wire.dev().dev_addr + b"\x86\xdd"
    assert out(wire, "ff0e::1").saddr == a6("2001:db8::1")
    assert out(wire, "2001:db8::5").hop_limit == 64


def test_loopback_has_no_groups(lab: Lab6) -> None:
    """As on Linux: there is no multicast route on lo."""
    host = lab.host()
    with pytest.raises(OSError) as caught:
        host.call(route.output, host.inet6, a6("ff02::1"), ANY6, 1)
    assert caught.value.errno == errno.ENETUNREACH


def test_a_device_that_goes_down_takes_its_routes(wire: Wire6) -> None:
    generation = wire.inet6.fib6.generation
    wire.call(dev_close, wire.dev())
    assert failure(wire, "2001:db8::5") == errno.ENETUNREACH
    assert failure(wire, "2001:db8::1") == errno.ENETUNREACH
    assert wire.inet6.fib6.generation > generation
    assert all(entry.dev is not wire.dev() for entry in wire.inet6.fib6.entries())


def test_path_mtu_is_learnt_for_a_while(wire: Wire6) -> None:
    add(wire, "::/0", wire.dev(), "2001:db8::fe")
    wire.call(route.update_pmtu, wire.inet6, a6("2001:db9::5"), 1400, 600_000_000_000)
    assert out(wire, "2001:db9::5").mtu == 1400
    assert out(wire, "2001:db9::6").mtu == 1500
    wire.call(route.update_pmtu, wire.inet6, a6("2001:db9::5"), 1450, 600_000_000_000)
    assert out(wire, "2001:db9::5").mtu == 1400  # never an increase
    wire.call(route.update_pmtu, wire.inet6, a6("2001:db9::5"), 100, 600_000_000_000)
    assert out(wire, "2001:db9::5").mtu == 1280
    generation = wire.inet6.fib6.generation
    wire.lab.settle(601)
    assert wire.inet6.fib6.generation > generation  # sockets look again
    assert out(wire, "2001:db9::5").mtu == 1500


def test_whose_is_it(wire: Wire6) -> None:
    w1 = second(wire, "2001:db8:1::1/64")
    wire.lab.settle()

    def kind(daddr: str | bytes, dev: NetDevice) -> int:
        daddr = a6(daddr) if isinstance(daddr, str) else daddr
        return wire.call(route.input_type, wire.inet6, a6("2001:db8::9"), daddr, dev)

    lo = wire.net.dev_by_name["lo"]
    assert kind("2001:db8::1", w1) == RTN_LOCAL  # a host is one, whatever the device
    assert kind(wire.linklocal(), wire.dev()) == RTN_LOCAL
    assert kind(wire.linklocal(), w1) != RTN_LOCAL
    assert kind(wire.linklocal(), lo) == RTN_LOCAL
    assert kind("ff02::1", w1) == RTN_MULTICAST
    assert kind("2001:db8::7", w1) == RTN_UNICAST
    assert kind("2001:db9::7", w1) == 0


prefixes = strategies.tuples(strategies.integers(0, 255), strategies.sampled_from([0, 2, 4, 6, 7, 8, 64, 128]))


@given(strategies.lists(prefixes, unique=True, max_size=12), strategies.integers(0, 255))
def test_lookup_agrees_with_a_search_of_all(routes: list[tuple[int, int]], last: int) -> None:
    fib = Fib6Table()
    best = None
    daddr = bytes((last,)) + bytes(15)
    for value, plen in routes:
        prefix = prefix_of(bytes((value,)) + bytes(15), plen)
        entry = Fib6Entry(prefix, plen, RTN_UNICAST, None)
        try:
            fib.add(entry)
        except FileExistsError:
            continue
        if prefix_of(daddr, plen) == prefix and (best is None or plen > best.plen):
            best = entry
    assert fib.lookup(daddr) is best
    assert fib.lookup(daddr) is best  # from the cache

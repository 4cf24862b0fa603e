"""What a host learns from routers, and how long it is good (RFC 4861 6.3, RFC 4862 5.5, RFC 4191, RFC 7559)."""

from __future__ import annotations

import struct

import pytest
from support.inet6_hosts import PEER_MAC, Ether6, a6, parsed

from pysock.families.inet6 import addrconf, route
from pysock.families.inet6.devconf import IFA_F_DEPRECATED, Inet6Ifaddr, address_on, find_address, idev_of
from pysock.uapi.neighbour import NTF_ROUTER
from pysock.wire import icmpv6, ipv6

ROUTER = a6("fe80::ff:fe00:99")
SECOND = a6("fe80::ff:fe00:98")
MINE = a6("2001:db8:5::ff:fe00:1")  # of w0's MAC address 02:00:00:00:00:01
FAR = a6("2001:db9::1")


def prefix(
    text: str = "2001:db8:5::", plen: int = 64, flags: int = 0xC0, valid: int = 7200, preferred: int = 3600
) -> bytes:
    return bytes((3, 4)) + struct.pack("!BBIII16s", plen, flags, valid, preferred, 0, a6(text))


def mtu(value: int) -> bytes:
    return struct.pack("!BBHI", 5, 1, 0, value)


def advertise(
    ether: Ether6,
    options: bytes = b"",
    *,
    lifetime: int = 1800,
    hop_limit: int = 64,
    flags: int = 0,
    src: bytes = ROUTER,
    limit: int = 255,
    reachable: int = 0,
    retransmission: int = 0,
) -> None:
    dst = a6("ff02::1")
    rest = hop_limit << 24 | flags << 16 | lifetime
    body = struct.pack("!II", reachable, retransmission) + options
    message = icmpv6.build(icmpv6.ROUTER_ADVERT, 0, rest, body, addresses=(src, dst))
    ether.inject(ipv6.build(src, dst, 58, message, hop_limit=limit))


@pytest.fixture
def ether() -> Ether6:
    ether = Ether6()
    ether.sysctl("net.ipv6.conf.w0.accept_ra", 1)
    return ether


def gateway(ether: Ether6) -> bytes | None:
    try:
        return ether.call(route.output, ether.inet6, FAR).gateway
    except OSError:
        return None


def mine(ether: Ether6) -> Inet6Ifaddr:
    ifa = address_on(ether.dev(), MINE)
    assert ifa is not None
    return ifa


# --- asking -------------------------------------------------------------------------------------------------------


def solicitations(ether: Ether6, seconds: float) -> int:
    ether.lab.settle(seconds)
    found = 0
    for packet in ether.sent():
        header, _, protocol, message = parsed(packet)
        if protocol == 58 and message[0] == icmpv6.ROUTER_SOLICIT:
            assert (header.src, header.dst, header.hop_limit) == (ether.linklocal(), a6("ff02::2"), 255)
            assert message[8:] == icmpv6.build_option(1, ether.w0.dev_addr)
            found += 1
    return found


def restart(ether: Ether6) -> None:
    ether.sysctl("net.ipv6.conf.w0.disable_ipv6", 1)
    ether.sysctl("net.ipv6.conf.w0.disable_ipv6", 0)


def test_a_host_asks_for_routers(ether: Ether6) -> None:
    restart(ether)
    assert solicitations(ether, 3) == 1
    assert solicitations(ether, 3.5) == 1
    assert solicitations(ether, 10) == 1
    assert solicitations(ether, 7200) == 0


def test_until_one_answers(ether: Ether6) -> None:
    restart(ether)
    assert solicitations(ether, 3) == 1
    advertise(ether)
    assert solicitations(ether, 100) == 0


@pytest.mark.parametrize(("setting", "value"), [("accept_ra", 0), ("router_solicitations", 0), ("forwarding", 1)])
def test_who_does_not_ask(ether: Ether6, setting: str, value: int) -> None:
    ether.sysctl(f"net.ipv6.conf.w0.{setting}", value)
    restart(ether)
    assert solicitations(ether, 20) == 0


# --- learning -----------------------------------------------------------------------------------------------------


def test_everything_at_once(ether: Ether6) -> None:
    options = icmpv6.build_option(1, PEER_MAC) + mtu(1400) + prefix()
    advertise(ether, options, hop_limit=33, reachable=10_000, retransmission=2_000)
    ether.lab.settle(4)
    assert find_address(ether.net, MINE) is not None
    rt = ether.call(route.output, ether.inet6, FAR)
    assert (rt.gateway, rt.saddr, rt.mtu, rt.hop_limit) == (ROUTER, MINE, 1400, 33)
    near = ether.call(route.output, ether.inet6, a6("2001:db8:5::7"))
    assert (near.gateway, near.dev) == (None, ether.w0)
    router = ether.inet6.nd.lookup(ether.w0, ROUTER)
    assert router is not None
    assert router.ha == PEER_MAC
    assert router.flags & NTF_ROUTER
    assert (router.parms.base_reachable_time, router.parms.retrans_time) == (10_000_000_000, 2_000_000_000)


@pytest.mark.parametrize(
    "wrong",
    [
        {"src": a6("2001:db8::99")},
        {"limit": 254},
        {"options": b"\3\0" + bytes(6)},
        {"options": prefix()[:-8]},
    ],
)
def test_what_is_no_advertisement(ether: Ether6, wrong: dict[str, object]) -> None:
    advertise(ether, **wrong)  # type: ignore[arg-type]
    assert gateway(ether) is None


@pytest.mark.parametrize(("accept", "forwarding", "learns"), [(0, 0, False), (1, 0, True), (1, 1, False), (2, 1, True)])
def test_who_listens(ether: Ether6, accept: int, forwarding: int, learns: bool) -> None:
    ether.sysctl("net.ipv6.conf.w0.accept_ra", accept)
    ether.sysctl("net.ipv6.conf.w0.forwarding", forwarding)
    advertise(ether)
    assert (gateway(ether) == ROUTER) == learns


@pytest.mark.parametrize(
    ("setting", "learnt"),
    [("accept_ra_defrtr", "router"), ("accept_ra_pinfo", "address"), ("autoconf", "address"), ("accept_ra_mtu", "mtu")],
)
def test_each_part_can_be_refused(ether: Ether6, setting: str, learnt: str) -> None:
    ether.sysctl(f"net.ipv6.conf.w0.{setting}", 0)
    advertise(ether, prefix() + mtu(1400))
    idev = idev_of(ether.w0)
    assert idev is not None
    found = {
        "router": gateway(ether) is not None,
        "address": address_on(ether.w0, MINE) is not None,
        "mtu": idev.mtu == 1400,
    }
    assert not found.pop(learnt)
    assert all(found.values())


@pytest.mark.parametrize(
    "option",
    [
        prefix(plen=63),
        prefix(plen=129),
        prefix("fe80::"),
        prefix("ff02::"),
        prefix(valid=100, preferred=101),
        prefix(valid=0, preferred=0),
        prefix(flags=0x80),
        mtu(1279),
        mtu(1501),
    ],
)
def test_options_that_give_no_address(ether: Ether6, option: bytes) -> None:
    before = ether.net.proc["net/if_inet6"]()
    advertise(ether, option)
    assert ether.net.proc["net/if_inet6"]() == before
    idev = idev_of(ether.w0)
    assert idev is not None
    assert idev.mtu == 1500


# --- time ---------------------------------------------------------------------------------------------------------


def test_a_router_that_falls_silent(ether: Ether6) -> None:
    advertise(ether, lifetime=100)
    ether.lab.settle(99)
    assert gateway(ether) == ROUTER
    ether.lab.settle(2)
    assert gateway(ether) is None


def test_a_router_that_resigns(ether: Ether6) -> None:
    advertise(ether)
    advertise(ether, lifetime=0)
    assert gateway(ether) is None


def test_preferences_among_routers(ether: Ether6) -> None:
    """RFC 4191: high is 01, low 11."""
    advertise(ether)
    advertise(ether, src=SECOND, flags=0b01 << 3)
    assert gateway(ether) == SECOND
    advertise(ether, src=SECOND, flags=0b11 << 3)
    assert gateway(ether) == ROUTER


def test_an_address_ages(ether: Ether6) -> None:
    advertise(ether, prefix(valid=100, preferred=50), lifetime=0)
    ether.lab.settle(49)
    assert not mine(ether).flags & IFA_F_DEPRECATED
    ether.lab.settle(2)
    assert mine(ether).flags & IFA_F_DEPRECATED
    ether.lab.settle(50)
    assert address_on(ether.w0, MINE) is None
    with pytest.raises(OSError, match="unreachable"):
        ether.call(route.output, ether.inet6, a6("2001:db8:5::7"))


def test_deprecated_addresses_are_not_chosen(ether: Ether6) -> None:
    advertise(ether, prefix(preferred=10) + prefix("2001:db8:6::"))
    ether.lab.settle(9)
    assert ether.call(route.output, ether.inet6, a6("2001:db8:5::7")).saddr == MINE
    ether.lab.settle(5)
    assert ether.call(route.output, ether.inet6, a6("2001:db8:5::7")).saddr != MINE


def test_advertised_again_it_lives_on(ether: Ether6) -> None:
    advertise(ether, prefix(valid=100, preferred=50))
    ether.lab.settle(60)
    advertise(ether, prefix(valid=100, preferred=50))
    assert not mine(ether).flags & IFA_F_DEPRECATED
    ether.lab.settle(60)
    assert mine(ether).flags & IFA_F_DEPRECATED


@pytest.mark.parametrize(
    ("first", "then", "left"),
    [
        (100_000, 1, 7200),  # not shortened below two hours
        (100_000, 50_000, 50_000),
        (5_000, 1, 5_000),
        (5_000, 6_000, 6_000),
    ],
)
def test_nobody_takes_an_address_away_at_once(ether: Ether6, first: int, then: int, left: int) -> None:
    """RFC 4862 5.5.3 e."""
    advertise(ether, prefix(valid=first, preferred=1))
    advertise(ether, prefix(valid=then, preferred=1))
    assert round((mine(ether).valid_until - ether.kernel.now) / 1e9) == left


def test_for_ever(ether: Ether6) -> None:
    advertise(ether, prefix(valid=0xFFFFFFFF, preferred=0xFFFFFFFF), lifetime=0)
    assert mine(ether).valid_until == addrconf.NEVER
    ether.lab.settle(100_000)
    assert ether.call(route.output, ether.inet6, a6("2001:db8:5::7")).saddr == MINE


def test_a_router_forgets_its_routers(ether: Ether6) -> None:
    advertise(ether)
    ether.sysctl("net.ipv6.conf.all.forwarding", 1)
    assert gateway(ether) is None


# --- redirects ----------------------------------------------------------------------------------------------------


def redirect(ether: Ether6, target: bytes, destination: bytes = FAR, src: bytes = ROUTER) -> None:
    options = icmpv6.build_option(2, PEER_MAC)
    dst = ether.linklocal()
    message = icmpv6.build(icmpv6.REDIRECT, 0, 0, target + destination + options, addresses=(src, dst))
    ether.inject(ipv6.build(src, dst, 58, message, hop_limit=255))


def test_a_better_way(ether: Ether6) -> None:
    advertise(ether)
    redirect(ether, SECOND)
    assert gateway(ether) == SECOND
    assert ether.call(route.output, ether.inet6, a6("2001:db9::2")).gateway == ROUTER
    found = ether.inet6.nd.lookup(ether.w0, SECOND)
    assert found is not None
    assert found.ha == PEER_MAC


def test_it_is_on_the_link(ether: Ether6) -> None:
    advertise(ether)
    redirect(ether, FAR)
    assert gateway(ether) is None
    assert ether.call(route.output, ether.inet6, FAR).dev is ether.w0


@pytest.mark.parametrize(
    ("target", "src", "setting"),
    [
        (SECOND, SECOND, None),  # not from our router
        (a6("2001:db8::7"), ROUTER, None),  # a router has a link-local address
        (SECOND, ROUTER, "accept_redirects"),
    ],
)
def test_redirects_that_are_ignored(ether: Ether6, target: bytes, src: bytes, setting: str | None) -> None:
    advertise(ether)
    if setting is not None:
        ether.sysctl(f"net.ipv6.conf.w0.{setting}", 0)
    redirect(ether, target, src=src)
    assert gateway(ether) == ROUTER

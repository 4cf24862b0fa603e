"""Forwarding through a router between two networks (RFC 1812 5; ip_forward.c), and what it says when it can't."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.dgram_api import fails
from support.hosts import HostApi, Hosts

from pysock.core.dev import netif_rx
from pysock.core.device import dev_close
from pysock.core.eth import eth_type_trans
from pysock.core.neighbour import UPDATE_ADMIN, UPDATE_OVERRIDE
from pysock.core.skbuff import SkBuff
from pysock.families.inet.fib import RTN_BLACKHOLE, RTN_PROHIBIT, RTN_UNREACHABLE
from pysock.families.inet.martian import martians_of
from pysock.syscalls.socket import sys_connect
from pysock.uapi.in_ import (
    IP_MTU,
    IP_MTU_DISCOVER,
    IP_PMTUDISC_DO,
    IP_PMTUDISC_DONT,
    IP_RECVERR,
    IP_RECVTTL,
    IP_TTL,
    IPPROTO_IP,
    IPPROTO_TCP,
    IPPROTO_UDP,
)
from pysock.uapi.neighbour import NUD_PERMANENT
from pysock.uapi.socket import MSG_ERRQUEUE, SOL_IP
from pysock.uapi.tcp import TCP_MAXSEG
from pysock.wire import icmp, ipv4, udp
from pysock.wire.addr import inet_aton as a
from pysock.wire.checksum import checksum

Trio = tuple[HostApi, HostApi, HostApi]


@pytest.fixture
def lab() -> Hosts:
    return Hosts()


@pytest.fixture
def trio(lab: Hosts) -> Trio:
    return lab.routed()


def complaint(host: HostApi, fd: int) -> tuple[int, int, str]:
    """Type and code of the ICMP error in the queue, and who sent it."""
    _, control, _, _ = host.recvmsg(fd, flags=MSG_ERRQUEUE)
    raw = control[0][2]
    return raw[5], raw[6], ".".join(str(byte) for byte in raw[20:24])


def recverr(host: HostApi) -> int:
    fd = host.socket()
    host.setopt(fd, IPPROTO_IP, IP_RECVERR, 1)
    return fd


def test_a_datagram_crosses_with_one_hop_less(trio: Trio, lab: Hosts) -> None:
    one, router, two = trio
    server = two.bound("10.0.2.2", 53)
    two.setopt(server, IPPROTO_IP, IP_RECVTTL, 1)
    frames = lab.record(two.dev())
    client = one.bound("10.0.1.1", 1053)
    for payload in (b"first", b"second"):  # through a neighbour that is asked for, and one that is known
        one.sendto(client, payload, ("10.0.2.2", 53))
        data, control, _, name = two.recvmsg(server)
        assert (data, name) == (payload, ("10.0.1.1", 1053))
        assert control == [(SOL_IP, IP_TTL, (63).to_bytes(4, "little"))]
    assert all(ipv4.verify(frame, 14) for frame in frames if frame[12:14] == b"\x08\0")
    two.sendto(server, b"back", ("10.0.1.1", 1053))
    assert one.recvfrom(client)[0] == b"back"
    counted = router.counted()
    assert counted["IpForwDatagrams"] == 3
    assert "IpInDelivers" not in counted
    assert "IpOutRequests" not in counted
    assert lab.log == []


def test_tcp_crosses_in_super_segments(trio: Trio, lab: Hosts) -> None:
    one, router, two = trio
    listener = two.listen("10.0.2.2", 80)
    client = one.tcp()
    sys_connect(one.task, client, ("10.0.2.2", 80))
    server = two.accept(listener)
    data = bytes(range(256)) * 2000
    sent, got = 0, bytearray()
    while len(got) < len(data):
        if sent < len(data):
            try:
                sent += one.sendto(client, data[sent:])
            except BlockingIOError:
                pass
        got += two.recv(server)
    assert got == data
    assert router.counted()["IpForwDatagrams"] < 300
    assert "TcpRetransSegs" not in one.counted()
    assert lab.log == []


def test_nothing_is_forwarded_unless_ip_forward(trio: Trio) -> None:
    one, router, two = trio
    router.sysctl("net.ipv4.ip_forward", 0)
    server = two.bound("10.0.2.2", 53)
    fd = recverr(one)
    one.sendto(fd, b"x", ("10.0.2.2", 53))
    fails(errno.EAGAIN, two.recvfrom, server)
    assert router.counted()["IpInAddrErrors"] == 1
    fails(errno.EAGAIN, one.recvmsg, fd, 100, 512, MSG_ERRQUEUE)  # and nobody is told
    router.sysctl("net.ipv4.conf.eth0.forwarding", 1)
    one.sendto(fd, b"x", ("10.0.2.2", 53))
    assert two.recvfrom(server)[0] == b"x"


def test_ip_forward_is_every_devices(trio: Trio) -> None:
    _, router, _ = trio
    sysctl = router.net.sysctl
    assert sysctl.get("net.ipv4.conf.eth1.forwarding") is True
    assert sysctl.get("net.ipv4.conf.all.accept_redirects") == 0
    router.sysctl("net.ipv4.conf.all.forwarding", 0)
    assert sysctl.get("net.ipv4.ip_forward") is False
    assert sysctl.get("net.ipv4.conf.eth1.forwarding") is False
    assert router.inet.mibs.ip.Forwarding == 2


# --- what the router says ---------------------------------------------------------------------------------------------


def test_the_last_hop_says_so(trio: Trio) -> None:
    one, router, two = trio
    two.bound("10.0.2.2", 53)
    fd = recverr(one)
    one.setopt(fd, IPPROTO_IP, IP_TTL, 1)
    one.sendto(fd, b"x", ("10.0.2.2", 53))
    assert complaint(one, fd) == (icmp.TIME_EXCEEDED, icmp.EXC_TTL, "10.0.1.254")
    assert router.counted()["IpInHdrErrors"] == 1
    one.setopt(fd, IPPROTO_IP, IP_TTL, 2)
    one.sendto(fd, b"x", ("10.0.2.2", 53))
    assert two.counted()["IpInDelivers"] == 1


@pytest.mark.parametrize(
    ("kind", "code"),
    [(None, icmp.NET_UNREACH), (RTN_UNREACHABLE, icmp.HOST_UNREACH), (RTN_PROHIBIT, 13), (RTN_BLACKHOLE, None)],
)
def test_no_way(trio: Trio, kind: int | None, code: int | None) -> None:
    one, router, _ = trio
    if kind is not None:
        router.route("192.0.2.0/24", type=kind)
    fd = recverr(one)
    one.sendto(fd, b"x", ("192.0.2.1", 9))
    if code is None:
        fails(errno.EAGAIN, one.recvmsg, fd, 100, 512, MSG_ERRQUEUE)
    else:
        assert complaint(one, fd) == (icmp.DEST_UNREACH, code, "10.0.1.254")
    assert router.counted().get("IpExtInNoRoutes", 0) == (kind is None)


def test_a_host_that_does_not_answer(trio: Trio, lab: Hosts) -> None:
    one, _, _ = trio
    fd = recverr(one)
    one.sendto(fd, b"x", ("10.0.2.77", 9))
    lab.sleep(4)
    assert complaint(one, fd) == (icmp.DEST_UNREACH, icmp.HOST_UNREACH, "10.0.1.254")


def test_a_link_that_went_down(trio: Trio) -> None:
    one, router, two = trio
    server = two.bound("10.0.2.2", 53)
    fd = recverr(one)
    one.sendto(fd, b"x", ("10.0.2.2", 53))
    assert two.recvfrom(server)[0] == b"x"
    router.call(dev_close, router.dev("eth1"))
    one.sendto(fd, b"x", ("10.0.2.2", 53))
    assert complaint(one, fd) == (icmp.DEST_UNREACH, icmp.NET_UNREACH, "10.0.1.254")


def test_a_routing_loop_ends(lab: Hosts) -> None:
    one, router, two = lab.routed()
    two.sysctl("net.ipv4.ip_forward", 1)
    router.route("192.0.2.0/24", via="10.0.2.2")
    fd = recverr(one)
    one.sendto(fd, b"x", ("192.0.2.1", 9))
    kind, code, _ = complaint(one, fd)
    assert (kind, code) == (icmp.TIME_EXCEEDED, icmp.EXC_TTL)
    assert router.counted()["IpForwDatagrams"] + two.counted()["IpForwDatagrams"] == 63 + 1  # and the complaint
    assert lab.log == []


# --- path MTU ---------------------------------------------------------------------------------------------------------


def test_a_narrow_link_is_found_out(lab: Hosts) -> None:
    one, router, two = lab.routed(mtu=1000)
    server = two.bound("10.0.2.2", 53)
    fd = one.socket()
    one.connect(fd, ("10.0.2.2", 53))
    one.setopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO)
    one.sendto(fd, bytes(1472))
    assert one.error(fd) == errno.EMSGSIZE
    assert one.getint(fd, IPPROTO_IP, IP_MTU) == 1000
    fails(errno.EMSGSIZE, one.sendto, fd, bytes(973))
    one.sendto(fd, bytes(972))
    assert len(two.recvfrom(server)[0]) == 972
    assert router.counted()["IpFragFails"] == 1
    assert router.counted()["IcmpOutDestUnreachs"] == 1


def test_a_router_cuts_what_it_may(lab: Hosts) -> None:
    """Also what was cut before."""
    one, router, two = lab.routed(mtu=600)
    server = two.bound("10.0.2.2", 53)
    fd = one.socket()
    one.setopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT)
    payload = bytes(range(250)) * 16
    one.sendto(fd, payload, ("10.0.2.2", 53))
    assert two.recvfrom(server)[0] == payload
    counted = router.counted()
    assert counted["IpFragOKs"] == 3
    assert counted["IpFragCreates"] == two.counted()["IpReasmReqds"] == 3 + 3 + 2
    assert lab.log == []


def test_tcp_shrinks_its_segments(lab: Hosts) -> None:
    """A narrow link between two routers, of which neither end knows."""
    one, left, right, two = (lab.host(name) for name in ("one", "left", "right", "two"))
    lab.cable(one, "10.0.1.1/24", left, "10.0.1.254/24")
    lab.cable(left, "10.0.9.1/24", right, "10.0.9.2/24", 1000)
    lab.cable(right, "10.0.2.254/24", two, "10.0.2.2/24")
    for router, far, via in ((left, "10.0.2.0/24", "10.0.9.2"), (right, "10.0.1.0/24", "10.0.9.1")):
        router.sysctl("net.ipv4.ip_forward", 1)
        router.route(far, via=via)
    one.route("0.0.0.0/0", via="10.0.1.254")
    two.route("0.0.0.0/0", via="10.0.2.254")
    listener = two.listen("10.0.2.2", 80)
    client = one.tcp()
    sys_connect(one.task, client, ("10.0.2.2", 80))
    server = two.accept(listener)
    start = lab.kernel.clock_ns()
    one.sendto(client, b"x" * 50_000)
    got = 0
    while got < 50_000:
        got += len(two.recv(server))
    two.sendto(server, b"y" * 5000)
    while got < 55_000:
        got += len(one.recv(client))
    assert lab.kernel.clock_ns() - start < 10**8  # no timeout was needed
    assert left.counted()["IpFragFails"] >= 1
    assert right.counted()["IpFragFails"] >= 1
    for host, fd, peer in ((one, client, "10.0.2.2"), (two, server, "10.0.1.1")):
        assert host.getint(fd, IPPROTO_TCP, TCP_MAXSEG) == 1000 - 40 - 12
        assert host.inet.fib.exceptions[a(peer)].mtu == 1000
        assert "IpReasmReqds" not in host.counted()
    assert lab.log == []


# --- redirects --------------------------------------------------------------------------------------------------------


def on_one_link(lab: Hosts) -> tuple[HostApi, HostApi]:
    """A host that sends all to one router, although another on the same link, 10.0.0.3, is the way to 10.9.0.0/16."""
    one, router = lab.pair()
    one.route("0.0.0.0/0", via="10.0.0.2")
    router.sysctl("net.ipv4.ip_forward", 1)
    router.route("10.9.0.0/16", via="10.0.0.3")
    return one, router


def know(host: HostApi, neighbour: str) -> None:
    neigh = host.inet.arp.find(host.dev(), a(neighbour))
    host.call(neigh.update, b"\x02\0\0\0\0\x33", NUD_PERMANENT, UPDATE_OVERRIDE | UPDATE_ADMIN)


def test_a_sender_is_redirected_and_follows(lab: Hosts) -> None:
    one, router = on_one_link(lab)
    frames = lab.record(one.dev())
    fd = one.socket()
    one.sendto(fd, b"x", ("10.9.0.1", 9))
    redirects = [icmp.parse(f, 34) for f in frames if f[12:14] == b"\x08\0" and f[23] == 1]
    assert [(r.type, r.code, r.rest) for r in redirects] == [(icmp.REDIRECT, 1, int.from_bytes(a("10.0.0.3"), "big"))]
    assert router.counted()["IcmpOutRedirects"] == 1
    assert one.counted()["IcmpInRedirects"] == 1
    # The new gateway is not known yet: it is asked for, and the next redirect counts.
    assert a("10.9.0.1") not in one.inet.fib.exceptions
    know(one, "10.0.0.3")
    lab.sleep(0.1)
    one.sendto(fd, b"x", ("10.9.0.1", 9))
    assert one.inet.fib.exceptions[a("10.9.0.1")].gateway == a("10.0.0.3")
    frames.clear()
    one.sendto(fd, b"x", ("10.9.0.1", 9))
    assert [f[:6] for f in frames if f[12:14] == b"\x08\0"] == [b"\x02\0\0\0\0\x33"]
    lab.sleep(301)
    assert a("10.9.0.1") not in one.inet.fib.exceptions


def test_redirects_are_limited(lab: Hosts) -> None:
    one, router = on_one_link(lab)
    one.sysctl("net.ipv4.conf.eth0.accept_redirects", 0)
    one.sysctl("net.ipv4.conf.all.accept_redirects", 0)
    fd = one.socket()
    for _ in range(500):
        one.sendto(fd, b"x", ("10.9.0.1", 9))
        lab.sleep(0.05)
    assert router.counted()["IcmpOutRedirects"] == 9
    assert one.inet.fib.exceptions == {}
    lab.sleep(60)
    one.sendto(fd, b"x", ("10.9.0.1", 9))
    assert router.counted()["IcmpOutRedirects"] == 10


def test_send_redirects(lab: Hosts) -> None:
    one, router = on_one_link(lab)
    router.sysctl("net.ipv4.conf.eth0.send_redirects", 0)
    router.sysctl("net.ipv4.conf.all.send_redirects", 0)
    one.sendto(one.socket(), b"x", ("10.9.0.1", 9))
    assert "IcmpOutRedirects" not in router.counted()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("10.0.0.2", "10.0.0.2"),  # no change
        ("10.0.0.9", "10.0.0.3"),  # not from our gateway
        ("10.0.0.2", "10.0.0.1"),  # to ourselves
        ("10.0.0.2", "224.0.0.1"),
        ("10.0.0.2", "0.0.0.5"),
        ("10.0.0.2", "10.0.0.255"),
    ],
)
def test_redirects_that_are_not_believed(lab: Hosts, old: str, new: str) -> None:
    one, _ = on_one_link(lab)
    know(one, "10.0.0.3")
    quoted = ipv4.build(a("10.0.0.1"), a("10.9.0.1"), IPPROTO_UDP, bytes(8))
    error = icmp.build(icmp.REDIRECT, 1, rest=int.from_bytes(a(new), "big"), payload=quoted)
    inject(one, ipv4.build(a(old), a("10.0.0.1"), 1, error))
    assert one.counted()["IcmpInRedirects"] == 1
    assert one.inet.fib.exceptions == {}


def test_secure_redirects(lab: Hosts) -> None:
    """On a link that is not shared_media, only to what is a gateway already; or to any neighbour, without."""
    one, _ = on_one_link(lab)
    know(one, "10.0.0.3")
    for name in ("eth0", "all"):
        one.sysctl(f"net.ipv4.conf.{name}.shared_media", 0)
    fd = one.socket()

    def followed() -> bool:
        lab.sleep(30)
        one.sendto(fd, b"x", ("10.9.0.1", 9))
        return a("10.9.0.1") in one.inet.fib.exceptions

    assert not followed()
    for name in ("eth0", "all"):
        one.sysctl(f"net.ipv4.conf.{name}.secure_redirects", 0)
    assert followed()
    lab.sleep(301)
    one.sysctl("net.ipv4.conf.eth0.secure_redirects", 1)
    assert not followed()
    one.route("192.0.2.0/24", via="10.0.0.3")
    assert followed()


# --- who may send what ------------------------------------------------------------------------------------------------


def inject(host: HostApi, packet: bytes, dev: str = "eth0", dst: bytes | None = None) -> None:
    device = host.dev(dev)
    frame = (device.dev_addr if dst is None else dst) + b"\x02\0\0\0\0\x77" + b"\x08\0" + packet
    skb = SkBuff(frame, 0, len(frame))

    def arrive() -> None:
        assert eth_type_trans(skb, device)
        netif_rx(skb)

    host.call(arrive)


def datagram(src: str, dst: str) -> bytes:
    return ipv4.build(a(src), a(dst), IPPROTO_UDP, udp.build(7, 53, b"x", addresses=(a(src), a(dst))))


def test_frames_for_others_are_not_looked_at(trio: Trio) -> None:
    _, router, two = trio
    two.bound("10.0.2.2", 53)
    for dst in (b"\x02\0\0\0\0\x99", b"\xff" * 6):
        inject(router, datagram("10.0.1.1", "10.0.2.2"), dst=dst)
    assert router.counted().get("IpForwDatagrams", 0) == 0
    assert router.dev().stats.rx_otherhost_dropped == 1
    assert router.counted()["IpInReceives"] == 1
    assert "IpInReceives" not in two.counted()


@pytest.mark.parametrize(
    ("mode", "src", "passes"),
    [
        (0, "10.0.2.9", True),
        (0, "192.0.2.1", True),
        (1, "10.0.1.7", True),
        (1, "10.0.2.9", False),  # the way back is another device
        (2, "10.0.2.9", True),
        (2, "192.0.2.1", False),  # there is no way back at all
    ],
)
def test_rp_filter(trio: Trio, mode: int, src: str, passes: bool) -> None:
    _, router, two = trio
    two.bound("10.0.2.2", 53)
    router.sysctl("net.ipv4.conf.eth0.rp_filter", mode)
    inject(router, datagram(src, "10.0.2.2"))
    counted = router.counted()
    assert counted.get("IpForwDatagrams", 0) == passes
    assert counted.get("TcpExtIPReversePathFilter", 0) == (not passes)


@pytest.mark.parametrize("src", ["127.0.0.1", "224.0.0.1", "255.255.255.255", "0.0.0.0", "10.0.1.254", "10.0.1.255"])
def test_martians_are_not_forwarded(trio: Trio, src: str) -> None:
    _, router, _ = trio
    inject(router, datagram(src, "10.0.2.2"))
    assert "IpForwDatagrams" not in router.counted()
    assert router.counted()["IpInAddrErrors"] == 1
    assert martians_of(router.inet).sources == 1


@pytest.mark.parametrize("where", ["eth0", "all", None])
def test_martians_are_logged_if_asked_for(trio: Trio, lab: Hosts, where: str | None) -> None:
    """As Linux words it, and not more than ten in five seconds."""
    _, router, _ = trio
    if where is not None:
        router.sysctl(f"net.ipv4.conf.{where}.log_martians", 1)
    router.sysctl("net.ipv4.conf.eth0.rp_filter", 1)
    for src, dst in (("127.0.0.1", "10.0.2.2"), ("10.0.1.1", "127.0.0.1"), ("10.0.2.9", "10.0.2.2")):
        inject(router, datagram(src, dst))
    seen = martians_of(router.inet)
    assert (seen.sources, seen.destinations) == (2, 1)
    expected = [
        "pysock: IPv4: martian source 10.0.2.2 from 127.0.0.1, on dev eth0",
        "pysock: IPv4: martian destination 127.0.0.1 from 10.0.1.1, dev eth0",
        "pysock: IPv4: martian source 10.0.2.2 from 10.0.2.9, on dev eth0",
    ]
    assert lab.log == (expected if where is not None else [])
    for _ in range(20):
        inject(router, datagram("127.0.0.1", "10.0.2.2"))
    assert len(lab.log) == (10 if where is not None else 0)
    assert seen.sources == 22
    lab.sleep(5)
    inject(router, datagram("127.0.0.1", "10.0.2.2"))
    assert len(lab.log) == (11 if where is not None else 0)
    lab.log.clear()


def test_accept_local(trio: Trio) -> None:
    _, router, _ = trio
    router.sysctl("net.ipv4.conf.eth0.accept_local", 1)
    inject(router, datagram("10.0.1.254", "10.0.2.2"))
    assert router.counted()["IpForwDatagrams"] == 1


FUZZ_LAB = Hosts()
FUZZ = FUZZ_LAB.routed(mtu=600)


@given(st.binary(max_size=60), st.integers(0, 60), st.booleans())
def test_what_arrives_at_a_router_never_raises(junk: bytes, at: int, fix: bool) -> None:
    """Mutated datagrams, their checksum repaired or not: no exception is contained anywhere."""
    packet = bytearray(datagram("10.0.1.1", "10.0.2.2") + bytes(700))
    packet[2:4] = len(packet).to_bytes(2, "big")
    packet[at : at + len(junk)] = junk
    if fix:
        size = max(20, min((packet[0] & 15) * 4, len(packet)))
        packet[10:12] = b"\0\0"
        packet[10:12] = checksum(bytes(packet[:size])).to_bytes(2, "big")
    inject(FUZZ[1], bytes(packet))
    assert FUZZ_LAB.log == []

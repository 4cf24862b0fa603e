"""Multicast routing of IPv6 with a daemon, which learns of members by MLD (ip6mr.c, RFC 3810)."""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterator

import pytest
from support.dgram_api import fails
from support.inet6_hosts import Host6, Lab6, a6
from support.mroute_linux import Linux, linux

from pysock.core.device import unregister_netdev
from pysock.syscalls.file import sys_close, sys_ioctl
from pysock.syscalls.message import sys_recvfrom, sys_recvmsg, sys_sendto
from pysock.syscalls.socket import sys_bind, sys_getsockopt, sys_setsockopt, sys_socket
from pysock.uapi import in6
from pysock.uapi import mroute as nr
from pysock.uapi.in_ import IPPROTO_ICMPV6, IPPROTO_IPV6
from pysock.uapi.socket import AF_INET6, MSG_DONTWAIT, SOCK_DGRAM, SOCK_RAW
from pysock.vfs.task import Task
from pysock.wire import ipv6
from pysock.wire.icmpv6 import MLD2_REPORT, MLD_DONE, MLD_REPORT

G, OTHER = "ff0e::77", "ff0e::88"
PORT = 5000
S = "fd01::1"


def sa(address: str) -> bytes:
    """A struct sockaddr_in6."""
    return struct.pack("=H6x16s4x", AF_INET6, a6(address))


def mif(index: int, ifindex: int, flags: int = 0) -> bytes:
    return nr.MIF6CTL.pack(index, flags, 1, ifindex, 0)


def mfc(origin: str, group: str, parent: int, *links: int) -> bytes:
    bits = sum(1 << link for link in links)
    return sa(origin) + sa(group) + struct.pack("=H2x", parent) + bits.to_bytes(32, "little")


def counts_of(origin: str, group: str) -> bytes:
    return sa(origin) + sa(group) + bytes(24)


# --- what a daemon may ask for, of Linux and of us --------------------------------------------------------------------


class Ours:
    """A router with the devices eth0 and eth1."""

    def __init__(self) -> None:
        lab = Lab6()
        self.host, peer = lab.host(), lab.host()
        for _ in range(2):
            lab.cable(self.host, peer)
        self.task = Task.for_kernel(lab.kernel, net=self.host.net)
        self.devs = [self.host.dev(name).ifindex for name in ("eth0", "eth1")]

    def socket(self, type: int = SOCK_RAW, protocol: int = IPPROTO_ICMPV6) -> int:
        return sys_socket(self.task, AF_INET6, type, protocol)

    def setopt(self, fd: int, name: int, value: int | bytes) -> None:
        sys_setsockopt(self.task, fd, IPPROTO_IPV6, name, value)

    def getopt(self, fd: int, name: int) -> int:
        return int.from_bytes(sys_getsockopt(self.task, fd, IPPROTO_IPV6, name, 4), "little")

    def ioctl(self, fd: int, command: int, arg: bytes) -> bytes:
        answer = sys_ioctl(self.task, fd, command, arg)
        assert isinstance(answer, bytes)
        return answer

    def show(self, name: str) -> str:
        return self.host.net.proc[f"net/{name}"]()

    def close(self, fd: int) -> None:
        sys_close(self.task, fd)


@pytest.fixture(params=["pysock", "linux"])
def api(request: pytest.FixtureRequest) -> Iterator[Ours | Linux]:
    if request.param == "pysock":
        yield Ours()
        return
    with linux(AF_INET6, IPPROTO_ICMPV6, IPPROTO_IPV6) as api:
        yield api


def test_who_may(api: Ours | Linux) -> None:
    udp, raw = api.socket(SOCK_DGRAM, 0), api.socket()
    for sock in (udp, api.socket(SOCK_RAW, 17)):
        fails(errno.EOPNOTSUPP, api.setopt, sock, nr.MRT_INIT, 1)
        fails(errno.EOPNOTSUPP, api.getopt, sock, nr.MRT_VERSION)
    assert api.getopt(raw, nr.MRT_VERSION) == 0x0305
    for name in (nr.MRT_INIT, nr.MRT_TABLE):
        fails(errno.ENOPROTOOPT, api.getopt, raw, name)
    fails(errno.ENOPROTOOPT, api.setopt, raw, nr.MRT_VERSION, 1)
    fails(errno.EINVAL, api.setopt, raw, nr.MRT_INIT, b"\1")
    fails(errno.EACCES, api.setopt, raw, nr.MRT_DONE, 1)
    api.setopt(raw, nr.MRT_INIT, 1)
    other = api.socket()
    for sock in (raw, other):
        fails(errno.EADDRINUSE, api.setopt, sock, nr.MRT_INIT, 1)
    fails(errno.EACCES, api.setopt, other, nr.MRT_DONE, 1)
    api.setopt(raw, nr.MRT_ASSERT, 5)
    assert api.getopt(other, nr.MRT_ASSERT) == 1
    api.setopt(raw, nr.MRT_DONE, 1)
    api.setopt(other, nr.MRT_INIT, 1)
    api.close(other)
    api.setopt(raw, nr.MRT_INIT, 1)


def test_interfaces(api: Ours | Linux) -> None:
    raw = api.socket()
    one, two = api.devs
    api.setopt(raw, nr.MRT_INIT, 1)
    api.setopt(raw, nr.MRT_ADD_VIF, mif(0, one))
    for number, value in (
        (errno.EADDRINUSE, mif(0, one)),
        (errno.ENFILE, mif(32, one)),
        (errno.EINVAL, mif(1, one)[:-1]),
        (errno.EADDRNOTAVAIL, mif(1, 99)),
        (errno.EINVAL, mif(1, one, 2)),
    ):
        fails(number, api.setopt, raw, nr.MRT_ADD_VIF, value)
    api.setopt(raw, nr.MRT_ADD_VIF, mif(1, two))
    api.setopt(api.socket(), nr.MRT_ADD_VIF, mif(8, one))
    flags = [line.split()[-1] for line in api.show("ip6_mr_vif").splitlines()]
    assert flags == ["Flags", "00000", "00000", "08000"]
    for index in (9, 3, 32):
        fails(errno.EADDRNOTAVAIL, api.setopt, raw, nr.MRT_DEL_VIF, index.to_bytes(2, "little"))
    api.setopt(raw, nr.MRT_DEL_VIF, 8)
    assert api.ioctl(raw, nr.SIOCGETVIFCNT, bytes(40)) == bytes(40)
    fails(errno.EADDRNOTAVAIL if len(api.show("ip6_mr_vif").splitlines()) > 4 else errno.EINVAL,
          api.ioctl, raw, nr.SIOCGETVIFCNT, nr.SIOC_VIF_REQ.pack(8, 0, 0, 0, 0))  # fmt: skip
    fails(errno.ENOTTY, api.ioctl, api.socket(SOCK_DGRAM, 0), nr.SIOCGETVIFCNT, bytes(40))


def test_routes(api: Ours | Linux) -> None:
    raw = api.socket()
    api.setopt(raw, nr.MRT_INIT, 1)
    for index, ifindex in enumerate(api.devs):
        api.setopt(raw, nr.MRT_ADD_VIF, mif(index, ifindex))
    api.setopt(raw, nr.MRT_ADD_MFC, mfc(S, G, 0, 0, 1, 9))
    api.setopt(raw, nr.MRT_ADD_MFC, mfc(S, G, 0, 1))  # changes it
    fails(errno.ENFILE, api.setopt, raw, nr.MRT_ADD_MFC, mfc(S, G, 32))
    api.setopt(raw, nr.MRT_ADD_MFC, mfc(S, OTHER, 20))
    fails(errno.EINVAL, api.setopt, raw, nr.MRT_ADD_MFC, mfc(S, "fd01::9", 0))
    api.setopt(raw, nr.MRT_ADD_MFC_PROXY, mfc("::", G, 0, 1))
    fails(errno.EINVAL, api.setopt, raw, nr.MRT_ADD_MFC, bytes(91))
    start = "fd01:0000:0000:0000:0000:0000:0000:0001"
    assert api.show("ip6_mr_cache") == (
        "Group                            Origin                           Iif      Pkts  Bytes     Wrong  Oifs\n"
        f"ff0e:0000:0000:0000:0000:0000:0000:0077 {start} 0          0        0        0  1:1  \n"
        f"ff0e:0000:0000:0000:0000:0000:0000:0088 {start} 20         0        0        0\n"
        "ff0e:0000:0000:0000:0000:0000:0000:0077 0000:0000:0000:0000:0000:0000:0000:0000 0          0        0        0"
        "  1:1  \n"
    )
    fails(errno.ENOENT, api.setopt, raw, nr.MRT_DEL_MFC, mfc("fd01::6", G, 0))
    fails(errno.ENOENT, api.setopt, raw, nr.MRT_DEL_MFC_PROXY, mfc("::", G, 1))
    api.setopt(raw, nr.MRT_DEL_MFC, mfc(S, OTHER, 0))
    assert api.ioctl(raw, nr.SIOCGETSGCNT, counts_of(S, G)) == counts_of(S, G)
    fails(errno.EADDRNOTAVAIL, api.ioctl, raw, nr.SIOCGETSGCNT, counts_of("fd01::6", G))
    fails(errno.EINVAL, api.setopt, raw, nr.MRT_FLUSH, b"1")
    api.setopt(raw, nr.MRT_FLUSH, 15)
    assert len(api.show("ip6_mr_cache").splitlines()) == len(api.show("ip6_mr_vif").splitlines()) == 1


# --- routing ----------------------------------------------------------------------------------------------------------


class Member:
    """A host with a listening socket."""

    def __init__(self, host: Host6) -> None:
        self.host = host
        self.task = Task.for_kernel(host.kernel, net=host.net)
        self.fd = sys_socket(self.task, AF_INET6, SOCK_DGRAM, 0)
        sys_bind(self.task, self.fd, ("::", PORT))

    def group(self, name: int, group: str = G, dev: str = "eth0") -> None:
        """IPV6_JOIN_GROUP or IPV6_LEAVE_GROUP."""
        request = a6(group) + self.host.dev(dev).ifindex.to_bytes(4, "little")
        sys_setsockopt(self.task, self.fd, IPPROTO_IPV6, name, request)

    def say(self, data: bytes = b"news", group: str = G, hops: int = 8, dev: str = "eth0") -> None:
        for name, value in ((in6.IPV6_MULTICAST_IF, self.host.dev(dev).ifindex), (in6.IPV6_MULTICAST_HOPS, hops)):
            sys_setsockopt(self.task, self.fd, IPPROTO_IPV6, name, value)
        sys_sendto(self.task, self.fd, data, MSG_DONTWAIT, (group, PORT))

    def heard(self) -> list[bytes]:
        found = []
        while True:
            try:
                found.append(sys_recvfrom(self.task, self.fd, 65536, MSG_DONTWAIT)[0])
            except BlockingIOError:
                return found


class Net6:
    """s (fd01::1) - router - m and n, and the daemon on the router."""

    def __init__(self, mtu: int = 1500) -> None:
        self.lab = Lab6()
        hosts = [self.lab.host() for _ in range(4)]
        s, router, m, n = hosts
        for host, size in ((s, 1500), (m, mtu), (n, 1500)):
            self.lab.cable(router, host, size)
        s.add("fd01::1/64")
        router.sysctl("net.ipv6.conf.all.forwarding", 1)
        self.lab.settle()
        self.s, self.router, self.m, self.n = (Member(host) for host in hosts)
        self.task = self.router.task
        self.fd = sys_socket(self.task, AF_INET6, SOCK_RAW, IPPROTO_ICMPV6)
        self.option(nr.MRT_INIT, 1)
        self.option(in6.IPV6_RECVPKTINFO, 1)
        self.links = [router.dev(name).ifindex for name in ("eth0", "eth1", "eth2")]
        for index, ifindex in enumerate(self.links):
            self.option(nr.MRT_ADD_VIF, mif(index, ifindex))
            self.option(in6.IPV6_JOIN_GROUP, a6("ff02::16") + ifindex.to_bytes(4, "little"))
        self.wanted: set[tuple[int, bytes]] = set()
        self.upcalls: list[tuple[int, int, bytes, bytes]] = []
        self.routed: dict[tuple[bytes, bytes], int] = {}

    def option(self, name: int, value: int | bytes) -> None:
        sys_setsockopt(self.task, self.fd, IPPROTO_IPV6, name, value)

    def settle(self, seconds: int = 1) -> None:
        for _ in range(seconds):
            self.lab.settle(1)
            self.work()
        self.lab.settle(0.001)

    def work(self) -> None:
        """The daemon: records of reports say who is where, upcalls and they make routes."""
        while True:
            try:
                data, control, _, _ = sys_recvmsg(self.task, self.fd, 65536, 200, MSG_DONTWAIT)
            except BlockingIOError:
                break
            if not data[0]:
                _, kind, vif, origin, group = nr.MRT6MSG.unpack_from(data)
                assert len(data) == 80
                self.upcalls.append((kind, vif, origin, group))
                if kind == nr.IGMPMSG_NOCACHE:
                    self.routed[origin, group] = vif
                continue
            (ifindex,) = (int.from_bytes(value[16:20], "little") for _, kind, value in control if kind == 50)
            link = self.links.index(ifindex)
            if data[0] == MLD2_REPORT:
                at = 8
                for _ in range(int.from_bytes(data[6:8], "big")):
                    self.record(link, data[at + 4 : at + 20], data[at] in (2, 4))
                    at += 20 + 16 * int.from_bytes(data[at + 2 : at + 4], "big")
            elif data[0] in (MLD_REPORT, MLD_DONE):
                self.record(link, data[8:24], data[0] == MLD_REPORT)
        for (origin, group), parent in self.routed.items():
            bits = sum(1 << link for link, its in self.wanted if its == group and link != parent)
            names = (struct.pack("=H6x16s4x", AF_INET6, address) for address in (origin, group))
            self.option(nr.MRT_ADD_MFC, b"".join(names) + struct.pack("=H2x", parent) + bits.to_bytes(32, "little"))

    def record(self, link: int, group: bytes, wanted: bool) -> None:
        if wanted:
            self.wanted.add((link, group))
        else:
            self.wanted.discard((link, group))

    def all_heard(self, data: bytes = b"news") -> set[str]:
        got = {"m": self.m.heard(), "n": self.n.heard(), "router": self.router.heard()}
        assert all(heard in ([], [data]) for heard in got.values())
        return {name for name, heard in got.items() if heard}

    def waiting(self) -> int:
        mroute = self.router.host.inet6.mroute
        assert mroute is not None
        return sum(len(one.queue) for one in mroute.unresolved.values())

    def counts(self, origin: str = S, group: str = G) -> tuple[int, ...]:
        answer = sys_ioctl(self.task, self.fd, nr.SIOCGETSGCNT, counts_of(origin, group))
        assert isinstance(answer, bytes)
        return struct.unpack("=QQQ", answer[56:])


@pytest.fixture
def net() -> Iterator[Net6]:
    net = Net6()
    yield net
    assert net.lab.log == []


@pytest.mark.parametrize("version", [1, 2])
def test_members_get_it_and_nobody_else(net: Net6, version: int) -> None:
    for member in (net.m, net.n):
        member.host.sysctl("net.ipv6.conf.eth0.force_mld_version", version)
    net.s.say()
    net.settle()
    assert net.all_heard() == set()
    for members in ({"m"}, {"m", "n"}):
        newcomer = net.n if "n" in members else net.m
        newcomer.group(in6.IPV6_JOIN_GROUP)
        net.settle(3)
        net.s.say()
        net.settle()
        assert net.all_heard() == members
    for member, left in ((net.m, {"n"}), (net.n, set[str]())):
        member.group(in6.IPV6_LEAVE_GROUP)
        net.settle(3)
        net.s.say()
        net.settle()
        assert net.all_heard() == left


def test_the_first_packet_waits_for_the_daemon(net: Net6) -> None:
    net.m.group(in6.IPV6_JOIN_GROUP)
    net.settle(3)
    for _ in range(9):
        net.s.say()
    net.lab.settle(0.1)
    assert net.waiting() == 4
    assert " -1 " in net.router.host.net.proc["net/ip6_mr_cache"]()
    net.work()
    net.lab.settle(0.1)
    assert net.upcalls == [(nr.IGMPMSG_NOCACHE, 0, a6(S), a6(G))]
    assert net.m.heard() == [b"news"] * 4
    assert net.counts()[0] == 4
    net.s.say(group=OTHER)
    net.lab.settle(11)
    assert net.waiting() == 0


def test_hop_limits(net: Net6) -> None:
    net.m.group(in6.IPV6_JOIN_GROUP)
    net.option(nr.MRT_ADD_MFC, mfc(S, G, 0, 1))
    packets = net.lab.record(net.m.host.dev())
    for hops, arrives in ((1, False), (2, True)):
        net.s.say(hops=hops)
        net.settle()
        assert net.all_heard() == ({"m"} if arrives else set())
    (packet,) = (packet for packet in packets if packet[6] == 17)
    assert ipv6.parse(packet).hop_limit == 1


def test_groups_of_the_link_stay_there(net: Net6) -> None:
    net.m.group(in6.IPV6_JOIN_GROUP, "ff02::99")
    net.option(nr.MRT_ADD_MFC, mfc(S, "ff02::99", 0, 1))
    net.s.say(group="ff02::99")
    net.settle()
    assert net.all_heard() == set()
    assert net.waiting() == 0


def test_by_the_wrong_interface(net: Net6) -> None:
    net.option(nr.MRT_ADD_MFC, mfc(S, G, 2, 0, 1))
    net.s.say()
    net.settle()
    assert net.counts() == (1, 52, 1)
    assert net.upcalls == []
    net.option(nr.MRT_ASSERT, 1)
    for _ in range(2):
        net.s.say()
    net.settle()
    assert net.upcalls == [(nr.IGMPMSG_WRONGVIF, 0, a6(S), a6(G))]


def test_the_router_is_a_member_and_a_sender(net: Net6) -> None:
    net.router.host.add("fd01::9/64", "eth0")
    net.settle(3)
    net.option(nr.MRT_ADD_MFC, mfc(S, G, 0, 1))
    net.option(nr.MRT_ADD_MFC, mfc("fd01::9", G, 0, 1))
    net.m.group(in6.IPV6_JOIN_GROUP)
    for dev in ("eth0", "eth1"):
        net.router.group(in6.IPV6_JOIN_GROUP, dev=dev)
        net.s.say()
        net.settle()
        assert net.all_heard() == {"m", "router"}
        net.router.group(in6.IPV6_LEAVE_GROUP, dev=dev)
    net.router.say()
    net.settle()
    assert net.all_heard() == {"m"}


def test_too_long_for_the_next_link() -> None:
    """The sender hears of it, and what it sends in fragments passes."""
    net = Net6(mtu=1300)
    net.router.host.add("fd01::9/64", "eth0")
    net.settle(3)
    net.option(nr.MRT_ADD_MFC, mfc(S, G, 0, 1))
    net.m.group(in6.IPV6_JOIN_GROUP)
    net.s.say(bytes(1400))
    net.settle()
    assert net.m.heard() == []
    counted = net.router.host.counted()
    assert counted["Ip6FragFails"] == 1
    assert counted["Icmp6OutPktTooBigs"] == 1
    net.s.say(bytes(4000))
    net.settle()
    assert net.m.heard() == [bytes(4000)]
    assert net.lab.log == []


def test_a_device_and_the_daemon_go(net: Net6) -> None:
    net.option(nr.MRT_ADD_MFC, mfc(S, G, 0, 1, 2))
    for member in (net.m, net.n):
        member.group(in6.IPV6_JOIN_GROUP)
    host = net.router.host
    read = host.net.sysctl.get
    assert read("net.ipv6.conf.eth0.mc_forwarding") == read("net.ipv6.conf.all.mc_forwarding") == 1
    host.call(unregister_netdev, host.dev("eth1"))
    net.s.say()
    net.settle()
    assert net.all_heard() == {"n"}
    net.s.say(group=OTHER)
    net.lab.settle(0.1)
    assert net.waiting() == 1
    sys_close(net.task, net.fd)
    assert net.waiting() == 0
    assert read("net.ipv6.conf.eth0.mc_forwarding") == read("net.ipv6.conf.all.mc_forwarding") == 0
    assert host.dev("eth0").allmulti == 0
    net.s.say()
    net.lab.settle(0.1)
    assert net.all_heard() == set()

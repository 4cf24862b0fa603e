"""Multicast routing with a daemon: who gets what, and until when (ipmr.c, RFC 3376, RFC 2236, RFC 1112)."""

from __future__ import annotations

import contextlib
import errno
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.dgram_api import fails
from support.hosts import HostApi, Hosts
from support.mrouter import LIFE, Daemon

from pysock.core.dev import netif_rx
from pysock.core.device import unregister_netdev
from pysock.core.eth import eth_type_trans
from pysock.core.netfilter import (
    NF_ACCEPT,
    NF_DROP,
    NF_INET_FORWARD,
    NF_INET_POST_ROUTING,
    NFPROTO_IPV4,
    NfHookOps,
    NfState,
    nf_register_net_hook,
)
from pysock.core.skbuff import SkBuff
from pysock.syscalls.file import sys_ioctl
from pysock.uapi import in_
from pysock.uapi import mroute as nr
from pysock.uapi.in_ import IPPROTO_IP
from pysock.uapi.socket import AF_INET, SO_RCVBUF, SOCK_RAW, SOL_SOCKET
from pysock.wire import igmp, ipv4
from pysock.wire.addr import inet_aton as a
from pysock.wire.checksum import checksum, pseudo_v4, verify

G, OTHER = "239.1.2.3", "239.9.9.9"
PORT = 5000


class Net:
    """s (10.0.1.1) - router - m (10.0.2.2) and n (10.0.3.2); two speakers on s's link."""

    def __init__(self, mtu: int = 1500) -> None:
        self.lab = Hosts()
        self.s, self.router, self.m, self.n = (self.lab.host(name) for name in ("s", "router", "m", "n"))
        self.lab.cable(self.s, "10.0.1.1/24", self.router, "10.0.1.254/24")
        self.lab.cable(self.router, "10.0.2.254/24", self.m, "10.0.2.2/24", mtu)
        self.lab.cable(self.router, "10.0.3.254/24", self.n, "10.0.3.2/24")
        for host, gateway in ((self.s, "10.0.1.254"), (self.m, "10.0.2.254"), (self.n, "10.0.3.254")):
            host.route("0.0.0.0/0", via=gateway)
        self.router.sysctl("net.ipv4.ip_forward", 1)
        self.daemon = Daemon(self.router, ["eth0", "eth1", "eth2"])
        self.talker = self.s.socket()
        self.s.setopt(self.talker, IPPROTO_IP, in_.IP_MULTICAST_TTL, 8)
        self.ears = {host: host.bound("0.0.0.0", PORT) for host in (self.m, self.n, self.router)}
        self.settle()

    def settle(self, seconds: float = 0.0) -> None:
        """Let time pass, the daemon awake: whole seconds are enough for it."""
        for _ in range(int(seconds) or 1):
            self.lab.sleep(min(seconds, 1) if seconds else 0)
            self.daemon.work()
        self.lab.sleep(0)

    def join(self, host: HostApi, group: str = G, *sources: str, fd: int | None = None, ifindex: int = 0) -> None:
        fd = self.ears[host] if fd is None else fd
        index = ifindex or host.dev().ifindex
        for source in sources:
            request = struct.pack("=I4xH2x4s120xH2x4s120x", index, AF_INET, a(group), AF_INET, a(source))
            host.setopt(fd, IPPROTO_IP, in_.MCAST_JOIN_SOURCE_GROUP, request)
        if not sources:
            host.setopt(fd, IPPROTO_IP, in_.IP_ADD_MEMBERSHIP, struct.pack("=4s4si", a(group), bytes(4), index))

    def leave(self, host: HostApi, group: str = G) -> None:
        mreqn = struct.pack("=4s4si", a(group), bytes(4), host.dev().ifindex)
        host.setopt(self.ears[host], IPPROTO_IP, in_.IP_DROP_MEMBERSHIP, mreqn)

    def say(self, data: bytes = b"news", group: str = G) -> None:
        self.s.sendto(self.talker, data, (group, PORT))
        self.settle()

    def heard(self, host: HostApi) -> list[bytes]:
        found = []
        while True:
            try:
                found.append(host.recvfrom(self.ears[host])[0])
            except OSError:
                return found

    def all_heard(self, data: bytes = b"news") -> set[str]:
        """Who heard just one ``data``."""
        got = {"m": self.heard(self.m), "n": self.heard(self.n), "router": self.heard(self.router)}
        assert all(heard in ([], [data]) for heard in got.values())
        return {name for name, heard in got.items() if heard}

    def counted(self, vif: int) -> tuple[int, ...]:
        """Packets in and out, bytes in and out."""
        arg = nr.SIOC_VIF_REQ.pack(vif, 0, 0, 0, 0)
        answer = sys_ioctl(self.router.task, self.daemon.fd, nr.SIOCGETVIFCNT, arg)
        assert isinstance(answer, bytes)
        return tuple(nr.SIOC_VIF_REQ.unpack(answer)[1:])

    def route_counted(self, source: str = "10.0.1.1", group: str = G) -> tuple[int, ...]:
        """Packets, bytes, how many by the wrong interface."""
        arg = nr.SIOC_SG_REQ.pack(a(source), a(group), 0, 0, 0)
        answer = sys_ioctl(self.router.task, self.daemon.fd, nr.SIOCGETSGCNT, arg)
        assert isinstance(answer, bytes)
        return tuple(nr.SIOC_SG_REQ.unpack(answer)[2:])

    def wait_queue(self) -> int:
        mroute = self.router.inet.mroute
        assert mroute is not None
        return sum(len(waiting.queue) for waiting in mroute.unresolved.values())


@pytest.fixture
def net() -> Net:
    return Net()


@pytest.mark.parametrize("version", [1, 2, 3])
def test_members_get_it_and_nobody_else(net: Net, version: int) -> None:
    """Each version of IGMP: on joining, after a query, after leaving (version 1 has no leave: silence is one)."""
    for host in (net.m, net.n):
        host.sysctl("net.ipv4.conf.all.force_igmp_version", version)
    net.say()
    assert net.all_heard() == set()
    net.join(net.m)
    net.settle(1)
    net.say()
    assert net.all_heard() == {"m"}
    net.join(net.n)
    net.daemon.query(version=version)
    net.settle(12)
    net.say()
    assert net.all_heard() == {"m", "n"}
    net.leave(net.m)
    if version == 1:
        net.lab.sleep(LIFE - 100)
        net.daemon.query(version=1)
        net.settle(12)
        net.lab.sleep(LIFE - 100)
        net.settle()
    net.settle(3)
    net.say()
    assert net.all_heard() == {"n"}
    net.leave(net.n)
    net.settle(3)
    if version == 1:
        net.lab.sleep(2 * LIFE)
        net.settle()
    net.say()
    assert net.all_heard() == set()


def test_the_first_datagram_waits_for_the_daemon(net: Net) -> None:
    net.join(net.m)
    net.settle(1)
    net.s.sendto(net.talker, b"news", (G, PORT))
    net.lab.sleep(1)
    assert net.all_heard() == set()
    assert net.wait_queue() == 1
    assert "030201EF 0101000A -1 " in net.router.net.proc["net/ip_mr_cache"]()
    net.settle()
    assert net.daemon.upcalls == [(nr.IGMPMSG_NOCACHE, 0, "10.0.1.1", G)]
    assert net.all_heard() == {"m"}
    assert net.wait_queue() == 0
    assert net.counted(0)[0] == net.counted(1)[1] == 1
    assert net.route_counted()[0] == 1


def test_nobody_answers_the_upcall(net: Net) -> None:
    """Four datagrams wait at most, ten seconds at most; the next one asks anew."""
    for _ in range(9):
        net.s.sendto(net.talker, b"news", (G, PORT))
    net.lab.sleep(1)
    assert net.wait_queue() == 4
    net.lab.sleep(9.1)
    assert net.wait_queue() == 0
    net.s.sendto(net.talker, b"news", (G, PORT))
    net.lab.sleep(0)
    assert net.wait_queue() == 1
    net.daemon.work()
    assert len(net.daemon.upcalls) == 2


def test_a_flood_of_senders_is_bounded_by_the_daemons_buffer(net: Net) -> None:
    """Who cannot be told of keeps no memory."""
    net.router.setopt(net.daemon.fd, SOL_SOCKET, SO_RCVBUF, 0)
    for i in range(200):
        net.s.sendto(net.talker, b"news", (f"239.2.{i}.1", PORT))
    net.lab.sleep(1)
    asked = net.wait_queue()
    assert 0 < asked < 20
    net.settle()
    assert len(net.daemon.upcalls) == asked
    net.lab.sleep(10)
    assert net.wait_queue() == 0


def test_sources_are_filtered_on_the_way(net: Net) -> None:
    """IGMPv3: the daemon hears of the sources, and routes only those (MCAST_JOIN_SOURCE_GROUP)."""
    net.join(net.m, G, "10.0.1.1")
    net.join(net.n, G, "10.0.1.77")
    net.settle(1)
    net.say()
    assert net.all_heard() == {"m"}
    before = net.counted(2)[1]
    net.join(net.n, G, "10.0.1.1")
    net.settle(1)
    net.say()
    assert net.all_heard() == {"m", "n"}
    assert net.counted(2)[1] == before + 1


def test_the_ttl_goes_down_and_the_checksum_is_right(net: Net) -> None:
    frames = net.lab.record(net.m.dev())
    net.join(net.m)
    net.settle(1)
    net.say()
    (packet,) = (frame[14:] for frame in frames if frame[23] == in_.IPPROTO_UDP)
    header = ipv4.parse(packet)
    assert (header.ttl, header.src, header.dst) == (7, a("10.0.1.1"), a(G))
    assert ipv4.verify(packet[:20])
    assert frames[-1][:6] == b"\x01\0\x5e\x01\x02\x03"
    assert net.router.counted()["IpForwDatagrams"] == 1


@pytest.mark.parametrize(("ttl", "arrives"), [(1, False), (2, False), (5, False), (6, True)])
def test_thresholds(net: Net, ttl: int, arrives: bool) -> None:
    """A datagram leaves only if its TTL is above the interface's threshold; no error is sent, ever."""
    net.daemon.add_route("10.0.1.1", G, 0, {1: 5})
    net.join(net.m)
    net.s.setopt(net.talker, IPPROTO_IP, in_.IP_MULTICAST_TTL, ttl)
    net.s.sendto(net.talker, b"news", (G, PORT))
    net.lab.sleep(0)
    assert net.all_heard() == ({"m"} if arrives else set())
    assert "IcmpOutMsgs" not in net.router.counted()


def test_link_local_groups_stay_on_the_link(net: Net) -> None:
    net.daemon.add_route("10.0.1.1", "224.0.0.99", 0, {1: 1})
    net.join(net.m, "224.0.0.99")
    net.say(group="224.0.0.99")
    assert net.all_heard() == set()
    assert net.route_counted(group="224.0.0.99") == (0, 0, 0)


def test_a_datagram_by_the_wrong_interface(net: Net) -> None:
    """It is counted and dropped; with MRT_ASSERT the daemon hears of it, every three seconds."""
    net.daemon.add_route("10.0.1.1", G, 2, {0: 1, 1: 1})
    net.say()
    assert net.route_counted() == (1, 32, 1)
    assert net.daemon.upcalls == []
    net.daemon.option(nr.MRT_ASSERT, 1)
    for _ in range(3):
        net.say()
    assert net.daemon.upcalls == [(nr.IGMPMSG_WRONGVIF, 0, "10.0.1.1", G)]
    net.lab.sleep(3.1)
    net.say()
    assert len(net.daemon.upcalls) == 2
    assert net.all_heard() == set()
    net.daemon.add_route("10.0.1.1", G, 2, {1: 1})  # not one that it leaves by: only PIM wants to know
    net.lab.sleep(3.1)
    net.say()
    assert len(net.daemon.upcalls) == 2
    net.daemon.option(nr.MRT_PIM, 1)
    net.say()
    assert len(net.daemon.upcalls) == 3


def test_the_router_itself_is_a_member(net: Net) -> None:
    """On the link it comes from, or on one that it leaves by (RFC 1584 2.1): one copy each way."""
    net.daemon.add_route("10.0.1.1", G, 0, {1: 1})
    net.join(net.m)
    net.join(net.router)
    net.say()
    assert net.all_heard() == {"m", "router"}
    net.leave(net.router)
    net.join(net.router, ifindex=net.router.dev("eth1").ifindex)
    net.say()
    assert net.all_heard() == {"m", "router"}
    net.say(group=OTHER)
    assert net.all_heard() == set()


def test_what_the_router_says_itself_is_routed_too(net: Net) -> None:
    fd = net.router.socket()
    mreqn = struct.pack("=4s4si", bytes(4), bytes(4), net.router.dev("eth0").ifindex)
    net.router.setopt(fd, IPPROTO_IP, in_.IP_MULTICAST_IF, mreqn)
    net.router.setopt(fd, IPPROTO_IP, in_.IP_MULTICAST_TTL, 3)
    net.daemon.add_route("10.0.1.254", G, 0, {0: 1, 1: 1})
    net.join(net.m)
    frames = net.lab.record(net.s.dev())
    net.router.sendto(fd, b"news", (G, PORT))
    net.lab.sleep(0)
    assert net.all_heard() == {"m"}
    assert len([frame for frame in frames if frame[23] == in_.IPPROTO_UDP]) == 2  # as it was told, on its own link too
    net.daemon.add_route("10.0.1.254", G, 2, {1: 1})  # from elsewhere: our own packet does not count as a wrong one
    net.router.sendto(fd, b"news", (G, PORT))
    net.lab.sleep(0)
    assert net.all_heard() == set()
    assert net.route_counted("10.0.1.254")[2] == 0


def test_shared_trees(net: Net) -> None:
    """(*,G): from any link of the tree to all others; (*,*): the proxy's way up."""
    net.daemon.add_route("0.0.0.0", "0.0.0.0", 2, {0: 1, 1: 1, 2: 1}, nr.MRT_ADD_MFC_PROXY)
    for host in (net.m, net.n):
        net.join(host)
    net.say()
    assert net.all_heard() == {"n"}  # nobody said that m's link is in the group: up only
    net.daemon.add_route("0.0.0.0", G, 2, {1: 1, 2: 1}, nr.MRT_ADD_MFC_PROXY)
    net.say()
    assert net.all_heard() == {"m", "n"}
    fd = net.n.socket()
    net.n.setopt(fd, IPPROTO_IP, in_.IP_MULTICAST_TTL, 3)
    net.n.sendto(fd, b"down", (G, PORT))
    net.lab.sleep(0)
    assert net.heard(net.m) == [b"down"]


def test_too_long_for_the_next_link(net: Net) -> None:
    """In fragments, or silently dropped with DF: no ICMP about a multicast."""
    net = Net(mtu=600)
    net.daemon.add_route("10.0.1.1", G, 0, {1: 1})
    net.join(net.m)
    net.s.setopt(net.talker, IPPROTO_IP, in_.IP_MTU_DISCOVER, in_.IP_PMTUDISC_DONT)
    net.say(bytes(1200))
    assert net.heard(net.m) == [bytes(1200)]
    net.s.setopt(net.talker, IPPROTO_IP, in_.IP_MTU_DISCOVER, in_.IP_PMTUDISC_DO)
    net.say(bytes(1200))
    assert net.heard(net.m) == []
    counted = net.router.counted()
    assert counted["IpFragFails"] == 1
    assert "IcmpOutMsgs" not in counted


def test_fragments_are_routed_one_by_one(net: Net) -> None:
    net.daemon.add_route("10.0.1.1", G, 0, {1: 1})
    net.join(net.m)
    net.s.setopt(net.talker, IPPROTO_IP, in_.IP_MTU_DISCOVER, in_.IP_PMTUDISC_DONT)
    net.say(bytes(4000))
    assert net.heard(net.m) == [bytes(4000)]
    assert net.counted(1)[1] == 3


def test_hooks_see_what_is_routed(net: Net) -> None:
    seen: list[tuple[str, str]] = []
    verdicts = [NF_ACCEPT, NF_DROP]

    def hook(skb: SkBuff, state: NfState) -> int:
        seen.append((state.in_dev.name if state.in_dev else "", state.out_dev.name if state.out_dev else ""))
        return verdicts[len(seen) > 2]

    for point in (NF_INET_FORWARD, NF_INET_POST_ROUTING):
        ops = NfHookOps(hook, NFPROTO_IPV4, point)
        net.router.call(nf_register_net_hook, net.router.net, ops)
    net.daemon.add_route("10.0.1.1", G, 0, {1: 1})
    net.join(net.m)
    net.say()
    assert seen == [("eth0", "eth1"), ("", "eth1")]
    assert net.all_heard() == {"m"}
    net.say()
    assert net.all_heard() == set()


def test_a_device_goes_away(net: Net) -> None:
    net.daemon.add_route("10.0.1.1", G, 0, {1: 1, 2: 1})
    for host in (net.m, net.n):
        net.join(host)
    net.say()
    assert net.all_heard() == {"m", "n"}
    net.router.call(unregister_netdev, net.router.dev("eth1"))
    net.say()
    assert net.all_heard() == {"n"}
    fails(errno.EADDRNOTAVAIL, net.counted, 1)
    net.s.sendto(net.talker, b"news", (OTHER, PORT))  # waits for the daemon, and its device goes
    net.lab.sleep(0)
    net.router.call(unregister_netdev, net.router.dev("eth0"))
    net.settle()
    assert net.wait_queue() == 0
    assert net.lab.log == []


def test_the_daemon_dies(net: Net) -> None:
    """What it made goes with it, waiting datagrams too; the next one may start."""
    net.daemon.add_route("10.0.1.1", G, 0, {1: 1})
    net.join(net.m)
    net.s.sendto(net.talker, b"news", (OTHER, PORT))
    net.lab.sleep(0)
    assert net.wait_queue() == 1
    read = net.router.net.sysctl.get
    assert read("net.ipv4.conf.eth0.mc_forwarding") == read("net.ipv4.conf.all.mc_forwarding") == 1
    assert net.router.dev("eth0").allmulti == 1
    net.router.close(net.daemon.fd)
    assert net.wait_queue() == 0
    assert read("net.ipv4.conf.eth0.mc_forwarding") == read("net.ipv4.conf.all.mc_forwarding") == 0
    assert net.router.dev("eth0").allmulti == 0
    fails(errno.EACCES, net.router.sysctl, "net.ipv4.conf.eth0.mc_forwarding", 1)
    net.s.sendto(net.talker, b"news", (G, PORT))
    net.lab.sleep(0)
    assert net.all_heard() == set()
    net.daemon = Daemon(net.router, ["eth0", "eth1", "eth2"])
    net.daemon.add_route("10.0.1.1", G, 0, {1: 1})
    net.say()
    assert net.all_heard() == {"m"}


def test_what_is_shown(net: Net) -> None:
    net.daemon.add_route("10.0.1.1", G, 0, {1: 1, 2: 9})
    net.join(net.m)
    net.say()
    assert net.router.net.proc["net/ip_mr_vif"]() == (
        "Interface      BytesIn  PktsIn  BytesOut PktsOut Flags Local    Remote\n"
        " 0 eth0             32       1         0       0 00008 00000002 00000000\n"
        " 1 eth1              0       0        32       1 00008 00000003 00000000\n"
        " 2 eth2              0       0         0       0 00008 00000004 00000000\n"
    )
    assert net.router.net.proc["net/ip_mr_cache"]() == (
        "Group    Origin   Iif     Pkts    Bytes    Wrong Oifs\n"
        "030201EF 0101000A 0          1       32        0  1:1    2:9  \n"
    )


def test_a_report_without_the_router_alert_reaches_the_daemon(net: Net) -> None:
    """IGMPv1 puts no option there, and sends to the group, in which the router is not."""
    raw = net.m.socket(SOCK_RAW, in_.IPPROTO_IGMP)
    net.m.sendto(raw, igmp.build(igmp.V1_REPORT, 0, a(G)), (G, 0))
    net.settle()
    assert (1, a(G)) in net.daemon.wanted


def test_router_alerts_stop_at_who_looks_out_for_them(net: Net) -> None:
    """IP_ROUTER_ALERT: a datagram on its way through is handed to the raw sockets of its protocol instead."""
    raw = net.s.socket(SOCK_RAW, in_.IPPROTO_RSVP)
    ear = net.n.socket(SOCK_RAW, in_.IPPROTO_RSVP)
    catcher = net.router.socket(SOCK_RAW, in_.IPPROTO_RSVP)
    net.s.setopt(raw, IPPROTO_IP, in_.IP_OPTIONS, bytes((148, 4, 0, 0)))
    for caught, expected in ((False, (1, 0)), (True, (0, 1)), (False, (1, 0))):
        if caught:
            net.router.setopt(catcher, IPPROTO_IP, in_.IP_ROUTER_ALERT, 1)
        elif expected and net.router.getint(catcher, IPPROTO_IP, in_.IP_ROUTER_ALERT):
            net.router.setopt(catcher, IPPROTO_IP, in_.IP_ROUTER_ALERT, 0)
        net.s.sendto(raw, b"path", ("10.0.3.2", 0))
        net.lab.sleep(1)
        got = []
        for host, fd in ((net.n, ear), (net.router, catcher)):
            try:
                data = host.recvfrom(fd)[0]
            except OSError:
                got.append(0)
            else:
                assert data[24:] == b"path"
                got.append(1)
        assert tuple(got) == expected


def test_pim_registers(net: Net) -> None:
    """What leaves by the register interface is given to the daemon, whole; a register that arrives is unwrapped."""
    net.daemon.option(nr.MRT_PIM, nr.IGMPMSG_WRVIFWHOLE)
    net.daemon.option(nr.MRT_ADD_VIF, nr.VIFCTL.pack(9, nr.VIFF_REGISTER, 1, 0, bytes(4), bytes(4)))
    net.daemon.add_route("10.0.1.1", G, 0, {9: 1})
    net.s.sendto(net.talker, b"news", (G, PORT))
    net.lab.sleep(0)
    whole = net.router.recvfrom(net.daemon.fd)[0]
    assert nr.IGMPMSG.unpack_from(whole)[1:4] == (nr.IGMPMSG_WHOLEPKT, 0, 9)
    assert int.from_bytes(whole[2:4], "big") == len(whole) == 20 + 32
    inner = whole[20:]
    assert (inner[8], inner[28:]) == (8, b"news")
    assert verify(inner[20:], pseudo_v4(a("10.0.1.1"), a(G), in_.IPPROTO_UDP, 12))

    net.daemon.option(nr.MRT_DEL_MFC, nr.MFCCTL.pack(a("10.0.1.1"), a(G), 0, bytes(32)))
    net.daemon.add_route("10.0.1.1", G, 9, {1: 1, 2: 1})
    net.join(net.m)
    raw = net.n.socket(SOCK_RAW, in_.IPPROTO_PIM)
    header = bytes((0x21, 0)) + bytes(6)
    header = header[:2] + checksum(header).to_bytes(2, "big") + header[4:]
    for register, heard in (
        (header + inner, {"m"}),
        (header[:4] + b"\x40" + header[5:] + inner, set()),  # a null register
        (b"\x20" + header[1:] + inner, set()),  # a hello
        (header[:2] + b"\1\1" + header[4:] + inner, set()),  # a bad checksum
        (header + inner[:16] + a("10.0.2.2") + inner[20:], set()),  # not a multicast
        (header + inner[:19], set()),
    ):
        net.n.sendto(raw, register, ("10.0.3.254", 0))
        net.lab.sleep(1)
        assert net.all_heard() == heard
    assert net.counted(9)[0] == 1
    net.say()  # by its own link it is wrong now, and the daemon gets that one whole too
    assert [upcall[:2] for upcall in net.daemon.upcalls] == [(nr.IGMPMSG_WRONGVIF, 0), (nr.IGMPMSG_WRVIFWHOLE, 0)]
    assert net.lab.log == []


def test_a_member_without_an_address_reports_from_nowhere(net: Net) -> None:
    """RFC 3376 4.2.13: the source 0.0.0.0 is no martian in IGMP, and one everywhere else."""
    report = igmp.build(igmp.V2_REPORT, 0, a(OTHER))
    frame = ipv4.build(bytes(4), a(OTHER), in_.IPPROTO_IGMP, report, ttl=1, options=bytes((148, 4, 0, 0)))
    arrive(net.router, frame)
    net.settle()
    assert (1, a(OTHER)) in net.daemon.wanted
    arrive(net.router, ipv4.build(bytes(4), a(OTHER), in_.IPPROTO_UDP, bytes(8)))
    net.settle()
    assert net.wait_queue() == 0


def arrive(host: HostApi, packet: bytes, dev: str = "eth1") -> None:
    """A packet to a group comes in."""
    device = host.dev(dev)
    frame = b"\x01\0\x5e\x01\x02\x03\x02\0\0\0\0\x77\x08\0" + packet
    skb = SkBuff(frame, 0, len(frame))

    def receive() -> None:
        assert eth_type_trans(skb, device)
        netif_rx(skb)

    host.call(receive)


FUZZ_NET = Net()


@given(
    st.lists(
        st.tuples(
            st.sampled_from([b"10.0.1.1", b"10.0.2.2", b"0.0.0.0", b"224.1.1.1"]),
            st.sampled_from([b"239.1.2.3", b"239.9.9.9", b"224.0.0.22", b"10.0.3.2"]),
            st.sampled_from([2, 17, 103, 200]),
            st.sampled_from([b"", bytes((148, 4, 0, 0)), bytes((7, 7, 4)) + bytes(5)]),
            st.sampled_from([0, ipv4.MF, ipv4.DF]),
            st.integers(0, 5),
            st.binary(max_size=60),
        ),
        max_size=6,
    ),
    st.booleans(),
)
def test_what_arrives_at_a_multicast_router_never_raises(
    packets: list[tuple[bytes, bytes, int, bytes, int, int, bytes]], works: bool
) -> None:
    net = FUZZ_NET
    router = net.router
    for src, dst, protocol, options, flags, ttl, body in packets:
        packet = ipv4.build(a(src.decode()), a(dst.decode()), protocol, body, ttl=ttl, options=options, flags=flags)
        for dev in ("eth0", "eth1"):
            arrive(router, packet, dev)
        net.lab.sleep(0)
        if works:
            net.daemon.work()
    mroute = router.inet.mroute
    assert mroute is not None
    assert all(len(waiting.queue) <= 4 for waiting in mroute.unresolved.values())
    net.lab.sleep(31)
    assert net.wait_queue() == 0
    assert net.lab.log == []
    net.daemon.option(nr.MRT_FLUSH, nr.MRT_FLUSH_MFC)
    net.daemon.routes.clear()
    net.heard(router)
    with contextlib.suppress(BlockingIOError):
        while True:
            router.recvfrom(net.daemon.fd)

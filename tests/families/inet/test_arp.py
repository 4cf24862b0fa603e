"""ARP on a recorded device: what we ask, what we answer, what we learn (RFC 826, RFC 5227; ip-sysctl.rst, arp(7))."""

from __future__ import annotations

import errno
import struct
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.devices import PEER, WireOps, make, ops_of
from support.dgram_api import Ours, fails

from pysock.core.capability import Credentials
from pysock.core.dev import netif_rx
from pysock.core.device import NetDevice, dev_close, dev_open, netif_carrier_off, register_netdev
from pysock.core.eth import eth_type_trans
from pysock.core.neighbour import Neighbour
from pysock.core.skbuff import SkBuff
from pysock.families.inet.arp import arp_of
from pysock.families.inet.devinet import add_address
from pysock.families.inet.fib import RTN_UNICAST, FibEntry
from pysock.families.inet.fib_config import add_route
from pysock.syscalls.file import sys_ioctl
from pysock.syscalls.socket import sys_connect
from pysock.uapi.if_ import IFF_NOARP, IFF_POINTOPOINT
from pysock.uapi.if_ether import ETH_P_ARP
from pysock.uapi.ioctl import SIOCDARP, SIOCGARP, SIOCSARP
from pysock.uapi.neighbour import ATF_COM, ATF_PERM, ATF_PUBL, NUD_NAMES
from pysock.uapi.socket import AF_INET, MSG_CONFIRM, SOCK_STREAM
from pysock.wire import arp as wire
from pysock.wire import icmp, ipv4
from pysock.wire.addr import inet_aton as a
from pysock.wire.addr import inet_ntoa

ALL = b"\xff" * 6
THIRD = b"\x02\0\0\0\0\x03"


class ArpHost(Ours):
    """10.0.0.1/24 on w0 and 10.9.0.1/24 on w1, both recorded Ethernet with ARP."""

    def __init__(self) -> None:
        super().__init__()
        self.dev = self._device("w0", "10.0.0.1")
        self.w1 = self._device("w1", "10.9.0.1")
        self.mac = self.dev.dev_addr

    def _device(self, name: str, address: str, flags: int = 0) -> NetDevice:
        def setup(dev: NetDevice) -> None:
            dev.flags |= flags

        dev = make(self.kernel, name, setup=setup)
        register_netdev(dev)
        self.kernel.enter()
        dev_open(dev)
        add_address(self.inet, dev, a(address), 24)
        self.kernel.leave()
        return dev

    def sysctl(self, name: str, value: int) -> None:
        self.kernel.init_net.sysctl.set(name, value)

    def frame_arrives(self, frame: bytes, dev: NetDevice | None = None) -> None:
        self.kernel.enter()
        skb = SkBuff(frame, 0, len(frame))
        if eth_type_trans(skb, dev or self.dev):
            netif_rx(skb)
        self.kernel.leave()

    def hears(
        self,
        operation: int,
        sender: str,
        target: str,
        *,
        hw: bytes = PEER,
        target_hw: bytes = bytes(6),
        to: bytes = ALL,
        dev: NetDevice | None = None,
    ) -> None:
        body = wire.build(operation, hw, a(sender), target_hw, a(target))
        self.frame_arrives(to + hw + b"\x08\x06" + body, dev)

    def asked(self, sender: str = "10.0.0.2", target: str = "10.0.0.1", **more: object) -> list[str]:
        """A request arrives; what we said."""
        self.hears(wire.REQUEST, sender, target, **more)  # type: ignore[arg-type]
        return self.said()

    def frames(self, dev: NetDevice | None = None) -> list[bytes]:
        """What was sent since, IPv6's own traffic left out."""
        ops: WireOps = ops_of(dev or self.dev)
        frames, ops.sent = ops.sent, []
        return [frame for frame in frames if frame[12:14] != b"\x86\xdd"]

    def said(self, dev: NetDevice | None = None) -> list[str]:
        """The ARP packets sent, as tcpdump prints them, behind their Ethernet destination."""
        found = []
        for frame in self.frames(dev):
            assert frame[12:14] == ETH_P_ARP.to_bytes(2, "big")
            packet = wire.parse(frame, 14)
            assert packet.sender_hw == (dev or self.dev).dev_addr
            found.append(f"{'all' if frame[:6] == ALL else frame[5]}: {wire.describe(packet)[5:-11]}")
        return found

    def neigh(self, host: str = "10.0.0.2", dev: NetDevice | None = None) -> Neighbour | None:
        return self.inet.arp.lookup(dev or self.dev, a(host))

    def state(self, host: str = "10.0.0.2") -> str | None:
        neigh = self.neigh(host)
        return None if neigh is None else NUD_NAMES[neigh.nud_state]

    def sleep(self, seconds: float) -> None:
        self.kernel.sleep(int(seconds * 1e9))


@pytest.fixture
def host() -> ArpHost:
    return ArpHost()


REPLY = "2: Reply 10.0.0.1 is-at 02:00:00:00:00:01"

# --- asking -----------------------------------------------------------------------------------------------------------


def test_a_datagram_waits_for_the_answer(host: ArpHost) -> None:
    fd = host.socket()
    host.sendto(fd, b"one", ("10.0.0.2", 9))
    host.sendto(fd, b"two", ("10.0.0.2", 9))
    assert host.said() == ["all: Request who-has 10.0.0.2 tell 10.0.0.1"]
    host.hears(wire.REPLY, "10.0.0.2", "10.0.0.1", target_hw=host.mac, to=host.mac)
    one, two = host.frames()
    assert one[:14] == two[:14] == PEER + host.mac + b"\x08\0"
    assert ipv4.verify(one, 14)
    assert (one[-3:], two[-3:]) == (b"one", b"two")
    assert host.state() == "REACHABLE"


def test_no_answer_is_host_unreachable(host: ArpHost) -> None:
    """A datagram socket with IP_RECVERR hears of it, a connecting stream socket fails, others see the counters."""
    fd = host.socket()
    host.setopt(fd, 0, 11, 1)  # IP_RECVERR
    host.connect(fd, ("10.0.0.7", 9))
    host.sendto(fd, b"lost")
    host.sleep(3.5)
    assert len(host.said()) == 3
    fails(errno.EHOSTUNREACH, host.recvfrom, fd)
    assert host.counted()["IcmpOutDestUnreachs"] == 1
    tcp = host.socket(SOCK_STREAM)
    before = host.kernel.clock_ns()
    fails(errno.EHOSTUNREACH, sys_connect, host.task, tcp, ("10.0.0.8", 80))
    assert (host.kernel.clock_ns() - before) / 1e9 == pytest.approx(3, abs=0.1)
    assert host.state("10.0.0.7") == "FAILED"


def test_through_a_gateway_it_is_the_gateway_that_is_asked_for(host: ArpHost) -> None:
    host.inet.fib.add(FibEntry(bytes(4), 0, RTN_UNICAST, host.dev, a("10.0.0.1"), gateway=a("10.0.0.254")))
    host.sendto(host.socket(), b"x", ("192.0.2.1", 9))
    assert host.said() == ["all: Request who-has 10.0.0.254 tell 10.0.0.1"]


def test_a_neighbour_that_moves_is_followed(host: ArpHost) -> None:
    """A connection's cached route gets the new address, through the neighbour."""
    fd = host.socket()
    host.connect(fd, ("10.0.0.2", 9))
    host.sendto(fd, b"1")
    host.hears(wire.REPLY, "10.0.0.2", "10.0.0.1", to=host.mac)
    host.frames()
    host.sleep(2)
    host.hears(wire.REPLY, "10.0.0.2", "10.0.0.1", hw=THIRD, to=host.mac)
    host.sendto(fd, b"2")
    assert [frame[:6] for frame in host.frames()] == [THIRD]


@pytest.mark.parametrize(("announce", "expected"), [(0, "10.9.0.1"), (1, "10.0.0.1"), (2, "10.0.0.1")])
def test_arp_announce(host: ArpHost, announce: int, expected: str) -> None:
    host.sysctl("net.ipv4.conf.w0.arp_announce", announce)
    host.sendto(host.bound("10.9.0.1"), b"x", ("10.0.0.2", 9))
    assert host.said() == [f"all: Request who-has 10.0.0.2 tell {expected}"]


def test_probes_are_unicast_while_the_address_is_known(host: ArpHost) -> None:
    host.asked()
    host.sendto(host.socket(), b"x", ("10.0.0.2", 9))  # STALE: goes, and is verified later
    host.frames()
    host.sleep(5.5)
    assert host.said() == ["2: Request who-has 10.0.0.2 tell 10.0.0.1"]


@pytest.mark.parametrize("connected", [False, True])
def test_msg_confirm_saves_the_probe(host: ArpHost, connected: bool) -> None:
    host.asked()
    fd = host.socket()
    addr = None if connected else ("10.0.0.2", 9)
    if connected:
        host.connect(fd, ("10.0.0.2", 9))
    host.sendto(fd, b"x", addr)
    host.frames()
    assert host.state() == "DELAY"
    host.sendto(fd, b"x", addr, MSG_CONFIRM)
    assert host.state() == "REACHABLE"
    host.frames()
    host.sleep(10)
    assert host.said() == []


def test_devices_without_arp_ask_nobody(host: ArpHost) -> None:
    silent = host._device("w2", "10.7.0.1", IFF_NOARP)
    host.sendto(host.socket(), b"x", ("10.7.0.2", 9))
    assert [frame[12:14] for frame in host.frames(silent)] == [b"\x08\0"]
    host.hears(wire.REQUEST, "10.7.0.2", "10.7.0.1", dev=silent)
    assert host.frames(silent) == []
    ppp = host._device("w3", "10.6.0.1", IFF_POINTOPOINT)
    host.sendto(host.socket(), b"x", ("10.6.0.2", 9))
    assert [frame[:6] for frame in host.frames(ppp)] == [ALL]


# --- answering --------------------------------------------------------------------------------------------------------


def test_a_request_for_us_is_answered_and_teaches_us_the_asker(host: ArpHost) -> None:
    assert host.asked() == [REPLY]
    assert host.state() == "STALE"
    assert host.asked(target="10.0.0.3") == []
    assert host.asked(target="10.0.0.255") == []
    assert host.asked(target="224.0.0.1") == []
    assert host.asked(target="127.0.0.1") == []


def test_frames_for_others_are_not_answered(host: ArpHost) -> None:
    assert host.asked(to=THIRD) == []
    assert host.neigh() is None


def test_probes_for_duplicates_are_answered_and_teach_nothing(host: ArpHost) -> None:
    assert host.asked(sender="0.0.0.0") == ["2: Reply 10.0.0.1 is-at 02:00:00:00:00:01"]
    assert host.inet.arp.entries() == []
    assert host.asked(sender="0.0.0.0", target="10.0.0.3") == []


@pytest.mark.parametrize(
    ("mode", "own", "other_devices", "other_subnet"),
    [
        (0, True, True, True),
        (1, True, False, True),
        (2, True, False, False),
        (3, True, True, True),
        (8, False, False, False),
    ],
)
def test_arp_ignore(host: ArpHost, mode: int, own: bool, other_devices: bool, other_subnet: bool) -> None:
    host.sysctl("net.ipv4.conf.all.arp_ignore", mode)
    host.inet.fib.add(FibEntry(a("10.8.0.0"), 24, RTN_UNICAST, host.dev, a("10.0.0.1")))
    assert bool(host.asked()) == own
    assert bool(host.asked(target="10.9.0.1")) == other_devices
    assert bool(host.asked(sender="10.8.0.9")) == other_subnet


def test_arp_filter(host: ArpHost) -> None:
    """Somebody from w1's network asks on w0: we would answer him over w1, so not here."""
    host.sysctl("net.ipv4.conf.w0.arp_filter", 1)
    assert host.asked() == [REPLY]
    assert host.asked(sender="10.9.0.2") == []
    assert host.counted()["TcpExtArpFilter"] == 1


def test_proxy_arp(host: ArpHost) -> None:
    assert host.asked(target="10.9.0.5") == []
    host.sysctl("net.ipv4.ip_forward", 1)
    assert host.asked(target="10.9.0.5") == []
    host.sysctl("net.ipv4.conf.w0.proxy_arp", 1)
    assert host.asked(target="10.9.0.5") == []  # not at once: the owner may answer
    host.sleep(0.8)
    assert host.said() == ["2: Reply 10.9.0.5 is-at 02:00:00:00:00:01"]
    assert host.asked(target="10.9.0.6", to=host.mac) == ["2: Reply 10.9.0.6 is-at 02:00:00:00:00:01"]
    assert host.asked(target="10.0.0.6") == []  # it is on the same link


def test_proxy_for_one_address(host: ArpHost) -> None:
    host.sysctl("net.ipv4.ip_forward", 1)
    host.inet.arp.proxy_add(host.dev, a("10.9.0.5"))
    host.sysctl("net.ipv4.neigh.w0.proxy_delay", 0)
    assert host.asked(target="10.9.0.5") == ["2: Reply 10.9.0.5 is-at 02:00:00:00:00:01"]
    assert host.asked(target="10.9.0.6") == []


# --- learning ---------------------------------------------------------------------------------------------------------


def test_strangers_are_not_remembered_unless_arp_accept(host: ArpHost) -> None:
    def gratuitous() -> None:
        host.hears(wire.REQUEST, "10.0.0.2", "10.0.0.2")

    def reply() -> None:
        host.hears(wire.REPLY, "10.0.0.3", "10.0.0.1", to=host.mac)

    gratuitous()
    reply()
    assert host.inet.arp.entries() == []
    host.sysctl("net.ipv4.conf.w0.arp_accept", 1)
    gratuitous()
    reply()
    assert (host.state("10.0.0.2"), host.state("10.0.0.3")) == ("STALE", "REACHABLE")


def test_arp_accept_2_wants_them_in_our_network(host: ArpHost) -> None:
    host.sysctl("net.ipv4.conf.w0.arp_accept", 2)
    host.hears(wire.REQUEST, "10.0.0.2", "10.0.0.2")
    host.hears(wire.REQUEST, "10.5.0.2", "10.5.0.2")
    assert [n.key for n in host.inet.arp.entries()] == [a("10.0.0.2")]


def test_a_gratuitous_packet_overrides_at_once_a_second_answer_does_not(host: ArpHost) -> None:
    host.asked()
    host.hears(wire.REPLY, "10.0.0.2", "10.0.0.1", hw=THIRD, to=host.mac)
    neigh = host.neigh()
    assert neigh is not None
    assert neigh.ha == PEER  # within locktime
    host.hears(wire.REQUEST, "10.0.0.2", "10.0.0.2", hw=THIRD)
    assert neigh.ha == THIRD
    host.sleep(1.1)
    host.hears(wire.REPLY, "10.0.0.2", "10.0.0.1", to=host.mac)
    assert neigh.ha == PEER


def test_drop_gratuitous_arp(host: ArpHost) -> None:
    host.asked()
    host.sysctl("net.ipv4.conf.w0.drop_gratuitous_arp", 1)
    host.hears(wire.REQUEST, "10.0.0.2", "10.0.0.2", hw=THIRD)
    neigh = host.neigh()
    assert neigh is not None
    assert neigh.ha == PEER


def test_nobody_takes_our_own_address(host: ArpHost) -> None:
    host.sysctl("net.ipv4.conf.w0.arp_accept", 1)
    host.hears(wire.REQUEST, "10.0.0.1", "10.0.0.1")
    host.hears(wire.REPLY, "10.0.0.1", "10.0.0.1", target_hw=PEER)
    assert host.inet.arp.entries() == []


def test_arp_notify_announces(host: ArpHost) -> None:
    host.sysctl("net.ipv4.conf.all.arp_notify", 1)
    host.kernel.enter()
    add_address(host.inet, host.dev, a("10.0.0.77"), 24)
    assert host.said() == ["all: Request who-has 10.0.0.77 tell 10.0.0.77"]
    dev_close(host.dev)
    dev_open(host.dev)
    host.kernel.leave()
    assert host.said() == [f"all: Request who-has {ip} tell {ip}" for ip in ("10.0.0.1", "10.0.0.77")]


# --- for programs -----------------------------------------------------------------------------------------------------


def arpreq(host: str, hw: bytes = b"", flags: int = 0, dev: str = "", family: int = AF_INET) -> bytes:
    packed = struct.pack("=HH4s8xH14si", family, 0, a(host), 1 if hw else 0, hw, flags)
    return packed + bytes(16) + dev.encode().ljust(16, b"\0")


def test_ioctls(host: ArpHost) -> None:
    fd = host.socket()

    def ioctl(cmd: int, *args: object, **more: object) -> bytes:
        answer = sys_ioctl(host.task, fd, cmd, arpreq(*args, **more))  # type: ignore[arg-type]
        assert isinstance(answer, bytes)
        return answer

    ioctl(SIOCSARP, "10.0.0.2", PEER, ATF_PERM)
    assert host.state() == "PERMANENT"
    answer = ioctl(SIOCGARP, "10.0.0.2", dev="w0")
    assert answer[18:24] == PEER
    assert struct.unpack_from("=H", answer, 16)[0] == 1
    assert struct.unpack_from("=i", answer, 32)[0] == ATF_PERM | ATF_COM
    assert answer[52:].rstrip(b"\0") == b"w0"
    host.sendto(fd, b"x", ("10.0.0.2", 9))
    assert [frame[:6] for frame in host.frames()] == [PEER]
    text = host.kernel.init_net.proc["net/arp"]()
    assert text.splitlines()[1] == "10.0.0.2         0x1         0x6         02:00:00:00:00:02     *        w0"
    ioctl(SIOCDARP, "10.0.0.2", dev="w0")
    assert host.neigh() is None
    ioctl(SIOCSARP, "10.9.0.5", flags=ATF_PUBL, dev="w0")
    assert host.inet.arp.proxy_lookup(host.dev, a("10.9.0.5"))
    assert "10.9.0.5         0x1         0xc" in host.kernel.init_net.proc["net/arp"]()
    ioctl(SIOCDARP, "10.9.0.5", flags=ATF_PUBL, dev="w0")
    for number, cmd, args, more in (
        (errno.ENXIO, SIOCGARP, ("10.0.0.9",), {"dev": "w0"}),
        (errno.ENXIO, SIOCDARP, ("10.0.0.9",), {"dev": "w0"}),
        (errno.ENODEV, SIOCGARP, ("10.0.0.9",), {}),
        (errno.ENODEV, SIOCSARP, ("10.0.0.9", PEER), {"dev": "none"}),
        (errno.EPFNOSUPPORT, SIOCSARP, ("10.0.0.9", PEER), {"family": 10}),
        (errno.EINVAL, SIOCSARP, ("10.0.0.9", PEER, 0x20), {}),
        (errno.ENETUNREACH, SIOCSARP, ("192.0.2.1", PEER, ATF_COM), {}),
    ):
        fails(number, partial(ioctl, cmd, *args, **more))
    fails(errno.EFAULT, sys_ioctl, host.task, fd, SIOCSARP, b"short")


def test_ioctls_that_change_need_a_capability(host: ArpHost) -> None:
    user = Ours(Credentials(uid=1000, gid=1000, caps=0), host.kernel)
    fails(errno.EPERM, sys_ioctl, user.task, user.socket(), SIOCSARP, arpreq("10.0.0.2", PEER))
    fails(errno.ENXIO, sys_ioctl, user.task, user.socket(), SIOCGARP, arpreq("10.0.0.2", dev="w0"))


# --- bad input --------------------------------------------------------------------------------------------------------

GOOD = wire.build(wire.REQUEST, PEER, a("10.0.0.2"), bytes(6), a("10.0.0.1"))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        GOOD[:27],
        b"\0\x06" + b"\x86\xdd" + GOOD[4:],
        b"\0\x07" + GOOD[2:],
        GOOD[:4] + b"\x05" + GOOD[5:],
        GOOD[:5] + b"\x10" + GOOD[6:],
        GOOD[:7] + b"\x03" + GOOD[8:],
    ],
)
def test_malformed_packets_are_counted(host: ArpHost, body: bytes) -> None:
    host.frame_arrives(ALL + PEER + b"\x08\x06" + body)
    assert arp_of(host.inet).malformed == 1
    assert host.frames() == []
    assert host.inet.arp.entries() == []


FUZZED = ArpHost()
FUZZED.sysctl("net.ipv4.conf.all.arp_accept", 1)
FUZZED.sysctl("net.ipv4.ip_forward", 1)
FUZZED.sysctl("net.ipv4.conf.all.proxy_arp", 1)


@given(st.binary(max_size=40), st.integers(0, 28), st.sampled_from((ALL, FUZZED.mac, THIRD)))
def test_nothing_that_arrives_raises_or_overfills(junk: bytes, at: int, to: bytes) -> None:
    """Mutated requests: no exception is contained, the table stays within its bounds."""
    body = (GOOD[:at] + junk + GOOD[at + len(junk) :])[:60]
    FUZZED.frame_arrives(to + PEER + b"\x08\x06" + body)
    FUZZED.frames()
    assert FUZZED.log == []
    assert FUZZED.inet.arp.count <= FUZZED.inet.arp.gc_thresh3


def test_a_storm_of_strangers_does_not_grow_the_table(host: ArpHost) -> None:
    for i in range(1500):
        host.hears(wire.REQUEST, inet_ntoa((0x0A000100 + i).to_bytes(4, "big")), "10.0.0.1")
    host.inet.fib.add(FibEntry(a("10.0.0.0"), 8, RTN_UNICAST, host.dev, a("10.0.0.1")))
    assert host.inet.arp.count <= host.inet.arp.gc_thresh3


def test_an_error_about_what_waited_quotes_it(host: ArpHost) -> None:
    """The ICMP that a local sender gets is about its own datagram."""
    fd = host.socket()
    host.setopt(fd, 0, 11, 1)
    host.sendto(fd, b"payload", ("10.0.0.2", 9))
    host.sleep(4)
    data, control, flags, addr = host.recvmsg(fd, flags=0x2000)  # MSG_ERRQUEUE
    assert (data, addr) == (b"payload", ("10.0.0.2", 9))
    assert struct.unpack_from("=IBBB", control[0][2]) == (errno.EHOSTUNREACH, 2, icmp.DEST_UNREACH, icmp.HOST_UNREACH)
    assert flags & 0x2000


def test_a_scan_through_a_router_is_bounded(host: ArpHost) -> None:
    """Each address of the link costs an entry and a question while it is asked for, and nothing afterwards."""
    host.sysctl("net.ipv4.ip_forward", 1)
    add_route(host.inet, a("10.0.0.0"), 16, dev=host.dev)
    table = host.inet.arp
    for i in range(3000):
        packet = ipv4.build(a("192.0.2.7"), (0x0A000100 + i).to_bytes(4, "big"), 17, bytes(100), ttl=9)
        host.frame_arrives(host.dev.dev_addr + PEER + b"\x08\0" + packet)
    assert table.count <= table.gc_thresh3
    host.sleep(10)
    assert all(not neigh.queue for neigh in table.entries())
    assert table.stats.table_fulls > 0
    assert host.counted()["IpInReceives"] == 3000
    assert host.log == []


@pytest.mark.parametrize(("everywhere", "here", "left"), [(1, 1, None), (0, 1, "REACHABLE"), (1, 0, "REACHABLE")])
def test_what_is_kept_without_carrier(host: ArpHost, everywhere: int, here: int, left: str | None) -> None:
    """arp_evict_nocarrier: both settings must agree that neighbours are forgotten."""
    host.sysctl("net.ipv4.conf.all.arp_evict_nocarrier", everywhere)
    host.sysctl("net.ipv4.conf.w0.arp_evict_nocarrier", here)
    host.sendto(host.socket(), b"one", ("10.0.0.2", 9))
    host.hears(wire.REPLY, "10.0.0.2", "10.0.0.1", target_hw=host.mac, to=host.mac)
    assert host.state() == "REACHABLE"
    host.kernel.enter()
    netif_carrier_off(host.dev)
    host.kernel.leave()
    assert host.state() == left

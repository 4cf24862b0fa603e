"""Cutting datagrams and putting them together (RFC 791 3.2; ip_do_fragment, ip_defrag), and the modes of
IP_MTU_DISCOVER (ip(7)).
"""

from __future__ import annotations

import errno
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.dgram_api import Host, fails
from support.hosts import HostApi, Hosts

from pysock.core.device import dev_set_mtu
from pysock.core.skbuff import SkBuff
from pysock.families.inet import route
from pysock.families.inet.ip_output import send_packet
from pysock.families.inet.ip_reasm import IpReasm, join_ecn, reasm_of
from pysock.families.inet.nexthop import update_pmtu
from pysock.uapi.in_ import (
    IP_MTU,
    IP_MTU_DISCOVER,
    IP_PMTUDISC_DO,
    IP_PMTUDISC_DONT,
    IP_PMTUDISC_INTERFACE,
    IP_PMTUDISC_OMIT,
    IP_PMTUDISC_PROBE,
    IP_PMTUDISC_WANT,
    IP_RECVERR,
    IPPROTO_ICMP,
    IPPROTO_IP,
    IPPROTO_UDP,
)
from pysock.uapi.socket import MSG_ERRQUEUE, SOCK_DGRAM, SOCK_RAW
from pysock.wire import icmp, ipv4, udp
from pysock.wire.addr import inet_aton as a

ME, PEER = a("10.0.0.1"), a("10.0.0.2")


@pytest.fixture
def pair() -> tuple[HostApi, HostApi]:
    return Hosts().pair()


def ip_headers(frames: list[bytes]) -> list[ipv4.Ipv4Header]:
    packets = [frame[14:] for frame in frames if frame[12:14] == b"\x08\0"]
    assert all(ipv4.verify(packet) for packet in packets)
    return [ipv4.parse(packet) for packet in packets]


# --- out --------------------------------------------------------------------------------------------------------------


def test_a_large_datagram_crosses_in_pieces() -> None:
    lab = Hosts()
    one, two = lab.pair()
    frames = lab.record(one.dev())
    server = two.bound("10.0.0.2", 53)
    payload = bytes(range(256)) * 16
    assert one.sendto(one.bound("10.0.0.1", 1053), payload, ("10.0.0.2", 53)) == 4096
    assert two.recvfrom(server) == (payload, ("10.0.0.1", 1053))
    pieces = ip_headers(frames)
    assert [(p.fragment, p.total_length - 20, p.flags) for p in pieces] == [
        (0, 1480, ipv4.MF),
        (1480, 1480, ipv4.MF),
        (2960, 4104 - 2960, 0),
    ]
    assert len({p.ident for p in pieces}) == 1
    sent, got = one.counted(), two.counted()
    assert (sent["IpFragOKs"], sent["IpFragCreates"], sent["IpOutRequests"]) == (1, 3, 1)
    assert (got["IpReasmReqds"], got["IpReasmOKs"], got["IpInDelivers"]) == (3, 1, 1)
    assert reasm_of(two.inet).memory == 0
    assert lab.log == []


def test_the_largest_datagram_and_one_byte_more(pair: tuple[HostApi, HostApi]) -> None:
    one, two = pair
    server = two.bound("10.0.0.2", 53)
    fd = one.socket()
    one.sendto(fd, bytes(65507), ("10.0.0.2", 53))
    assert len(two.recvfrom(server)[0]) == 65507
    fails(errno.EMSGSIZE, one.sendto, fd, bytes(65508), ("10.0.0.2", 53))


def test_fragments_wait_for_the_neighbour_together(pair: tuple[HostApi, HostApi]) -> None:
    one, two = pair
    server = two.bound("10.0.0.2", 53)
    assert one.inet.arp.entries() == []
    one.sendto(one.socket(), bytes(5000), ("10.0.0.2", 53))
    assert len(two.recvfrom(server)[0]) == 5000


def test_a_large_ping(pair: tuple[HostApi, HostApi]) -> None:
    """Request and answer are both cut and joined."""
    one, _ = pair
    one.call(one.net.sysctl.set, "net.ipv4.ping_group_range", (0, 100))
    fd = one.socket(SOCK_DGRAM, IPPROTO_ICMP)
    one.sendto(fd, icmp.build(icmp.ECHO_REQUEST, 0, rest=1, payload=bytes(5000)), ("10.0.0.2", 0))
    assert len(one.recvfrom(fd)[0]) == 5008
    assert one.counted()["IpFragOKs"] == one.counted()["IpReasmOKs"] == 1


#: mode -> DF on a datagram that fits, whether one that does not is cut (else EMSGSIZE)
MODES = [
    (IP_PMTUDISC_DONT, False, True),
    (IP_PMTUDISC_WANT, True, True),
    (IP_PMTUDISC_DO, True, False),
    (IP_PMTUDISC_PROBE, True, False),
    (IP_PMTUDISC_INTERFACE, False, False),
    (IP_PMTUDISC_OMIT, False, True),
]


@pytest.mark.parametrize(("mode", "df", "cut"), MODES)
def test_modes(host: Host, mode: int, df: bool, cut: bool) -> None:
    fd = host.socket()
    host.setopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, mode)
    host.sendto(fd, bytes(1472), ("10.0.0.2", 9))
    (packet,) = host.sent()
    assert bool(ipv4.parse(packet).flags & ipv4.DF) == df
    if cut:
        host.sendto(fd, bytes(1473), ("10.0.0.2", 9))
        assert [ipv4.parse(p).flags for p in host.sent()] == [ipv4.MF, 0]
    else:
        fails(errno.EMSGSIZE, host.sendto, fd, bytes(1473), ("10.0.0.2", 9))
        assert host.sent() == []


def test_a_corked_datagram_is_cut_too(pair: tuple[HostApi, HostApi]) -> None:
    one, two = pair
    server = two.bound("10.0.0.2", 53)
    fd = one.socket()
    one.connect(fd, ("10.0.0.2", 53))
    for flags in (0x8000, 0x8000, 0):  # MSG_MORE
        one.sendto(fd, b"x" * 1000, flags=flags)
    assert two.recvfrom(server)[0] == b"x" * 3000


def test_a_large_broadcast_comes_back_whole(pair: tuple[HostApi, HostApi]) -> None:
    one, two = pair
    mine, theirs = one.bound("0.0.0.0", 53), two.bound("0.0.0.0", 53)
    one.setopt(mine, 1, 6, 1)  # SO_BROADCAST
    one.sendto(mine, bytes(3000), ("10.0.0.255", 53))
    assert len(one.recvfrom(mine)[0]) == len(two.recvfrom(theirs)[0]) == 3000


def test_options_that_are_not_copied_are_in_the_first_fragment_only(host: Host) -> None:
    router_alert = ipv4.build_option(ipv4.OPT_RA, b"\0\0")
    record_route = ipv4.build_option(ipv4.OPT_RR, b"\x04\0\0\0\0")
    options = record_route + router_alert
    fd = host.socket(SOCK_RAW, 99)
    host.kernel.enter()
    dev_set_mtu(host.dev, 200)
    host.kernel.leave()
    header = ipv4.build(ME, PEER, 99, bytes(400), options=options)[: 20 + len(options) + (-len(options) & 3)]
    payload = SkBuff(bytes(400), 0, 400)
    host.kernel.enter()
    assert send_packet(host.inet, route.output(host.inet, PEER), header, payload) == 0
    host.kernel.leave()
    first, *others = [ipv4.parse(p).options for p in host.sent()]
    assert first[: len(options)] == options
    assert [[kind for kind, _ in ipv4.walk_options(o)] for o in others] == [[1] * 7 + [148]] * 2
    host.close(fd)


# --- in ---------------------------------------------------------------------------------------------------------------


class Joiner(Host):
    """A host that gets hand-made fragments of UDP datagrams from 10.0.0.2."""

    def __init__(self) -> None:
        super().__init__()
        self.fd = self.bound("10.0.0.1", 53)
        self.data = bytes(range(200)) * 2
        self.whole = udp.build(9, 53, self.data, addresses=(PEER, ME))  # 408 bytes

    def piece(self, start: int, end: int, more: bool = True, ident: int = 7, tos: int = 0) -> None:
        flags = ipv4.MF if more else 0
        payload = self.whole[start:end]
        self.inject(ipv4.build(PEER, ME, IPPROTO_UDP, payload, ident=ident, flags=flags, fragment=start, tos=tos))

    def joined(self) -> int:
        """How many whole datagrams came."""
        count = 0
        try:
            while True:
                assert self.recvfrom(self.fd)[0] == self.data
                count += 1
        except BlockingIOError:
            return count

    @property
    def reasm(self) -> IpReasm:
        return reasm_of(self.inet)


@pytest.fixture
def joiner() -> Joiner:
    return Joiner()


PIECES = [(0, 104), (104, 208), (208, 312), (312, 408)]


@given(st.permutations(PIECES), st.booleans())
def test_any_order_and_repetition_will_do(order: list[tuple[int, int]], twice: bool) -> None:
    joiner = Joiner()
    for at, (start, end) in enumerate(order):
        joiner.piece(start, end, end != 408)
        if twice and at < 3:
            joiner.piece(start, end, end != 408)
    assert joiner.joined() == 1
    assert joiner.reasm.memory == 0
    assert joiner.counted()["IpReasmOKs"] == 1
    assert "IpReasmFails" not in joiner.counted()


@pytest.mark.parametrize(
    "pieces",
    [
        [(0, 104, True), (96, 208, True)],  # overlap behind
        [(104, 208, True), (0, 112, True)],  # and before
        [(104, 208, True), (0, 400, True)],  # around
        [(312, 408, False), (312, 400, False)],  # another end
        [(208, 312, False), (312, 408, True)],  # behind the end
        [(0, 104, True), (104, 104, True)],  # nothing
    ],
)
def test_what_contradicts_ends_the_queue(joiner: Joiner, pieces: list[tuple[int, int, bool]]) -> None:
    for start, end, more in pieces:
        joiner.piece(start, end, more)
    assert joiner.reasm.queues == {}
    assert joiner.reasm.memory == 0
    assert joiner.counted()["IpReasmFails"] == 1
    assert joiner.joined() == 0


def test_overlaps_are_counted(joiner: Joiner) -> None:
    joiner.piece(0, 104)
    joiner.piece(96, 208)
    assert joiner.counted()["IpExtReasmOverlaps"] == 1


def test_a_piece_of_what_is_there_is_a_repetition(joiner: Joiner) -> None:
    joiner.piece(0, 104)
    joiner.piece(104, 208)
    joiner.piece(96, 200)  # across two, but nothing new
    joiner.piece(208, 408, False)
    assert joiner.joined() == 1


def test_datagrams_are_told_apart(joiner: Joiner) -> None:
    for ident in (1, 2):
        joiner.piece(0, 208, ident=ident)
    joiner.inject(ipv4.build(a("10.0.0.3"), ME, IPPROTO_UDP, joiner.whole[208:], ident=1, fragment=208))
    assert joiner.joined() == 0
    for ident in (1, 2):
        joiner.piece(208, 408, False, ident=ident)
    assert joiner.joined() == 2
    assert len(joiner.reasm.queues) == 1


def test_an_incomplete_datagram_times_out_and_its_sender_hears(joiner: Joiner) -> None:
    joiner.piece(0, 208)
    joiner.kernel.sleep(29_000_000_000)
    assert joiner.sent() == []
    joiner.kernel.sleep(1_100_000_000)
    (packet,) = joiner.sent()
    error = icmp.parse(packet, 20)
    assert (error.type, error.code) == (icmp.TIME_EXCEEDED, icmp.EXC_FRAGTIME)
    assert packet[28:48] == ipv4.build(PEER, ME, IPPROTO_UDP, joiner.whole[:208], ident=7, flags=ipv4.MF)[:20]
    counted = joiner.counted()
    assert (counted["IpReasmTimeout"], counted["IpReasmFails"]) == (1, 1)
    assert joiner.reasm.memory == 0


def test_without_the_first_fragment_nobody_hears(joiner: Joiner) -> None:
    joiner.piece(208, 408, False)
    joiner.kernel.sleep(31_000_000_000)
    assert joiner.sent() == []
    assert joiner.counted()["IpReasmTimeout"] == 1


def test_memory_is_bounded(joiner: Joiner) -> None:
    joiner.kernel.init_net.sysctl.set("net.ipv4.ipfrag_high_thresh", 20_000)
    for ident in range(100):
        joiner.piece(0, 208, ident=ident)
    assert 20_000 < joiner.reasm.memory < 21_500
    assert joiner.counted()["IpReasmFails"] == 100 - len(joiner.reasm.queues)
    joiner.piece(208, 408, False, ident=0)  # one that exists may still be completed
    assert joiner.joined() == 1
    joiner.kernel.sleep(31_000_000_000)
    assert joiner.reasm.memory == 0


def test_a_queue_that_many_others_overtook_starts_anew(joiner: Joiner) -> None:
    joiner.kernel.init_net.sysctl.set("net.ipv4.ipfrag_max_dist", 3)
    joiner.piece(0, 208, ident=1)
    for ident in range(10, 14):
        joiner.piece(0, 208, ident=ident)
    joiner.piece(208, 408, False, ident=1)  # the identification has wrapped, perhaps
    assert joiner.joined() == 0
    joiner.piece(0, 208, ident=1)
    assert joiner.joined() == 1


def test_a_datagram_longer_than_ip_can_say(joiner: Joiner) -> None:
    joiner.inject(ipv4.build(PEER, ME, IPPROTO_UDP, bytes(8), ident=3, flags=ipv4.MF))
    joiner.inject(ipv4.build(PEER, ME, IPPROTO_UDP, bytes(1000), ident=3, fragment=0x1FFF * 8))
    for start in range(8, 0x1FFF * 8, 1400):
        end = min(start + 1400, 0x1FFF * 8)
        joiner.inject(ipv4.build(PEER, ME, IPPROTO_UDP, bytes(end - start), ident=3, flags=ipv4.MF, fragment=start))
    assert joiner.counted()["IpReasmFails"] == 1
    assert joiner.reasm.memory == 0


def test_ecn_marks_are_joined() -> None:
    not_ect, ect1, ect0, ce = (1 << mark for mark in range(4))
    assert join_ecn(not_ect) == join_ecn(ect0) == join_ecn(ect0 | ect1) == 0
    assert join_ecn(ce | ect0) == join_ecn(ce | ect1) == join_ecn(ce) == 3
    assert join_ecn(not_ect | ce) is join_ecn(not_ect | ect0) is join_ecn(not_ect | ect1 | ect0) is None


def test_a_raw_socket_gets_the_datagram_whole(joiner: Joiner) -> None:
    raw = joiner.socket(SOCK_RAW, IPPROTO_UDP)
    joiner.piece(0, 208, tos=2)
    joiner.piece(208, 408, False, tos=3)
    packet, _ = joiner.recvfrom(raw)
    header = ipv4.parse(packet)
    assert ipv4.verify(packet)
    assert (header.total_length, header.flags, header.fragment, header.tos) == (428, 0, 0, 3)
    assert packet[20:] == joiner.whole


FUZZ = st.lists(
    st.tuples(
        st.integers(0, 3), st.integers(0, 60), st.integers(0, 80), st.booleans(), st.integers(0, 3), st.booleans()
    ),
    max_size=30,
)


@given(FUZZ)
def test_random_fragments_never_raise_and_all_memory_comes_back(
    pieces: list[tuple[int, int, int, bool, int, bool]],
) -> None:
    """Whatever fragments arrive: nothing is contained, accounts match the queues, and the timeout frees everything."""
    joiner = Joiner()
    for ident, offset, length, more, tos, df in pieces:
        flags = (ipv4.MF if more else 0) | (ipv4.DF if df else 0)
        joiner.inject(
            ipv4.build(PEER, ME, IPPROTO_UDP, bytes(length), ident=ident, flags=flags, fragment=offset * 8, tos=tos)
        )
        reasm = joiner.reasm
        assert reasm.memory == sum(queue.frags.memory + 192 for queue in reasm.queues.values())
        for queue in reasm.queues.values():
            assert queue.frags.meat <= queue.frags.size
    assert joiner.log == []
    joiner.kernel.sleep(31_000_000_000)
    assert joiner.reasm.memory == 0
    assert joiner.reasm.queues == {}


# --- path MTU ---------------------------------------------------------------------------------------------------------


def frag_needed(host: Host, packet: bytes, mtu: int) -> None:
    error = icmp.build(icmp.DEST_UNREACH, icmp.FRAG_NEEDED, rest=mtu, payload=packet[:28])
    host.inject(ipv4.build(a("10.0.0.9"), ME, IPPROTO_ICMP, error))


def sent_one(host: Host, fd: int, size: int) -> bytes:
    host.sendto(fd, bytes(size))
    (packet,) = host.sent()
    return packet


def test_fragmentation_needed_teaches_the_path(host: Host) -> None:
    fd = host.socket()
    host.setopt(fd, IPPROTO_IP, IP_RECVERR, 1)
    host.setopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO)
    host.connect(fd, ("10.0.0.2", 9))
    assert host.getint(fd, IPPROTO_IP, IP_MTU) == 1500
    frag_needed(host, sent_one(host, fd, 1472), 1200)
    assert host.getint(fd, IPPROTO_IP, IP_MTU) == 1200
    _, control, _, name = host.recvmsg(fd, flags=MSG_ERRQUEUE)
    assert name == ("10.0.0.2", 9)
    assert struct.unpack_from("=IBBBxI", control[0][2]) == (errno.EMSGSIZE, 2, 3, 4, 1200)
    fails(errno.EMSGSIZE, host.sendto, fd, bytes(1173))
    _, control, _, _ = host.recvmsg(fd, flags=MSG_ERRQUEUE)
    assert struct.unpack_from("=IBBBxI", control[0][2]) == (errno.EMSGSIZE, 1, 0, 0, 1200)
    assert len(sent_one(host, fd, 1172)) == 1200
    other = host.socket()
    host.sendto(other, bytes(1173), ("10.0.0.2", 9))
    assert len(host.sent()) == 2  # every socket knows
    host.sendto(other, bytes(1472), ("10.0.0.3", 9))
    assert len(host.sent()) == 1  # of this destination
    host.kernel.sleep(601 * 10**9)
    host.connect(other, ("10.0.0.2", 9))
    assert host.getint(other, IPPROTO_IP, IP_MTU) == 1500


def test_fragmentation_needed_that_is_not_believed(host: Host) -> None:
    fd = host.socket()
    host.connect(fd, ("10.0.0.2", 9))
    packet = sent_one(host, fd, 1000)
    frag_needed(host, packet, 1600)
    assert host.getint(fd, IPPROTO_IP, IP_MTU) == 1500
    frag_needed(host, packet[:20] + b"\0\7\0\7" + packet[24:], 600)  # about somebody else's datagram
    assert host.getint(fd, IPPROTO_IP, IP_MTU) == 1500
    host.setopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_INTERFACE)
    frag_needed(host, packet, 600)
    assert host.getint(fd, IPPROTO_IP, IP_MTU) == 1500


def test_a_path_mtu_below_the_minimum_turns_df_off(host: Host) -> None:
    fd = host.socket()
    host.connect(fd, ("10.0.0.2", 9))
    packet = sent_one(host, fd, 1000)
    assert ipv4.parse(packet).flags & ipv4.DF
    frag_needed(host, packet, 68)
    assert host.error(fd) == errno.EMSGSIZE
    assert host.getint(fd, IPPROTO_IP, IP_MTU) == 552
    assert not ipv4.parse(sent_one(host, fd, 100)).flags & ipv4.DF


@pytest.mark.parametrize(("mode", "mtu"), [(0, 1200), (1, 552), (2, 1500)])
def test_ip_no_pmtu_disc(host: Host, mode: int, mtu: int) -> None:
    host.kernel.init_net.sysctl.set("net.ipv4.ip_no_pmtu_disc", mode)
    fd = host.socket()
    host.connect(fd, ("10.0.0.2", 9))
    frag_needed(host, sent_one(host, fd, 1000), 1200)
    assert host.getint(fd, IPPROTO_IP, IP_MTU) == mtu


def test_probes_ignore_the_path_mtu(host: Host) -> None:
    fd = host.socket()
    host.connect(fd, ("10.0.0.2", 9))
    frag_needed(host, sent_one(host, fd, 1000), 600)
    host.error(fd)
    host.setopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE)
    packet = sent_one(host, fd, 1472)
    assert (len(packet), ipv4.parse(packet).flags) == (1500, ipv4.DF)


def test_many_paths_are_bounded(host: Host) -> None:
    for i in range(3000):
        update_pmtu(host.inet, (0x0A000000 | (i + 2) % 250).to_bytes(4, "big"), 1400 - i // 250)
    assert len(host.inet.fib.exceptions) <= 2048

"""UDP_SEGMENT and UDP_GRO over both versions of IP, as on the kernel of this machine."""

from __future__ import annotations

import errno
import struct
import sys
from typing import Any, NamedTuple

import pytest
from support.dgram_api import LO, fails
from support.inet6_api import LO6, Linux6, Ours6

from pysock.uapi.in6 import IPV6_HOPLIMIT, IPV6_PKTINFO, IPV6_RECVHOPLIMIT, IPV6_RECVPKTINFO
from pysock.uapi.in_ import IP_PKTINFO, IP_RECVTTL, IP_TTL, IPPROTO_IP, IPPROTO_IPV6, IPPROTO_UDPLITE
from pysock.uapi.socket import (
    AF_INET,
    AF_INET6,
    MSG_MORE,
    MSG_PEEK,
    MSG_TRUNC,
    SCM_TIMESTAMP,
    SO_NO_CHECK,
    SO_TIMESTAMP,
    SOCK_DGRAM,
    SOL_SOCKET,
    SOL_UDP,
)
from pysock.uapi.udp import UDP_CORK, UDP_GRO, UDP_NO_CHECK6_RX, UDP_NO_CHECK6_TX, UDP_SEGMENT

IP_MTU_DISCOVER, IPV6_MTU_DISCOVER = 10, 23
UDP_MAX = {4: 65507, 6: 65527}


class Pair(NamedTuple):
    """A sender that is connected to a receiver, over IPv``version``."""

    api: Any
    version: int
    sender: Any
    receiver: Any

    def segment(self, size: int) -> None:
        self.api.setopt(self.sender, SOL_UDP, UDP_SEGMENT, size)

    def gro(self, on: int) -> None:
        self.api.setopt(self.receiver, SOL_UDP, UDP_GRO, on)

    def send(self, n: int, flags: int = 0) -> int:
        return self.api.sendto(self.sender, pattern(n), None, flags)  # type: ignore[no-any-return]

    def sendmsg(self, n: int, *control: tuple[int, int, bytes]) -> int:
        return self.api.sendmsg(self.sender, pattern(n), list(control))  # type: ignore[no-any-return]

    def receive(self) -> list[tuple[bytes, list[tuple[int, int, bytes]]]]:
        """Everything that is there: data and control messages."""
        found = []
        while True:
            try:
                data, control, *_ = self.api.recvmsg(self.receiver, 70000)
            except BlockingIOError:
                return found
            found.append((data, control))

    def sizes(self) -> list[int]:
        """How long what was received is; nothing is lost, changed or out of order."""
        found = [data for data, _ in self.receive()]
        assert b"".join(found) == pattern(sum(map(len, found)))
        return [len(data) for data in found]


def pattern(n: int) -> bytes:
    return bytes(i * 7 & 0xFF for i in range(256)) * (n // 256) + bytes(i * 7 & 0xFF for i in range(n % 256))


def u16(value: int) -> tuple[int, int, bytes]:
    return SOL_UDP, UDP_SEGMENT, value.to_bytes(2, sys.byteorder)


def of_size(value: int) -> tuple[int, int, bytes]:
    return SOL_UDP, UDP_GRO, struct.pack("=i", value)


@pytest.fixture(params=[4, 6])
def pair(request: pytest.FixtureRequest, api6: Ours6 | Linux6) -> Pair:
    api: Any = api6
    receiver = api.bound(LO if request.param == 4 else LO6)
    sender = api.socket(family=AF_INET if request.param == 4 else AF_INET6)
    api.connect(sender, api.name(receiver)[:2])
    return Pair(api, request.param, sender, receiver)


# UDP_SEGMENT: the option ---------------------------------------------------------------------------------


def test_the_option(pair: Pair) -> None:
    api, sender = pair.api, pair.sender
    assert api.getint(sender, SOL_UDP, UDP_SEGMENT) == 0
    for size in (1, 65535, 1200):
        pair.segment(size)
        assert api.getint(sender, SOL_UDP, UDP_SEGMENT) == size
    for bad in (-1, 65536, b"\1\0"):
        fails(errno.EINVAL, api.setopt, sender, SOL_UDP, UDP_SEGMENT, bad)
    assert api.getopt(sender, SOL_UDP, UDP_SEGMENT, 2) == (1200).to_bytes(2, sys.byteorder)


def test_the_gro_option(pair: Pair) -> None:
    for value, reads in ((1, 1), (0, 0), (5, 1), (-1, 1)):
        pair.gro(value)
        assert pair.api.getint(pair.receiver, SOL_UDP, UDP_GRO) == reads
    fails(errno.EINVAL, pair.api.setopt, pair.receiver, SOL_UDP, UDP_GRO, b"\1")


# UDP_SEGMENT: what is sent -------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [0, 1, 99, 100, 101, 200, 250, 6401, 12800])
def test_a_send_is_datagrams_of_that_size(pair: Pair, n: int) -> None:
    pair.segment(100)
    assert pair.send(n) == n
    assert pair.sizes() == [min(100, n - at) for at in range(0, n, 100)] if n else [0]


def test_more_than_128_datagrams(pair: Pair) -> None:
    pair.segment(100)
    fails(errno.EINVAL, pair.send, 12801)
    assert pair.sizes() == []


@pytest.mark.parametrize("size", [1000, 30000, 65000])
def test_the_whole_is_one_packet_s_worth(pair: Pair, size: int) -> None:
    most = UDP_MAX[pair.version]
    pair.segment(size)
    assert pair.send(most) == most
    assert pair.sizes() == [min(size, most - at) for at in range(0, most, size)]
    fails(errno.EMSGSIZE, pair.send, most + 1)
    assert pair.sizes() == []


@pytest.mark.parametrize("mode", range(6))
def test_path_mtu_discovery_has_no_say(pair: Pair, mode: int) -> None:
    level, option = (IPPROTO_IP, IP_MTU_DISCOVER) if pair.version == 4 else (IPPROTO_IPV6, IPV6_MTU_DISCOVER)
    pair.api.setopt(pair.sender, level, option, mode)
    pair.segment(30000)
    pair.send(65507)
    assert pair.sizes() == [30000, 30000, 5507]


def test_a_datagram_longer_than_the_mtu(pair: Pair) -> None:
    """Loopback's is 65536: IPv6's header does not fit with such a size, IPv4's just does."""
    pair.segment(65507)
    assert pair.send(65000) == 65000
    if pair.version == 4:
        assert pair.send(65507) == 65507
    else:
        fails(errno.EMSGSIZE, pair.send, 65507)


def test_the_control_message_wins(pair: Pair) -> None:
    assert pair.sendmsg(250, u16(100)) == 250
    assert pair.sizes() == [100, 100, 50]
    pair.segment(50)
    pair.sendmsg(250, u16(100))
    assert pair.sizes() == [100, 100, 50]
    pair.sendmsg(250, u16(100), u16(70))
    assert pair.sizes() == [70, 70, 70, 40]
    pair.sendmsg(250, u16(0))
    assert pair.sizes() == [250]
    pair.send(120)
    assert pair.sizes() == [50, 50, 20]


@pytest.mark.parametrize(
    "message",
    [
        (SOL_UDP, UDP_SEGMENT, bytes(4)),
        (SOL_UDP, UDP_SEGMENT, b""),
        (SOL_UDP, UDP_GRO, bytes(4)),
        (SOL_UDP, 99, bytes(2)),
    ],
)
def test_bad_control_messages(pair: Pair, message: tuple[int, int, bytes]) -> None:
    fails(errno.EINVAL, pair.sendmsg, 250, message)
    assert pair.sizes() == []


def test_pieces_are_put_together_first(pair: Pair) -> None:
    """The size that was set at the first piece counts."""
    pair.segment(100)
    pair.send(150, MSG_MORE)
    pair.segment(60)
    pair.api.sendto(pair.sender, pattern(250)[150:])
    assert pair.sizes() == [100, 100, 50]
    pair.segment(100)
    pair.send(12700, MSG_MORE)
    fails(errno.EINVAL, pair.send, 200)
    assert pair.sizes() == []
    pair.api.setopt(pair.sender, SOL_UDP, UDP_CORK, 1)
    pair.send(12700)
    pair.send(200)
    pair.api.setopt(pair.sender, SOL_UDP, UDP_CORK, 0)  # too many, and nobody hears of it
    assert pair.sizes() == []


def test_datagrams_without_checksums(pair: Pair) -> None:
    option = (SOL_SOCKET, SO_NO_CHECK) if pair.version == 4 else (SOL_UDP, UDP_NO_CHECK6_TX)
    pair.api.setopt(pair.sender, *option, 1)
    assert pair.api.getint(pair.sender, *option) == 1
    pair.segment(100)
    for n in (50, 250):
        fails(errno.EINVAL, pair.send, n)
    pair.api.setopt(pair.sender, *option, 0)
    pair.send(250)
    assert pair.sizes() == [100, 100, 50]


def test_checksums_of_ipv6_may_be_left_out(api6: Ours6 | Linux6) -> None:
    api: Any = api6
    receiver, sender = api.bound(), api.socket()
    api.setopt(sender, SOL_UDP, UDP_NO_CHECK6_TX, 1)
    api.sendto(sender, b"lost", api.name(receiver)[:2])
    fails(errno.EAGAIN, api.recvfrom, receiver)
    api.setopt(receiver, SOL_UDP, UDP_NO_CHECK6_RX, 1)
    assert api.getint(receiver, SOL_UDP, UDP_NO_CHECK6_RX) == 1
    for _ in range(2):
        api.sendto(sender, b"found", api.name(receiver)[:2])
        assert api.recvfrom(receiver)[0] == b"found"


def test_an_error_about_one_of_them(pair: Pair) -> None:
    """ICMP quotes the datagram, and the sender hears of it once."""
    pair.segment(100)
    pair.api.close(pair.receiver)
    pair.send(250)
    fails(errno.ECONNREFUSED, pair.send, 1)
    assert pair.send(1) == 1


@pytest.mark.parametrize("version", [4, 6])
def test_udp_lite(api6: Ours6 | Linux6, version: int) -> None:
    api: Any = api6
    family, host = (AF_INET, LO) if version == 4 else (AF_INET6, LO6)
    try:
        sender = api.socket(SOCK_DGRAM, IPPROTO_UDPLITE, family)
    except OSError as exc:
        pytest.skip(f"this machine's kernel has no UDP-Lite: {exc}")
    api.setopt(sender, SOL_UDP, UDP_SEGMENT, 100)
    for n in (50, 250):
        fails(errno.EIO, api.sendto, sender, bytes(n), (host, 9))


# UDP_GRO -------------------------------------------------------------------------------------------------


def test_one_receive_gives_them_all(pair: Pair) -> None:
    pair.gro(1)
    pair.segment(100)
    for n in (0, 50, 100):
        pair.send(n)
        assert pair.receive() == [(pattern(n), [])]
    for n in (101, 250, 300):
        pair.send(n)
        assert pair.receive() == [(pattern(n), [of_size(100)])]


def test_the_option_counts_when_it_arrives_and_when_it_is_read(pair: Pair) -> None:
    pair.segment(100)
    pair.send(250)
    pair.gro(1)
    assert pair.receive() == [(data, []) for data in (pattern(250)[:100], pattern(250)[100:200], pattern(250)[200:])]
    pair.send(250)
    pair.gro(0)
    assert pair.receive() == [(pattern(250), [])]


def test_truncated_and_peeked_at(pair: Pair) -> None:
    pair.gro(1)
    pair.segment(100)
    pair.send(250)
    assert pair.api.pending(pair.receiver) == 250
    for _ in range(2):
        data, control, flags, _ = pair.api.recvmsg(pair.receiver, 120, flags=MSG_PEEK)
        assert (data, control, flags & MSG_TRUNC) == (pattern(120), [of_size(100)], MSG_TRUNC)
    data, control, flags, _ = pair.api.recvmsg(pair.receiver, 120)
    assert (data, control, flags & MSG_TRUNC) == (pattern(120), [of_size(100)], MSG_TRUNC)
    assert pair.receive() == []


def test_between_the_other_control_messages(pair: Pair) -> None:
    pair.gro(1)
    pair.segment(100)
    pair.api.setopt(pair.receiver, SOL_SOCKET, SO_TIMESTAMP, 1)
    if pair.version == 4:
        wanted = [(IPPROTO_IP, IP_PKTINFO), (IPPROTO_IP, IP_TTL)]
        options = [(IPPROTO_IP, IP_PKTINFO), (IPPROTO_IP, IP_RECVTTL)]
    else:
        wanted = [(IPPROTO_IPV6, IPV6_PKTINFO), (IPPROTO_IPV6, IPV6_HOPLIMIT)]
        options = [(IPPROTO_IPV6, IPV6_RECVPKTINFO), (IPPROTO_IPV6, IPV6_RECVHOPLIMIT)]
    for level, option in options:
        pair.api.setopt(pair.receiver, level, option, 1)
    pair.send(250)
    ((_, control),) = pair.receive()
    assert [message[:2] for message in control] == [(SOL_SOCKET, SCM_TIMESTAMP), (SOL_UDP, UDP_GRO), *wanted]


def test_single_datagrams_keep_what_was_said_about_the_whole(pair: Pair) -> None:
    pair.segment(100)
    if pair.version == 4:
        pair.api.setopt(pair.receiver, IPPROTO_IP, IP_RECVTTL, 1)
        message = IPPROTO_IP, IP_TTL, struct.pack("=i", 9)
    else:
        pair.api.setopt(pair.receiver, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1)
        message = IPPROTO_IPV6, IPV6_HOPLIMIT, struct.pack("=i", 9)
    pair.sendmsg(250, message)
    assert [control for _, control in pair.receive()] == [[message]] * 3

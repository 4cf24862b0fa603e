"""Control messages at SOL_IP, and the error queue, on pysock and on Linux alike (ip(7))."""

from __future__ import annotations

import errno
import select
import struct

import pytest
from support.dgram_api import LO, Api, Host, Ours, fails

from pysock.uapi.in_ import (
    IP_MTU_DISCOVER,
    IP_MULTICAST_TTL,
    IP_ORIGDSTADDR,
    IP_PKTINFO,
    IP_PMTUDISC_DO,
    IP_RECVERR,
    IP_RECVORIGDSTADDR,
    IP_RECVTOS,
    IP_RECVTTL,
    IP_TOS,
    IP_TTL,
    IPPROTO_IP,
    SO_EE_ORIGIN_ICMP,
    SO_EE_ORIGIN_LOCAL,
)
from pysock.uapi.socket import AF_INET, MSG_CTRUNC, MSG_ERRQUEUE, MSG_TRUNC, SCM_RIGHTS, SOL_SOCKET
from pysock.wire import icmp, ipv4

LO_BYTES = b"\x7f\0\0\1"


def test_what_recvmsg_tells_of_a_datagram(api: Api) -> None:
    server, client = api.bound("0.0.0.0"), api.bound()
    port = api.name(server)[1]
    for option in (IP_PKTINFO, IP_RECVTTL, IP_RECVTOS, IP_RECVORIGDSTADDR):
        api.setopt(server, IPPROTO_IP, option, 1)
        assert api.getint(server, IPPROTO_IP, option) == 1
    api.setopt(client, IPPROTO_IP, IP_TTL, 7)
    api.setopt(client, IPPROTO_IP, IP_TOS, 0x10)
    for _ in range(2):
        api.sendto(client, b"a", ("127.0.0.9", port))
        data, control, flags, sender = api.recvmsg(server)
        assert (data, flags, sender) == (b"a", 0, api.name(client))
        there = bytes((127, 0, 0, 9))
        assert control == [
            (IPPROTO_IP, IP_PKTINFO, struct.pack("=i4s4s", 1, there, there)),
            (IPPROTO_IP, IP_TTL, struct.pack("=i", 7)),
            (IPPROTO_IP, IP_TOS, b"\x10"),
            (IPPROTO_IP, IP_ORIGDSTADDR, struct.pack("=H", AF_INET) + struct.pack(">H", port) + there + bytes(8)),
        ]
    for option in (IP_PKTINFO, IP_RECVTTL, IP_RECVTOS, IP_RECVORIGDSTADDR):
        api.setopt(server, IPPROTO_IP, option, 0)
    api.sendto(client, b"a", (LO, port))
    assert api.recvmsg(server)[1] == []


def test_control_messages_that_do_not_fit(api: Api) -> None:
    server, client = api.bound(), api.bound()
    api.setopt(server, IPPROTO_IP, IP_RECVTTL, 1)
    for _ in range(2):
        api.sendto(client, b"a", api.name(server))
    assert api.recvmsg(server, 10, 0)[1:3] == ([], MSG_CTRUNC)
    assert api.recvmsg(server, 10, 64)[1:3] == ([(IPPROTO_IP, IP_TTL, struct.pack("=i", 64))], 0)


def test_what_sendmsg_says_of_one_datagram(api: Api) -> None:
    server, client = api.bound(), api.socket()
    for option in (IP_RECVTTL, IP_RECVTOS):
        api.setopt(server, IPPROTO_IP, option, 1)
    plain = [(IPPROTO_IP, IP_TTL, struct.pack("=i", 64)), (IPPROTO_IP, IP_TOS, b"\0")]
    for _ in range(2):
        api.sendto(client, b"a", api.name(server))
        assert api.recvmsg(server)[1] == plain
        special = [(IPPROTO_IP, IP_TTL, struct.pack("=i", 3)), (IPPROTO_IP, IP_TOS, struct.pack("=i", 8))]
        api.sendmsg(client, b"a", special, api.name(server))
        assert api.recvmsg(server)[1] == [special[0], (IPPROTO_IP, IP_TOS, b"\x08")]


def test_pktinfo_chooses_source_and_device(api: Api) -> None:
    server, client = api.bound(), api.bound("0.0.0.0")

    def info(ifindex: int, spec_dst: tuple[int, ...]) -> list[tuple[int, int, bytes]]:
        return [(IPPROTO_IP, IP_PKTINFO, struct.pack("=i4s4s", ifindex, bytes(spec_dst), bytes(4)))]

    port = api.name(client)[1]
    api.sendmsg(client, b"a", info(0, (127, 0, 0, 77)), api.name(server))
    assert api.recvfrom(server) == (b"a", ("127.0.0.77", port))
    api.sendmsg(client, b"b", info(1, (0, 0, 0, 0)), api.name(server))
    assert api.recvfrom(server) == (b"b", (LO, port))
    fails(errno.ENETUNREACH, api.sendmsg, client, b"c", info(0, (203, 0, 113, 1)), api.name(server))
    fails(errno.ENODEV, api.sendmsg, client, b"c", info(9999, (0, 0, 0, 0)), api.name(server))


@pytest.mark.parametrize(
    "message",
    [
        (IPPROTO_IP, IP_TTL, struct.pack("=i", 0)),
        (IPPROTO_IP, IP_TTL, struct.pack("=i", 256)),
        (IPPROTO_IP, IP_TTL, b"\1"),
        (IPPROTO_IP, IP_TOS, struct.pack("=i", 256)),
        (IPPROTO_IP, IP_TOS, struct.pack("=i", -1)),
        (IPPROTO_IP, IP_PKTINFO, bytes(8)),
        (IPPROTO_IP, 99, bytes(4)),
        (SOL_SOCKET, 99, bytes(4)),
    ],
)
def test_bad_control_messages(api: Api, message: tuple[int, int, bytes]) -> None:
    server, client = api.bound(), api.socket()
    fails(errno.EINVAL, api.sendmsg, client, b"a", [message], api.name(server))
    fails(errno.EAGAIN, api.recvfrom, server)


def test_messages_for_others_are_ignored(api: Api) -> None:
    server, client = api.bound(), api.socket()
    api.sendmsg(client, b"a", [(6, 1, bytes(4)), (41, 2, bytes(4))], api.name(server))
    assert api.recvfrom(server)[0] == b"a"


def test_files_sent_by_udp_go_nowhere(api: Api) -> None:
    server, client = api.bound(), api.socket()
    passed = api.socket()
    number = passed if isinstance(passed, int) else passed.fileno()
    api.sendmsg(client, b"a", [(SOL_SOCKET, SCM_RIGHTS, struct.pack("=i", number))], api.name(server))
    assert api.recvmsg(server)[:2] == (b"a", [])


# The error queue ---------------------------------------------------------------------------------------------------


def closed_port(api: Api) -> tuple[str, int]:
    sock = api.bound()
    name = api.name(sock)
    api.close(sock)
    return name


@pytest.mark.parametrize("connected", [False, True])
def test_recverr_keeps_the_error_and_what_it_is_about(api: Api, connected: bool) -> None:
    sock = api.bound()
    api.setopt(sock, IPPROTO_IP, IP_RECVERR, 1)
    target = closed_port(api)
    fails(errno.EAGAIN, api.recvmsg, sock, 100, 512, MSG_ERRQUEUE)
    if connected:
        api.connect(sock, target)
        api.sendto(sock, b"the question")
    else:
        api.sendto(sock, b"the question", target)
    assert api.poll(sock) & select.POLLERR
    data, control, flags, name = api.recvmsg(sock, 100, 512, MSG_ERRQUEUE)
    assert (data, flags, name) == (b"the question", MSG_ERRQUEUE, target)
    ((level, kind, raw),) = control
    assert (level, kind) == (IPPROTO_IP, IP_RECVERR)
    number, origin, type, code, _, info, _ = struct.unpack_from("=IBBBBII", raw)
    assert (number, origin, type, code, info) == (errno.ECONNREFUSED, SO_EE_ORIGIN_ICMP, 3, 3, 0)
    assert raw[16:] == struct.pack("=HH", AF_INET, 0) + LO_BYTES + bytes(8)
    assert api.error(sock) == 0  # reading the queue took the pending error along
    fails(errno.EAGAIN, api.recvmsg, sock, 100, 512, MSG_ERRQUEUE)


def test_the_next_call_fails_too_unless_the_queue_was_read(api: Api) -> None:
    sock = api.bound()
    api.setopt(sock, IPPROTO_IP, IP_RECVERR, 1)
    target = closed_port(api)
    api.sendto(sock, b"one", target)
    fails(errno.ECONNREFUSED, api.recvfrom, sock)
    fails(errno.EAGAIN, api.recvfrom, sock)
    assert api.recvmsg(sock, 2, 512, MSG_ERRQUEUE)[::2] == (b"on", MSG_ERRQUEUE | MSG_TRUNC)


def test_several_errors_queue_up(api: Api) -> None:
    sock = api.bound()
    api.setopt(sock, IPPROTO_IP, IP_RECVERR, 1)
    targets = [closed_port(api) for _ in range(2)]
    api.sendto(sock, b"one", targets[0])
    api.error(sock)
    api.sendto(sock, b"two", targets[1])
    assert api.recvmsg(sock, 100, 512, MSG_ERRQUEUE)[::3] == (b"one", targets[0])
    assert api.error(sock) == errno.ECONNREFUSED
    assert api.poll(sock) & select.POLLERR
    api.setopt(sock, IPPROTO_IP, IP_RECVERR, 0)  # and this forgets the rest
    fails(errno.EAGAIN, api.recvmsg, sock, 100, 512, MSG_ERRQUEUE)


def test_our_own_refusals_are_queued_too(host: Host) -> None:
    sock = host.socket()
    host.setopt(sock, IPPROTO_IP, IP_RECVERR, 1)
    host.setopt(sock, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO)
    fails(errno.EMSGSIZE, host.sendto, sock, bytes(2000), ("10.0.0.2", 53))
    _, control, _, name = host.recvmsg(sock, 100, 512, MSG_ERRQUEUE)
    assert name == ("10.0.0.2", 53)
    raw = control[0][2]
    assert struct.unpack_from("=IBBBBII", raw) == (errno.EMSGSIZE, SO_EE_ORIGIN_LOCAL, 0, 0, 0, 1500, 0)
    assert raw[16:] == bytes(16)


def test_the_offender_is_who_complained(host: Host) -> None:
    sock = host.bound("10.0.0.1", 5000)
    host.setopt(sock, IPPROTO_IP, IP_RECVERR, 1)
    host.sendto(sock, b"far", ("10.0.0.2", 53))
    (about,) = host.sent()
    router = bytes((10, 0, 0, 254))
    host.inject(ipv4.build(router, bytes((10, 0, 0, 1)), 1, icmp.build(3, 4, 1280, about)))
    _, control, _, name = host.recvmsg(sock, 100, 512, MSG_ERRQUEUE)
    raw = control[0][2]
    assert name == ("10.0.0.2", 53)
    assert struct.unpack_from("=IBBBBII", raw) == (errno.EMSGSIZE, SO_EE_ORIGIN_ICMP, 3, 4, 0, 1280, 0)
    assert raw[20:24] == router


def test_the_queue_counts_against_the_buffer(ours: Ours) -> None:
    sock = ours.bound()
    ours.setopt(sock, IPPROTO_IP, IP_RECVERR, 1)
    ours.sk(sock).rcvbuf = 5000
    target = closed_port(ours)
    for _ in range(20):
        ours.sendto(sock, bytes(500), target)
        ours.error(sock)
    queued = len(ours.sk(sock).error_queue or ())
    assert 0 < queued < 10
    assert 0 < ours.sk(sock).rmem_alloc <= 5000
    for _ in range(queued):
        ours.recvmsg(sock, 10, 512, MSG_ERRQUEUE)
    assert ours.sk(sock).rmem_alloc == 0


def test_the_multicast_ttl_is_no_unicast_ttl(api: Api) -> None:
    server, client = api.bound(), api.socket()
    api.setopt(server, IPPROTO_IP, IP_RECVTTL, 1)
    api.setopt(client, IPPROTO_IP, IP_MULTICAST_TTL, 9)
    api.sendto(client, b"a", api.name(server))
    assert api.recvmsg(server)[1] == [(IPPROTO_IP, IP_TTL, struct.pack("=i", 64))]

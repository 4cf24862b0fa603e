"""UDP sockets, on pysock and on Linux alike: names, data, errors, options (udp(7))."""

from __future__ import annotations

import errno
import os
import select
import socket
from threading import Thread

import pytest
from support.dgram_api import LO, Api, Ours, fails

from pysock.uapi.ioctl import SIOCOUTQ
from pysock.uapi.socket import (
    MSG_CONFIRM,
    MSG_DONTWAIT,
    MSG_MORE,
    MSG_NOSIGNAL,
    MSG_OOB,
    MSG_PEEK,
    MSG_TRUNC,
    SHUT_RD,
    SHUT_RDWR,
    SHUT_WR,
    SO_BROADCAST,
    SO_RCVBUF,
    SO_REUSEADDR,
    SO_REUSEPORT,
    SO_TIMESTAMP,
    SO_TIMESTAMPNS,
    SOL_SOCKET,
    SOL_UDP,
)
from pysock.uapi.udp import UDP_CORK

MAX = 65507


# Data --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 2, 1471, 1472, 9000, MAX])
def test_a_datagram_arrives_whole_with_its_sender(api: Api, size: int) -> None:
    server, client = api.bound(), api.socket()
    data = bytes(i & 0xFF for i in range(size))
    for _ in range(3):  # the first one looks everything up, the others use what it found
        assert api.sendto(client, data, api.name(server)) == size
        got, sender = api.recvfrom(server)
        assert got == data
        assert sender == (LO, api.name(client)[1])
        api.sendto(server, data[:7], sender)
        assert api.recvfrom(client) == (data[:7], api.name(server))


def test_the_bytes_object_itself_arrives(ours: Ours) -> None:
    server, client = ours.bound(), ours.socket()
    data = b"by reference"
    for _ in range(2):
        ours.sendto(client, data, ours.name(server))
        assert ours.recvfrom(server)[0] is data


def test_datagrams_keep_their_boundaries_and_order(api: Api) -> None:
    server, client = api.bound(), api.socket()
    for i in range(50):
        api.sendto(client, b"x" * i, api.name(server))
    assert [len(api.recvfrom(server)[0]) for _ in range(50)] == list(range(50))
    fails(errno.EAGAIN, api.recvfrom, server)


def test_what_is_cut_off_is_lost_and_told(api: Api) -> None:
    server, client = api.bound(), api.socket()
    for _ in range(3):
        api.sendto(client, b"0123456789", api.name(server))
    data, _, flags, _ = api.recvmsg(server, 4)
    assert (data, flags) == (b"0123", MSG_TRUNC)
    assert api.recvfrom(server, 10)[0] == b"0123456789"
    assert api.recvmsg(server, 10)[2] == 0


def test_msg_trunc_tells_the_true_length(ours: Ours) -> None:
    server, client = ours.bound(), ours.socket()
    ours.sendto(client, b"0123456789", ours.name(server))
    assert len(ours.recvfrom(server, 4, MSG_PEEK | MSG_TRUNC)[0]) == 10
    assert len(ours.recvfrom(server, 4, MSG_TRUNC)[0]) == 10


def test_peek_leaves_it(api: Api) -> None:
    server, client = api.bound(), api.socket()
    api.sendto(client, b"look", api.name(server))
    assert api.recvfrom(server, 2, MSG_PEEK)[0] == b"lo"
    assert api.recvfrom(server, 9, MSG_PEEK)[0] == b"look"
    assert api.recvfrom(server)[0] == b"look"
    fails(errno.EAGAIN, api.recvfrom, server, 9, MSG_PEEK)


def test_flags_without_meaning_are_ignored_and_oob_is_refused(api: Api) -> None:
    server, client = api.bound(), api.socket()
    api.sendto(client, b"a", api.name(server), MSG_CONFIRM | MSG_NOSIGNAL | MSG_DONTWAIT)
    assert api.recvfrom(server)[0] == b"a"
    fails(errno.EOPNOTSUPP, api.sendto, client, b"a", api.name(server), MSG_OOB)


def test_more_than_fits_an_ip_datagram(api: Api) -> None:
    server, client = api.bound(), api.socket()
    for size in (MAX + 1, 65536, 100_000):
        fails(errno.EMSGSIZE, api.sendto, client, bytes(size), api.name(server))
    fails(errno.EAGAIN, api.recvfrom, server)


# Names -------------------------------------------------------------------------------------------------------------


def test_binding_chooses_a_port(api: Api) -> None:
    sock = api.bound()
    host, port = api.name(sock)
    assert host == LO
    assert port >= 1024
    fails(errno.EINVAL, api.bind, sock, (LO, 0))


def test_an_unbound_socket_is_bound_by_sending(api: Api) -> None:
    server, client = api.bound(), api.socket()
    assert api.name(client) == ("0.0.0.0", 0)
    api.sendto(client, b"a", api.name(server))
    host, port = api.name(client)
    assert host == "0.0.0.0"
    assert port
    assert api.recvfrom(server)[1] == (LO, port)


def test_ephemeral_ports_come_from_the_range_and_run_out(ours: Ours) -> None:
    ours.kernel.init_net.sysctl.write("net.ipv4.ip_local_port_range", "40000 40003")
    ports = {ours.name(ours.bound())[1] for _ in range(4)}
    assert ports == {40000, 40001, 40002, 40003}
    fails(errno.EADDRINUSE, ours.bound)
    late = ours.socket()
    fails(errno.EAGAIN, ours.sendto, late, b"", (LO, 1))
    fails(errno.EAGAIN, ours.connect, late, (LO, 1))
    assert ours.name(ours.bound("127.0.0.2"))[1] in ports  # taken, but at another address


def test_the_same_seed_chooses_the_same_ports() -> None:
    one, two = Ours(), Ours()
    assert [one.name(one.bound()) for _ in range(20)] == [two.name(two.bound()) for _ in range(20)]


def test_addresses_that_are_not_ours(api: Api) -> None:
    fails(errno.EADDRNOTAVAIL, api.bind, api.socket(), ("203.0.113.1", 0))
    sock = api.socket()
    api.bind(sock, ("127.9.8.7", 0))
    assert api.name(sock)[0] == "127.9.8.7"


def test_the_bound_address_is_the_source(api: Api) -> None:
    server = api.bound("0.0.0.0")
    port = api.name(server)[1]
    client = api.bound("127.0.0.5")
    api.sendto(client, b"a", ("127.0.0.9", port))
    assert api.recvfrom(server) == (b"a", api.name(client))
    # The answer of a socket bound to no address comes from the one that routing chooses.
    api.sendto(server, b"b", api.name(client))
    assert api.recvfrom(client) == (b"b", (LO, port))


@pytest.mark.parametrize(
    ("first", "second", "conflict"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "127.0.0.2", False),
        ("0.0.0.0", "127.0.0.1", True),
        ("127.0.0.1", "0.0.0.0", True),
        ("0.0.0.0", "0.0.0.0", True),
    ],
)
def test_who_may_share_a_port(api: Api, first: str, second: str, conflict: bool) -> None:
    def attempt(options_a: list[int], options_b: list[int]) -> bool:
        a, b = api.socket(), api.socket()
        for sock, options in ((a, options_a), (b, options_b)):
            for option in options:
                api.setopt(sock, SOL_SOCKET, option, 1)
        api.bind(a, (first, 0))
        try:
            api.bind(b, (second, api.name(a)[1]))
            return True
        except OSError as exc:
            if exc.errno != errno.EADDRINUSE:
                raise
            return False
        finally:
            api.close(a)
            api.close(b)

    assert attempt([], []) is not conflict
    assert attempt([SO_REUSEADDR], []) is not conflict
    assert attempt([], [SO_REUSEADDR]) is not conflict
    assert attempt([SO_REUSEPORT], [SO_REUSEADDR]) is not conflict
    assert attempt([SO_REUSEADDR], [SO_REUSEADDR])
    assert attempt([SO_REUSEPORT], [SO_REUSEPORT])
    assert attempt([SO_REUSEPORT, SO_REUSEADDR], [SO_REUSEADDR])


def test_a_closed_port_is_free_again(api: Api) -> None:
    first = api.bound()
    name = api.name(first)
    api.close(first)
    second = api.socket()
    api.bind(second, name)
    assert api.name(second) == name


# Who gets it -------------------------------------------------------------------------------------------------------


def shared(api: Api, option: int, count: int, host: str = LO) -> list[object]:
    socks: list[object] = []
    port = 0
    for _ in range(count):
        sock = api.socket()
        api.setopt(sock, SOL_SOCKET, option, 1)
        api.bind(sock, (host, port))
        port = api.name(sock)[1]
        socks.append(sock)
    return socks


def test_the_newest_of_equals_gets_it(api: Api) -> None:
    socks = shared(api, SO_REUSEADDR, 3)
    client = api.socket()
    for expected in (2, 2):
        api.sendto(client, b"a", api.name(socks[0]))
        assert api.recvfrom(socks[expected])[0] == b"a"
    api.close(socks[2])
    api.sendto(client, b"b", api.name(socks[0]))
    assert api.recvfrom(socks[1])[0] == b"b"
    fails(errno.EAGAIN, api.recvfrom, socks[0])


def test_a_reuseport_group_shares_by_flow(api: Api) -> None:
    group = shared(api, SO_REUSEPORT, 4)
    where: dict[int, int] = {}
    for _ in range(40):
        client = api.socket()
        for _ in range(2):
            api.sendto(client, b"a", api.name(group[0]))
        takers = []
        for index, sock in enumerate(group):
            while True:
                try:
                    api.recvfrom(sock)
                except BlockingIOError:
                    break
                takers.append(index)
        assert len(takers) == 2
        assert takers[0] == takers[1]  # one flow, one socket
        where[takers[0]] = where.get(takers[0], 0) + 1
    assert len(where) > 1


def test_the_more_exactly_bound_socket_wins(api: Api) -> None:
    everywhere = api.socket()
    api.setopt(everywhere, SOL_SOCKET, SO_REUSEADDR, 1)
    api.bind(everywhere, ("0.0.0.0", 0))
    port = api.name(everywhere)[1]
    here = api.socket()
    api.setopt(here, SOL_SOCKET, SO_REUSEADDR, 1)
    api.bind(here, (LO, port))
    newest = api.socket()
    api.setopt(newest, SOL_SOCKET, SO_REUSEADDR, 1)
    api.bind(newest, ("0.0.0.0", port))
    client = api.bound()
    api.sendto(client, b"here", (LO, port))
    api.sendto(client, b"elsewhere", ("127.0.0.2", port))
    assert api.recvfrom(here)[0] == b"here"
    assert api.recvfrom(newest)[0] == b"elsewhere"
    api.connect(everywhere, api.name(client))  # a connected socket is the most exact of all
    api.sendto(client, b"mine", (LO, port))
    assert api.recvfrom(everywhere)[0] == b"mine"


def test_a_new_socket_takes_over_a_known_flow(api: Api) -> None:
    """What the receive path remembers of a flow is forgotten when the sockets change."""
    everywhere = api.socket()
    api.setopt(everywhere, SOL_SOCKET, SO_REUSEADDR, 1)
    api.bind(everywhere, ("0.0.0.0", 0))
    port = api.name(everywhere)[1]
    client = api.socket()
    for _ in range(3):
        api.sendto(client, b"a", (LO, port))
        assert api.recvfrom(everywhere)[0] == b"a"
    here = api.socket()
    api.setopt(here, SOL_SOCKET, SO_REUSEADDR, 1)
    api.bind(here, (LO, port))
    for _ in range(3):
        api.sendto(client, b"b", (LO, port))
        assert api.recvfrom(here)[0] == b"b"
    api.close(here)
    for _ in range(3):
        api.sendto(client, b"c", (LO, port))
        assert api.recvfrom(everywhere)[0] == b"c"


# Connected ---------------------------------------------------------------------------------------------------------


def test_connecting_fixes_both_names(api: Api) -> None:
    server, client = api.bound(), api.socket()
    fails(errno.ENOTCONN, api.peer, client)
    fails(errno.EDESTADDRREQ, api.sendto, client, b"a")
    api.connect(client, api.name(server))
    assert api.peer(client) == api.name(server)
    assert api.name(client)[0] == LO
    for _ in range(3):
        api.sendto(client, b"a")
        assert api.recvfrom(server) == (b"a", api.name(client))


def test_a_connected_socket_hears_its_peer_only(api: Api) -> None:
    server, client, stranger = api.bound(), api.bound(), api.bound()
    api.connect(client, api.name(server))
    api.sendto(stranger, b"no", api.name(client))
    api.sendto(server, b"yes", api.name(client))
    assert api.recvfrom(client)[0] == b"yes"
    fails(errno.EAGAIN, api.recvfrom, client)


def test_a_connected_socket_may_send_elsewhere(api: Api) -> None:
    server, other, client = api.bound(), api.bound(), api.bound()
    api.connect(client, api.name(server))
    api.sendto(client, b"a", api.name(other))
    assert api.recvfrom(other)[0] == b"a"
    api.sendto(client, b"b")
    assert api.recvfrom(server)[0] == b"b"


def test_connecting_again_changes_the_peer(api: Api) -> None:
    one, two, client = api.bound(), api.bound(), api.socket()
    for server in (one, two, one):
        api.connect(client, api.name(server))
        api.sendto(client, b"a")
        assert api.recvfrom(server) == (b"a", api.name(client))
        assert api.peer(client) == api.name(server)


def test_disconnecting(ours: Ours) -> None:
    """connect() to AF_UNSPEC, which Python's socket cannot say: names the program chose stay, the others go."""
    server, client, named = ours.bound(), ours.socket(), ours.bound("127.0.0.3", 4444)
    for sock in (client, named):
        ours.connect(sock, ours.name(server))
        ours.connect(sock, (0, b""))  # type: ignore[arg-type]
        fails(errno.ENOTCONN, ours.peer, sock)
    assert ours.name(client) == ("0.0.0.0", 0)
    fails(errno.EDESTADDRREQ, ours.sendto, client, b"a")
    assert ours.name(named) == ("127.0.0.3", 4444)
    ours.sendto(server, b"back", ("127.0.0.3", 4444))
    assert ours.recvfrom(named)[0] == b"back"
    ours.sendto(client, b"again", ours.name(server))
    assert ours.recvfrom(server)[0] == b"again"


def test_destinations_that_cannot_be(api: Api) -> None:
    client = api.socket()
    fails(errno.EINVAL, api.sendto, client, b"a", (LO, 0))
    api.connect(client, (LO, 0))


def test_any_address_means_this_host(api: Api) -> None:
    server = api.bound("0.0.0.0")
    client = api.socket()
    api.sendto(client, b"a", ("0.0.0.0", api.name(server)[1]))
    assert api.recvfrom(server)[0] == b"a"


def test_broadcast_needs_permission(api: Api) -> None:
    client = api.socket()
    fails(errno.EACCES, api.sendto, client, b"a", ("127.255.255.255", 9))
    fails(errno.EACCES, api.connect, client, ("127.255.255.255", 9))
    api.setopt(client, SOL_SOCKET, SO_BROADCAST, 1)
    server, second = shared(api, SO_REUSEADDR, 2, "0.0.0.0")
    for _ in range(2):
        api.sendto(client, b"all", ("127.255.255.255", api.name(server)[1]))
        assert api.recvfrom(server)[0] == b"all"
        assert api.recvfrom(second)[0] == b"all"
    api.setopt(client, SOL_SOCKET, SO_BROADCAST, 0)
    fails(errno.EACCES, api.sendto, client, b"a", ("127.255.255.255", 9))


# Errors and ends ---------------------------------------------------------------------------------------------------


def unused(api: Api) -> tuple[str, int]:
    sock = api.bound()
    name = api.name(sock)
    api.close(sock)
    return name


def test_a_port_where_nobody_is_refuses_a_connected_socket(api: Api) -> None:
    client = api.socket()
    api.connect(client, unused(api))
    assert api.sendto(client, b"a") == 1
    assert api.poll(client) & select.POLLERR
    fails(errno.ECONNREFUSED, api.recvfrom, client)
    fails(errno.EAGAIN, api.recvfrom, client)
    api.sendto(client, b"a")
    fails(errno.ECONNREFUSED, api.sendto, client, b"b")
    api.sendto(client, b"a")
    assert api.error(client) == errno.ECONNREFUSED
    assert api.error(client) == 0


def test_an_unconnected_socket_never_hears_of_it(api: Api) -> None:
    client = api.socket()
    name = unused(api)
    for _ in range(3):
        api.sendto(client, b"a", name)
    fails(errno.EAGAIN, api.recvfrom, client)
    assert api.error(client) == 0


@pytest.mark.parametrize("how", [SHUT_RD, SHUT_WR, SHUT_RDWR])
def test_shutdown_counts_though_it_complains(api: Api, how: int) -> None:
    server, client = api.bound(), api.socket()
    fails(errno.ENOTCONN, api.shutdown, client, how)
    if how != SHUT_RD:
        fails(errno.EPIPE, api.sendto, client, b"a", api.name(server))
    else:
        assert api.sendto(client, b"a", api.name(server)) == 1
        assert api.poll(client) & select.POLLRDHUP


def test_shutdown_of_a_connected_socket(api: Api) -> None:
    server, client = api.bound(), api.socket()
    api.connect(client, api.name(server))
    api.sendto(client, b"a")
    api.shutdown(client, SHUT_WR)
    fails(errno.EPIPE, api.sendto, client, b"a")
    api.sendto(server, b"still", api.name(client))
    assert api.recvfrom(client)[0] == b"still"
    api.shutdown(client, SHUT_RD)
    api.sendto(server, b"even now", api.name(client))
    assert api.recvfrom(client)[0] == b"even now"
    fails(errno.EAGAIN, api.recvfrom, client)  # non-blocking: no end of file
    assert api.poll(client) == select.POLLIN | select.POLLOUT | select.POLLRDHUP | select.POLLHUP


def test_a_blocking_receive_after_shutdown_finds_the_end(ours: Ours) -> None:
    from pysock.syscalls.message import sys_recvfrom

    server, client = ours.bound(), ours.socket()
    ours.connect(client, ours.name(server))
    ours.shutdown(client, SHUT_RD)
    assert sys_recvfrom(ours.task, client, 10)[0] == b""


def test_a_receive_timeout_passes_in_virtual_time(ours: Ours) -> None:
    from pysock.syscalls.message import sys_recvfrom
    from pysock.uapi.socket import SO_RCVTIMEO

    sock = ours.bound()
    ours.setopt(sock, SOL_SOCKET, SO_RCVTIMEO, (60).to_bytes(8, "little") + bytes(8))
    before = ours.kernel.clock.monotonic_ns()
    fails(errno.EAGAIN, sys_recvfrom, ours.task, sock, 10)
    assert ours.kernel.clock.monotonic_ns() - before == 60_000_000_000


def asleep(ours: Ours, fd: int) -> None:
    """Wait until somebody sleeps in a call on ``fd``."""
    while True:
        ours.kernel.acquire()
        try:
            queue = ours.sk(fd).wait_queue
            if queue is not None and queue.entries:
                return
        finally:
            ours.kernel.leave()
        os.sched_yield()


def test_a_sleeping_receiver_is_woken(ours: Ours) -> None:
    from pysock.syscalls.message import sys_recvfrom

    server, client = ours.bound(), ours.bound()
    got: list[tuple[bytes, object]] = []
    receivers = [Thread(target=lambda: got.append(sys_recvfrom(ours.task, server, 10))) for _ in range(2)]
    for index, receiver in enumerate(receivers):  # with the flow unknown, then known
        receiver.start()
        asleep(ours, server)
        ours.sendto(client, b"wake %d" % index, ours.name(server))
        receiver.join()
    assert got == [(b"wake 0", ours.name(client)), (b"wake 1", ours.name(client))]


def test_an_error_wakes_a_sleeping_receiver(ours: Ours) -> None:
    from pysock.syscalls.message import sys_recvfrom

    client = ours.socket()
    ours.connect(client, unused(ours))
    failed: list[int | None] = []

    def receive() -> None:
        try:
            sys_recvfrom(ours.task, client, 10)
        except OSError as exc:
            failed.append(exc.errno)

    receiver = Thread(target=receive)
    receiver.start()
    asleep(ours, client)
    ours.sendto(client, b"nobody there")
    receiver.join()
    assert failed == [errno.ECONNREFUSED]


def test_poll(api: Api) -> None:
    server, client = api.bound(), api.socket()
    assert api.poll(server) == select.POLLOUT
    api.sendto(client, b"a", api.name(server))
    assert api.poll(server) == select.POLLOUT | select.POLLIN
    api.recvfrom(server)
    assert api.poll(server) == select.POLLOUT


def test_how_much_waits(api: Api) -> None:
    server, client = api.bound(), api.socket()
    assert api.pending(server) == 0
    api.sendto(client, b"abc", api.name(server))
    api.sendto(client, b"defgh", api.name(server))
    assert api.pending(server) == 3
    api.recvfrom(server)
    assert api.pending(server) == 5
    assert api.ioctl(client, SIOCOUTQ) == 0


def test_a_full_buffer_drops(api: Api) -> None:
    server, client = api.bound(), api.socket()
    api.setopt(server, SOL_SOCKET, SO_RCVBUF, 4096)
    for _ in range(200):
        api.sendto(client, bytes(1000), api.name(server))
    received = 0
    while True:
        try:
            api.recvfrom(server)
        except BlockingIOError:
            break
        received += 1
    assert 1 <= received < 30
    api.sendto(client, b"room again", api.name(server))
    assert api.recvfrom(server)[0] == b"room again"


# Options -----------------------------------------------------------------------------------------------------------


def test_cork_glues_pieces(api: Api) -> None:
    server, client = api.bound(), api.socket()
    api.connect(client, api.name(server))
    api.sendto(client, b"plain")
    assert api.recvfrom(server)[0] == b"plain"
    api.setopt(client, SOL_UDP, UDP_CORK, 1)
    assert api.getint(client, SOL_UDP, UDP_CORK) == 1
    assert api.sendto(client, b"one ") == 4
    api.sendto(client, b"two")
    fails(errno.EAGAIN, api.recvfrom, server)
    api.setopt(client, SOL_UDP, UDP_CORK, 0)
    assert api.recvfrom(server)[0] == b"one two"
    api.sendto(client, b"more ", None, MSG_MORE)
    fails(errno.EAGAIN, api.recvfrom, server)
    api.sendto(client, b"and last")
    assert api.recvfrom(server)[0] == b"more and last"
    api.sendto(client, b"plain again")
    assert api.recvfrom(server)[0] == b"plain again"


def test_options_that_udp_has_not(api: Api) -> None:
    sock = api.socket()
    fails(errno.ENOPROTOOPT, api.setopt, sock, SOL_UDP, 77, 1)
    fails(errno.ENOPROTOOPT, api.getopt, sock, SOL_UDP, 77)
    fails(errno.ENOPROTOOPT, api.setopt, sock, socket.IPPROTO_SCTP, 1, 1)
    fails(errno.EINVAL, api.setopt, sock, SOL_UDP, UDP_CORK, b"\1")


@pytest.mark.parametrize("option", [SO_TIMESTAMP, SO_TIMESTAMPNS])
def test_timestamps(ours: Ours, option: int) -> None:
    server, client = ours.bound(), ours.socket()
    ours.setopt(server, SOL_SOCKET, option, 1)
    ours.sendto(client, b"a", ours.name(server))
    data, control, _, _ = ours.recvmsg(server)
    assert data == b"a"
    ((level, kind, stamp),) = control
    assert (level, kind) == (SOL_SOCKET, option)
    seconds = int.from_bytes(stamp[:8], "little")
    assert seconds == ours.kernel.clock.time_ns() // 1_000_000_000

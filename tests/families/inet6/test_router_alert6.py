"""IPV6_ROUTER_ALERT: what a router's daemon gets in place of those it is for (RFC 2711)."""

from __future__ import annotations

import errno

import pytest
from support.dgram_api import fails
from support.inet6_api import Api6
from support.inet6_hosts import Wire6, a6

from pysock.families.inet6.fib6_config import add_route
from pysock.syscalls.file import sys_close
from pysock.syscalls.message import sys_recv
from pysock.syscalls.socket import sys_setsockopt, sys_socket
from pysock.uapi.in6 import IPV6_ROUTER_ALERT
from pysock.uapi.in_ import IPPROTO_IPV6, IPPROTO_RAW
from pysock.uapi.socket import AF_INET6, MSG_DONTWAIT, SO_BINDTODEVICE, SOCK_DGRAM, SOCK_RAW, SOL_SOCKET
from pysock.vfs.task import Task
from pysock.wire import ipv6

FROM, TO = a6("2001:db8::5"), a6("2001:db9::5")


def packet(value: int, hop_limit: int = 9) -> bytes:
    """A packet of protocol 200 with an alert."""
    options = bytes((200, 0, 5, 2)) + value.to_bytes(2, "big") + b"\1\0"
    return ipv6.build(FROM, TO, 0, options + b"payload", hop_limit=hop_limit)


class Router:
    def __init__(self, wire: Wire6) -> None:
        self.wire = wire
        self.task = Task.for_kernel(wire.kernel, net=wire.net)
        wire.sysctl("net.ipv6.conf.all.forwarding", 1)
        wire.call(add_route, wire.inet6, a6("2001:db9::"), 64, gateway=a6("2001:db8::77"))
        wire.lab.settle(10)
        wire.sent()

    def daemon(self, value: int) -> int:
        fd = sys_socket(self.task, AF_INET6, SOCK_RAW, IPPROTO_RAW)
        sys_setsockopt(self.task, fd, IPPROTO_IPV6, IPV6_ROUTER_ALERT, value)
        return fd

    def sent_on(self, data: bytes) -> bool:
        self.wire.inject(data)
        return any(out[24:40] == TO for out in self.wire.sent())

    def got(self, fd: int) -> list[bytes]:
        found = []
        while True:
            try:
                found.append(sys_recv(self.task, fd, 2000, MSG_DONTWAIT))
            except BlockingIOError:
                return found


@pytest.fixture
def router(wire: Wire6) -> Router:
    return Router(wire)


def test_a_daemon_gets_the_whole_packet_in_place_of_its_goal(router: Router) -> None:
    fds = [router.daemon(0), router.daemon(0), router.daemon(7)]
    assert not router.sent_on(packet(0))
    assert [router.got(fd) for fd in fds] == [[packet(0)], [packet(0)], []]


def test_even_one_that_would_go_no_further(router: Router) -> None:
    fd = router.daemon(0)
    assert not router.sent_on(packet(0, hop_limit=1))
    assert router.got(fd) == [packet(0, hop_limit=1)]


def test_others_go_on(router: Router) -> None:
    fd = router.daemon(3)
    assert router.sent_on(packet(0))
    assert router.sent_on(ipv6.build(FROM, TO, 200, b"without"))
    assert router.got(fd) == []


def test_a_socket_bound_to_another_device(router: Router) -> None:
    fd = router.daemon(0)
    sys_setsockopt(router.task, fd, SOL_SOCKET, SO_BINDTODEVICE, b"lo")
    assert router.sent_on(packet(0))


def test_leaving(router: Router) -> None:
    one, two = router.daemon(0), router.daemon(0)
    sys_setsockopt(router.task, one, IPPROTO_IPV6, IPV6_ROUTER_ALERT, -1)
    assert not router.sent_on(packet(0))
    sys_close(router.task, two)
    assert router.sent_on(packet(0))
    assert router.got(one) == []


def test_joining_and_leaving_as_on_linux(api6: Api6) -> None:
    sock = api6.socket(SOCK_RAW, IPPROTO_RAW)

    def alert(value: int) -> None:
        api6.setopt(sock, IPPROTO_IPV6, IPV6_ROUTER_ALERT, value)  # type: ignore[arg-type]  # of its own

    def shown() -> int:
        return api6.getint(sock, IPPROTO_IPV6, IPV6_ROUTER_ALERT)  # type: ignore[arg-type]

    assert shown() == 0
    fails(errno.ENOBUFS, alert, -1)
    alert(0)
    assert shown() == 0
    fails(errno.EADDRINUSE, alert, 0)
    alert(-1)
    assert shown() == 1
    alert(5)
    assert shown() == 1


def test_only_raw_sockets_of_that_protocol(api6: Api6) -> None:
    sock = api6.socket(SOCK_DGRAM)
    fails(errno.ENOPROTOOPT, api6.setopt, sock, IPPROTO_IPV6, IPV6_ROUTER_ALERT, 0)

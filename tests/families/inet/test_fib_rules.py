"""Policy rules: which table answers for whom (fib_rules.c, ip-rule(8)); checked against Linux 6.18."""

from __future__ import annotations

import contextlib
import errno

import pytest
from support.dgram_api import Host, fails
from support.hosts import HostApi, Hosts

from pysock.core.capability import Credentials
from pysock.families.inet import route
from pysock.families.inet.devinet import add_address
from pysock.families.inet.fib_config import add_route
from pysock.families.inet.fib_rules import (
    FR_ACT_BLACKHOLE,
    FR_ACT_GOTO,
    FR_ACT_NOP,
    FR_ACT_PROHIBIT,
    FR_ACT_UNREACHABLE,
    FibRule,
    Flow,
    add_rule,
    del_rule,
    rules_of,
)
from pysock.syscalls.file import sys_fcntl
from pysock.syscalls.socket import sys_connect
from pysock.uapi.fcntl import F_SETFL, O_NONBLOCK
from pysock.uapi.in_ import IP_TOS, IPPROTO_IP
from pysock.uapi.socket import SO_BINDTODEVICE, SO_MARK, SOCK_DGRAM, SOCK_STREAM, SOL_SOCKET
from pysock.wire.addr import inet_aton as a

THERE = ("192.0.2.1", 9)
MAIN, OTHER = a("10.0.0.2"), a("10.0.0.3")


@pytest.fixture
def host(host: Host) -> Host:
    """With 192.0.2.0/24 by MAIN in table main and by OTHER in table 100."""
    for table, gateway in ((254, MAIN), (100, OTHER)):
        add_route(host.inet, a("192.0.2.0"), 24, gateway=gateway, table=table)
    return host


def way(host: Host, fd: int) -> bytes | None:
    host.connect(fd, THERE)
    return host.sk(fd).dst.gateway  # type: ignore[union-attr]


def test_default_rules_cost_nothing(host: Host) -> None:
    assert [(rule.priority, rule.table) for rule in rules_of(host.inet)] == [(0, 255), (32766, 254), (32767, 253)]
    assert host.inet.fib.plain
    rule = add_rule(host.inet, FibRule(table=100))
    assert rule.priority == 32765
    assert not host.inet.fib.plain
    del_rule(host.inet, rule)
    assert host.inet.fib.plain
    fails(errno.ENOENT, del_rule, host.inet, rule)


def test_by_source(host: Host) -> None:
    add_address(host.inet, host.dev, a("10.0.0.7"), 24)
    add_rule(host.inet, FibRule(table=100, src=(a("10.0.0.7"), 32)))
    assert way(host, host.bound("10.0.0.7")) == OTHER
    assert way(host, host.bound("10.0.0.1")) == MAIN
    assert way(host, host.socket()) == MAIN


def test_by_destination_and_not(host: Host) -> None:
    rule = add_rule(host.inet, FibRule(table=100, dst=(a("192.0.2.0"), 31)))
    assert way(host, host.socket()) == OTHER
    del_rule(host.inet, rule)
    add_rule(host.inet, FibRule(table=100, dst=(a("192.0.2.0"), 31), invert=True))
    assert way(host, host.socket()) == MAIN


def test_by_mark(host: Host) -> None:
    add_rule(host.inet, FibRule(table=100, mark=0x10, mask=0xF0))
    fd = host.socket()
    assert way(host, fd) == MAIN
    host.setopt(fd, SOL_SOCKET, SO_MARK, 0x1F)
    host.sendto(fd, b"x")  # an option that changed is heeded by the next datagram
    assert way(host, fd) == OTHER
    assert route.output_for(host.sk(fd), a("192.0.2.1"), bytes(4), 0).gateway == OTHER


def test_by_type_of_service_device_and_user(host: Host) -> None:
    tos, uid, oif, iif = (
        FibRule(100, table=100, tos=0x10),
        FibRule(101, table=100, uids=(1000, 1999)),
        FibRule(102, table=100, oif="w0"),
        FibRule(103, table=100, iif="lo"),
    )
    fd = host.socket()
    for rule, expected in ((tos, MAIN), (uid, MAIN), (oif, MAIN), (iif, OTHER)):
        add_rule(host.inet, rule)
        assert way(host, fd) == expected
        if rule is tos:
            host.setopt(fd, IPPROTO_IP, IP_TOS, 0x10)
        elif rule is uid:
            host.task.creds = Credentials(uid=1500, gid=1000)
            fd = host.socket()
        elif rule is oif:
            host.setopt(fd, SOL_SOCKET, SO_BINDTODEVICE, b"w0")
        assert way(host, fd) == OTHER
        del_rule(host.inet, rule)
        host.task.creds = Credentials()
        fd = host.socket()


def test_by_protocol_and_ports(host: Host) -> None:
    """UDP and TCP alike; of TCP the listener's answers too (FRA_IP_PROTO, FRA_SPORT_RANGE, FRA_DPORT_RANGE)."""
    for rule, type, source, port, expected in (
        (FibRule(table=100, protocol=17), SOCK_DGRAM, 0, 9, OTHER),
        (FibRule(table=100, protocol=6), SOCK_DGRAM, 0, 9, MAIN),
        (FibRule(table=100, protocol=6), SOCK_STREAM, 0, 9, OTHER),
        (FibRule(table=100, dports=(9, 11)), SOCK_DGRAM, 0, 9, OTHER),
        (FibRule(table=100, dports=(9, 11)), SOCK_STREAM, 0, 11, OTHER),
        (FibRule(table=100, dports=(9, 11)), SOCK_STREAM, 0, 12, MAIN),
        (FibRule(table=100, sports=(700, 799)), SOCK_DGRAM, 750, 9, OTHER),
        (FibRule(table=100, sports=(700, 799)), SOCK_STREAM, 750, 9, OTHER),
        (FibRule(table=100, sports=(700, 799)), SOCK_STREAM, 800, 9, MAIN),
        (FibRule(table=100, sports=(30000, 60999), invert=True), SOCK_STREAM, 0, 9, MAIN),
    ):
        add_rule(host.inet, rule)
        fd = host.socket(type)
        if source:
            host.bind(fd, ("10.0.0.1", source))
        sys_fcntl(host.task, fd, F_SETFL, O_NONBLOCK)
        with contextlib.suppress(BlockingIOError):
            host.connect(fd, ("192.0.2.1", port))
        assert host.sk(fd).dst.gateway == expected  # type: ignore[union-attr]
        host.close(fd)
        del_rule(host.inet, rule)


def test_a_listener_answers_by_its_rule() -> None:
    lab = Hosts()
    one, router, two = lab.routed()
    lab.cable(two, "10.0.4.2/24", router, "10.0.4.254/24")
    two.call(add_route, two.inet, bytes(4), 0, gateway=a("10.0.4.254"), table=100)
    two.call(add_rule, two.inet, FibRule(table=100, protocol=6, sports=(80, 80)))
    frames = lab.record(two.dev("eth1"))
    for port, other in ((81, 0), (80, 1)):
        ear, fd = two.listen("10.0.2.2", port), one.tcp()
        sys_connect(one.task, fd, ("10.0.2.2", port))
        two.accept(ear)
        assert len([frame for frame in frames if frame[23] == 6]) == other


@pytest.mark.parametrize(
    ("action", "number"),
    [(FR_ACT_BLACKHOLE, errno.EINVAL), (FR_ACT_UNREACHABLE, errno.ENETUNREACH), (FR_ACT_PROHIBIT, errno.EACCES)],
)
def test_rules_that_refuse(host: Host, action: int, number: int) -> None:
    add_rule(host.inet, FibRule(action=action, dst=(a("192.0.2.0"), 24)))
    fails(number, host.connect, host.socket(), THERE)
    host.connect(host.socket(), ("10.0.0.2", 9))


def test_goto_and_nop(host: Host) -> None:
    add_rule(host.inet, FibRule(10, FR_ACT_GOTO, target=20))
    add_rule(host.inet, FibRule(11, FR_ACT_PROHIBIT))
    fails(errno.EACCES, host.connect, host.socket(), THERE)  # there is no 20 yet
    add_rule(host.inet, FibRule(20, FR_ACT_NOP))
    assert way(host, host.socket()) == MAIN


def test_suppressed_routes(host: Host) -> None:
    add_route(host.inet, bytes(4), 0, gateway=MAIN)
    add_route(host.inet, bytes(4), 0, gateway=OTHER, table=101)
    add_rule(host.inet, FibRule(100, table=254, suppress_prefixlen=0))
    add_rule(host.inet, FibRule(101, table=101))
    assert route.output(host.inet, a("198.51.100.1")).gateway == OTHER
    assert route.output(host.inet, a("192.0.2.1")).gateway == MAIN


def test_rules_that_cannot_be(host: Host) -> None:
    for bad in (
        FibRule(table=100, src=(a("10.0.0.1"), 24)),
        FibRule(table=100, tos=1),
        FibRule(9, FR_ACT_GOTO, target=9),
        FibRule(table=100, uids=(2, 1)),
        FibRule(action=99),
        FibRule(table=100, protocol=256),
        FibRule(table=100, sports=(0, 5)),
        FibRule(table=100, dports=(5, 4)),
        FibRule(table=100, dports=(5, 0xFFFF)),
    ):
        fails(errno.EINVAL, add_rule, host.inet, bad)
    add_rule(host.inet, FibRule(9, table=100))
    fails(errno.EEXIST, add_rule, host.inet, FibRule(9, table=100))
    assert add_rule(host.inet, FibRule(8)).table == 1  # an empty one


def test_our_own_addresses_can_be_taken_from_us(host: Host) -> None:
    """Rule 0 may be deleted, and then nothing is local."""
    del_rule(host.inet, FibRule(0, table=255))
    assert host.inet.fib.resolve(Flow(a("10.0.0.1"))).type == 1  # type: ignore[union-attr]
    assert len(rules_of(host.inet)) == 2


def test_forwarding_heeds_where_it_came_in_and_from_whom() -> None:
    lab = Hosts()
    one, router, two = lab.routed()
    three = lab.host("three")
    lab.cable(router, "10.0.3.254/24", three, "10.0.3.2/24")
    router.call(add_route, router.inet, bytes(4), 0, gateway=a("10.0.3.2"), table=100)
    three.call(add_address, three.inet, three.dev(), a("10.0.2.2"), 32)

    def arrives_at(source: str) -> list[HostApi]:
        fd = one.bound(source)
        one.sendto(fd, b"x", ("10.0.2.2", 9))
        got = [host for host in (two, three) if host.counted().get("UdpNoPorts", 0) == seen[host] + 1]
        for host in got:
            seen[host] += 1
        return got

    seen = dict.fromkeys((two, three), 0)
    one.call(add_address, one.inet, one.dev(), a("10.0.1.7"), 24)
    assert arrives_at("10.0.1.1") == [two]
    rule = router.call(add_rule, router.inet, FibRule(table=100, src=(a("10.0.1.7"), 32), iif="eth0"))
    assert arrives_at("10.0.1.1") == [two]
    assert arrives_at("10.0.1.7") == [three]
    router.call(del_rule, router.inet, rule)
    router.call(add_rule, router.inet, FibRule(table=100, src=(a("10.0.1.7"), 32), iif="eth1"))
    assert arrives_at("10.0.1.7") == [two]
    assert lab.log == []

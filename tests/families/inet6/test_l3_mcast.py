"""Multicast listener discovery: what a host says of its groups, asked or not (RFC 3810, RFC 2710)."""

from __future__ import annotations

import pytest
from support.inet6_hosts import Wire6, a6, parsed

from pysock.families.inet6 import mcast
from pysock.families.inet6.devconf import is_member
from pysock.wire import icmpv6, ipv6
from pysock.wire.icmpv6 import MLD2_REPORT, MLD_DONE, MLD_QUERY, MLD_REPORT

GROUP = a6("ff02::77")
OTHER = a6("ff05::88")
ROUTER = a6("fe80::99")
ALERT = ipv6.build_options(58, [(5, b"\0\0")])
ALL = bytes(16)
Said = list[tuple[int, dict[bytes, int]]]


def join(wire: Wire6, group: bytes = GROUP) -> None:
    wire.call(mcast.join, wire.inet6, wire.dev(), group)


def leave(wire: Wire6, group: bytes = GROUP) -> None:
    wire.call(mcast.leave, wire.inet6, wire.dev(), group)


def said(wire: Wire6, seconds: float = 0) -> Said:
    """The MLD messages sent within ``seconds``: type, and record type by group (0 in version 1)."""
    if seconds:
        wire.lab.settle(seconds)
    found: Said = []
    for packet in wire.sent():
        header, extensions, protocol, message = parsed(packet)
        if protocol != 58 or message[0] < MLD_QUERY or 132 < message[0] != MLD2_REPORT:
            continue
        assert (header.src, header.hop_limit) == (wire.linklocal(), 1)
        assert extensions[0].body == ALERT[2:]
        assert icmpv6.verify(message, header.src, header.dst)
        kind = message[0]
        if kind == MLD2_REPORT:
            assert header.dst == a6("ff02::16")
            count = int.from_bytes(message[6:8], "big")
            assert len(message) == 8 + 20 * count
            records = [message[8 + 20 * i : 28 + 20 * i] for i in range(count)]
            found.append((kind, {record[4:]: record[0] for record in records}))
        else:
            assert header.dst == (a6("ff02::2") if kind == MLD_DONE else message[8:24])
            found.append((kind, {message[8:24]: 0}))
    return found


def ask(wire: Wire6, group: bytes = ALL, *, delay: int = 1000, version: int = 2, **wrong: object) -> None:
    message = group + (bytes((2, 125, 0, 0)) if version == 2 else b"")
    src = wrong.get("src", ROUTER)
    assert isinstance(src, bytes)
    dst = a6("ff02::1") if group == ALL else group
    body = icmpv6.build(MLD_QUERY, 0, delay << 16, message, addresses=(src, dst))
    hop_limit = wrong.get("hop_limit", 1)
    assert isinstance(hop_limit, int)
    alert = wrong.get("alert", ALERT)
    assert isinstance(alert, bytes)
    wire.inject(ipv6.build(src, dst, 0 if alert else 58, alert + body, hop_limit=hop_limit))


@pytest.fixture
def wire(wire: Wire6) -> Wire6:
    said(wire, 10)
    return wire


def test_joining_is_reported_twice(wire: Wire6) -> None:
    join(wire)
    assert is_member(wire.dev(), GROUP)
    assert said(wire) == [(MLD2_REPORT, {GROUP: 4})]
    assert said(wire, 1.1) == [(MLD2_REPORT, {GROUP: 4})]
    assert said(wire, 100) == []
    assert bytes.fromhex("333300000077") in wire.dev().mc


def test_leaving_too(wire: Wire6) -> None:
    join(wire)
    join(wire)
    said(wire, 10)
    leave(wire)
    assert said(wire, 10) == []
    leave(wire)
    assert not is_member(wire.dev(), GROUP)
    assert said(wire, 10) == [(MLD2_REPORT, {GROUP: 3})] * 2
    assert bytes.fromhex("333300000077") not in wire.dev().mc


def test_one_report_for_many_changes(wire: Wire6) -> None:
    join(wire)
    said(wire, 10)

    def both() -> None:
        mcast.join(wire.inet6, wire.dev(), OTHER)
        mcast.leave(wire.inet6, wire.dev(), GROUP)

    wire.call(both)
    assert said(wire) == [(MLD2_REPORT, {GROUP: 3, OTHER: 4})]


@pytest.mark.parametrize("group", ["ff01::77", "ff02::1"])
def test_groups_that_are_nobodys_business(wire: Wire6, group: str) -> None:
    join(wire, a6(group))
    assert said(wire, 10) == []


def test_what_cannot_be_joined_or_left(wire: Wire6) -> None:
    with pytest.raises(OSError, match="Invalid"):
        join(wire, a6("2001:db8::1"))
    with pytest.raises(FileNotFoundError):
        leave(wire)


def test_loopback_keeps_quiet(wire: Wire6) -> None:
    wire.call(mcast.join, wire.inet6, wire.net.dev_by_name["lo"], GROUP)
    wire.lab.settle(10)
    assert "Icmp6OutMsgs" not in wire.counted()
    assert is_member(wire.net.dev_by_name["lo"], GROUP)


def test_a_general_query_is_answered_for_all(wire: Wire6) -> None:
    join(wire)
    join(wire, OTHER)
    said(wire, 10)
    ask(wire, delay=5000)
    assert said(wire) == []
    assert said(wire, 5.1) == [(MLD2_REPORT, {GROUP: 2, OTHER: 2})]


def test_a_query_for_one_group(wire: Wire6) -> None:
    join(wire)
    join(wire, OTHER)
    said(wire, 10)
    ask(wire, OTHER)
    ask(wire, a6("ff02::99"))
    assert said(wire, 1.1) == [(MLD2_REPORT, {OTHER: 2})]


@pytest.mark.parametrize(
    "wrong", [{"hop_limit": 2}, {"src": a6("2001:db8::9")}, {"alert": b""}, {"alert": ipv6.build_options(58, [])}]
)
def test_queries_that_come_from_elsewhere(wire: Wire6, wrong: dict[str, object]) -> None:
    join(wire)
    said(wire, 10)
    ask(wire, **wrong)  # type: ignore[arg-type]
    assert said(wire, 10) == []


def test_long_delays_are_floating_point(wire: Wire6) -> None:
    """RFC 3810 5.1.3: code 0x8000 is 32,768 ms."""
    join(wire)
    said(wire, 10)
    for _ in range(20):
        ask(wire, delay=0x8000)
        start = wire.kernel.now
        while not said(wire, 1):
            assert wire.kernel.now - start < 34_000_000_000


def test_a_query_of_version_1(wire: Wire6) -> None:
    join(wire)
    join(wire, OTHER)
    said(wire, 10)
    ask(wire, version=1)
    assert sorted(said(wire, 1.1), key=str) == [(MLD_REPORT, {GROUP: 0}), (MLD_REPORT, {OTHER: 0})]
    leave(wire)
    assert said(wire) == [(MLD_DONE, {GROUP: 0})]
    join(wire)
    assert said(wire, 11) == [(MLD_REPORT, {GROUP: 0})] * 2
    said(wire, 300)  # the old router is forgotten
    leave(wire)
    assert said(wire) == [(MLD2_REPORT, {GROUP: 3})]


def test_somebody_else_answered(wire: Wire6) -> None:
    join(wire)
    said(wire, 10)
    ask(wire, version=1, delay=10_000)
    body = icmpv6.build(MLD_REPORT, 0, 0, GROUP, addresses=(ROUTER, GROUP))
    wire.inject(ipv6.build(ROUTER, GROUP, 0, ALERT + body, hop_limit=1))
    assert said(wire, 11) == []
    leave(wire)
    assert said(wire) == []  # the other one is still there


@pytest.mark.parametrize("size", [0, 8, 23, 25, 27])
def test_queries_of_other_sizes(wire: Wire6, size: int) -> None:
    join(wire)
    said(wire, 10)
    body = icmpv6.build(MLD_QUERY, 0, 0, bytes(max(size - 8, 0)), addresses=(ROUTER, a6("ff02::1")))[:size]
    wire.inject(ipv6.build(ROUTER, a6("ff02::1"), 0, ALERT + body, hop_limit=1), ip_summed=1)
    assert said(wire, 10) == []


def test_many_groups_take_more_than_one_packet(wire: Wire6) -> None:
    groups = [a6("ff05::") [:14] + number.to_bytes(2, "big") for number in range(1, 101)]
    for group in groups:
        join(wire, group)
    said(wire, 10)
    ask(wire)
    reports = said(wire, 1.1)
    assert len(reports) == 2
    assert {group for _, records in reports for group in records} == set(groups)

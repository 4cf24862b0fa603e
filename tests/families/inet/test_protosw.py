"""The protocol switch: exact numbers, wildcards, permanent rows (inet_register_protosw, inet_create)."""

from __future__ import annotations

import errno

import pytest
from support.dgram_api import Api, Ours, fails

from pysock.core.sock import Proto, ProtoOps
from pysock.families.inet.inet_sock import InetSock
from pysock.families.inet.protosw import SOCK_MAX, ProtocolSwitch, ProtoswEntry
from pysock.uapi.in_ import IPPROTO_ICMP, IPPROTO_IP, IPPROTO_SCTP, IPPROTO_TCP, IPPROTO_UDP
from pysock.uapi.socket import SOCK_DGRAM, SOCK_RAW, SOCK_RDM, SOCK_SEQPACKET, SOCK_STREAM


def row(type: int, protocol: int, **options: bool) -> ProtoswEntry:
    return ProtoswEntry(type, protocol, Proto(), ProtoOps(), InetSock, **options)


@pytest.fixture
def switch() -> ProtocolSwitch:
    return ProtocolSwitch()


def test_exact_and_default_protocols(switch: ProtocolSwitch) -> None:
    udp, icmp = row(SOCK_DGRAM, IPPROTO_UDP, permanent=True), row(SOCK_DGRAM, IPPROTO_ICMP)
    switch.register(udp)
    switch.register(icmp)
    assert switch.lookup(SOCK_DGRAM, 0) == (udp, IPPROTO_UDP)
    assert switch.lookup(SOCK_DGRAM, IPPROTO_UDP) == (udp, IPPROTO_UDP)
    assert switch.lookup(SOCK_DGRAM, IPPROTO_ICMP) == (icmp, IPPROTO_ICMP)
    fails(errno.EPROTONOSUPPORT, switch.lookup, SOCK_DGRAM, IPPROTO_TCP)
    fails(errno.ESOCKTNOSUPPORT, switch.lookup, SOCK_STREAM, 0)


def test_the_wildcard_takes_any_number_but_zero(switch: ProtocolSwitch) -> None:
    raw = row(SOCK_RAW, IPPROTO_IP)
    switch.register(raw)
    assert switch.lookup(SOCK_RAW, 77) == (raw, 77)
    fails(errno.EPROTONOSUPPORT, switch.lookup, SOCK_RAW, 0)


def test_an_exact_row_is_found_before_the_wildcard_registered_earlier(switch: ProtocolSwitch) -> None:
    raw, mine = row(SOCK_RAW, IPPROTO_IP), row(SOCK_RAW, 99)
    switch.register(raw)
    switch.register(mine)
    assert switch.lookup(SOCK_RAW, 99) == (mine, 99)
    assert switch.lookup(SOCK_RAW, 98) == (raw, 98)


def test_a_newer_row_overrides_an_older_one_until_it_goes(switch: ProtocolSwitch) -> None:
    old, new = row(SOCK_DGRAM, 99), row(SOCK_DGRAM, 99)
    switch.register(old)
    switch.register(new)
    assert switch.lookup(SOCK_DGRAM, 99)[0] is new
    switch.unregister(new)
    assert switch.lookup(SOCK_DGRAM, 99)[0] is old
    fails(errno.ENOENT, switch.unregister, new)


def test_permanent_rows_stay_and_stay_first(switch: ProtocolSwitch) -> None:
    tcp = row(SOCK_STREAM, IPPROTO_TCP, permanent=True)
    switch.register(tcp)
    fails(errno.EPERM, switch.register, row(SOCK_STREAM, IPPROTO_TCP))
    fails(errno.EPERM, switch.unregister, tcp)
    switch.register(row(SOCK_STREAM, IPPROTO_SCTP))
    assert switch.lookup(SOCK_STREAM, 0)[0] is tcp


@pytest.mark.parametrize("type", [0, -1, SOCK_MAX, 99])
def test_types_out_of_range(switch: ProtocolSwitch, type: int) -> None:
    fails(errno.EINVAL, switch.register, row(type, 1))


# Through socket(2) -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("type", "protocol", "number"),
    [
        (SOCK_STREAM, IPPROTO_UDP, errno.EPROTONOSUPPORT),
        (SOCK_DGRAM, IPPROTO_TCP, errno.EPROTONOSUPPORT),
        (SOCK_DGRAM, 254, errno.EPROTONOSUPPORT),
        (SOCK_RDM, 0, errno.ESOCKTNOSUPPORT),
        (SOCK_SEQPACKET, 0, errno.ESOCKTNOSUPPORT),
        (SOCK_DGRAM, 300, errno.EINVAL),
        (SOCK_DGRAM, -5, errno.EINVAL),
        (11, 0, errno.EINVAL),
        (9, 0, errno.ESOCKTNOSUPPORT),
    ],
)
def test_sockets_that_cannot_be(api: Api, type: int, protocol: int, number: int) -> None:
    fails(number, api.socket, type, protocol)


def test_defaults(api: Api) -> None:
    from pysock.uapi.socket import SO_PROTOCOL, SOL_SOCKET

    assert api.getint(api.socket(SOCK_DGRAM), SOL_SOCKET, SO_PROTOCOL) == IPPROTO_UDP
    assert api.getint(api.socket(SOCK_STREAM), SOL_SOCKET, SO_PROTOCOL) == IPPROTO_TCP


def test_a_plugins_row(ours: Ours) -> None:
    switch = ours.inet.protosw

    class Mine(InetSock):
        __slots__ = ()

    switch.register(ProtoswEntry(SOCK_SEQPACKET, 254, Proto(), ProtoOps(), Mine, reuse=True))
    sk = ours.sk(ours.socket(SOCK_SEQPACKET))
    assert type(sk) is Mine
    assert (sk.protocol, sk.reuse) == (254, True)

"""The headers of a flow that was seen before are compared with its last one (ip_input.make_ip_rcv): what that must not
let through, and what it must not hold up.
"""

from __future__ import annotations

import pytest
from support.dgram_api import Host

from pysock.core.skbuff import CHECKSUM_UNNECESSARY
from pysock.wire import ipv4, tcp, udp

ME = bytes((10, 0, 0, 1))
PEER = bytes((10, 0, 0, 2))
ADDRESSES = (PEER, ME)


def datagram(source: int = 7, *, ttl: int = 64, tos: int = 0, ident: int = 0) -> bytes:
    payload = udp.build(source, 5000, b"x", addresses=ADDRESSES)
    return ipv4.build(PEER, ME, 17, payload, ttl=ttl, tos=tos, ident=ident)


def queued(host: Host, sock: int) -> int:
    return len(host.sk(sock).receive_queue or ())


@pytest.mark.parametrize("change", [{"ttl": 3}, {"tos": 0x10}, {"ident": 0xABCD}])
def test_another_good_header_of_the_same_flow(host: Host, change: dict[str, int]) -> None:
    sock = host.bound("10.0.0.1", 5000)
    for raw in (datagram(), datagram(**change), datagram()):
        host.inject(raw, ip_summed=CHECKSUM_UNNECESSARY)
    assert queued(host, sock) == 3


@pytest.mark.parametrize("at", range(20))
def test_any_flipped_bit_of_the_header_is_found(host: Host, at: int) -> None:
    sock = host.bound("10.0.0.1", 5000)
    host.inject(datagram(), ip_summed=CHECKSUM_UNNECESSARY)
    raw = bytearray(datagram())
    raw[at] ^= 0x04
    host.inject(bytes(raw), ip_summed=CHECKSUM_UNNECESSARY)
    assert queued(host, sock) == 1
    assert host.counted()["IpInHdrErrors"] == 1


def test_tcp_and_udp_between_the_same_ports(host: Host) -> None:
    sock = host.bound("10.0.0.1", 5000)
    segment = ipv4.build(PEER, ME, 6, tcp.build(7, 5000, flags=tcp.SYN, seq=1, addresses=ADDRESSES))
    for raw in (datagram(), segment, datagram(), segment):
        host.inject(raw, ip_summed=CHECKSUM_UNNECESSARY)
    assert queued(host, sock) == 2
    counted = host.counted()
    assert counted["TcpInSegs"] == 2
    assert counted["IpInDelivers"] == 4


def test_more_flows_than_are_remembered(host: Host) -> None:
    sock = host.bound("10.0.0.1", 5000)
    sk = host.sk(sock)
    for source in (*range(1, 701), *range(1, 701)):
        host.inject(datagram(source), ip_summed=CHECKSUM_UNNECESSARY)
        assert sk.prot.recvmsg(sk, 10, 0) == b"x"
    assert host.counted()["UdpInDatagrams"] == 1400

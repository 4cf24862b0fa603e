"""TCP over IPv6, and over IPv4 from AF_INET6 sockets, on pysock and on Linux alike (tcp(7), ipv6(7))."""

from __future__ import annotations

import errno

import pytest
from support.inet6_api import LO6, LO_MAPPED, Addr6, Api6, Ours6
from support.refused import refused

from pysock.families.inet.tcp.net import TcpNet
from pysock.uapi import in6
from pysock.uapi.in_ import IP_MINTTL, IP_TTL, IPPROTO_IP, IPPROTO_IPV6, IPPROTO_TCP, SO_EE_ORIGIN_ZEROCOPY
from pysock.uapi.socket import (
    AF_INET,
    AF_INET6,
    MSG_ERRQUEUE,
    MSG_ZEROCOPY,
    SHUT_WR,
    SO_DOMAIN,
    SO_REUSEADDR,
    SO_ZEROCOPY,
    SOCK_STREAM,
    SOL_SOCKET,
)
from pysock.uapi.tcp import TCP_MAXSEG
from pysock.wire import icmpv6, ipv6


def stream(api6: Api6, family: int = AF_INET6):  # type: ignore[no-untyped-def]
    return api6.socket(SOCK_STREAM, 0, family)


def listener(api6: Api6, host: str = LO6):  # type: ignore[no-untyped-def]
    sock = api6.bound(host, 0, SOCK_STREAM)
    api6.listen(sock)
    return sock


def dial(api6: Api6, sock, addr: Addr6) -> None:  # type: ignore[no-untyped-def]
    try:
        api6.connect(sock, addr)
    except BlockingIOError:
        pass
    number = api6.error(sock)
    if number:
        raise OSError(number, "connect")


def pair(api6: Api6, host: str = LO6, to: str | None = None, family: int = AF_INET6):  # type: ignore[no-untyped-def]
    """(client, the accepted end, what accept() called the peer)."""
    server = listener(api6, host)
    client = stream(api6, family)
    port = api6.name(server)[1]
    dial(api6, client, (to or host, port) if family == AF_INET else (to or host, port, 0, 0))
    accepted, peer = api6.accept(server)
    return client, accepted, peer


def read(api6: Api6, sock, count: int) -> bytes:  # type: ignore[no-untyped-def]
    got = b""
    while len(got) < count:
        got += api6.recvfrom(sock, count)[0]
    return got


def test_both_ends_have_names(api6: Api6) -> None:
    client, accepted, peer = pair(api6)
    assert peer == api6.name(client) == api6.peer(accepted)
    assert api6.name(accepted) == api6.peer(client)
    assert peer[0] == LO6
    assert peer[2:] == (0, 0)


@pytest.mark.parametrize("size", [1, 1000, 60_000])
def test_data_both_ways(api6: Api6, size: int) -> None:
    client, accepted, _ = pair(api6)
    data = bytes(i & 0xFF for i in range(size))
    for one, other in ((client, accepted), (accepted, client)):
        assert api6.sendto(one, data) == size
        assert read(api6, other, size) == data
    api6.shutdown(client, SHUT_WR)
    assert api6.recvfrom(accepted)[0] == b""


def test_refused(api6: Api6) -> None:
    gone = api6.bound(LO6, 0, SOCK_STREAM)
    name = api6.name(gone)
    api6.close(gone)
    with refused(errno.ECONNREFUSED):
        dial(api6, stream(api6), name)


@pytest.mark.parametrize(
    ("addr", "number"),
    [
        (("ff02::1", 9, 0, 1), errno.ENETUNREACH),
        (("fe80::1", 9, 0, 0), errno.EINVAL),
        (("fe80::1", 9, 0, 1), errno.ENETUNREACH),
    ],
)
def test_where_nothing_can_be_reached(api6: Api6, addr: Addr6, number: int) -> None:
    with refused(number):
        api6.connect(stream(api6), addr)


def test_the_unspecified_address_is_this_host(api6: Api6) -> None:
    client, _, _ = pair(api6, "::", "::")
    assert api6.peer(client)[0] == LO6


# Dual stack --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "to", "family", "name"),
    [
        ("::", LO6, AF_INET6, LO6),
        ("::", "127.0.0.1", AF_INET, LO_MAPPED),
        ("::", LO_MAPPED, AF_INET6, LO_MAPPED),
        (LO_MAPPED, "127.0.0.1", AF_INET, LO_MAPPED),
    ],
)
def test_a_dual_stack_listener_accepts_both(api6: Api6, host: str, to: str, family: int, name: str) -> None:
    client, accepted, peer = pair(api6, host, to, family)
    assert peer == (name, api6.name(client)[1], 0, 0)
    assert api6.peer(accepted) == peer
    assert api6.name(accepted)[0] == name
    assert api6.getint(accepted, SOL_SOCKET, SO_DOMAIN) == AF_INET6
    api6.sendto(client, b"ping")
    assert api6.recvfrom(accepted)[0] == b"ping"
    api6.sendto(accepted, b"pong")
    assert api6.recvfrom(client)[0] == b"pong"


def test_a_mapped_peer_of_an_ipv4_listener(api6: Api6) -> None:
    server = listener(api6, "127.0.0.1")
    client = stream(api6)
    dial(api6, client, (LO_MAPPED, api6.name(server)[1], 0, 0))
    _, peer = api6.accept(server)
    assert peer == ("127.0.0.1", api6.name(client)[1])
    assert api6.peer(client) == (LO_MAPPED, api6.name(server)[1], 0, 0)


def test_v6only_listener_refuses_ipv4(api6: Api6) -> None:
    server = stream(api6)
    api6.setopt(server, IPPROTO_IPV6, in6.IPV6_V6ONLY, 1)
    api6.bind(server, ("::", 0))
    api6.listen(server)
    with refused(errno.ECONNREFUSED):
        dial(api6, stream(api6, AF_INET), ("127.0.0.1", api6.name(server)[1]))  # type: ignore[arg-type]
    client = stream(api6)
    api6.setopt(client, IPPROTO_IPV6, in6.IPV6_V6ONLY, 1)
    with refused(errno.ENETUNREACH):
        api6.connect(client, (LO_MAPPED, 9, 0, 0))


def test_bound_to_one_version_and_connected_to_the_other(api6: Api6) -> None:
    with refused(errno.ENETUNREACH):
        api6.connect(api6.bound(LO6, 0, SOCK_STREAM), (LO_MAPPED, 9, 0, 0))
    with refused(errno.EAFNOSUPPORT):
        api6.connect(api6.bound(LO_MAPPED, 0, SOCK_STREAM), (LO6, 9, 0, 0))


def test_each_version_has_its_own_listener(api6: Api6) -> None:
    v4 = listener(api6, "0.0.0.0")
    port = api6.name(v4)[1]
    v6 = stream(api6)
    api6.setopt(v6, IPPROTO_IPV6, in6.IPV6_V6ONLY, 1)
    api6.bind(v6, ("::", port))
    api6.listen(v6)
    one, two = stream(api6, AF_INET), stream(api6)
    dial(api6, one, ("127.0.0.1", port))  # type: ignore[arg-type]
    dial(api6, two, (LO6, port, 0, 0))
    assert api6.accept(v4)[1] == api6.name(one)
    assert api6.accept(v6)[1] == api6.name(two)


def test_listen_again_where_connections_linger(api6: Api6) -> None:
    server = listener(api6)
    client = stream(api6)
    dial(api6, client, api6.name(server))
    accepted, _ = api6.accept(server)
    name = api6.name(server)
    api6.close(accepted)  # this end is in TIME-WAIT now
    api6.close(client)
    api6.close(server)
    again = stream(api6)
    with refused(errno.EADDRINUSE):
        api6.bind(again, name)
    api6.setopt(again, SOL_SOCKET, SO_REUSEADDR, 1)
    with refused(errno.EADDRINUSE):
        api6.bind(again, name)  # the other one did not have it


# Options -----------------------------------------------------------------------------------------------------------


def test_accepted_sockets_inherit_options(api6: Api6) -> None:
    server = listener(api6)
    for option, value in ((in6.IPV6_UNICAST_HOPS, 7), (in6.IPV6_TCLASS, 0x20), (in6.IPV6_RECVERR, 1)):
        api6.setopt(server, IPPROTO_IPV6, option, value)
    client = stream(api6)
    dial(api6, client, api6.name(server))
    accepted, _ = api6.accept(server)
    assert api6.getint(accepted, IPPROTO_IPV6, in6.IPV6_UNICAST_HOPS) == 7
    assert api6.getint(accepted, IPPROTO_IPV6, in6.IPV6_TCLASS) == 0x20
    assert api6.getint(accepted, IPPROTO_IPV6, in6.IPV6_RECVERR) == 1
    assert api6.getint(accepted, IPPROTO_IPV6, in6.IPV6_MTU) == 65536


def test_addrform_makes_an_ipv4_connection(api6: Api6) -> None:
    client, accepted, _ = pair(api6, "::", LO_MAPPED)
    for sock in (client, accepted):
        api6.setopt(sock, IPPROTO_IPV6, in6.IPV6_ADDRFORM, AF_INET)
        assert api6.getint(sock, SOL_SOCKET, SO_DOMAIN) == AF_INET
    assert api6.peer(client) == api6.name(accepted)
    assert api6.name(client)[0] == "127.0.0.1"
    api6.sendto(client, b"x")
    assert api6.recvfrom(accepted)[0] == b"x"


def test_zero_copy_notices_speak_ipv6(api6: Api6) -> None:
    client, _, _ = pair(api6)
    api6.setopt(client, SOL_SOCKET, SO_ZEROCOPY, 1)
    api6.sendto(client, bytes(1000), None, MSG_ZEROCOPY)
    data, control, _, _ = api6.recvmsg(client, flags=MSG_ERRQUEUE)
    assert data == b""
    ((level, kind, raw),) = control
    assert (level, kind, raw[4]) == (IPPROTO_IPV6, in6.IPV6_RECVERR, SO_EE_ORIGIN_ZEROCOPY)
    assert raw[16:] == bytes(28)


def test_flow_info_of_the_peer(api6: Api6) -> None:
    server = listener(api6)
    client = stream(api6)
    api6.setopt(client, IPPROTO_IPV6, in6.IPV6_FLOWINFO_SEND, 1)
    addr = (LO6, api6.name(server)[1], 0x1234, 0)
    dial(api6, client, addr)
    assert api6.peer(client) == addr


# Below the API -----------------------------------------------------------------------------------------------------


def test_header_prediction_works_over_ipv6(ours6: Ours6) -> None:
    client, accepted, _ = pair(ours6)
    before = ours6.counted()
    for _ in range(10):
        ours6.sendto(client, b"x")
        ours6.recvfrom(accepted)
        ours6.sendto(accepted, b"y")
        ours6.recvfrom(client)
    after = ours6.counted()
    assert after["TcpExtTCPHPHits"] - before.get("TcpExtTCPHPHits", 0) == 20
    assert after["Ip6InDelivers"] > before["Ip6InDelivers"]
    assert "IpInReceives" not in after  # not one IPv4 packet


def test_a_v4_mapped_connection_sends_ipv4_packets(ours6: Ours6) -> None:
    client, accepted, _ = pair(ours6, "::", LO_MAPPED)
    ours6.sendto(client, b"x")
    assert ours6.recvfrom(accepted)[0] == b"x"
    counted = ours6.counted()
    assert counted["IpInReceives"] >= 4
    assert "Ip6InReceives" not in counted


def test_mss_leaves_room_for_the_longer_header(ours6: Ours6) -> None:
    for host, size in ((LO6, 65536 - 60 - 12), (LO_MAPPED, 65535 - 40 - 12)):
        client, _, _ = pair(ours6, "::", host)
        assert ours6.getint(client, IPPROTO_TCP, TCP_MAXSEG) == size


def quoted(ours6: Ours6, sock: int) -> bytes:
    """The start of a segment of ``sock``'s that is in flight, as an ICMPv6 error quotes it."""
    sk = ours6.sk(sock)
    name, peer = ours6.name(sock), ours6.peer(sock)
    loopback = bytes(15) + b"\1"
    header = ipv6.HEADER.pack(6 << 28, 20, IPPROTO_TCP, 64, loopback, loopback)
    ports = name[1].to_bytes(2, "big") + peer[1].to_bytes(2, "big")
    return header + ports + (sk.snd_una & 0xFFFFFFFF).to_bytes(4, "big")  # type: ignore[attr-defined]


def test_too_big_shrinks_the_segments(ours6: Ours6) -> None:
    client, _, _ = pair(ours6)
    sk = ours6.sk(client)
    dev = ours6.kernel.init_net.loopback_dev
    assert dev is not None
    dev.proto_priv["inet6"].mtu = 1400  # what the router's message has taught the route
    ours6.inet6.fib6.flush()
    ours6.inet6.errors[IPPROTO_TCP](quoted(ours6, client), 40, icmpv6.PKT_TOOBIG, 0, 1400, bytes(16), dev)
    assert sk.mss == 1400 - 60 - 12  # type: ignore[attr-defined]


def test_hard_errors_reach_who_asked(ours6: Ours6) -> None:
    client, _, _ = pair(ours6)
    dev = ours6.kernel.init_net.loopback_dev
    assert dev is not None
    tell = ours6.inet6.errors[IPPROTO_TCP]
    tell(quoted(ours6, client), 40, icmpv6.DEST_UNREACH, icmpv6.ADM_PROHIBITED, 0, bytes(16), dev)
    assert ours6.sk(client).err_soft == errno.EACCES
    assert ours6.error(client) == errno.EACCES  # soft errors show in SO_ERROR
    ours6.setopt(client, IPPROTO_IPV6, in6.IPV6_RECVERR, 1)
    tell(quoted(ours6, client), 40, icmpv6.DEST_UNREACH, icmpv6.ADM_PROHIBITED, 0, bytes(16), dev)
    assert ours6.sk(client).err == errno.EACCES
    old = quoted(ours6, client)[:-4] + (12345).to_bytes(4, "big")
    ours6.sk(client).err = 0
    tell(old, 40, icmpv6.DEST_UNREACH, icmpv6.ADM_PROHIBITED, 0, bytes(16), dev)
    assert ours6.error(client) == 0
    assert ours6.counted()["TcpExtOutOfWindowIcmps"] == 1


def test_connections_leave_nothing_behind(ours6: Ours6) -> None:
    client, accepted, _ = pair(ours6)
    for fd in list(ours6.task.fds):
        ours6.close(fd)
    del client, accepted
    tcp = ours6.kernel.init_net.get(TcpNet)
    assert len(tcp.timewait) == 1
    assert list(map(len, tcp.ehash)) == [36]
    assert not tcp.listeners


@pytest.mark.parametrize(
    ("host", "level", "hops", "least"),
    [(LO6, IPPROTO_IPV6, in6.IPV6_UNICAST_HOPS, in6.IPV6_MINHOPCOUNT), (LO_MAPPED, IPPROTO_IP, IP_TTL, IP_MINTTL)],
)
def test_segments_from_too_far_away_are_dropped(ours6: Ours6, host: str, level: int, hops: int, least: int) -> None:
    client, accepted, _ = pair(ours6, "::", host)
    ours6.setopt(accepted, level, least, 60)
    ours6.sendto(client, b"near")
    assert ours6.recvfrom(accepted)[0] == b"near"
    ours6.setopt(client, level, hops, 59)
    ours6.sendto(client, b"far")
    with refused(errno.EAGAIN):
        ours6.recvfrom(accepted)
    assert ours6.counted()["TcpExtTCPMinTTLDrop"] == 1
    ours6.setopt(accepted, level, least, 0)
    ours6.kernel.sleep(1_000_000_000)  # retransmitted
    assert ours6.recvfrom(accepted)[0] == b"far"


def test_a_listener_hands_the_least_hop_count_down(ours6: Ours6) -> None:
    server = listener(ours6)
    ours6.setopt(server, IPPROTO_IPV6, in6.IPV6_MINHOPCOUNT, 60)
    client = stream(ours6)
    ours6.setopt(client, IPPROTO_IPV6, in6.IPV6_UNICAST_HOPS, 59)
    with pytest.raises(BlockingIOError):
        ours6.connect(client, ours6.name(server))
    ours6.setopt(client, IPPROTO_IPV6, in6.IPV6_UNICAST_HOPS, 64)
    ours6.kernel.sleep(2_000_000_000)
    accepted, _ = ours6.accept(server)
    assert ours6.getint(accepted, IPPROTO_IPV6, in6.IPV6_MINHOPCOUNT) == 60
    ours6.setopt(client, IPPROTO_IPV6, in6.IPV6_UNICAST_HOPS, 59)
    ours6.sendto(client, b"far")
    with refused(errno.EAGAIN):
        ours6.recvfrom(accepted)

"""Invariant: whatever arrives at netif_rx, nothing raises, and every datagram is counted exactly once on its way."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given, settings, strategies
from support.dgram_api import Host

from pysock.core.dev import netif_rx
from pysock.core.skbuff import SkBuff
from pysock.families.inet.devinet import in_device
from pysock.uapi.if_ether import ETH_P_IP
from pysock.uapi.in_ import IP_RECVERR, IPPROTO_ICMP, IPPROTO_IP, IPPROTO_UDP
from pysock.uapi.socket import SOCK_RAW
from pysock.wire import icmp, ipv4, tcp, udp
from pysock.wire.addr import inet_aton
from pysock.wire.checksum import checksum

ME = bytes((10, 0, 0, 1))
PEER = bytes((10, 0, 0, 2))
TEXTS = ["10.0.0.1", "10.0.0.2", "10.0.0.255", "224.0.0.1", "239.1.2.3", "127.0.0.1", "0.0.0.0", "255.255.255.255"]
ADDRESSES = [inet_aton(text) for text in TEXTS]
PORTS = [0, 7, 53, 5000, 5001, 9999]

ports = strategies.sampled_from(PORTS)
payloads = strategies.binary(max_size=60)


@strategies.composite
def datagrams(draw: strategies.DrawFn) -> bytes:
    """Something like a datagram: of any transport, to somebody or nobody, with a chance of errors quoting others."""
    src = draw(strategies.sampled_from([PEER, PEER, *ADDRESSES]))
    dst = draw(strategies.sampled_from([ME, ME, *ADDRESSES]))
    kind = draw(strategies.sampled_from(["udp", "udp", "icmp", "error", "tcp", "other"]))
    options = draw(strategies.sampled_from([b"", b"", b"\1\1\1\0", b"\x07\x07\x04" + bytes(5)]))
    if kind == "udp":
        inner = udp.build(draw(ports), draw(ports), draw(payloads), addresses=(src, dst))
        protocol = IPPROTO_UDP
    elif kind == "tcp":
        inner = tcp.build(draw(ports), draw(ports), flags=draw(strategies.integers(0, 63)), addresses=(src, dst))
        protocol = 6
    elif kind == "icmp":
        rest = draw(strategies.integers(0, 0xFFFFFFFF))
        inner = icmp.build(draw(strategies.integers(0, 40)), 0, rest, draw(payloads))
        protocol = IPPROTO_ICMP
    elif kind == "error":
        quoted = draw(datagrams())[: draw(strategies.integers(0, 60))]
        error = draw(strategies.sampled_from([3, 4, 5, 11, 12]))
        inner = icmp.build(error, draw(strategies.integers(0, 20)), 0, quoted)
        protocol = IPPROTO_ICMP
    else:
        inner, protocol = draw(payloads), draw(strategies.integers(0, 255))
    flags = draw(strategies.sampled_from([0, 0, 0, ipv4.DF, ipv4.MF]))
    fragment = draw(strategies.sampled_from([0, 0, 0, 8]))
    return ipv4.build(src, dst, protocol, inner, options=options, flags=flags, fragment=fragment)


@strategies.composite
def mutants(draw: strategies.DrawFn) -> bytes:
    """A datagram with bytes changed, cut or added, its header checksum perhaps right again."""
    raw = bytearray(draw(datagrams()))
    for _ in range(draw(strategies.integers(0, 4))):
        raw[draw(strategies.integers(0, len(raw) - 1))] = draw(strategies.integers(0, 255))
    if draw(strategies.booleans()):
        raw[10:12] = b"\0\0"
        raw[10:12] = checksum(raw[: max(20, (raw[0] & 15) * 4)]).to_bytes(2, "big")
    if draw(strategies.integers(0, 3)) == 0:
        del raw[draw(strategies.integers(0, len(raw))) :]
    if draw(strategies.integers(0, 3)) == 0:
        raw += draw(strategies.binary(max_size=20))
    return bytes(raw)


@strategies.composite
def packets(draw: strategies.DrawFn) -> SkBuff:
    """A received packet: linear or in pieces, in bytes or a bytearray, vouched for or not."""
    raw = draw(strategies.one_of(strategies.binary(max_size=100), mutants()))
    cut = draw(strategies.sampled_from([len(raw), len(raw), 0, 20, 28]))
    head: bytes | bytearray = raw[:cut]
    if draw(strategies.booleans()):
        head = bytearray(head)
    rest = raw[cut:]
    skb = SkBuff(head, 0, len(raw), len(rest), (rest,) if rest else ())
    skb.ip_summed = draw(strategies.sampled_from([0, 1, 3]))
    skb.protocol = ETH_P_IP
    return skb


def listening(host: Host, raw: bool) -> list[int]:
    host.kernel.init_net.sysctl.write("net.ipv4.ping_group_range", "0 2147483647")
    socks = [host.bound("0.0.0.0", 5000), host.bound("10.0.0.1", 5001)]
    host.setopt(socks[1], IPPROTO_IP, IP_RECVERR, 1)
    host.connect(socks[1], ("10.0.0.2", 53))
    host.bind(host.socket(2, IPPROTO_ICMP), ("0.0.0.0", 7))
    if raw:
        for protocol in (IPPROTO_ICMP, IPPROTO_UDP, 6, 200):
            host.socket(SOCK_RAW, protocol)
    return socks


def count_others(host: Host) -> list[int]:
    """The protocol of every datagram that goes to another handler than those of ICMP, TCP and UDP, as they come."""
    protos = host.inet.protos
    seen: list[int] = []

    def counted(number: int, handler: Callable[[SkBuff], None]) -> Callable[[SkBuff], None]:
        def rcv(skb: SkBuff) -> None:
            seen.append(number)
            handler(skb)

        return rcv

    for number in set(protos) - {IPPROTO_ICMP, 6, IPPROTO_UDP}:
        protos[number] = counted(number, protos[number])
    return seen


@settings(max_examples=300)
@given(strategies.lists(packets(), min_size=1, max_size=12), strategies.booleans())
def test_nothing_raises_and_all_is_counted(arrivals: list[SkBuff], raw: bool) -> None:
    host = Host()
    socks = listening(host, raw)
    elsewhere = count_others(host)
    for skb in arrivals:
        skb.dev = host.dev
        host.kernel.enter()
        netif_rx(skb)
        host.kernel.leave()
    assert host.log == []
    assert host.kernel.errors.total == 0
    mibs = host.inet.mibs
    ip, u = mibs.ip, mibs.udp
    assert ip.InReceives == len(arrivals)
    fragments = ip.ReasmReqds - ip.ReasmOKs  # those that made a datagram, less that datagram, which is counted below
    bad = ip.InHdrErrors + ip.InAddrErrors + ip.InUnknownProtos + in_device(host.dev).unwanted
    assert ip.InReceives == bad + fragments + ip.InDelivers
    queued = sum(len(host.sk(fd).receive_queue or ()) for fd in socks)
    if not raw:  # raw sockets take protocols that are unknown otherwise
        to_udp = ip.InDelivers - mibs.icmp.InMsgs - mibs.tcp.InSegs - len(elsewhere)
        assert u.NoPorts + u.InErrors + u.IgnoredMulti + queued == to_udp
    for fd in socks:
        while host.pending(fd) or host.sk(fd).receive_queue or host.sk(fd).err:
            try:
                _, name = host.recvfrom(fd)
            except OSError:
                continue
            assert name[0].count(".") == 3
        assert host.sk(fd).rmem_alloc >= 0
    assert u.InDatagrams == queued


@settings(max_examples=200)
@given(strategies.lists(datagrams(), min_size=1, max_size=8), strategies.integers(1, 3))
def test_the_same_datagrams_again_have_the_same_fate(arrivals: list[bytes], times: int) -> None:
    """Once by the long way, later by what was remembered: the counters must not tell the difference."""
    host = Host()
    listening(host, False)
    host.kernel.init_net.sysctl.set("net.ipv4.icmp_ratemask", 0)
    for datagram in arrivals:
        host.inject(datagram, ip_summed=1)
    once = {name: value for name, value in host.counted().items() if name.startswith(("IpIn", "Udp", "IcmpIn"))}
    for _ in range(times):
        for datagram in arrivals:
            host.inject(datagram, ip_summed=1)
    again = {name: value for name, value in host.counted().items() if name in once}
    assert again == {name: value * (times + 1) for name, value in once.items()}
    assert host.log == []

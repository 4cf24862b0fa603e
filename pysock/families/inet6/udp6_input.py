"""UDP input over IPv6: from a packet to the socket it is for (udpv6_rcv, __udp6_lib_mcast_deliver, udpv6_err).

A datagram without a checksum is an error here (RFC 8200 8.1). Every datagram is counted once, as in inet.udp_input.
"""

from __future__ import annotations

from pysock.core.skb_copy import skb_clone
from pysock.core.skb_data import pskb_may_pull, pskb_trim, skb_checksum
from pysock.core.skbuff import CHECKSUM_NONE, SkBuff, kfree_skb
from pysock.families.inet import reuseport
from pysock.families.inet.datagram import enqueue, passes
from pysock.families.inet.v6part import ANY6, takes_v6
from pysock.families.inet6 import icmp6
from pysock.families.inet6.ip6_error import datagram_error
from pysock.families.inet6.ip6_input import incoming_index
from pysock.families.inet6.mcast_sock import wants
from pysock.uapi.in_ import IPPROTO_UDP
from pysock.wire.checksum import fold, pseudo_v6
from pysock.wire.icmpv6 import DEST_UNREACH, PORT_UNREACH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.netdevice import NetDevice
    from pysock.families.inet.udp import UdpSock
    from pysock.families.inet.udp_table import UdpTable
    from pysock.families.inet6.net import Inet6Net


def rcv(table: UdpTable, inet6: Inet6Net, skb: SkBuff) -> None:
    """The handler of UDP and UDP-Lite (__udp6_lib_rcv): ``skb.data`` at their header, ``network_header`` at IPv6's."""
    if not pskb_may_pull(skb, 8):
        _bad(table, skb, "PKT_TOO_SMALL")
        return
    head = skb.head
    at = skb.data
    length = head[at + 4] << 8 | head[at + 5] or skb.len  # 0: a jumbogram (RFC 2675)
    coverage = table.coverage
    if length > skb.len or (length < 8 and coverage is None):
        _bad(table, skb, "PKT_TOO_SMALL")
        return
    network = skb.network_header
    addresses = bytes(head[network + 8 : network + 40])
    if coverage is not None:
        good = coverage.verify(skb, addresses)
    else:
        if length < skb.len:
            pskb_trim(skb, length)
        good = (head[at + 6] or head[at + 7]) != 0 and (
            skb.ip_summed != CHECKSUM_NONE
            or fold(skb_checksum(skb, 0, length) + pseudo_v6(addresses[:16], addresses[16:], IPPROTO_UDP, length))
            == 0xFFFF
        )
    if not good:
        table.mib6.InCsumErrors += 1
        _bad(table, skb, "UDP_CSUM")
        return
    key = addresses + bytes(head[at : at + 4])
    ifindex = incoming_index(inet6, skb)
    if addresses[16] == 0xFF:
        _deliver_many(table, inet6, skb, key, ifindex)
        return
    sk = table.lookup(key, ifindex)
    if sk is None:
        table.mib6.NoPorts += 1
        icmp6.send(inet6, skb, DEST_UNREACH, PORT_UNREACH, 0)
        kfree_skb(skb, "NO_SOCKET")
        return
    if sk.reuseport and sk.ext is not None:
        sk = reuseport.choose(table.group_of(sk), sk, skb, 8)
    _queue(table, sk, skb)


def _bad(table: UdpTable, skb: SkBuff, reason: str) -> None:
    table.mib6.InErrors += 1
    kfree_skb(skb, reason)


def _queue(table: UdpTable, sk: UdpSock, skb: SkBuff) -> None:
    if table.coverage is not None and not table.coverage.accepts(sk, skb):
        table.mib6.InErrors += 1
        return
    if sk.filter is not None and not passes(sk, skb, 8):
        table.mib6.InErrors += 1
        return
    skb.data += 8
    skb.len -= 8
    if not enqueue(sk, skb):
        table.mib6.RcvbufErrors += 1
        table.mib6.InErrors += 1


def _deliver_many(table: UdpTable, inet6: Inet6Net, skb: SkBuff, key: bytes, ifindex: int) -> None:
    """A datagram for everybody who listens: each gets a clone."""
    takers = [sk for sk in table.by_port.get(int.from_bytes(key[34:], "big"), ()) if _concerns(sk, key, ifindex)]
    if not takers:
        table.mib6.IgnoredMulti += 1
        kfree_skb(skb, "IP_MULTICAST")
        return
    for sk in takers[1:]:
        _queue(table, sk, skb_clone(skb))
    _queue(table, takers[0], skb)


def _concerns(sk: UdpSock, key: bytes, ifindex: int) -> bool:
    """__udp_v6_is_mcast_sock(): is ``sk``, which is on the port, one of those a datagram to a group is for?"""
    part = sk.pinet6
    if part is None or not takes_v6(sk):
        return False
    saddr, daddr = key[:16], key[16:32]
    return (
        sk.dport in (0, int.from_bytes(key[32:34], "big"))
        and part.daddr in (ANY6, saddr)
        and part.rcv_saddr in (ANY6, daddr)
        and sk.bound_dev_if in (0, ifindex)
        and wants(sk, daddr, saddr)
    )


def error(
    table: UdpTable,
    inet6: Inet6Net,
    quoted: bytes,
    offset: int,
    type: int,
    code: int,
    info: int,
    offender: bytes,
    dev: NetDevice,
) -> None:
    """What ICMPv6 says about our datagrams (__udp6_lib_err); see `net.ErrorHandler6`."""
    ports = quoted[offset : offset + 4]
    sk = table.lookup(quoted[24:40] + quoted[8:24] + ports[2:] + ports[:2], dev.ifindex)
    if sk is None:
        inet6.mibs.icmp6.InErrors += 1
        return
    port = int.from_bytes(ports[2:], "big")
    datagram_error(sk, quoted, offset + 8, port, type, code, info, offender, dev)

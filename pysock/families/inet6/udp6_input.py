"""UDP input over IPv6: from a packet to the socket it is for (udpv6_rcv, __udp6_lib_mcast_deliver, udpv6_err).

The common datagram takes one straight line from `ip6_input` to the socket's queue: `make_early`. Everything else comes
through `rcv`, which validates, looks up, and lets the table remember the flow.

A datagram without a checksum is an error here (RFC 8200 8.1), unless UDP_NO_CHECK6_RX allows it (RFC 6935). Every
datagram is counted once, as in inet.udp_input.
"""

from __future__ import annotations

from collections import deque
from struct import Struct

from pysock.core.skb_copy import skb_clone
from pysock.core.skb_data import pskb_may_pull, pskb_trim, skb_checksum
from pysock.core.skbuff import CHECKSUM_NONE, SKB_OVERHEAD, SkBuff, kfree_skb
from pysock.core.sock import WAKE_READABLE
from pysock.core.sockopt_set import SOCK_RECV_EXTRAS
from pysock.families.inet import reuseport
from pysock.families.inet.udp_input import drop_bad, queue
from pysock.families.inet.v6part import ANY6, takes_v6
from pysock.families.inet6 import icmp6
from pysock.families.inet6.ip6_error import datagram_error
from pysock.families.inet6.ip6_input import incoming_index
from pysock.families.inet6.mcast_sock import wants
from pysock.uapi.if_ import IFF_LOOPBACK
from pysock.uapi.in_ import IPPROTO_UDP
from pysock.wire.checksum import fold, pseudo_v6
from pysock.wire.icmpv6 import DEST_UNREACH, PORT_UNREACH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pysock.core.netdevice import NetDevice
    from pysock.families.inet.udp import UdpSock
    from pysock.families.inet.udp_table import UdpTable
    from pysock.families.inet6.net import Inet6Net

_HEADERS = 48
_FLOW = slice(8, 44)  # a constant slice costs half of a written one
#: version | payload length | UDP length | UDP checksum, from the start of the IPv6 header
_unpack = Struct("!B3xH38xHH").unpack_from


def make_early(table: UdpTable, inet6: Inet6Net) -> Callable[[SkBuff, bytes], bool]:
    """The short way of one namespace: ``early(skb, header)`` takes a datagram that is plain in every respect, of a flow
    that is remembered, and puts it into its socket's queue. False: not taken, nothing changed.

    ``header`` is the first 44 bytes of the packet (fewer if it is shorter), ``skb.data`` at the IPv6 header.
    """
    fib6 = inet6.fib6
    find = table.early.get
    mibs = inet6.mibs.ip6

    def early(skb: SkBuff, header: bytes) -> bool:
        head = skb.head
        length = skb.len
        if type(head) is not bytes or length - skb.data_len < _HEADERS or header[6] != IPPROTO_UDP:
            return False
        found = find(header[_FLOW])
        if found is None:
            return False
        sk, dev, generation = found
        off = skb.data
        version, size, udp_size, check = _unpack(head, off)
        if (
            version & 0xF0 != 0x60
            or size != length - 40
            or udp_size != size
            or not check
            or not skb.ip_summed
            or skb.gso_size
            or dev is not skb.dev
            or generation != fib6.generation
            or sk.bound_dev_if
            or sk.flags & SOCK_RECV_EXTRAS
            or sk.rmem_alloc > sk.rcvbuf
            or (skb.ext is not None and skb.ext.pkt_type)
            or inet6.raw_deliver is not None
        ):
            return False
        mibs.InDelivers += 1
        skb.network_header = off
        skb.transport_header = off + 40
        skb.data = off + _HEADERS
        skb.len = length - _HEADERS
        sk.rmem_alloc += SKB_OVERHEAD + len(head) + skb.data_len
        queue = sk.receive_queue
        if queue is None:
            queue = sk.receive_queue = deque()
        queue.append(skb)
        wait = sk.wait_queue
        if wait is not None and wait.entries:
            wait.wake(WAKE_READABLE)
        return True

    return early


def rcv(table: UdpTable, inet6: Inet6Net, skb: SkBuff) -> None:
    """The handler of UDP and UDP-Lite (__udp6_lib_rcv): ``skb.data`` at their header, ``network_header`` at IPv6's."""
    if not pskb_may_pull(skb, 8):
        drop_bad(table.mib6, skb, "PKT_TOO_SMALL")
        return
    head = skb.head
    at = skb.data
    length = head[at + 4] << 8 | head[at + 5] or skb.len  # 0: a jumbogram (RFC 2675)
    coverage = table.coverage
    no_check = False
    if length > skb.len or (length < 8 and coverage is None):
        drop_bad(table.mib6, skb, "PKT_TOO_SMALL")
        return
    network = skb.network_header
    addresses = bytes(head[network + 8 : network + 40])
    if coverage is not None:
        good = coverage.verify(skb, addresses)
    else:
        if length < skb.len:
            pskb_trim(skb, length)
        no_check = not (head[at + 6] or head[at + 7])
        good = (
            no_check  # which the socket must allow
            or skb.ip_summed != CHECKSUM_NONE
            or fold(skb_checksum(skb, 0, length) + pseudo_v6(addresses[:16], addresses[16:], IPPROTO_UDP, length))
            == 0xFFFF
        )
    if not good:
        _drop_bad_sum(table, skb)
        return
    key = addresses + bytes(head[at : at + 4])
    ifindex = incoming_index(inet6, skb)
    if addresses[16] == 0xFF:
        _deliver_many(table, inet6, skb, key, ifindex, no_check)
        return
    sk = table.lookup(key, ifindex)
    if no_check and (sk is None or not sk.no_check6_rx):
        _drop_bad_sum(table, skb)
        return
    if sk is None:
        table.mib6.NoPorts += 1
        icmp6.send(inet6, skb, DEST_UNREACH, PORT_UNREACH, 0)
        kfree_skb(skb, "NO_SOCKET")
        return
    if sk.reuseport and sk.ext is not None:
        sk = reuseport.choose(table.group_of(sk), sk, skb, 8)
    if coverage is None and addresses[0] != 0xFE and skb.dev is not None:  # a link-local sender's device counts
        table.remember(key, sk, skb.dev, inet6.fib6.generation)
    queue(table, table.mib6, sk, skb)


def _drop_bad_sum(table: UdpTable, skb: SkBuff) -> None:
    table.mib6.InCsumErrors += 1
    drop_bad(table.mib6, skb, "UDP_CSUM")


def _deliver_many(
    table: UdpTable, inet6: Inet6Net, skb: SkBuff, key: bytes, ifindex: int, no_check: bool
) -> None:
    """A datagram for everybody who listens: each gets a clone."""
    takers = [
        sk
        for sk in table.by_port.get(int.from_bytes(key[34:], "big"), ())
        if (sk.no_check6_rx or not no_check) and _concerns(sk, key, ifindex)
    ]
    if not takers:
        table.mib6.IgnoredMulti += 1
        kfree_skb(skb, "IP_MULTICAST")
        return
    for sk in takers[1:]:
        queue(table, table.mib6, sk, skb_clone(skb))
    queue(table, table.mib6, takers[0], skb)


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
    key = quoted[24:40] + quoted[8:24] + ports[2:] + ports[:2]
    sk = table.lookup(key, 0 if dev.flags & IFF_LOOPBACK else dev.ifindex)  # loopback carries all that is our own
    if sk is None:
        inet6.mibs.icmp6.InErrors += 1
        return
    port = int.from_bytes(ports[2:], "big")
    datagram_error(sk, quoted, offset + 8, port, type, code, info, offender, dev)

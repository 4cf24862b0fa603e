"""UDP input: from an IP datagram to the socket it is for (udp_rcv, __udp4_lib_mcast_deliver, udp_err).

The common datagram (20-byte IP header, whole, not a fragment, its checksum vouched for, of a flow seen before) takes
one straight line from `ip_input.ip_rcv` to the socket's queue: `make_early`. Everything else comes through `rcv`, which
validates, looks up, and lets the table remember the flow.

Every datagram is counted once: NoPorts, IgnoredMulti, InErrors (with InCsumErrors or RcvbufErrors), or InDatagrams when
a program takes it.
"""

from __future__ import annotations

from collections import deque
from struct import Struct

from pysock.core.gso import SKB_GSO_UDP_L4, gso_segment
from pysock.core.skb_copy import skb_clone
from pysock.core.skb_data import pskb_may_pull, pskb_trim, skb_checksum
from pysock.core.skbuff import CHECKSUM_NONE, CHECKSUM_UNNECESSARY, SKB_OVERHEAD, SkBuff, consume_skb, kfree_skb
from pysock.core.sock import WAKE_READABLE
from pysock.core.sock_cmsg import count_drop
from pysock.core.sockopt_set import SOCK_RECV_EXTRAS, SOCK_UDP_GRO
from pysock.families.inet import icmp, igmp_sock, ip_error, reuseport
from pysock.families.inet.addr import host_text, is_multicast
from pysock.families.inet.datagram import enqueue, passes
from pysock.families.inet.devinet import is_member
from pysock.families.inet.fib import RTN_BROADCAST, RTN_LOCAL
from pysock.families.inet.nexthop import icmp_says
from pysock.uapi.in_ import IPPROTO_UDP
from pysock.uapi.tcp import TCP_ESTABLISHED
from pysock.wire.checksum import fold, pseudo_v4

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pysock.core.mibs import UdpMib
    from pysock.families.inet.udp import UdpSock
    from pysock.families.inet.udp_table import UdpTable

_int = int.from_bytes
#: the UDP header's length, from the start of an IP header of 20 bytes
_unpack_length = Struct("!24xH").unpack_from


def make_early(table: UdpTable) -> Callable[[SkBuff, bytes], bool]:
    """The short way of one namespace: ``early(skb, key)`` puts a datagram of a remembered flow into its socket's queue.
    False: not taken, nothing changed.

    ``skb.data`` is at an IP header of 20 bytes that was found good, and at least 8 more are linear; ``key`` is the
    addresses and ports.
    """
    fib = table.inet.fib
    find = table.early.get
    ip_mib = table.ip_mib

    def early(skb: SkBuff, key: bytes) -> bool:
        found = find(key)
        if found is None:
            return False
        sk, dev, generation = found
        head = skb.head
        length = skb.len
        off = skb.data
        if (
            _unpack_length(head, off)[0] != length - 20
            or not skb.ip_summed
            or skb.gso_size
            or dev is not skb.dev
            or generation != fib.generation
            or sk.bound_dev_if
            or sk.flags & SOCK_RECV_EXTRAS
            or sk.rmem_alloc > sk.rcvbuf
        ):
            return False
        ip_mib.InDelivers += 1
        skb.transport_header = off + 20
        skb.data = off + 28
        skb.len = length - 28
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


def rcv(table: UdpTable, skb: SkBuff) -> None:
    """The handler of UDP and UDP-Lite (__udp4_lib_rcv): ``skb.data`` at their header, ``network_header`` at IP's."""
    if not pskb_may_pull(skb, 8):
        drop_bad(table.mib, skb, "PKT_TOO_SMALL")
        return
    head = skb.head
    at = skb.data
    length = (head[at + 4] << 8) | head[at + 5]
    coverage = table.coverage
    if length > skb.len or (length < 8 and coverage is None):
        drop_bad(table.mib, skb, "PKT_TOO_SMALL")
        return
    network = skb.network_header
    addresses = bytes(head[network + 12 : network + 20])
    if coverage is not None:
        good = coverage.verify(skb, addresses)
    else:
        if length < skb.len:
            pskb_trim(skb, length)
        good = (
            skb.ip_summed != CHECKSUM_NONE
            or not (head[at + 6] or head[at + 7])  # zero: the sender made none
            or fold(skb_checksum(skb, 0, length) + pseudo_v4(addresses[:4], addresses[4:], IPPROTO_UDP, length))
            == 0xFFFF
        )
    if not good:
        table.mib.InCsumErrors += 1
        drop_bad(table.mib, skb, "UDP_CSUM")
        return
    key = addresses + bytes(head[at : at + 4])
    dev = skb.dev
    assert dev is not None
    daddr = addresses[4:]
    entry = table.inet.fib.lookup(daddr)
    kind = RTN_LOCAL if entry is None else entry.type
    if is_multicast(daddr) or kind == RTN_BROADCAST or daddr == b"\xff\xff\xff\xff":
        _deliver_many(table, skb, key)
        return
    sk = table.lookup(key, dev.ifindex)
    if sk is None:
        table.mib.NoPorts += 1
        icmp.send(table.inet, skb, icmp.DEST_UNREACH, icmp.PORT_UNREACH, 0)
        kfree_skb(skb, "NO_SOCKET")
        return
    if sk.reuseport and sk.ext is not None:
        sk = reuseport.choose(table.group_of(sk), sk, skb, 8)
    if coverage is None:
        table.remember(key, sk, dev, table.inet.fib.generation)
    queue(table, table.mib, sk, skb)


def drop_bad(mib: UdpMib, skb: SkBuff, reason: str) -> None:
    """A datagram that is no good, of either version of IP; ``mib`` is that version's."""
    mib.InErrors += 1
    kfree_skb(skb, reason)


def queue(table: UdpTable, mib: UdpMib, sk: UdpSock, skb: SkBuff) -> None:
    """Let ``sk`` have a datagram of either version of IP (udp_queue_rcv_skb), or a super-packet: with UDP_GRO as it is,
    else as the datagrams that it stands for.
    """
    if not skb.gso_size or (sk.flags & SOCK_UDP_GRO and skb.gso_type & SKB_GSO_UDP_L4):
        _queue_one(table, mib, sk, skb)
        return
    skb.len += skb.data - skb.network_header
    skb.data = skb.network_header
    segments = gso_segment(skb)
    if not segments:
        mib.InErrors += skb.gso_segs or 1
        count_drop(sk)
        kfree_skb(skb, "SKB_GSO_SEG")
        return
    consume_skb(skb)
    for one in segments:
        one.mac_header = -1
        one.data = one.transport_header
        one.len -= one.data
        one.ip_summed = CHECKSUM_UNNECESSARY  # that of the whole was good
        _queue_one(table, mib, sk, one)


def _queue_one(table: UdpTable, mib: UdpMib, sk: UdpSock, skb: SkBuff) -> None:
    """If the socket wants it and has room (udp_queue_rcv_one_skb)."""
    if table.coverage is not None and not table.coverage.accepts(sk, skb):
        mib.InErrors += 1
        return
    if sk.filter is not None and not passes(sk, skb, 8):
        mib.InErrors += 1
        return
    skb.data += 8
    skb.len -= 8
    if not enqueue(sk, skb):
        mib.RcvbufErrors += 1
        mib.InErrors += 1


def _deliver_many(table: UdpTable, skb: SkBuff, key: bytes) -> None:
    """A datagram for everybody who listens: each gets a clone (__udp4_lib_mcast_deliver)."""
    dev = skb.dev
    assert dev is not None
    daddr = key[4:8]
    takers = table.listeners(key, dev.ifindex)
    if is_multicast(daddr):
        saddr = key[:4]
        member = is_member(dev, daddr, saddr)
        takers = [sk for sk in takers if igmp_sock.wants(sk, daddr, saddr, dev.ifindex)] if member else []
    if not takers:
        table.mib.IgnoredMulti += 1
        kfree_skb(skb, "IP_MULTICAST")
        return
    for sk in takers[1:]:
        queue(table, table.mib, sk, skb_clone(skb))
    queue(table, table.mib, takers[0], skb)


class ErrorInput:
    """What ICMP says about our datagrams (udp_err); see `net.ErrorHandler`."""

    __slots__ = ("table",)

    def __init__(self, table: UdpTable) -> None:
        self.table = table

    def __call__(self, quoted: bytes, header_len: int, type: int, code: int, info: int) -> None:
        table = self.table
        ports = quoted[header_len : header_len + 4]
        saddr, daddr = quoted[12:16], quoted[16:20]
        sk = table.lookup(daddr + saddr + ports[2:] + ports[:2], 0)
        if sk is None:
            table.inet.mibs.icmp.InErrors += 1
            return
        icmp_says(sk, quoted, type, code, info)
        number, hard = ip_error.meaning(sk, type, code)
        if not number:
            return
        if sk.recverr:
            name = host_text(daddr), _int(ports[2:], "big")
            offender = icmp.offender(table.inet)
            ip_error.icmp_error(sk, number, type, code, info, name, offender, quoted[header_len + 8 :])
        elif not hard or sk.state != TCP_ESTABLISHED:
            return
        sk.set_error(number)

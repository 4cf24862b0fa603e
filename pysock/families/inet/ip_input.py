"""IP input: from a received frame to the transport that it is for (RFC 791, RFC 1122 3.2; net/ipv4/ip_input.c).

`ip_rcv` is the ETH_P_IP packet type. The common datagram (20-byte header, whole, not a fragment, for a known
connection) takes one straight line: checks, early demultiplexing, transport; UDP has one of its own in udp_input.
Everything else goes to `_rcv_slow`. Nothing that arrives may raise: a bad datagram is counted where Linux counts it
and freed.
"""

from __future__ import annotations

from pysock.core.skb_data import pskb_may_pull, pskb_trim
from pysock.core.skbuff import SkBuff, kfree_skb
from pysock.families.inet import icmp
from pysock.families.inet.fib import RTN_BROADCAST, RTN_LOCAL, RTN_MULTICAST, RTN_UNICAST
from pysock.families.inet.route import Rtable, input_type
from pysock.families.inet.udp import table_of
from pysock.families.inet.udp_input import make_early

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pysock.families.inet.net import InetNet

IPPROTO_TCP = 6
_int = int.from_bytes
# Constant slices cost half of written ones.
_ETH_HEADER = slice(14, 38)
_LENGTH = slice(2, 4)
_DEMUX_KEY = slice(12, 24)


def make_ip_rcv(inet: InetNet) -> Callable[[SkBuff], None]:
    """The ETH_P_IP handler of one namespace, with its tables bound (ip_rcv)."""
    mibs = inet.mibs.ip
    demux = inet.early_demux.get
    protos = inet.protos
    udp_early = make_early(table_of(inet))

    def ip_rcv(skb: SkBuff) -> None:
        """Check the IP header, and find the connection that the datagram is for."""
        mibs.InReceives += 1
        head = skb.head
        off = skb.data
        header: bytes = head[_ETH_HEADER] if off == 14 else head[off : off + 24]  # type: ignore[assignment]  # see below
        if (
            type(head) is not bytes
            or skb.len - skb.data_len < 40
            or header[0] != 0x45
            or header[9] != IPPROTO_TCP
            or ((header[2] << 8) | header[3] != skb.len and not (skb.gso_size and header[_LENGTH] == b"\0\0"))
            or header[6] & 0x3F
            or header[7]
            or (_int(header, "big") >> 32) % 0xFFFF
            or inet.raw_deliver is not None
        ):
            if not udp_early(skb, header):
                _rcv_slow(inet, skb)
            return
        sk = demux(header[_DEMUX_KEY])
        skb.network_header = off
        if sk is None:
            _route_input(inet, skb, off, 20)
            return
        mibs.InDelivers += 1
        off += 20
        skb.transport_header = skb.data = off
        skb.len -= 20
        skb.sk = sk
        protos[IPPROTO_TCP](skb)

    return ip_rcv


def _rcv_slow(inet: InetNet, skb: SkBuff) -> None:
    """Every datagram in full: validate, find out whose it is, deliver or forward (ip_rcv_core, ip_rcv_finish)."""
    mibs = inet.mibs.ip
    if not pskb_may_pull(skb, 20):
        mibs.InHdrErrors += 1
        kfree_skb(skb, "PKT_TOO_SMALL")
        return
    head = skb.head
    off = skb.data
    header_len = (head[off] & 15) * 4
    if head[off] >> 4 != 4 or header_len < 20 or not pskb_may_pull(skb, header_len):
        mibs.InHdrErrors += 1
        kfree_skb(skb, "IP_INHDR")
        return
    head = skb.head
    off = skb.data
    if _int(head[off : off + header_len], "big") % 0xFFFF:
        inet.mibs.ipext.InCsumErrors += 1
        mibs.InHdrErrors += 1
        kfree_skb(skb, "IP_CSUM")
        return
    length = (head[off + 2] << 8) | head[off + 3]
    if length == 0 and skb.len > 0xFFFF and skb.gso_size:
        length = skb.len  # BIG TCP
    if length > skb.len or length < header_len:
        mibs.InHdrErrors += 1
        kfree_skb(skb, "PKT_TOO_SMALL")
        return
    if length < skb.len:
        pskb_trim(skb, length)  # link-layer padding
    skb.network_header = off
    _route_input(inet, skb, off, header_len)


def _route_input(inet: InetNet, skb: SkBuff, off: int, header_len: int) -> None:
    mibs = inet.mibs.ip
    head = skb.head
    dev = skb.dev
    assert dev is not None
    rt = skb.dst
    if isinstance(rt, Rtable):
        kind = rt.type  # a copy of our own broadcast or multicast (ip_mc_output)
    else:
        kind = input_type(inet, bytes(head[off + 12 : off + 16]), bytes(head[off + 16 : off + 20]), dev)
    if kind in (RTN_LOCAL, RTN_BROADCAST, RTN_MULTICAST):
        if kind == RTN_BROADCAST:
            inet.mibs.ipext.InBcastPkts += 1
        elif kind == RTN_MULTICAST:
            inet.mibs.ipext.InMcastPkts += 1
        _local_deliver(inet, skb, off, header_len, kind)
    elif kind == RTN_UNICAST and inet.forwarding:
        # Forwarding needs neighbours and comes with them; until then a forwarded datagram is a counted drop.
        mibs.OutDiscards += 1
        kfree_skb(skb, "NOT_SPECIFIED")
    elif kind == 0:
        mibs.InAddrErrors += 1
        kfree_skb(skb, "IP_INADDRERRORS")
    else:
        mibs.InAddrErrors += 1
        kfree_skb(skb, "IP_INNOROUTES")


def _local_deliver(inet: InetNet, skb: SkBuff, off: int, header_len: int, kind: int) -> None:
    """ip_local_deliver(): raw sockets get copies, then the transport gets the datagram."""
    mibs = inet.mibs.ip
    head = skb.head
    if head[off + 6] & 0x3F or head[off + 7]:
        # A fragment. Nothing reassembles yet: counted as Linux counts a failed reassembly.
        mibs.ReasmReqds += 1
        mibs.ReasmFails += 1
        kfree_skb(skb, "FRAG_REASM_TIMEOUT")
        return
    protocol = head[off + 9]
    skb.data = skb.transport_header = off + header_len
    skb.len -= header_len
    taken = False
    raw = inet.raw_deliver
    if raw is not None:
        taken = raw(skb, protocol)
    handler = inet.protos.get(protocol)
    if handler is not None:
        mibs.InDelivers += 1
        handler(skb)
    elif taken:
        mibs.InDelivers += 1
        kfree_skb(skb, "NOT_SPECIFIED")
    else:
        mibs.InUnknownProtos += 1
        if kind == RTN_LOCAL:
            icmp.send(inet, skb, icmp.DEST_UNREACH, icmp.PROT_UNREACH, 0)
        kfree_skb(skb, "IP_NOPROTO")

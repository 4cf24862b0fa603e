"""GSO: cutting a super-segment into packets that fit the wire (net/core/gso.c, tcp_offload.c, tcpv6_offload.c).

A transport may hand down one packet with many segments' worth of payload and `gso_size`, the payload of each. A device
that can't cut it (no NETIF_F_TSO) has the transmit path call `gso_segment`; a capture calls it to write what a wire
would carry.

Each segment gets its own copy of the headers: the sequence number moves on, FIN and PSH stay with the last, CWR with
the first, IPv4's identification counts up, lengths and IPv4's checksum are its own. TCP's checksum is left to whoever
sends the segment (CHECKSUM_PARTIAL).

Not here: UDP (UDP_SEGMENT), tunnels; GRO, the way back.
"""

from __future__ import annotations

from pysock.core.skb_data import skb_copy_bits, skb_header_pointer
from pysock.core.skbuff import CHECKSUM_PARTIAL, SkBuff
from pysock.uapi.if_ether import ETH_P_8021AD, ETH_P_8021Q, ETH_P_IP, ETH_P_IPV6
from pysock.uapi.in_ import IPPROTO_TCP
from pysock.wire import ipv4, ipv6, tcp
from pysock.wire.checksum import checksum, pseudo_v4, pseudo_v6

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

_ID: Final = slice(4, 6)
_CHECK: Final = slice(ipv4.CHECKSUM_OFFSET, ipv4.CHECKSUM_OFFSET + 2)
_SUM: Final = slice(tcp.CHECKSUM_OFFSET, tcp.CHECKSUM_OFFSET + 2)


def gso_segment(skb: SkBuff, features: int = 0) -> list[SkBuff]:
    """The packets that ``skb`` stands for, each a whole frame from its data on; an empty list when nobody knows how.

    ``skb`` is a frame from ``skb.data`` on, with network_header set, and stays the caller's, unchanged. ``features``
    are those of the device that can't take it; `dev_xmit` makes each result fit them.
    """
    if skb_network_protocol(skb) not in (ETH_P_IP, ETH_P_IPV6) or skb.gso_size <= 0:
        return []
    return tcp_gso_segment(skb)


def skb_network_protocol(skb: SkBuff) -> int:
    """The EtherType of the network header, behind the VLAN tags in the frame; 0 for a frame that ends before it."""
    protocol = skb.protocol
    if protocol in (ETH_P_8021Q, ETH_P_8021AD):  # the last two bytes of the tag in front of it
        found = skb_header_pointer(skb, skb.network_header - skb.data - 2, 2) if skb.network_header >= 2 else None
        protocol = int.from_bytes(found or b"", "big")
    return protocol


def _ip_size(skb: SkBuff, link: int) -> int:
    """Bytes of the IP header at ``link``, extension headers included; 0 when it is none or something else than TCP
    follows.
    """
    if skb_network_protocol(skb) == ETH_P_IP:
        fixed = skb_header_pointer(skb, link, ipv4.HEADER_SIZE)
        if fixed is None or fixed[0] >> 4 != 4 or fixed[9] != IPPROTO_TCP:
            return 0
        size = (fixed[0] & 0xF) << 2
        return size if size >= ipv4.HEADER_SIZE else 0
    chain = skb_header_pointer(skb, link, skb.len - skb.data_len - link)
    if chain is None or len(chain) < ipv6.HEADER_SIZE or chain[0] >> 4 != 6:
        return 0
    size, protocol, fragment = ipv6.skip_extensions(chain[6], chain, ipv6.HEADER_SIZE)
    return size if protocol == IPPROTO_TCP and not fragment and size > 0 else 0


def tcp_gso_segment(skb: SkBuff) -> list[SkBuff]:
    """tcp_gso_segment() (inet_gso_segment or ipv6_gso_segment around it). An empty list for what is no whole TCP
    segment.
    """
    link = skb.network_header - skb.data
    ip_size = _ip_size(skb, link) if link >= 0 else 0
    if not ip_size:
        return []
    at = link + ip_size
    head = skb_header_pointer(skb, at, tcp.HEADER_SIZE)
    tcp_size = head[12] >> 4 << 2 if head is not None else 0
    start = at + tcp_size
    size = skb.gso_size
    if tcp_size < tcp.HEADER_SIZE or start > skb.len or size <= 0:
        return []
    if start - link + min(size, skb.len - start) > ipv4.MAX_LENGTH:
        return []
    headers = skb_copy_bits(skb, 0, start)
    seq = int.from_bytes(headers[at + 4 : at + 8], "big")
    ident = int.from_bytes(headers[link:][_ID], "big")  # of no meaning in IPv6
    found: list[SkBuff] = []
    for offset in range(start, skb.len, size) if skb.len > start else (start,):
        n = min(size, skb.len - offset)
        one = bytearray(headers)
        one[at + 4 : at + 8] = (seq + offset - start & 0xFFFFFFFF).to_bytes(4, "big")
        if offset + n < skb.len:
            one[at + 13] &= ~(tcp.FIN | tcp.PSH) & 0xFF
        if offset > start:
            one[at + 13] &= ~tcp.CWR & 0xFF
        _finish(one, link, at, ident + len(found), n)
        found.append(_packet(skb, bytes(one), at, skb_copy_bits(skb, offset, n)))
    return found


def _finish(frame: bytearray, link: int, at: int, ident: int, n: int) -> None:
    """Fill in what depends on the length: IP's fields and checksum, and the pseudo header's sum in TCP's."""
    ip = frame[link:at]
    length = len(frame) - at + n
    if ip[0] >> 4 == 6:
        frame[link + 4 : link + 6] = (len(ip) - ipv6.HEADER_SIZE + length).to_bytes(2, "big")
        pseudo = pseudo_v6(bytes(ip[8:24]), bytes(ip[24:40]), IPPROTO_TCP, length)
        frame[at + _SUM.start : at + _SUM.stop] = pseudo.to_bytes(2, "big")
        return
    ip[2:4] = (len(ip) + length).to_bytes(2, "big")
    ip[_ID] = (ident & 0xFFFF).to_bytes(2, "big")
    ip[_CHECK] = b"\0\0"
    ip[_CHECK] = checksum(ip).to_bytes(2, "big")
    frame[link:at] = ip
    pseudo = pseudo_v4(bytes(ip[12:16]), bytes(ip[16:20]), IPPROTO_TCP, length)
    frame[at + _SUM.start : at + _SUM.stop] = pseudo.to_bytes(2, "big")


def _packet(skb: SkBuff, head: bytes, at: int, payload: bytes) -> SkBuff:
    one = SkBuff(head, 0, len(head) + len(payload), len(payload), (payload,) if payload else ())
    one.dev = skb.dev
    one.dst = skb.dst
    one.protocol = skb.protocol
    one.mac_header = 0
    one.network_header = skb.network_header - skb.data
    one.transport_header = at
    one.ip_summed = CHECKSUM_PARTIAL
    one.csum_offset = tcp.CHECKSUM_OFFSET
    if skb.ext is not None:
        one.priority, one.mark, one.pkt_type = skb.priority, skb.mark, skb.pkt_type
    return one

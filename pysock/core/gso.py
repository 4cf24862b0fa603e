"""GSO: cutting a super-segment into packets that fit the wire (net/core/gso.c, tcp_offload.c, udp_offload.c and those
of IPv6).

A transport may hand down one packet with many packets' worth of payload, and `gso_size`, the payload of each. A device
that can't cut it (no NETIF_F_TSO, NETIF_F_GSO_UDP_L4) has the transmit path call `gso_segment`; a capture calls it to
write what a wire would carry, UDP input for a socket that wants datagrams one by one.

Each packet gets its own copy of the headers: lengths and IPv4's checksum are its own, IPv4's identification counts up;
TCP's sequence number moves on, FIN and PSH stay with the last, CWR with the first. The transport's checksum is left to
whoever sends the packet (CHECKSUM_PARTIAL).

Not here: tunnels; GRO, the way back (gro.py).
"""

from __future__ import annotations

from pysock.core.skb_data import skb_copy_bits, skb_header_pointer
from pysock.core.skbuff import SkBuff, finished_skb
from pysock.uapi.if_ether import ETH_P_8021AD, ETH_P_8021Q, ETH_P_IP, ETH_P_IPV6
from pysock.uapi.in_ import IPPROTO_TCP, IPPROTO_UDP
from pysock.wire import ipv4, ipv6, tcp, udp
from pysock.wire.checksum import checksum, pseudo_v4, pseudo_v6

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

# skb.gso_type: what the packet is; 0 is TCP too, over whichever IP ``skb.protocol`` says. As in include/linux/skbuff.h.
SKB_GSO_TCPV4: Final = 1 << 0
SKB_GSO_TCP_ECN: Final = 1 << 2
SKB_GSO_TCPV6: Final = 1 << 4
SKB_GSO_UDP_L4: Final = 1 << 17

_ID: Final = slice(4, 6)


def gso_segment(skb: SkBuff, features: int = 0) -> list[SkBuff]:
    """The packets that ``skb`` stands for, each a whole frame from its data on; an empty list when nobody knows how.

    ``skb`` is a frame from ``skb.data`` on, with network_header set, and stays the caller's, unchanged. ``features``
    are those of the device that can't take it; `dev_xmit` makes each result fit them.
    """
    if skb_network_protocol(skb) not in (ETH_P_IP, ETH_P_IPV6) or skb.gso_size <= 0:
        return []
    return udp_gso_segment(skb) if skb.gso_type & SKB_GSO_UDP_L4 else tcp_gso_segment(skb)


def gso_fits(skb: SkBuff, network: int, transport: int, mtu: int) -> bool:
    """Whether what a super-segment stands for fits ``mtu`` (skb_gso_validate_network_len); its headers are at those
    offsets into ``skb.head``.
    """
    size = udp.HEADER_SIZE
    if not skb.gso_type & SKB_GSO_UDP_L4:
        if transport + 13 > skb.data + skb.len - skb.data_len:
            return False
        size = skb.head[transport + 12] >> 4 << 2
    return transport - network + size + skb.gso_size <= mtu


def pass_on_owner(skb: SkBuff, segments: list[SkBuff]) -> None:
    """The socket that pays for ``skb``, which was cut into ``segments`` and is about to be freed, pays until the last
    of them has left. It hears when the first of UDP's or the last of TCP's leaves.
    """
    segments[0].sk = skb.sk
    ext = skb.ext
    if ext is None:
        return
    if ext.destructor is not None:
        segments[-1].destructor, segments[-1].sk = ext.destructor, skb.sk
        ext.destructor = None
    if ext.tx_stamp is not None:
        segments[0 if ext.gso_type & SKB_GSO_UDP_L4 else -1].need_ext().tx_stamp = ext.tx_stamp


def skb_network_protocol(skb: SkBuff) -> int:
    """The EtherType of the network header, behind the VLAN tags in the frame; 0 for a frame that ends before it."""
    protocol = skb.protocol
    if protocol in (ETH_P_8021Q, ETH_P_8021AD):  # the last two bytes of the tag in front of it
        found = skb_header_pointer(skb, skb.network_header - skb.data - 2, 2) if skb.network_header >= 2 else None
        protocol = int.from_bytes(found or b"", "big")
    return protocol


def _transport(skb: SkBuff, protocol: int) -> int:
    """Where, from the packet's first byte, the header of ``protocol`` starts, behind IP's and its options or extension
    headers; 0 when there is none, or something else.
    """
    link = skb.network_header - skb.data
    if link < 0:
        return 0
    if skb_network_protocol(skb) == ETH_P_IP:
        fixed = skb_header_pointer(skb, link, ipv4.HEADER_SIZE)
        if fixed is None or fixed[0] >> 4 != 4 or fixed[9] != protocol:
            return 0
        size = (fixed[0] & 0xF) << 2
        return link + size if size >= ipv4.HEADER_SIZE else 0
    chain = skb_header_pointer(skb, link, skb.len - skb.data_len - link)
    if chain is None or len(chain) < ipv6.HEADER_SIZE or chain[0] >> 4 != 6:
        return 0
    size, found, fragment = ipv6.skip_extensions(chain[6], chain, ipv6.HEADER_SIZE)
    return link + size if found == protocol and not fragment and size > 0 else 0


def tcp_gso_segment(skb: SkBuff) -> list[SkBuff]:
    """tcp_gso_segment() (inet_gso_segment or ipv6_gso_segment around it). An empty list for what is no whole TCP
    segment.
    """
    at = _transport(skb, IPPROTO_TCP)
    head = skb_header_pointer(skb, at, tcp.HEADER_SIZE) if at else None
    tcp_size = head[12] >> 4 << 2 if head is not None else 0
    start = at + tcp_size
    if tcp_size < tcp.HEADER_SIZE or start > skb.len or not _fits(skb, start):
        return []
    headers = skb_copy_bits(skb, 0, start)
    seq = int.from_bytes(headers[at + 4 : at + 8], "big")
    size = skb.gso_size
    found: list[SkBuff] = []
    for offset in range(start, skb.len, size) if skb.len > start else (start,):
        n = min(size, skb.len - offset)
        one = bytearray(headers)
        one[at + 4 : at + 8] = (seq + offset - start & 0xFFFFFFFF).to_bytes(4, "big")
        if offset + n < skb.len:
            one[at + 13] &= ~(tcp.FIN | tcp.PSH) & 0xFF
        if offset > start:
            one[at + 13] &= ~tcp.CWR & 0xFF
        found.append(_packet(skb, one, at, skb_copy_bits(skb, offset, n), len(found), IPPROTO_TCP, tcp.CHECKSUM_OFFSET))
    return found


def udp_gso_segment(skb: SkBuff) -> list[SkBuff]:
    """The datagrams of a UDP_SEGMENT send, or of what GRO put together (__udp_gso_segment): all of gso_size but the
    last, which may be shorter. An empty list for what is no UDP, or no more than one datagram.
    """
    at = _transport(skb, IPPROTO_UDP)
    start = at + udp.HEADER_SIZE
    size = skb.gso_size
    if not at or start + size >= skb.len or not _fits(skb, start):
        return []
    whole = skb.frags[0] if len(skb.frags) == 1 else None
    if type(whole) is not bytes or len(whole) != skb.len - start:
        whole = skb_copy_bits(skb, start, skb.len - start)
    headers = _UdpHeaders(skb, at, size)
    found: list[SkBuff] = []
    for offset in range(0, len(whole), size):
        if offset + size > len(whole):
            headers = _UdpHeaders(skb, at, len(whole) - offset)
        found.append(_made(skb, headers.of(len(found)), at, whole[offset : offset + size], udp.CHECKSUM_OFFSET))
    return found


class _UdpHeaders:
    """The headers of datagrams of one size, cut from ``skb``, whose UDP header is at ``at``: those of IPv4 differ in
    their identification, and so in their checksum.
    """

    __slots__ = ("back", "front", "ident", "middle", "total", "whole")

    def __init__(self, skb: SkBuff, at: int, n: int) -> None:
        head = bytearray(skb_copy_bits(skb, 0, at + udp.HEADER_SIZE))
        head[at + 4 : at + 6] = (udp.HEADER_SIZE + n).to_bytes(2, "big")
        link = skb.network_header - skb.data
        pseudo = _finish_ip(head, link, at, 0, n, IPPROTO_UDP)
        head[at + udp.CHECKSUM_OFFSET :] = pseudo.to_bytes(2, "big")
        self.whole = bytes(head)
        self.ident = -1
        if head[link] >> 4 == 4:
            self.ident = int.from_bytes(head[link + 4 : link + 6], "big")
            self.front = self.whole[: link + 4]
            self.middle = self.whole[link + 6 : link + 10]
            self.back = self.whole[link + 12 :]
            head[link + 4 : link + 6] = head[link + 10 : link + 12] = b"\0\0"
            self.total = int.from_bytes(head[link:at], "big") % 0xFFFF

    def of(self, number: int) -> bytes:
        """Those of the ``number``-th datagram."""
        if self.ident < 0 or not number:
            return self.whole
        ident = (self.ident + number) & 0xFFFF
        check = 0xFFFF - (self.total + ident) % 0xFFFF
        return b"".join((self.front, ident.to_bytes(2, "big"), self.middle, check.to_bytes(2, "big"), self.back))


def _fits(skb: SkBuff, start: int) -> bool:
    """Whether a packet with the headers up to ``start`` and gso_size of payload is one that IP can carry."""
    return start - (skb.network_header - skb.data) + min(skb.gso_size, skb.len - start) <= ipv4.MAX_LENGTH


def _packet(
    skb: SkBuff, head: bytearray, at: int, payload: bytes, number: int, protocol: int, csum_offset: int
) -> SkBuff:
    """The ``number``-th packet cut from ``skb``: ``head`` with the transport's header at ``at``, and ``payload``."""
    link = skb.network_header - skb.data
    pseudo = _finish_ip(head, link, at, number, len(payload), protocol)
    head[at + csum_offset : at + csum_offset + 2] = pseudo.to_bytes(2, "big")
    return _made(skb, bytes(head), at, payload, csum_offset)


def _made(skb: SkBuff, head: bytes, at: int, payload: bytes, csum_offset: int) -> SkBuff:
    """A packet cut from ``skb`` of these finished headers."""
    link = skb.network_header - skb.data
    n = len(payload)
    one = finished_skb(head, link, at, n, (payload,) if n else (), skb.protocol, skb.dev, csum_offset)
    one.dst = skb.dst
    ext = skb.ext
    if ext is not None and ext.says_more():
        ext = one.ext = ext.copy()
        ext.csum_start = -1
        ext.gso_type = ext.gso_segs = 0
    return one


def _finish_ip(frame: bytearray, link: int, at: int, number: int, n: int, protocol: int) -> int:
    """Fill in what of the IP header at ``link`` depends on the length, for the ``number``-th packet with ``n`` bytes of
    payload behind ``frame``. The sum of the pseudo header.
    """
    ip = frame[link:at]
    length = len(frame) - at + n
    if ip[0] >> 4 == 6:
        frame[link + 4 : link + 6] = (len(ip) - ipv6.HEADER_SIZE + length).to_bytes(2, "big")
        return pseudo_v6(bytes(ip[8:24]), bytes(ip[24:40]), protocol, length)
    ip[2:4] = (len(ip) + length).to_bytes(2, "big")
    ip[_ID] = (int.from_bytes(ip[_ID], "big") + number & 0xFFFF).to_bytes(2, "big")
    ip[10:12] = b"\0\0"
    ip[10:12] = checksum(ip).to_bytes(2, "big")
    frame[link:at] = ip
    return pseudo_v4(bytes(ip[12:16]), bytes(ip[16:20]), protocol, length)

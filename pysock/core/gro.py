"""GRO: gluing received packets of a flow to super-segments before the stack sees them (net/core/gro.c, tcp_offload.c,
udp_offload.c).

    NAPI poll -> napi_gro_receive -> held, one packet a flow -> flush -> DeviceLayer.receive_skb

The first packet of a flow is held; the next ones add their payload to it by reference, as long as the whole could be
cut into exactly those packets again (gso.py). Whatever does not fit sends out what is held first, so packets of a flow
never overtake each other. Everything held goes out at the end of each poll.

A packet is glued to the one held when all of this is true:

* link-layer header and VLAN tag, addresses, ports, TTL or hop limit, type of service, flow label and DF are equal;
* IPv4: no options, no fragment, a right header checksum, an identification that counts up (or stays, with DF);
  IPv6: TCP or UDP right behind the fixed header; both: the packet is as long as its header says;
* TCP: the next sequence number, the same acknowledgement and window, byte for byte the same options (timestamps too),
  the same flags but for PSH and FIN, no CWR;
* UDP: it has a checksum, its length is the packet's, and the socket that it is for has UDP_GRO (``Net.udp_gro``);
* the checksum is right; payload of at most the first one's, not none; and the whole stays below 64 KiB.

It goes out at once when a segment with PSH, FIN, RST, URG or SYN, one that is shorter than the first, or the 64th
datagram has come.

Not here: tunnels, gro_flush_timeout, datagrams that are to be forwarded (rx-udp-gro-forwarding).
"""

from __future__ import annotations

from pysock.core.gso import SKB_GSO_UDP_L4
from pysock.core.netdev_features import NETIF_F_GRO
from pysock.core.skb_data import skb_copy_bits, skb_header_pointer
from pysock.core.skbuff import CHECKSUM_NONE, CHECKSUM_PARTIAL, CHECKSUM_UNNECESSARY, consume_skb, skb_release_data
from pysock.uapi.if_ether import ETH_P_IP, ETH_P_IPV6
from pysock.uapi.in_ import IPPROTO_TCP, IPPROTO_UDP
from pysock.wire import ipv4, ipv6, tcp, udp
from pysock.wire.checksum import checksum, partial, pseudo_v4, pseudo_v6

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from pysock.core.skbuff import SkBuff
    from pysock.core.softirq import NapiStruct

# What became of a packet (gro_result).
GRO_MERGED: Final = 0
GRO_HELD: Final = 2
GRO_NORMAL: Final = 3

#: How many flows one poll holds at a time; the oldest goes out for a new one (MAX_GRO_SKBS in each of eight buckets).
MAX_FLOWS: Final = 64
_MAX_SIZE: Final = 65535
#: How many datagrams are glued together at most (UDP_GRO_CNT_MAX).
_MAX_DATAGRAMS: Final = 64
_DF: Final = 0x40
_LAST: Final = tcp.FIN | tcp.SYN | tcp.RST | tcp.PSH | tcp.URG
_MAY_DIFFER: Final = tcp.FIN | tcp.PSH


class _Part:
    """What decides about one packet: ``key`` its flow, ``same`` the header bytes that must be equal, ``seq`` and
    ``flags`` are TCP's. ``start`` is where its ``n`` bytes of payload begin, from the IP header. ``alone``: nothing is
    held for it; ``last``: nobody waits behind it.
    """

    __slots__ = ("alone", "flags", "ident", "key", "last", "n", "protocol", "same", "seq", "start", "version")

    def __init__(self, skb: SkBuff, version: int, ip: bytes, header: bytes, protocol: int) -> None:
        self.version = version
        self.protocol = protocol
        if version == 4:
            names = ip[12:20]
            same = ip[1:2] + ip[6:9]  # type of service, DF, TTL
            self.ident = int.from_bytes(ip[4:6], "big")
        else:
            names = ip[8:40]
            same = ip[:4] + ip[7:8]  # class and flow label, hop limit
            self.ident = 0
        mac = skb.head[skb.mac_header : skb.data] if 0 <= skb.mac_header < skb.data else b""
        self.key = bytes((protocol,)) + names + header[:4], bytes(mac), skb.vlan_tci
        self.start = len(ip) + len(header)
        self.n = skb.len - self.start
        if protocol == IPPROTO_UDP:
            self.flags = self.seq = 0
            self.same = same
            self.last = False
            unlike = header[4] << 8 | header[5] != len(header) + self.n
            self.alone = unlike or self.n <= 0 or not (header[6] or header[7])
            return
        self.flags = header[13]
        # acknowledgement, data offset, the other flags, window, options
        self.same = same + header[8:13] + bytes((header[13] & ~_MAY_DIFFER,)) + header[14:16] + header[20:]
        self.seq = int.from_bytes(header[4:8], "big")
        self.last = self.flags & _LAST != 0
        self.alone = self.n <= 0 or self.flags & (_LAST | tcp.CWR) != 0


class _Held:
    """A flow's first packet and the payload behind it. ``fixed``: the identification stays, None: not known yet."""

    __slots__ = ("count", "first", "fixed", "frags", "n", "flags", "next_seq", "skb")

    def __init__(self, skb: SkBuff, first: _Part) -> None:
        self.skb = skb
        self.first = first
        self.count = 1
        self.n = first.n
        self.next_seq = first.seq + first.n & 0xFFFFFFFF
        self.flags = first.flags
        self.fixed: bool | None = None
        self.frags: list[bytes | memoryview] = []

    def takes(self, one: _Part) -> bool:
        """Whether ``one`` continues it."""
        first = self.first
        if one.same != first.same or not 0 < one.n <= first.n or first.start + self.n + one.n > _MAX_SIZE:
            return False
        if one.alone if one.protocol == IPPROTO_UDP else one.seq != self.next_seq or one.flags & tcp.CWR:
            return False
        if first.version == 6:
            return True
        step = one.ident - first.ident & 0xFFFF
        if step == self.count and not self.fixed:
            self.fixed = False
            return True
        if step == 0 and self.fixed is not False and first.same[1] & _DF:
            self.fixed = True
            return True
        return False

    def add(self, skb: SkBuff, one: _Part) -> None:
        if not self.frags:
            self.frags += _payload(self.skb, self.first.start)
        self.frags += _payload(skb, one.start)
        self.count += 1
        self.n += one.n
        self.next_seq = one.seq + one.n & 0xFFFFFFFF
        self.flags |= one.flags
        consume_skb(skb)

    def finished(self) -> SkBuff:
        """The packet to deliver: the first one, with everybody's payload, as a sender with TSO
        or UDP_SEGMENT would hand it down (tcp_gro_complete, udp_gro_complete): its checksum is left to who cuts it.
        """
        skb = self.skb
        if self.count == 1:
            return skb
        first = self.first
        at = skb.data
        size = first.start - (ip_size := 20 if first.version == 4 else 40)
        head = bytearray(skb_copy_bits(skb, 0, first.start))
        length = size + self.n
        if first.version == 4:
            head[2:4] = (ip_size + length).to_bytes(2, "big")
            head[10:12] = b"\0\0"
            head[10:12] = checksum(head[:ip_size]).to_bytes(2, "big")
            pseudo = pseudo_v4(bytes(head[12:16]), bytes(head[16:20]), first.protocol, length)
        else:
            head[4:6] = length.to_bytes(2, "big")
            pseudo = pseudo_v6(bytes(head[8:24]), bytes(head[24:40]), first.protocol, length)
        if first.protocol == IPPROTO_UDP:
            head[ip_size + 4 : ip_size + 6] = length.to_bytes(2, "big")
            skb.csum_offset = udp.CHECKSUM_OFFSET
            skb.gso_type = SKB_GSO_UDP_L4
        else:
            head[ip_size + 13] = self.flags
            skb.csum_offset = tcp.CHECKSUM_OFFSET
        check = ip_size + skb.csum_offset
        head[check : check + 2] = pseudo.to_bytes(2, "big")
        link = bytes(skb.head[:at])
        if skb.shinfo is not None:
            skb_release_data(skb)
        skb.head = link + bytes(head)
        skb.frags = tuple(self.frags)
        skb.data_len = self.n
        skb.len = first.start + self.n
        skb.network_header = at
        skb.transport_header = at + ip_size
        skb.ip_summed = CHECKSUM_PARTIAL
        skb.gso_size = first.n
        skb.gso_segs = self.count
        return skb


def _payload(skb: SkBuff, start: int) -> list[bytes | memoryview]:
    """The bytes from ``start`` (from skb.data) on: fragments by reference, what is linear copied."""
    begin = skb.data + start
    tail = skb.data + skb.len - skb.data_len
    if begin > tail:
        return [skb_copy_bits(skb, start, skb.len - start)]
    linear = bytes(skb.head[begin:tail])
    return [linear, *skb.frags] if linear else list(skb.frags)


def napi_gro_receive(napi: NapiStruct, skb: SkBuff) -> int:
    """Hand up a received packet from the poll function of ``napi``, instead of by netif_receive_skb: ``skb.dev``,
    ``skb.protocol`` are set and ``skb.data`` is behind the link-layer header. GRO_MERGED, GRO_HELD or GRO_NORMAL.
    """
    gro = napi.gro
    if gro is None:
        gro = napi.gro = Gro(napi.softnet.napi_receive)
    return gro.receive(skb)


class Gro:
    """What one NAPI instance holds (struct gro_node). ``receive(skb)`` is where packets go on. ``merged`` counts."""

    __slots__ = ("_held", "_receive", "merged")

    def __init__(self, receive: Callable[[SkBuff], int]) -> None:
        self._receive = receive
        self._held: dict[tuple[bytes, bytes, int | None], _Held] = {}
        self.merged = 0

    def __len__(self) -> int:
        """How many packets are held."""
        return len(self._held)

    def receive(self, skb: SkBuff) -> int:
        """napi_gro_receive(): ``skb`` as for netif_receive_skb. GRO_MERGED, GRO_HELD, or GRO_NORMAL: it went on."""
        dev = skb.dev
        one = _part_of(skb) if dev is not None and dev.features & NETIF_F_GRO else None
        if one is None:
            self._receive(skb)
            return GRO_NORMAL
        held = self._held.get(one.key)
        if held is not None:
            if held.takes(one) and _checksum_right(skb, one):
                short = one.n < held.first.n
                held.add(skb, one)
                self.merged += 1
                if short or one.last or (one.protocol == IPPROTO_UDP and held.count >= _MAX_DATAGRAMS):
                    self._flush_one(held)
                return GRO_MERGED
            self._flush_one(held)
        if one.alone or not _checksum_right(skb, one):
            self._receive(skb)
            return GRO_NORMAL
        if len(self._held) >= MAX_FLOWS:
            self._flush_one(next(iter(self._held.values())))
        self._held[one.key] = _Held(skb, one)
        return GRO_HELD

    def flush(self) -> None:
        """Send on everything that is held, in the order in which it came (napi_gro_flush)."""
        while self._held:
            self._flush_one(next(iter(self._held.values())))

    def _flush_one(self, held: _Held) -> None:
        del self._held[held.first.key]
        self._receive(held.finished())


def _part_of(skb: SkBuff) -> _Part | None:
    """``skb``, its data at the IP header, as a packet that may be glued to others; None for everything else."""
    if skb.gso_size or (skb.ext is not None and (skb.ext.pkt_type or skb.ext.frag_list)):
        return None
    if skb.protocol == ETH_P_IP:
        ip = bytes(skb_header_pointer(skb, 0, ipv4.HEADER_SIZE) or b"")
        if (
            not ip
            or ip[0] != 0x45
            or ip[6] & 0x3F
            or ip[7]
            or ip[2] << 8 | ip[3] != skb.len
            or checksum(ip)
        ):
            return None
        version, protocol = 4, ip[9]
    elif skb.protocol == ETH_P_IPV6:
        ip = bytes(skb_header_pointer(skb, 0, ipv6.HEADER_SIZE) or b"")
        if not ip or ip[0] >> 4 != 6 or (ip[4] << 8 | ip[5]) + len(ip) != skb.len:
            return None
        version, protocol = 6, ip[6]
    else:
        return None
    if protocol == IPPROTO_UDP:
        return _datagram_of(skb, version, ip)
    if protocol != IPPROTO_TCP:
        return None
    fixed = skb_header_pointer(skb, len(ip), tcp.HEADER_SIZE)
    size = fixed[12] >> 4 << 2 if fixed is not None else 0
    header = skb_header_pointer(skb, len(ip), size) if size >= tcp.HEADER_SIZE else None
    return None if header is None else _Part(skb, version, ip, bytes(header), protocol)


def _datagram_of(skb: SkBuff, version: int, ip: bytes) -> _Part | None:
    """udp_gro_receive(): is it for a socket that wants them glued together?"""
    dev = skb.dev
    wanted = None if dev is None else dev.net.udp_gro
    header = skb_header_pointer(skb, len(ip), udp.HEADER_SIZE) if wanted is not None else None
    if wanted is None or dev is None or header is None:
        return None
    names = ip[12:20] if version == 4 else ip[8:40]
    if not wanted(names + bytes(header[:4]), dev.ifindex):
        return None
    return _Part(skb, version, ip, bytes(header), IPPROTO_UDP)


def _checksum_right(skb: SkBuff, one: _Part) -> bool:
    """Whether TCP's or UDP's checksum is right (skb_gro_checksum_validate). Computed here, it is not computed again."""
    if skb.ip_summed in (CHECKSUM_UNNECESSARY, CHECKSUM_PARTIAL):
        return True
    ip_size = 20 if one.version == 4 else 40
    length = skb.len - ip_size
    ip = bytes(skb_header_pointer(skb, 0, ip_size) or b"")
    if one.version == 4:
        pseudo = pseudo_v4(ip[12:16], ip[16:20], one.protocol, length)
    else:
        pseudo = pseudo_v6(ip[8:24], ip[24:40], one.protocol, length)
    if (pseudo + partial(skb_copy_bits(skb, ip_size, length))) % 0xFFFF:
        return False
    if skb.ip_summed == CHECKSUM_NONE:
        skb.ip_summed = CHECKSUM_UNNECESSARY
    return True

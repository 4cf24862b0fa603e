"""Fragments out: cutting a datagram that is longer than the link takes (RFC 791 3.2; ip_fragment, ip_do_fragment).

What the modes of IP_MTU_DISCOVER mean is here too (ip(7)): which MTU counts for a socket, whether its datagrams carry
DF, and whether they may be cut at home.
"""

from __future__ import annotations

import errno

from pysock.core.skb_data import skb_checksum_help, skb_copy_bits
from pysock.core.skbuff import CHECKSUM_PARTIAL, SkBuff, consume_skb, kfree_skb
from pysock.families.inet import route
from pysock.uapi.if_ether import ETH_P_IP
from pysock.uapi.in_ import (
    IP_PMTUDISC_DO,
    IP_PMTUDISC_DONT,
    IP_PMTUDISC_OMIT,
    IP_PMTUDISC_PROBE,
    IP_PMTUDISC_WANT,
)
from pysock.wire.checksum import checksum
from pysock.wire.ipv4 import DF, MF, OFFSET_MASK, OPT_END, OPT_NOOP

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.families.inet.inet_sock import InetSock
    from pysock.families.inet.net import InetNet
    from pysock.families.inet.route import Rtable

_HEADER = 20


# --- what a socket wants ----------------------------------------------------------------------------------------------


def socket_mtu(sk: InetSock, rt: Rtable) -> int:
    """The MTU that counts for ``sk``: the path's, or the device's when it does not believe in path MTUs
    (ip_sk_use_pmtu).
    """
    return rt.mtu if sk.pmtudisc < IP_PMTUDISC_PROBE else rt.dev.mtu


def may_fragment(sk: InetSock) -> bool:
    """Whether datagrams of ``sk`` longer than the MTU are cut here; else they are EMSGSIZE (ip_sk_ignore_df)."""
    return sk.pmtudisc in (IP_PMTUDISC_DONT, IP_PMTUDISC_WANT, IP_PMTUDISC_OMIT)


def accepts_pmtu(sk: InetSock) -> bool:
    """Whether "fragmentation needed" from the network concerns ``sk`` (ip_sk_accept_pmtu)."""
    return sk.pmtudisc <= IP_PMTUDISC_PROBE


def df_of(sk: InetSock, rt: Rtable, fits: bool = True) -> int:
    """DF, or 0: what a datagram of ``sk`` over ``rt`` carries, which ``fits`` its MTU or not (ip_dont_fragment)."""
    mode = sk.pmtudisc
    if mode in (IP_PMTUDISC_DO, IP_PMTUDISC_PROBE) or (mode == IP_PMTUDISC_WANT and fits and not rt.mtu_locked):
        return DF
    return 0


# --- cutting ----------------------------------------------------------------------------------------------------------


def fragment(inet: InetNet, rt: Rtable, skb: SkBuff, mtu: int) -> int:
    """Send ``skb``, its data at the IP header, over ``rt`` in pieces of at most ``mtu`` bytes. Takes the reference.

    0, or what the device says of the first piece that it refuses, or -EMSGSIZE with DF: the sender hears of it by ICMP.
    A fragment may be cut again.
    """
    mibs = inet.mibs.ip
    head = skb.head
    at = skb.data
    word = head[at + 6] << 8 | head[at + 7]
    size = (head[at] & 15) * 4
    room = (mtu - size) & ~7
    if word & DF or room < 8:
        from pysock.families.inet import icmp  # which sends through ip_output, which cuts with this

        mibs.FragFails += 1
        icmp.send(inet, skb, icmp.DEST_UNREACH, icmp.FRAG_NEEDED, mtu)
        kfree_skb(skb, "PKT_TOO_BIG")
        return -errno.EMSGSIZE
    if skb.ip_summed == CHECKSUM_PARTIAL:
        skb_checksum_help(skb)
    header = bytearray(skb_copy_bits(skb, 0, size))
    payload = skb_copy_bits(skb, size, skb.len - size)
    base = word & OFFSET_MASK
    total = len(payload)
    result = 0
    for start in range(0, total, room):
        data = payload[start : start + room]
        last = start + room >= total
        if start == room:
            _keep_copied_options(header)
        flags = word & MF if last else MF
        piece = _piece(skb, rt, header, base + (start >> 3) | flags, data)
        if not start and skb.ext is not None:
            piece.need_ext().tx_stamp = skb.ext.tx_stamp
        mibs.FragCreates += 1
        result = _send(inet, rt, piece)
        if result:
            break
    if result:
        mibs.FragFails += 1
    else:
        mibs.FragOKs += 1
    consume_skb(skb)
    return result


def _piece(skb: SkBuff, rt: Rtable, header: bytearray, word: int, data: bytes) -> SkBuff:
    header[2:4] = (len(header) + len(data)).to_bytes(2, "big")
    header[6:8] = word.to_bytes(2, "big")
    header[10:12] = b"\0\0"
    header[10:12] = checksum(header).to_bytes(2, "big")
    piece = SkBuff(bytes(header), 0, len(header) + len(data), len(data), (data,))
    piece.network_header = 0
    piece.transport_header = len(header)
    piece.protocol = ETH_P_IP
    piece.dev = rt.dev
    if skb.ext is not None:
        piece.priority, piece.mark, piece.tstamp = skb.priority, skb.mark, skb.tstamp
    return piece


def _send(inet: InetNet, rt: Rtable, piece: SkBuff) -> int:
    hh = rt.hh
    if hh is None:
        return route.neigh_output(inet, rt, piece)
    piece.head = hh + piece.head
    offset = len(hh)
    piece.len += offset
    piece.mac_header = 0
    piece.network_header += offset
    piece.transport_header += offset
    return rt.xmit(piece)


def _keep_copied_options(header: bytearray) -> None:
    """Later fragments carry only the options that say so (ip_options_fragment): the others become no-operations."""
    at = _HEADER
    while at < len(header):
        kind = header[at]
        if kind == OPT_END:
            return
        length = 1 if kind == OPT_NOOP else header[at + 1] if at + 1 < len(header) else 0
        if length < 1 or (kind != OPT_NOOP and length < 2) or at + length > len(header):
            return
        if not kind & 0x80:
            header[at : at + length] = bytes((OPT_NOOP,)) * length
        at += length

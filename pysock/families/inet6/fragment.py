"""Fragments on their way out (RFC 8200 4.5; ip6_fragment in net/ipv6/ip6_output.c). Only the source fragments."""

from __future__ import annotations

import errno

from pysock.core.skb_data import skb_checksum_help, skb_copy_bits
from pysock.core.skbuff import SkBuff, consume_skb
from pysock.families.inet6 import ip6_output
from pysock.uapi.if_ether import ETH_P_IPV6
from pysock.uapi.in_ import IPPROTO_DSTOPTS, IPPROTO_FRAGMENT, IPPROTO_HOPOPTS, IPPROTO_ROUTING
from pysock.wire.ipv6 import FRAGMENT_SIZE, build_fragment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.families.inet6.net import Inet6Net
    from pysock.families.inet6.route import Rt6

_HEADER = 40


def fragmentable(packet: bytes) -> tuple[int, int]:
    """Where the part of ``packet`` starts that is cut, and where the "next header" byte stands that names it
    (ip6_find_1stfragopt).

    In front of it, in every fragment, are the hop-by-hop options and the routing header, and destination options unless
    they follow a routing header. RFC 8200 would cut those without one; Linux does not.
    """
    at = _HEADER
    name = 6
    routed = False
    while at + 2 <= len(packet):
        kind = packet[name]
        if kind == IPPROTO_ROUTING:
            routed = True
        elif kind != IPPROTO_HOPOPTS and (kind != IPPROTO_DSTOPTS or routed):
            break
        name = at
        at += (packet[at + 1] + 1) * 8
    return at, name


def fragment(inet6: Inet6Net, rt: Rt6, skb: SkBuff, mtu: int, loop: bool) -> int:
    """Send ``skb``, its data at the IPv6 header, over ``rt`` in packets of at most ``mtu`` bytes. Takes the reference.
    0, or a negative errno. Checksums are computed before the cut.
    """
    mibs = inet6.mibs.ip6
    skb_checksum_help(skb)
    packet = skb_copy_bits(skb, 0, skb.len)
    start, name = fragmentable(packet)
    size = (mtu - start - FRAGMENT_SIZE) & ~7
    if size < 8 or start > len(packet):
        mibs.FragFails += 1
        consume_skb(skb)
        return -errno.EMSGSIZE
    common = bytearray(packet[:start])
    inner = common[name]
    common[name] = IPPROTO_FRAGMENT
    ident = inet6.kernel.random("ip6.id").getrandbits(32)
    total = len(packet) - start
    result = 0
    for offset in range(0, total, size):
        data = packet[start + offset : start + min(offset + size, total)]
        common[4:6] = (start - _HEADER + FRAGMENT_SIZE + len(data)).to_bytes(2, "big")
        head = bytes(common) + build_fragment(inner, offset, offset + len(data) < total, ident)
        one = SkBuff(head, 0, len(head) + len(data), len(data), (data,))
        one.network_header = 0
        one.transport_header = len(head)
        one.protocol = ETH_P_IPV6
        one.dev = rt.dev
        if skb.ext is not None:
            one.priority, one.mark, one.tstamp = skb.priority, skb.mark, skb.tstamp
            if not offset:
                one.need_ext().tx_stamp = skb.ext.tx_stamp
        mibs.FragCreates += 1
        result = ip6_output.finish_accepted(inet6, rt, one, loop)
        if result < 0:
            break
    if result < 0:
        mibs.FragFails += 1
    else:
        mibs.FragOKs += 1
    consume_skb(skb)
    return result

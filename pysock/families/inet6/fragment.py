"""Fragments on their way out (RFC 8200 4.5; ip6_fragment in net/ipv6/ip6_output.c). Only the source fragments."""

from __future__ import annotations

import errno

from pysock.core.skb_data import skb_checksum_help, skb_copy_bits
from pysock.core.skbuff import SkBuff, consume_skb
from pysock.families.inet6 import ip6_output
from pysock.uapi.in_ import IPPROTO_FRAGMENT
from pysock.wire.ipv6 import FRAGMENT_SIZE, build_fragment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.families.inet6.net import Inet6Net
    from pysock.families.inet6.route import Rt6

_HEADER = 40


def send_fragments(
    inet6: Inet6Net, rt: Rt6, header: bytes, last: int, inner: int, payload: SkBuff, limit: int, loop: bool
) -> int:
    """Send ``payload``, the fragmentable part, in packets of at most ``limit`` bytes that each begin with ``header``:
    the IPv6 header and the extension headers of the unfragmentable part. 0, or a negative errno.

    ``last`` is where in those extension headers the last "next header" byte stands (-1: there are none), ``inner`` what
    the fragmentable part begins with. Checksums are computed before the cut.
    """
    mibs = inet6.mibs.ip6
    size = (limit - len(header) - FRAGMENT_SIZE) & ~7
    if size < 8:
        mibs.FragFails += 1
        consume_skb(payload)
        return -errno.EMSGSIZE
    if payload.transport_header < 0:
        payload.transport_header = payload.data
    skb_checksum_help(payload)
    common = bytearray(header)
    common[_HEADER + last if last >= 0 else 6] = IPPROTO_FRAGMENT
    ident = inet6.kernel.random("ip6.id").getrandbits(32)
    total = payload.len
    result = 0
    for offset in range(0, total, size):
        data = skb_copy_bits(payload, offset, min(size, total - offset))
        common[4:6] = (len(header) - _HEADER + FRAGMENT_SIZE + len(data)).to_bytes(2, "big")
        one = SkBuff(b"", 0, len(data), len(data), (data,))
        if payload.ext is not None:
            one.priority, one.mark = payload.priority, payload.mark
        fragment = build_fragment(inner, offset, offset + len(data) < total, ident)
        mibs.FragCreates += 1
        result = ip6_output.finish(inet6, rt, bytes(common) + fragment, one, len(header) + FRAGMENT_SIZE, loop)
        if result < 0:
            break
    if result < 0:
        mibs.FragFails += 1
    else:
        mibs.FragOKs += 1
    consume_skb(payload)
    return result

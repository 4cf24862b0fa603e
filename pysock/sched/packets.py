"""What disciplines ask of a packet: its length on the wire, its segments, and its ECN mark. (Its flow: core/flow.py.)

All take a frame from ``skb.data`` on, with network_header set, as dev_queue_xmit gets it; what is not IP answers with
its link-layer addresses, and is never marked.
"""

from __future__ import annotations

import errno

from pysock.core.errors import err
from pysock.core.gso import SKB_GSO_UDP_L4, pass_on_owner
from pysock.core.skb_data import skb_header_pointer
from pysock.core.skbuff import consume_skb, skb_release_data
from pysock.uapi.if_ether import ETH_P_IP, ETH_P_IPV6
from pysock.wire import ipv4, udp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.netdevice import NetDevice
    from pysock.core.skbuff import SkBuff

_CE = 3
_U32_MAX = (1 << 32) - 1


def option(name: str, value: object, low: int = 0, high: int = _U32_MAX) -> int:
    """``value`` of a discipline's option, if it is an int within both limits; else EINVAL with its name."""
    if not isinstance(value, int) or not low <= value <= high:
        raise err(errno.EINVAL, f"{name} {value!r} is not in {low}..{high}")
    return value


def wire_length(skb: SkBuff) -> int:
    """Bytes that ``skb`` takes on the wire, link-layer headers included: a super-segment's headers count once for each
    segment (qdisc_pkt_len_init).
    """
    size = skb.gso_size
    if not size:
        return skb.len
    at = skb.transport_header - skb.data
    if at > 0 and skb.gso_type & SKB_GSO_UDP_L4:
        headers = at + udp.HEADER_SIZE
    else:
        head = skb_header_pointer(skb, at, 13) if at > 0 else None
        if head is None:
            return skb.len
        headers = at + (head[12] >> 4 << 2)
    segments = -(-max(skb.len - headers, 1) // size)
    return skb.len + (segments - 1) * headers


def frame_size(dev: NetDevice) -> int:
    """Bytes of the longest frame that ``dev`` sends (psched_mtu)."""
    return dev.mtu + dev.hard_header_len


def segments(dev: NetDevice, skb: SkBuff) -> list[SkBuff]:
    """The wire packets of a super-segment, which is freed; ``[skb]`` for what is none, [] when it can't be cut: then it
    is still the caller's.
    """
    if not skb.gso_size:
        return [skb]
    cut = dev.kernel.dev_layer.gso_segment(skb, 0)
    for one in cut:
        one.dev = dev
        one.gso_size = 0
    if cut:
        pass_on_owner(skb, cut)
        consume_skb(skb)
    return cut


def set_ce(skb: SkBuff) -> bool:
    """Mark "congestion experienced" in the IP header (INET_ECN_set_ce, RFC 3168 5). False when the packet's transport
    does not know ECN, or there is no IP header.
    """
    at = skb.network_header - skb.data
    if at < 0 or skb.protocol not in (ETH_P_IP, ETH_P_IPV6):
        return False
    fixed = skb_header_pointer(skb, at, ipv4.HEADER_SIZE)
    if fixed is None or at + ipv4.HEADER_SIZE > skb.len - skb.data_len:
        return False
    if skb.protocol == ETH_P_IPV6:
        ecn = fixed[1] >> 4 & _CE
        new = bytes((fixed[0], fixed[1] | _CE << 4)) + bytes(fixed[2:12])
    else:
        ecn = fixed[1] & _CE
        check = (fixed[10] << 8 | fixed[11]) + ecn + (0xFFFF - _CE)  # RFC 1624: take the old mark out, put CE in
        check = (check & 0xFFFF) + (check >> 16)
        new = bytes((fixed[0], fixed[1] | _CE)) + bytes(fixed[2:10]) + check.to_bytes(2, "big")
    if ecn == _CE or not ecn:
        return ecn == _CE
    start = skb.network_header
    view = memoryview(skb.head)
    head = b"".join((view[:start], new, view[start + len(new) :]))
    if skb.shinfo is not None:
        skb_release_data(skb)
    skb.head = head
    return True

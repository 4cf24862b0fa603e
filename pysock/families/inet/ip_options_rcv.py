"""IP options of received datagrams (ip_options_rcv_srr, ip_rcv_options in net/ipv4, ip_forward_options).

Bad ones are answered with a parameter problem. Source routes are followed only where accept_source_route is set, for
"all" and the device. Record route and timestamp get our address, or where we forward that which the datagram leaves
with.
"""

from __future__ import annotations

from pysock.core.skb_copy import skb_share_check
from pysock.core.skbuff import SkBuff, kfree_skb
from pysock.families.inet import icmp, route
from pysock.families.inet.devinet import in_device, select_addr
from pysock.families.inet.fib import RT_SCOPE_LINK, RTN_LOCAL, RTN_UNICAST
from pysock.families.inet.ip_options import problem, stamp, store, tidy, walk
from pysock.uapi.if_packet import PACKET_HOST
from pysock.wire.icmp import DEST_UNREACH, PARAMETERPROB, SR_FAILED
from pysock.wire.ipv4 import OPT_LSRR, OPT_SSRR

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.families.inet.net import InetNet


def receive(inet: InetNet, skb: SkBuff, off: int, size: int, kind: int) -> tuple[SkBuff, int]:
    """A datagram with options has arrived (ip_rcv_options): its header of ``size`` bytes is at ``off``, ``kind`` says
    whose it is. The datagram, and whose it is after a source route was followed; 0: it was dropped.
    """
    skb = skb_share_check(skb)
    return skb, _receive(inet, skb, off, size, kind)


def _receive(inet: InetNet, skb: SkBuff, off: int, size: int, kind: int) -> int:
    header = bytearray(skb.head[off : off + size])
    wrong = problem(bytes(header))
    if wrong:
        return _refuse(inet, skb, wrong)
    dev = skb.dev
    assert dev is not None
    if tidy(header):
        store(skb, off, header)
    for at, name, _ in walk(header):
        if name in (OPT_LSRR, OPT_SSRR):
            state = in_device(dev)
            if not (state.conf.accept_source_route and state.all.accept_source_route):
                return _refuse(inet, skb, 0)
            kind = _follow(inet, skb, header, at, kind)
            if kind <= 0:
                return 0
            store(skb, off, header)
            break
    if kind != RTN_UNICAST:
        address = bytes(header[16:20])
        if kind != RTN_LOCAL:
            address = select_addr(dev, bytes(header[12:16]), RT_SCOPE_LINK)
        if stamp(inet, header, address):
            store(skb, off, header)
    return kind


def _refuse(inet: InetNet, skb: SkBuff, wrong: int) -> int:
    """Drop it; tell the sender where it is ``wrong``, unless that is 0."""
    inet.mibs.ip.InHdrErrors += 1
    if wrong:
        icmp.send(inet, skb, PARAMETERPROB, 0, wrong << 24)
    kfree_skb(skb, "IP_INHDR")
    return 0


def _follow(inet: InetNet, skb: SkBuff, header: bytearray, at: int, kind: int) -> int:
    """ip_options_rcv_srr() and its part of ip_forward_options(): the next address of a source route is where it goes
    on, the address that we send from takes its place.
    """
    dev = skb.dev
    assert dev is not None
    strict = header[at] == OPT_SSRR
    if kind == RTN_UNICAST:  # loose, and we are between two of its hosts
        return _refuse(inet, skb, 16) if strict else kind
    if kind != RTN_LOCAL or skb.pkt_type != PACKET_HOST:
        return _refuse(inet, skb, 0)
    length = header[at + 1]
    while (pointer := header[at + 2]) <= length:
        if pointer + 3 > length:
            return _refuse(inet, skb, at + 2)
        where = at + pointer - 1
        hop = bytes(header[where : where + 4])
        kind = route.input_type(inet, bytes(header[12:16]), hop, dev)
        try:
            rt = route.output(inet, hop) if kind in (RTN_UNICAST, RTN_LOCAL) else None
        except OSError:
            rt = None
        if rt is None or (kind == RTN_UNICAST and not in_device(dev).conf.forwarding):
            return _refuse(inet, skb, 0)
        if strict and rt.gateway is not None:
            icmp.send(inet, skb, DEST_UNREACH, SR_FAILED, 0)
            return _refuse(inet, skb, 0)
        header[where : where + 4] = rt.saddr
        header[16:20] = hop
        header[at + 2] += 4
        if kind == RTN_UNICAST:
            return kind
    return RTN_LOCAL


def forwarded(inet: InetNet, skb: SkBuff, off: int, size: int, address: bytes) -> SkBuff:
    """Fill in the options of a datagram that leaves from ``address`` (ip_forward_options); it may be another skb."""
    header = bytearray(skb.head[off : off + size])
    if stamp(inet, header, address):
        skb = skb_share_check(skb)
        store(skb, off, header)
    return skb

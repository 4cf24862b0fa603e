"""Forwarding: datagrams that come in on one device and leave by another (RFC 1812 5; net/ipv4/ip_forward.c, route.c).

    forward -> TTL, route, redirect?, too big? -> header with a TTL less -> the device, or in fragments
    unreachable -> what a router says when it knows no way

The way of a flow is looked up once: `Forwarder.ways` remembers it by addresses and incoming device until the routing
table's generation changes. Only what arrived for our own link-layer address is forwarded.

Options are ip_options_rcv's business, multicasts ipmr's.
"""

from __future__ import annotations

from struct import Struct

from pysock.core.clock import NSEC_PER_MSEC
from pysock.core.gso import gso_fits
from pysock.core.netfilter import NF_INET_FORWARD, NFPROTO_IPV4
from pysock.core.skb_copy import skb_share_check
from pysock.core.skbuff import (
    CHECKSUM_COMPLETE,
    CHECKSUM_NONE,
    SkBuff,
    kfree_skb,
    skb_release_data,
    skb_shift_headers,
)
from pysock.families.inet import icmp, ip_options_rcv, ip_ra, route
from pysock.families.inet.devinet import in_device, onlink
from pysock.families.inet.fib import RTN_BLACKHOLE, RTN_PROHIBIT, RTN_UNICAST, RTN_UNREACHABLE
from pysock.families.inet.ip_output import finish_output
from pysock.uapi.if_packet import PACKET_HOST
from pysock.wire.icmp import PKT_FILTERED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from pysock.core.netdevice import NetDevice
    from pysock.families.inet.fib_rules import Flow
    from pysock.families.inet.net import InetNet
    from pysock.families.inet.route import Rtable

_WAYS_LIMIT: Final = 8192
_DF: Final = 0x40
#: TTL, protocol and checksum
_TTL_CHECK: Final = Struct("!BBH")
#: How redirects are limited for each sender: that many unheeded ones, at doubling intervals; after a silence anew.
_REDIRECT_NUMBER: Final = 9
_REDIRECT_LOAD: Final = 20 * NSEC_PER_MSEC
_REDIRECT_SILENCE: Final = _REDIRECT_LOAD << (_REDIRECT_NUMBER + 1)
_PEER_LIMIT: Final = 1024


class Forwarder:
    """A namespace's forwarding state. ``ways``: (both addresses, ifindex) -> route, whether to redirect the sender."""

    __slots__ = ("generation", "inet", "redirected", "use_pmtu", "ways")

    def __init__(self, inet: InetNet) -> None:
        self.inet = inet
        self.ways: dict[tuple[bytes, int], tuple[Rtable, bool]] = {}
        self.generation = 0
        self.use_pmtu = False
        #: sender -> redirects sent to it, and when the last was (ns)
        self.redirected: dict[bytes, tuple[int, int]] = {}
        inet.net.sysctl.register_lazy("net.ipv4", self._register_sysctls)

    def _register_sysctls(self) -> None:
        self.inet.net.sysctl.register_bool("net.ipv4.ip_forward_use_pmtu", False, on_change=self._set_use_pmtu)

    def _set_use_pmtu(self, value: bool) -> None:
        self.use_pmtu = value

    def way(self, addresses: bytes, dev: NetDevice, flow: Flow | None = None) -> tuple[Rtable, bool] | None:
        """How a datagram between ``addresses`` (source and destination, 8 bytes) that came in on ``dev`` goes on; None
        when the route failed since it was looked at. What depends on its ``flow`` is not kept here.
        """
        fib = self.inet.fib
        if self.generation != fib.generation or len(self.ways) >= _WAYS_LIMIT:
            self.ways.clear()
            self.generation = fib.generation
        key = addresses, dev.ifindex
        found = self.ways.get(key)
        if found is None:
            try:
                rt = route.output(self.inet, addresses[4:], flow=flow)
            except OSError:
                return None
            if rt.type != RTN_UNICAST:
                return None
            found = rt, self._should_redirect(rt, addresses[:4], dev)
            if flow is None:
                self.ways[key] = found
        return found

    def _should_redirect(self, rt: Rtable, saddr: bytes, dev: NetDevice) -> bool:
        """Whether the sender could have taken the next hop itself (__mkroute_input)."""
        if rt.dev is not dev:
            return False
        state = in_device(dev)
        source = self.inet.fib.lookup(saddr)
        if source is None or not source.through(dev) or source.gateway is not None:
            return False  # the sender is not on this link
        if not (state.conf.send_redirects or state.all.send_redirects):
            return False
        shared = state.conf.shared_media or state.all.shared_media
        return bool(shared) or onlink(dev, saddr, rt.gateway or rt.daddr)

    def may_redirect(self, saddr: bytes) -> bool:
        """ip_rt_send_redirect()'s limits."""
        now = self.inet.kernel.now
        peers = self.redirected
        count, last = peers.get(saddr, (0, 0))
        if now > last + _REDIRECT_SILENCE:
            count = 0
        send = count < _REDIRECT_NUMBER and (not count or now > last + (_REDIRECT_LOAD << count))
        if send or count >= _REDIRECT_NUMBER:
            if len(peers) >= _PEER_LIMIT:
                peers.clear()
            peers[saddr] = count + send, now
        return send


def setup(inet: InetNet) -> None:
    """Give a namespace its forwarding."""
    inet.forwarder = Forwarder(inet)


def forward_known(inet: InetNet, skb: SkBuff, off: int, size: int) -> bool:
    """Send on a datagram of a flow that was forwarded before: whether it was one. What was found out of its addresses
    holds as long as the routing table's generation, which every setting that matters raises.
    """
    forwarder = inet.forwarder
    ways = forwarder.ways
    if not ways or forwarder.generation != inet.fib.generation:
        return False
    dev = skb.dev
    assert dev is not None
    if (bytes(skb.head[off + 12 : off + 20]), dev.ifindex) not in ways:
        return False
    forward(inet, skb, off, size)
    return True


def forward(inet: InetNet, skb: SkBuff, off: int, size: int) -> None:
    """Send on a datagram that is for somebody else (ip_forward): its header of ``size`` bytes is at ``off``, linear and
    checked. Takes the reference.
    """
    mibs = inet.mibs.ip
    head = skb.head
    dev = skb.dev
    assert dev is not None
    if skb.ext is not None and skb.ext.pkt_type != PACKET_HOST:
        kfree_skb(skb, "NOT_SPECIFIED")
        return
    if size > 20 and ip_ra.take(inet, skb, off, size):
        return
    if head[off + 8] <= 1:
        mibs.InHdrErrors += 1
        icmp.send(inet, skb, icmp.TIME_EXCEEDED, icmp.EXC_TTL, 0)
        kfree_skb(skb, "IP_INHDR")
        return
    forwarder = inet.forwarder
    flow = None if inet.fib.plain else route.flow_in(skb, off)
    way = forwarder.way(bytes(head[off + 12 : off + 20]), dev, flow)
    if way is None:
        unreachable(inet, skb, None)
        return
    rt, redirect = way
    mtu = rt.mtu if forwarder.use_pmtu else rt.dev.mtu
    length = skb.len
    cut = length > mtu
    if cut and skb.gso_size and gso_fits(skb, off, off + size, mtu):
        cut = False
    if cut and head[off + 6] & _DF:
        mibs.FragFails += 1
        icmp.send(inet, skb, icmp.DEST_UNREACH, icmp.FRAG_NEEDED, mtu)
        kfree_skb(skb, "PKT_TOO_BIG")
        return
    if redirect and forwarder.may_redirect(bytes(head[off + 12 : off + 16])):
        icmp.send(inet, skb, icmp.REDIRECT, 1, int.from_bytes(rt.gateway or rt.daddr, "big"))
    skb = skb_share_check(skb)
    if size > 20:
        skb = ip_options_rcv.forwarded(inet, skb, off, size, rt.saddr)
    mibs.ForwDatagrams += 1
    hh = rt.hh
    if hh is None or cut:
        decrease_ttl(skb, off, size)
        _finish(inet, rt, skb, mtu, cut, dev)
        return
    decrease_ttl(skb, off, size, hh)
    skb.data = skb.mac_header = 0
    skb.len = length + len(hh)
    skb.dev = rt.dev
    rt.xmit(skb)


def decrease_ttl(skb: SkBuff, off: int, size: int, hh: bytes = b"") -> None:
    """Give ``skb`` a head of its own, in which the IP header of ``size`` bytes that was at ``off`` has a TTL less and
    stands behind ``hh`` (ip_decrease_ttl); ``skb.data`` is at the IP header then.
    """
    ttl, protocol, check = _TTL_CHECK.unpack_from(skb.head, off + 8)
    check += 0x100
    tail = skb.data + skb.len - skb.data_len
    view = memoryview(skb.head)
    new = _TTL_CHECK.pack(ttl - 1, protocol, (check & 0xFFFF) + (check >> 16))
    if skb.shinfo is not None:
        skb_release_data(skb)
    if skb.ip_summed == CHECKSUM_COMPLETE:
        skb.ip_summed = CHECKSUM_NONE
    skb.head = b"".join((hh, view[off : off + 8], new, view[off + 12 : tail]))
    to = len(hh)
    if skb.ext is not None:
        skb_shift_headers(skb, to - off)
        skb.ext.priority = 0
    skb.data = skb.network_header = to
    skb.transport_header = to + size
    skb.mac_header = -1


def _finish(inet: InetNet, rt: Rtable, skb: SkBuff, mtu: int, cut: bool, dev: NetDevice) -> None:
    """Netfilter hooks to be asked, a neighbour that is not known to be there, or a datagram that must be cut."""
    skb.dev = rt.dev
    if inet.nf is None or rt.inner is None:
        finish_accepted(inet, rt, skb, mtu, cut)
        return

    def accepted(skb: SkBuff) -> int:
        finish_accepted(inet, rt, skb, mtu, cut)
        return 0

    inet.nf.run(NFPROTO_IPV4, NF_INET_FORWARD, skb, dev, rt.dev, accepted)


def finish_accepted(inet: InetNet, rt: Rtable, skb: SkBuff, mtu: int, cut: bool) -> None:
    """Send what may be sent, cut if it is longer than ``mtu``, a super-segment into its segments first."""
    if not (cut and skb.gso_size):
        finish_output(inet, rt, skb, mtu)
        return
    for one in inet.kernel.dev_layer.gso_segment(skb, 0):  # ip_finish_output_gso()
        one.mac_header = -1
        one.gso_size = 0
        finish_output(inet, rt, one, mtu)
    kfree_skb(skb)


def unreachable(inet: InetNet, skb: SkBuff, kind: int | None) -> None:
    """There is no way for ``skb``, which we would have forwarded (ip_error): tell the sender, unless the route of type
    ``kind`` (None: no route at all) says to be silent. Takes the reference.
    """
    if kind == RTN_PROHIBIT:
        icmp.send(inet, skb, icmp.DEST_UNREACH, PKT_FILTERED, 0)
    elif kind == RTN_UNREACHABLE:
        icmp.send(inet, skb, icmp.DEST_UNREACH, icmp.HOST_UNREACH, 0)
    elif kind != RTN_BLACKHOLE:
        inet.mibs.ipext.InNoRoutes += 1
        icmp.send(inet, skb, icmp.DEST_UNREACH, icmp.NET_UNREACH, 0)
    kfree_skb(skb, "IP_INNOROUTES")

"""Routes as packets use them: an `Rtable` says which device, which source address, which link-layer header.

`output` looks up where a new flow goes (ip_route_output_flow), `input_type` whose a received datagram is
(ip_route_input). A socket keeps its Rtable and looks again only when ``generation`` of the FIB has moved on.
"""

from __future__ import annotations

import errno
from copy import copy

from pysock.core.errors import err
from pysock.core.skbuff import kfree_skb
from pysock.families.inet import fib_default
from pysock.families.inet.addr import ANY, is_loopback, is_multicast
from pysock.families.inet.devinet import in_device, select_addr
from pysock.families.inet.fib import (
    RT_SCOPE_LINK,
    RTAX_HOPLIMIT,
    RTAX_LOCK,
    RTAX_MTU,
    RTN_BLACKHOLE,
    RTN_BROADCAST,
    RTN_LOCAL,
    RTN_MULTICAST,
    RTN_PROHIBIT,
    RTN_UNICAST,
    RTN_UNREACHABLE,
    FibEntry,
)
from pysock.families.inet.fib_rules import Flow, flow_of, multipath_of
from pysock.families.inet.martian import martian
from pysock.uapi.if_ import IFF_LOOPBACK, IFF_MULTICAST, IFF_NOARP, IFF_POINTOPOINT, IFF_UP
from pysock.uapi.if_ether import ETH_P_IP
from pysock.uapi.in_ import IPPROTO_TCP, IPPROTO_UDP

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from pysock.core.device import NetDevice
    from pysock.core.neighbour import Neighbour
    from pysock.core.skbuff import SkBuff
    from pysock.families.inet.inet_sock import InetSock
    from pysock.families.inet.net import InetNet

    AnyRoute = TypeVar("AnyRoute", bound="Rtable")

_FAILURES = {
    RTN_BLACKHOLE: errno.EINVAL,
    RTN_UNREACHABLE: errno.EHOSTUNREACH,
    RTN_PROHIBIT: errno.EACCES,
}
_LINK_LOCAL_GROUPS = b"\xe0\0\0"  # 224.0.0.0/24
_ETHERTYPE_IP = ETH_P_IP.to_bytes(2, "big")


class Rtable:
    """A route in use (struct rtable): immutable once made, but for ``hh``.

    ``hh`` is the complete link-layer header for this next hop (hh_cache), which ``neigh`` keeps up to date, or None
    while the hop is not known to be reachable: `neigh_output` sends then. ``xmit`` is the device's transmit function.
    ``mtu`` in bytes, of the path as far as it is known; ``mtu_locked`` when DF must not be set. ``inner`` is a detour's
    goal. ``metrics`` are the route's by RTAX_*, ``hoplimit`` one of them, 0 for the namespace's default.
    """

    __slots__ = (
        "__weakref__", "daddr", "dev", "gateway", "generation", "hh", "hoplimit", "inner", "loopback", "metrics", "mtu",
        "mtu_locked", "neigh", "saddr", "type", "xmit",
    )  # fmt: skip

    def __init__(
        self, type: int, dev: NetDevice, saddr: bytes, daddr: bytes, gateway: bytes | None, generation: int
    ) -> None:
        self.type = type
        self.dev = dev
        self.saddr = saddr
        self.daddr = daddr
        self.gateway = gateway
        self.generation = generation
        self.mtu = dev.mtu
        self.mtu_locked = False
        self.metrics: dict[int, int] | None = None
        self.hoplimit = 0
        self.loopback = bool(dev.flags & IFF_LOOPBACK)
        self.hh = _hard_header(dev, type, gateway or daddr)
        self.neigh: Neighbour | None = None
        self.inner: Rtable | None = None
        self.xmit: Callable[[SkBuff], int] = dev.queue_xmit


def detour(rt: AnyRoute) -> AnyRoute:
    """A route like ``rt`` that none of the fast paths takes, since its ``hh`` stays None: output goes by
    `ip_output.local_out`, which asks the netfilter hooks and gives the packet what its socket says, and then over
    ``inner``, which is ``rt``.
    """
    new = copy(rt)
    new.hh = new.neigh = None
    new.inner = rt
    return new


def _hard_header(dev: NetDevice, type: int, nexthop: bytes) -> bytes | None:
    """The Ethernet header towards ``nexthop``, where it is known without asking (arp_constructor)."""
    if dev.hard_header_len == 0:
        return b""
    if is_multicast(nexthop):
        destination = b"\x01\x00\x5e" + bytes((nexthop[1] & 0x7F,)) + nexthop[2:]  # RFC 1112 6.4
    elif dev.flags & (IFF_NOARP | IFF_LOOPBACK):
        destination = dev.dev_addr
    elif type == RTN_BROADCAST or dev.flags & IFF_POINTOPOINT:
        destination = dev.broadcast
    else:
        return None
    return destination + dev.dev_addr + _ETHERTYPE_IP


def neigh_output(inet: InetNet, rt: Rtable, skb: SkBuff) -> int:
    """Send ``skb``, its data at the IP header, to the next hop of a route whose ``hh`` is None (ip_finish_output2): it
    may have to wait until ARP knows where. Takes the reference. 0, or what `NetDevice.queue_xmit` says.
    """
    neigh = rt.neigh
    if neigh is None or neigh.dead:
        try:
            neigh = inet.arp.find(rt.dev, rt.gateway or rt.daddr)
        except OSError as exc:
            inet.mibs.ip.OutDiscards += 1
            kfree_skb(skb, "NEIGH_CREATEFAIL")
            return -(exc.errno or errno.ENOBUFS)
        rt.neigh = neigh
        neigh.attach(rt)
    skb.dev = rt.dev
    return neigh.output(skb)


def output(inet: InetNet, daddr: bytes, saddr: bytes = ANY, oif: int = 0, flow: Flow | None = None) -> Rtable:
    """Where a datagram from ``saddr`` (ANY: choose) to ``daddr`` leaves; ``oif`` forces a device. ``flow`` says what
    else there is to know; it matters unless ``FibTable.plain``.

    ENETUNREACH without a route, EINVAL for a source address that is not ours, ENODEV for a bad ``oif``, and the errno
    of an unreachable, prohibit or blackhole route. ANY as destination means this host (RFC 1122 3.2.1.3, as Linux has
    it).
    """
    fib = inet.fib
    key: tuple[bytes | int, ...] = (daddr, saddr, oif)
    if fib.plain:
        flow = None
    else:
        flow = flow or Flow(daddr, saddr)
        key += flow.saddr, *flow.key()
    rt = fib.routes.get(key)
    if rt is None:
        rt = _lookup(inet, daddr, saddr, oif, flow)
        if inet.nf is not None:
            rt = detour(rt)
        fib.remember(key, rt)
    return rt


def output_for(
    sk: InetSock, daddr: bytes, saddr: bytes, oif: int, dport: int = 0, tos: int = -1, mark: int = -1
) -> Rtable:
    """`output` for what a socket sends; ``dport`` (0: its peer's), ``tos`` and ``mark`` (-1: its own) of one
    datagram.
    """
    inet = sk.inet
    return output(inet, daddr, saddr, oif, None if inet.fib.plain else flow_of(sk, daddr, saddr, dport, tos, mark))


def flow_in(skb: SkBuff, off: int) -> Flow:
    """The flow of a received datagram whose header, checked and linear, is at ``off``."""
    head = skb.head
    dev = skb.dev
    assert dev is not None
    flow = Flow(bytes(head[off + 16 : off + 20]), bytes(head[off + 12 : off + 16]), dev.name, head[off + 1], skb.mark)
    flow.protocol = head[off + 9]
    at = off + (head[off] & 15) * 4
    whole = not (head[off + 6] & 0x3F or head[off + 7])
    if whole and flow.protocol in (IPPROTO_TCP, IPPROTO_UDP) and at + 4 <= skb.data + skb.len - skb.data_len:
        flow.sport = int.from_bytes(head[at : at + 2], "big")
        flow.dport = int.from_bytes(head[at + 2 : at + 4], "big")
    return flow


def _lookup(inet: InetNet, daddr: bytes, saddr: bytes, oif: int, flow: Flow | None) -> Rtable:
    fib = inet.fib
    if saddr != ANY and not inet.nonlocal_bind and not is_multicast(saddr):
        source = fib.lookup(saddr)
        if source is None or source.type != RTN_LOCAL:
            raise err(errno.ENETUNREACH)
    if daddr == ANY:
        daddr = saddr if saddr != ANY else b"\x7f\0\0\1"
    dev = None
    if oif:
        dev = inet.net.dev_by_index.get(oif)
        if dev is None:
            raise err(errno.ENODEV)
    if daddr == b"\xff\xff\xff\xff" or is_multicast(daddr):
        return _output_many(inet, daddr, saddr, dev)
    if flow is None:
        entry = fib.lookup(daddr)
    else:
        flow.daddr = daddr
        flow.oif = dev.name if dev is not None else ""
        entry = fib.resolve(flow)
    if dev is not None and (entry is None or (entry.type == RTN_UNICAST and entry.dev is not dev)):
        entry = fib.resolve(flow or Flow(daddr, saddr), dev)
        if entry is None or entry.type == RTN_LOCAL:
            entry = FibEntry(daddr, 32, RTN_UNICAST, dev, ANY, scope=RT_SCOPE_LINK)
    if entry is None:
        raise err(errno.ENETUNREACH)
    if entry.type in _FAILURES:
        raise err(_FAILURES[entry.type])
    if entry.type == RTN_LOCAL:
        # To ourselves: through loopback, whichever device holds the address.
        loopback = inet.net.loopback_dev
        if loopback is None or not loopback.flags & IFF_UP:
            raise err(errno.ENETUNREACH)
        if saddr == ANY:
            saddr = entry.prefsrc if entry.prefsrc != ANY else daddr
        return Rtable(RTN_LOCAL, loopback, saddr, daddr, None, fib.generation)
    if not entry.plen and entry.gateway is not None and dev is None and not entry.nexthops:
        entry = fib_default.choose(inet, entry)
    gateway, way = entry.gateway, entry.dev
    if entry.nexthops:
        if dev is not None:
            hop = next(hop for hop in entry.nexthops if hop.dev is dev)
        else:
            hop = multipath_of(inet).choose(entry.nexthops, flow or Flow(daddr, saddr))
        gateway, way = hop.gateway, hop.dev
    assert way is not None
    if not way.flags & IFF_UP:
        raise err(errno.ENETUNREACH)
    source_addr = saddr if saddr != ANY else entry.prefsrc
    if source_addr == ANY:
        source_addr = select_addr(way, gateway or daddr, entry.scope)
    if is_loopback(source_addr) and not way.flags & IFF_LOOPBACK:
        raise err(errno.EINVAL)  # RFC 1122 3.2.1.3: such an address never leaves the host
    found = fib.exceptions.get(daddr)
    if found is not None and found.gateway:
        gateway = found.gateway
    rt = Rtable(entry.type, way, source_addr, daddr, gateway, fib.generation)
    if entry.metrics:
        _use_metrics(rt, entry.metrics)
    if found is not None and found.mtu and not (rt.mtu_locked and entry.metrics):
        rt.mtu = min(rt.mtu, found.mtu)
        rt.mtu_locked = found.locked
    return rt


def _use_metrics(rt: Rtable, metrics: dict[int, int]) -> None:
    """What a route prescribes (ip_rt_init_metrics). A locked MTU holds, whatever the path says, and DF is not set."""
    rt.metrics = metrics
    rt.hoplimit = metrics.get(RTAX_HOPLIMIT, 0)
    mtu = metrics.get(RTAX_MTU, 0)
    if mtu:
        rt.mtu = mtu
        rt.mtu_locked = bool(metrics.get(RTAX_LOCK, 0) >> RTAX_MTU & 1)


def _output_many(inet: InetNet, daddr: bytes, saddr: bytes, dev: NetDevice | None) -> Rtable:
    """Multicast and limited broadcast: the given device, else the route's, else the first that can."""
    if dev is None:
        entry = inet.fib.lookup(daddr)
        if entry is not None and entry.type in (RTN_UNICAST, RTN_MULTICAST):
            dev = entry.dev
        elif saddr != ANY:
            dev = next((e.dev for e in inet.fib.local.entries() if e.prefix == saddr and e.plen == 32), None)
    if dev is None or not dev.flags & IFF_UP:
        raise err(errno.ENETUNREACH)
    if saddr == ANY:
        saddr = next((e.prefsrc for e in inet.fib.local.entries() if e.dev is dev and e.plen == 32), ANY)
    kind = RTN_MULTICAST if is_multicast(daddr) else RTN_BROADCAST
    if kind == RTN_MULTICAST and not dev.flags & (IFF_MULTICAST | IFF_LOOPBACK):
        raise err(errno.ENETUNREACH)
    return Rtable(kind, dev, saddr, daddr, None, inet.fib.generation)


NO_ROUTE = -1


def input_type(
    inet: InetNet, saddr: bytes, daddr: bytes, dev: NetDevice, flow: Flow | None = None, igmp: bool = False
) -> int:
    """Whose a received datagram is: RTN_LOCAL, RTN_BROADCAST, RTN_MULTICAST, RTN_UNICAST (forward) or the type of
    another route, NO_ROUTE, or 0: drop it. ``flow`` as for `output`. ``igmp``: it is one of that protocol.

    Martians are dropped (RFC 1812 5.3.7, ip_route_input_slow): a source that is broadcast, multicast, "this network"
    (but to everybody on the link, as DHCP does, or to a group in IGMP) or, off the loopback device, loopback or our
    own; and one that fails the reverse-path test.
    """
    lookup = inet.fib.lookup
    if not dev.flags & IFF_LOOPBACK:
        state = in_device(dev)
        if is_loopback(saddr) or is_loopback(daddr):
            if not (state.conf.route_localnet or state.all.route_localnet):
                return martian(inet, dev, saddr, daddr, not is_loopback(daddr))
        if saddr[0]:
            source = lookup(saddr)
            if source is not None and source.type != RTN_UNICAST:
                if source.type != RTN_LOCAL or not (state.conf.accept_local or state.all.accept_local):
                    return martian(inet, dev, saddr, daddr)
            strictness = max(state.conf.rp_filter, state.all.rp_filter)
            if strictness and (source is None or (strictness == 1 and not source.through(dev))):
                inet.mibs.tcpext.IPReversePathFilter += 1
                return martian(inet, dev, saddr, daddr)
    if is_multicast(saddr) or saddr == b"\xff\xff\xff\xff":
        return martian(inet, dev, saddr, daddr)
    if not saddr[0] and daddr != b"\xff\xff\xff\xff" and daddr[:3] != _LINK_LOCAL_GROUPS:
        if not (igmp and is_multicast(daddr)):
            return martian(inet, dev, saddr, daddr)
    if is_multicast(daddr):
        return RTN_MULTICAST
    if daddr == b"\xff\xff\xff\xff":
        return RTN_BROADCAST
    if not daddr[0]:
        return martian(inet, dev, saddr, daddr, source=False)
    entry = lookup(daddr) if flow is None else inet.fib.resolve(flow)
    return NO_ROUTE if entry is None else entry.type

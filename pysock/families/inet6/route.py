"""Routes as packets use them: an `Rt6` says which device, which source address, which next hop (net/ipv6/route.c).

`output` looks up where a new flow goes (ip6_route_output_flow, ip6_dst_lookup), `input_type` whose a received packet is
(ip6_route_input). A socket keeps its Rt6 and looks again only when ``generation`` of the FIB has moved on.
"""

from __future__ import annotations

import errno

from pysock.core.errors import err
from pysock.core.skbuff import kfree_skb
from pysock.families.inet.fib import (
    RTAX_HOPLIMIT,
    RTAX_LOCK,
    RTAX_MTU,
    RTN_BLACKHOLE,
    RTN_LOCAL,
    RTN_MULTICAST,
    RTN_PROHIBIT,
    RTN_UNICAST,
    RTN_UNREACHABLE,
)
from pysock.families.inet.fib_rules import Flow
from pysock.families.inet.route import Rtable, detour
from pysock.families.inet6 import multipath6, source
from pysock.families.inet6.addr import ANY6, LOOPBACK6, hardware_group, is_multicast, needs_scope
from pysock.families.inet6.devconf import hop_limit_of, mtu_of
from pysock.uapi.if_ import IFF_LOOPBACK, IFF_NOARP, IFF_POINTOPOINT, IFF_UP
from pysock.uapi.if_ether import ETH_P_IPV6
from pysock.uapi.in6 import IPV6_MIN_MTU

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pysock.core.device import NetDevice
    from pysock.core.neighbour import Neighbour
    from pysock.core.skbuff import SkBuff
    from pysock.families.inet.inet_sock import InetSock
    from pysock.families.inet6.fib6 import Fib6Entry
    from pysock.families.inet6.net import Inet6Net

_FAILURES = {
    RTN_BLACKHOLE: errno.EINVAL,
    RTN_UNREACHABLE: errno.EHOSTUNREACH,
    RTN_PROHIBIT: errno.EACCES,
}
_ETHERTYPE = ETH_P_IPV6.to_bytes(2, "big")


class Rt6(Rtable):
    """An IPv6 route in use (struct rt6_info): an `Rtable` with 16-byte addresses.

    ``hop_limit`` is the route's or else the device's for unicast, 1 for multicast (RFC 3493 5.2).
    """

    __slots__ = ("hop_limit",)

    def __init__(
        self, type: int, dev: NetDevice, saddr: bytes, daddr: bytes, gateway: bytes | None, mtu: int, generation: int
    ) -> None:
        self.type = type
        self.dev = dev
        self.saddr = saddr
        self.daddr = daddr
        self.gateway = gateway
        self.generation = generation
        self.mtu = mtu
        self.metrics = None
        self.loopback = bool(dev.flags & IFF_LOOPBACK)
        self.hh = _hard_header(dev, gateway or daddr)
        self.neigh: Neighbour | None = None
        self.inner: Rtable | None = None
        self.xmit: Callable[[SkBuff], int] = dev.queue_xmit
        self.hop_limit = 1 if type == RTN_MULTICAST else hop_limit_of(dev)


def _hard_header(dev: NetDevice, nexthop: bytes) -> bytes | None:
    """The Ethernet header towards ``nexthop``, where it is known without asking (ndisc_constructor)."""
    if dev.hard_header_len == 0:
        return b""
    if is_multicast(nexthop):
        destination = dev.dev_addr if dev.flags & IFF_LOOPBACK else hardware_group(nexthop)
    elif dev.flags & (IFF_NOARP | IFF_LOOPBACK):
        destination = dev.dev_addr
    elif dev.flags & IFF_POINTOPOINT:
        destination = dev.broadcast
    else:
        return None
    return destination + dev.dev_addr + _ETHERTYPE


def direct(inet6: Inet6Net, dev: NetDevice, saddr: bytes, daddr: bytes) -> Rt6:
    """A route over the link of ``dev`` that no table decided, for the link's own protocols (icmp6_dst_alloc)."""
    kind = RTN_MULTICAST if is_multicast(daddr) else RTN_UNICAST
    rt = Rt6(kind, dev, saddr, daddr, None, mtu_of(dev), inet6.fib6.generation)
    return rt if inet6.nf is None else detour(rt)


def resolve_and_send(inet6: Inet6Net, rt: Rt6, skb: SkBuff) -> int:
    """Send a packet, its data at the IPv6 header, over a route whose next hop's address is not known for certain: it
    waits there, or is refused (ip6_finish_output2). 0, or what the device or the neighbour said.
    """
    neigh = rt.neigh
    if neigh is None or neigh.dead:
        try:
            neigh = inet6.nd.find(rt.dev, rt.gateway or rt.daddr)
        except OSError as exc:
            inet6.mibs.ip6.OutDiscards += 1
            kfree_skb(skb, "NEIGH_CREATEFAIL")
            return -(exc.errno or errno.ENOBUFS)
        rt.neigh = neigh
        neigh.attach(rt)
    return neigh.output(skb)


def output(
    inet6: Inet6Net,
    daddr: bytes,
    saddr: bytes = ANY6,
    oif: int = 0,
    prefs: int = 0,
    flow: Flow | None = None,
) -> Rt6:
    """Where a packet from ``saddr`` (ANY6: choose, with the IPV6_PREFER_SRC_* bits ``prefs``) to ``daddr`` leaves;
    ``oif`` forces a device. ``flow`` says what else there is to know; it matters where there are several ways
    (``Fib6Table.multipath``).

    ENETUNREACH without a route, EADDRNOTAVAIL when we have no source address, ENODEV for a bad ``oif``, and the errno
    of an unreachable, prohibit or blackhole route. ANY6 as destination means this host, as Linux has it.
    """
    fib = inet6.fib6
    key: tuple[bytes | int, ...] = (daddr, saddr, oif, prefs)
    if not fib.multipath:
        flow = None
    else:
        flow = flow or Flow(daddr, saddr)
        key += flow.key()
    rt = fib.routes.get(key)
    if rt is None:
        rt = _lookup(inet6, daddr, saddr, oif, prefs, flow)
        if inet6.nf is not None:
            rt = detour(rt)
        if not inet6.routers.dead:  # else each flow asks: see router_pref.py
            fib.remember(key, rt)
    return rt


def output_for(
    sk: InetSock, daddr: bytes, saddr: bytes, oif: int, flowinfo: int = 0, prefs: int = 0, dport: int = 0
) -> Rt6:
    """`output` for what a socket sends; ``dport`` of one datagram, 0: its peer's."""
    inet6: Inet6Net = sk.pinet6.inet6  # type: ignore[union-attr]  # every socket that sends IPv6 has one
    if not inet6.fib6.multipath:
        return output(inet6, daddr, saddr, oif, prefs)
    return output(inet6, daddr, saddr, oif, prefs, multipath6.flow_of_socket(sk, daddr, saddr, dport, flowinfo))


def _lookup(inet6: Inet6Net, daddr: bytes, saddr: bytes, oif: int, prefs: int, flow: Flow | None) -> Rt6:
    fib = inet6.fib6
    if oif and oif not in inet6.net.dev_by_index:
        raise err(errno.ENODEV)
    if daddr == ANY6:
        daddr = LOOPBACK6
    entry = fib.lookup(daddr, oif)
    if entry is None:
        raise err(errno.ENETUNREACH)
    if entry.type in _FAILURES:
        raise err(_FAILURES[entry.type])
    if entry.gateway is not None and inet6.routers.dead and not inet6.forwarding:
        entry = inet6.routers.choose(entry, oif)
    way = entry if flow is None else multipath6.choose(inet6, entry, oif, flow)
    dev = way.dev
    assert dev is not None
    if saddr == ANY6:
        saddr = way.prefsrc if way.prefsrc != ANY6 else source.select(inet6, dev, daddr, prefs)
        if flow is not None:
            # The way by which packets with this source will go, as the socket's will (ip6_dst_lookup_tail).
            flow.saddr = saddr
            way = multipath6.choose(inet6, entry, oif, flow)
            assert way.dev is not None
            dev = way.dev
    if not dev.flags & IFF_UP:
        raise err(errno.ENETUNREACH)
    entry = way
    if entry.type == RTN_LOCAL:
        # To ourselves: through loopback, whichever device holds the address.
        loopback = inet6.net.loopback_dev
        if loopback is None or not loopback.flags & IFF_UP:
            raise err(errno.ENETUNREACH)
        return Rt6(RTN_LOCAL, loopback, saddr, daddr, None, mtu_of(loopback), fib.generation)
    gateway, mtu = _path(inet6, entry, dev, daddr)
    rt = Rt6(entry.type, dev, saddr, daddr, gateway, mtu, fib.generation)
    if entry.metrics:
        rt.metrics = entry.metrics
        if entry.type == RTN_UNICAST:
            rt.hop_limit = entry.metrics.get(RTAX_HOPLIMIT, 0) or rt.hop_limit
    return rt


def _path(inet6: Inet6Net, entry: Fib6Entry, dev: NetDevice, daddr: bytes) -> tuple[bytes | None, int]:
    """Next hop and MTU, with what was learnt about ``daddr`` (rt6_find_cached_rt); a locked MTU holds all the same."""
    gateway = entry.gateway
    mtu = entry.metrics.get(RTAX_MTU, 0) or mtu_of(dev)
    learnt = inet6.fib6.exceptions.get(daddr)
    if learnt is not None:
        if learnt.mtu and learnt.mtu_until > inet6.kernel.now and not _mtu_locked(entry.metrics):
            mtu = min(mtu, learnt.mtu)
        if learnt.gateway is not None:
            gateway = learnt.gateway if learnt.gateway != daddr else None
    return gateway, mtu


def _mtu_locked(metrics: dict[int, int]) -> bool:
    return bool(metrics.get(RTAX_LOCK, 0) >> RTAX_MTU & 1 and metrics.get(RTAX_MTU, 0))


def update_pmtu(inet6: Inet6Net, daddr: bytes, mtu: int, lifetime: int) -> None:
    """A router on the path to ``daddr`` says that ``mtu`` bytes are all that fit; believed for ``lifetime`` ns
    (ip6_rt_update_pmtu, RFC 8201). Never below 1280, never an increase, and not where the route's MTU is locked.
    """
    mtu = max(mtu, IPV6_MIN_MTU)
    try:
        rt = output(inet6, daddr)
    except OSError:
        return
    if mtu >= rt.mtu or rt.type == RTN_LOCAL or (rt.metrics and _mtu_locked(rt.metrics)):
        return
    learnt = inet6.fib6.exception(daddr)
    learnt.mtu = mtu
    learnt.mtu_until = inet6.kernel.now + lifetime
    inet6.fib6.flush()
    from pysock.families.inet6 import slaac

    slaac.verify(inet6)


def input_type(inet6: Inet6Net, saddr: bytes, daddr: bytes, dev: NetDevice) -> int:
    """Whose a received packet is: RTN_LOCAL, RTN_MULTICAST (perhaps nobody's here), another type of route (to be
    forwarded, or refused), or 0: there is no route.

    Link-local destinations count only on their own device, but over loopback, which every packet to ourselves takes.
    """
    if is_multicast(daddr):
        return RTN_MULTICAST
    oif = dev.ifindex if needs_scope(daddr) and not dev.flags & IFF_LOOPBACK else 0
    entry = inet6.fib6.lookup(daddr, oif)
    return 0 if entry is None else entry.type


__all__ = [
    "RTN_LOCAL", "RTN_MULTICAST", "RTN_UNICAST", "Rt6", "direct", "input_type", "output", "output_for",
    "resolve_and_send", "update_pmtu",
]  # fmt: skip

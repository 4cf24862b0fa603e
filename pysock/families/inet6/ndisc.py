"""Neighbour discovery (RFC 4861; net/ipv6/ndisc.c): which link-layer address a neighbour has, on core/neighbour.py.

    out:  NdiscOps.solicit -> send_ns       asked by the neighbour table
    in:   rcv -> _solicitation: answer for our own addresses, learn the sender's, meet a duplicate (dad.py)
              -> _advertisement: the answer, or a duplicate
              -> slaac.py (router advertisements), redirect.py

What arrives counts only with hop limit 255, so that no router forwarded it, with code 0 and in one piece (RFC 6980);
anything else is ignored, as RFC 4861 wants. Not here: sending router
advertisements. In somebody else's place: ndisc_proxy.py.
"""

from __future__ import annotations

from pysock.core.neighbour import (
    NUD_VALID,
    UPDATE_ISROUTER,
    UPDATE_OVERRIDE,
    UPDATE_OVERRIDE_ISROUTER,
    UPDATE_WEAK_OVERRIDE,
    NeighOps,
)
from pysock.core.neighbour_table import NeighTable
from pysock.core.skb_data import skb_copy_bits
from pysock.core.skbuff import SkBuff, consume_skb, kfree_skb
from pysock.families.inet6 import icmp6, ndisc_proxy, route
from pysock.families.inet6.addr import ALL_NODES, ANY6, hardware_group, is_multicast, solicited_node
from pysock.families.inet6.devconf import (
    IFA_F_OPTIMISTIC,
    IFA_F_TENTATIVE,
    Inet6Dev,
    address_on,
    find_address,
    idev_of,
)
from pysock.families.inet6.ip6_cb import cb_of
from pysock.families.inet6.source import select
from pysock.uapi.if_ import IFF_LOOPBACK, IFF_NOARP, IFF_POINTOPOINT
from pysock.uapi.if_ether import ETH_P_IPV6
from pysock.uapi.if_packet import PACKET_LOOPBACK
from pysock.uapi.neighbour import NTF_ROUTER, NUD_FAILED, NUD_NOARP, NUD_REACHABLE, NUD_STALE
from pysock.uapi.socket import AF_INET6
from pysock.wire.errors import Malformed
from pysock.wire.icmpv6 import (
    DEST_UNREACH,
    HEADER_SIZE,
    NA_OVERRIDE,
    NA_ROUTER,
    NA_SOLICITED,
    NEIGHBOUR_ADVERT,
    NEIGHBOUR_SIZE,
    NEIGHBOUR_SOLICIT,
    OPT_SOURCE_LL,
    OPT_TARGET_LL,
    REDIRECT,
    ROUTER_ADVERT,
    ROUTER_SOLICIT,
    build,
    build_neighbour,
    build_option,
    walk_options,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from pysock.core.neighbour import Neighbour
    from pysock.core.neighbour_table import ProxyEntry
    from pysock.core.netdevice import NetDevice
    from pysock.families.inet6.net import Inet6Net

HOP_LIMIT: Final = 255
OPT_NONCE: Final = 14
_ADDR_UNREACH: Final = 3


class NdiscOps(NeighOps):
    """What the neighbour table needs to know of neighbour discovery (nd_tbl)."""

    __slots__ = ("inet6",)

    family = AF_INET6
    protocol = ETH_P_IPV6
    key_len = 16
    name = "ndisc_cache"
    sysctl = "net.ipv6.neigh"

    def __init__(self, inet6: Inet6Net) -> None:
        self.inet6 = inet6

    def constructor(self, neigh: Neighbour) -> None:
        """ndisc_constructor(): some addresses need no question."""
        dev = neigh.dev
        if dev.header_ops is None:
            neigh.nud_state = NUD_NOARP
        elif is_multicast(neigh.key) and not dev.flags & IFF_LOOPBACK:
            neigh.nud_state = NUD_NOARP
            neigh.ha = hardware_group(neigh.key)
        elif dev.flags & (IFF_NOARP | IFF_LOOPBACK):
            neigh.nud_state = NUD_NOARP
            neigh.ha = dev.dev_addr
        elif dev.flags & IFF_POINTOPOINT:
            neigh.nud_state = NUD_NOARP
            neigh.ha = dev.broadcast

    def is_multicast(self, key: bytes) -> bool:
        return is_multicast(key)

    def solicit(self, neigh: Neighbour, skb: SkBuff | None) -> None:
        """ndisc_solicit(): from the address that the waiting packet leaves with, if it is this device's."""
        dev = neigh.dev
        source = ANY6
        if skb is not None and skb.network_header >= 0:
            at = skb.network_header
            source = bytes(skb.head[at + 8 : at + 24])
            if find_address(self.inet6.net, source, dev) is None:
                source = ANY6
        if source == ANY6:
            from pysock.families.inet6.addrconf import link_local_of

            source = link_local_of(dev) or ANY6
            if source == ANY6:
                return
        probes = neigh.probes - neigh.parms.ucast_probes
        if probes < 0:
            if neigh.nud_state & NUD_VALID:
                send_ns(self.inet6, dev, neigh.key, source, neigh.key)
        elif probes >= neigh.parms.app_probes:
            send_ns(self.inet6, dev, neigh.key, source, solicited_node(neigh.key))

    def proxy_added(self, entry: ProxyEntry) -> None:
        ndisc_proxy.added(self.inet6, entry)

    def proxy_removed(self, entry: ProxyEntry) -> None:
        ndisc_proxy.removed(self.inet6, entry)

    def proxy_redo(self, skb: SkBuff) -> None:
        """pndisc_redo()."""
        at = skb.network_header
        rcv(self.inet6, skb, bytes(skb.head[at + 8 : at + 24]), bytes(skb.head[at + 24 : at + 40]), delayed=True)
        consume_skb(skb)

    def error_report(self, neigh: Neighbour, skb: SkBuff) -> None:
        """ndisc_error_report(): who sent it hears that the address is unreachable, we ourselves too."""
        icmp6.send(self.inet6, skb, DEST_UNREACH, _ADDR_UNREACH, 0)
        kfree_skb(skb, "NEIGH_FAILED")


def setup(inet6: Inet6Net) -> None:
    """Give a namespace its neighbour table."""
    inet6.nd = NeighTable(inet6.net, NdiscOps(inet6))


# --- out ------------------------------------------------------------------------------------------------------


def send(inet6: Inet6Net, dev: NetDevice, saddr: bytes, daddr: bytes, message: bytes) -> None:
    """Send a message over the link of ``dev`` (ndisc_send_skb). A copy never comes back to us."""
    rt = route.direct(inet6, dev, saddr, daddr)
    icmp6.transmit(inet6, rt, message, hoplimit=HOP_LIMIT, loop=False)


def lladdr_option(dev: NetDevice, kind: int) -> bytes:
    """Our link-layer address as an option; nothing on devices without addresses."""
    return build_option(kind, dev.dev_addr) if dev.addr_len else b""


def send_ns(
    inet6: Inet6Net, dev: NetDevice, target: bytes, saddr: bytes, daddr: bytes, nonce: bytes = b""
) -> None:
    """Ask who has ``target`` (ndisc_send_ns). ``saddr`` ANY6 with ``nonce``: a probe for a duplicate."""
    options = lladdr_option(dev, OPT_SOURCE_LL) if saddr != ANY6 else b""
    if nonce:
        options += build_option(OPT_NONCE, nonce)
    send(inet6, dev, saddr, daddr, build_neighbour(NEIGHBOUR_SOLICIT, target, 0, options))


def send_na(
    inet6: Inet6Net,
    dev: NetDevice,
    daddr: bytes,
    target: bytes,
    *,
    solicited: bool,
    override: bool,
    option: bool,
    proxy: ProxyEntry | None = None,
) -> None:
    """Say that we have ``target``, or are a ``proxy`` for who has (ndisc_send_na): then from an address of ours."""
    idev = idev_of(dev)
    source = target
    if proxy is not None:
        flags = NA_ROUTER if proxy.flags & NTF_ROUTER else 0
        try:
            source = select(inet6, dev, daddr)
        except OSError:
            return
    else:
        flags = NA_ROUTER if idev is not None and idev.conf.forwarding else 0
    flags |= (NA_SOLICITED if solicited else 0) | (NA_OVERRIDE if override else 0)
    options = lladdr_option(dev, OPT_TARGET_LL) if option else b""
    send(inet6, dev, source, daddr, build_neighbour(NEIGHBOUR_ADVERT, target, flags, options))


def announce(inet6: Inet6Net, dev: NetDevice) -> None:
    """Tell the link our addresses on ``dev`` (ndisc_send_unsol_na)."""
    idev = idev_of(dev)
    for ifa in idev.addresses if idev is not None else ():
        if not ifa.flags & IFA_F_TENTATIVE:
            send_na(inet6, dev, ALL_NODES, ifa.address, solicited=False, override=True, option=True)


def send_rs(inet6: Inet6Net, dev: NetDevice, saddr: bytes, daddr: bytes) -> None:
    """Ask for routers (ndisc_send_rs)."""
    options = lladdr_option(dev, OPT_SOURCE_LL) if saddr != ANY6 else b""
    send(inet6, dev, saddr, daddr, build(ROUTER_SOLICIT, payload=options))


# --- in -------------------------------------------------------------------------------------------------------


def rcv(inet6: Inet6Net, skb: SkBuff, saddr: bytes, daddr: bytes, delayed: bool = False) -> None:
    """A message of neighbour discovery; ``skb.data`` at the ICMPv6 header. It stays the caller's (ndisc_rcv).
    ``delayed``: it has waited for a proxy's answer.
    """
    dev = skb.dev
    idev = idev_of(dev) if dev is not None else None
    cb = cb_of(skb)
    if idev is None or skb.head[skb.network_header + 7] != HOP_LIMIT or (cb is not None and cb.fragmented):
        return
    message = skb_copy_bits(skb, 0, skb.len)
    if message[1]:
        return
    kind = message[0]
    try:
        if kind == NEIGHBOUR_SOLICIT:
            _solicitation(inet6, idev, message, saddr, daddr, None if delayed else skb)
        elif kind == NEIGHBOUR_ADVERT:
            _advertisement(inet6, idev, message, daddr, skb.pkt_type == PACKET_LOOPBACK)
        elif kind == ROUTER_SOLICIT:
            _router_solicitation(inet6, idev, message, saddr)
        elif kind == ROUTER_ADVERT:
            from pysock.families.inet6 import slaac

            slaac.router_advertisement(inet6, idev, message, saddr)
        elif kind == REDIRECT:
            from pysock.families.inet6 import redirect

            redirect.rcv(inet6, idev, message, saddr)
    except Malformed:
        return


def options_of(dev: NetDevice, message: bytes, start: int) -> dict[int, bytes]:
    """The first option of each kind behind ``start``. Malformed for an option that does not fit, or a link-layer
    address that is shorter than the device's.
    """
    found: dict[int, bytes] = {}
    for kind, data in walk_options(message[start:]):
        if kind in (OPT_SOURCE_LL, OPT_TARGET_LL):
            if len(data) < dev.addr_len:
                raise Malformed("link-layer address option too short")
            data = data[: dev.addr_len]
        found.setdefault(kind, data)
    return found


def learn(inet6: Inet6Net, dev: NetDevice, addr: bytes, lladdr: bytes | None, flags: int) -> Neighbour | None:
    """A message from ``addr`` gave its link-layer address: STALE, for it does not prove that we reach it
    (RFC 4861 7.2.3). None when the table is full.
    """
    try:
        neigh = inet6.nd.find(dev, addr)
    except OSError:
        return None
    neigh.update(lladdr, NUD_STALE, UPDATE_WEAK_OVERRIDE | UPDATE_OVERRIDE | flags)
    return neigh


def _solicitation(
    inet6: Inet6Net, idev: Inet6Dev, message: bytes, saddr: bytes, daddr: bytes, skb: SkBuff | None
) -> None:
    """ndisc_recv_ns(). ``skb`` is the packet, which may be put off; None when it was."""
    dev = idev.dev
    if len(message) < NEIGHBOUR_SIZE:
        return
    target = message[HEADER_SIZE:NEIGHBOUR_SIZE]
    probe = saddr == ANY6
    if is_multicast(target) or (probe and daddr != solicited_node(target)):
        return
    options = options_of(dev, message, NEIGHBOUR_SIZE)
    lladdr = options.get(OPT_SOURCE_LL)
    if probe and lladdr is not None:
        return
    ifa = address_on(dev, target)
    proxy = None
    many = is_multicast(daddr)
    if ifa is None:
        proxy = ndisc_proxy.proxy_for(inet6, idev, target)
        if proxy is None or (many and skb is not None and ndisc_proxy.put_off(inet6, idev, skb)):
            return
    elif ifa.flags & IFA_F_TENTATIVE:
        if probe:
            nonce = options.get(OPT_NONCE)
            if nonce is None or nonce[:6] != ifa.dad_nonce:  # else our own probe came back
                from pysock.families.inet6 import dad

                dad.failed(inet6, ifa)
            return
        if not ifa.flags & IFA_F_OPTIMISTIC:
            return
    if probe:
        ours = proxy is None
        send_na(inet6, dev, ALL_NODES, target, solicited=False, override=ours, option=True, proxy=proxy)
        return
    stats = inet6.nd.stats
    if many:
        stats.rcv_probes_mcast += 1
    else:
        stats.rcv_probes_ucast += 1
    if not many or lladdr is not None or not dev.addr_len:
        learn(inet6, dev, saddr, lladdr, 0)
    send_na(
        inet6, dev, saddr, target, solicited=True, override=many and proxy is None, option=many, proxy=proxy
    )  # fmt: skip


def _advertisement(inet6: Inet6Net, idev: Inet6Dev, message: bytes, daddr: bytes, ours: bool) -> None:
    """ndisc_recv_na()."""
    dev = idev.dev
    if len(message) < NEIGHBOUR_SIZE:
        return
    flags = int.from_bytes(message[4:8], "big")
    target = message[HEADER_SIZE:NEIGHBOUR_SIZE]
    if is_multicast(target) or (is_multicast(daddr) and flags & NA_SOLICITED):
        return
    options = options_of(dev, message, NEIGHBOUR_SIZE)
    ifa = address_on(dev, target)
    if ifa is not None:
        if ifa.flags & IFA_F_TENTATIVE and not ours:
            from pysock.families.inet6 import dad

            dad.failed(inet6, ifa)
        return
    lladdr = options.get(OPT_TARGET_LL)
    if lladdr == dev.dev_addr and ndisc_proxy.proxy_for(inet6, idev, target) is not None:
        return  # a proxy's answer, perhaps our own
    neigh = inet6.nd.lookup(dev, target)
    if neigh is None or neigh.nud_state & NUD_FAILED:
        return
    was_router = neigh.flags & NTF_ROUTER
    update = UPDATE_WEAK_OVERRIDE | UPDATE_OVERRIDE_ISROUTER
    if flags & NA_OVERRIDE:
        update |= UPDATE_OVERRIDE
    if flags & NA_ROUTER:
        update |= UPDATE_ISROUTER
    neigh.update(lladdr, NUD_REACHABLE if flags & NA_SOLICITED else NUD_STALE, update)
    if was_router and not neigh.flags & NTF_ROUTER:
        from pysock.families.inet6 import slaac

        slaac.drop_routers(inet6, dev, target)


def _router_solicitation(inet6: Inet6Net, idev: Inet6Dev, message: bytes, saddr: bytes) -> None:
    """ndisc_recv_rs(): a router learns who asked."""
    if not idev.conf.forwarding or saddr == ANY6:
        return
    lladdr = options_of(idev.dev, message, HEADER_SIZE).get(OPT_SOURCE_LL)
    if lladdr is not None:
        learn(inet6, idev.dev, saddr, lladdr, UPDATE_OVERRIDE_ISROUTER)

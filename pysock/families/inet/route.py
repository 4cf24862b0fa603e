"""Routes as packets use them: an `Rtable` says which device, which source address, which link-layer header.

`output` looks up where a new flow goes (ip_route_output_flow), `input_type` whose a received datagram is
(ip_route_input). A socket keeps its Rtable and looks again only when ``generation`` of the FIB has moved on.
"""

from __future__ import annotations

import errno

from pysock.core.errors import err
from pysock.families.inet.addr import ANY, is_loopback, is_multicast
from pysock.families.inet.fib import (
    RTN_BLACKHOLE,
    RTN_BROADCAST,
    RTN_LOCAL,
    RTN_MULTICAST,
    RTN_PROHIBIT,
    RTN_UNICAST,
    RTN_UNREACHABLE,
)
from pysock.uapi.if_ import IFF_LOOPBACK, IFF_MULTICAST, IFF_NOARP, IFF_UP
from pysock.uapi.if_ether import ETH_P_IP

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pysock.core.device import NetDevice
    from pysock.core.skbuff import SkBuff
    from pysock.families.inet.net import InetNet

_FAILURES = {
    RTN_BLACKHOLE: errno.EINVAL,
    RTN_UNREACHABLE: errno.EHOSTUNREACH,
    RTN_PROHIBIT: errno.EACCES,
}
_LINK_LOCAL_GROUPS = b"\xe0\0\0"  # 224.0.0.0/24
_ETHERTYPE_IP = ETH_P_IP.to_bytes(2, "big")


class Rtable:
    """A route in use (struct rtable): immutable once made.

    ``hh`` is the complete link-layer header for this next hop (hh_cache), or None while the hop is unresolved;
    ``xmit`` is the device's transmit function. ``mtu`` in bytes.
    """

    __slots__ = ("daddr", "dev", "gateway", "generation", "hh", "loopback", "mtu", "saddr", "type", "xmit")

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
        self.loopback = bool(dev.flags & IFF_LOOPBACK)
        self.hh = _hard_header(dev, type, gateway or daddr)
        self.xmit: Callable[[SkBuff], int] = dev.queue_xmit


def _hard_header(dev: NetDevice, type: int, nexthop: bytes) -> bytes | None:
    """The Ethernet header towards ``nexthop``, where it is known without asking (arp_constructor)."""
    if dev.hard_header_len == 0:
        return b""
    if is_multicast(nexthop):
        destination = b"\x01\x00\x5e" + bytes((nexthop[1] & 0x7F,)) + nexthop[2:]  # RFC 1112 6.4
    elif dev.flags & (IFF_NOARP | IFF_LOOPBACK):
        destination = dev.dev_addr
    elif type == RTN_BROADCAST:
        destination = dev.broadcast
    else:
        return None
    return destination + dev.dev_addr + _ETHERTYPE_IP


def output(inet: InetNet, daddr: bytes, saddr: bytes = ANY, oif: int = 0) -> Rtable:
    """Where a datagram from ``saddr`` (ANY: choose) to ``daddr`` leaves; ``oif`` forces a device.

    ENETUNREACH without a route, EINVAL for a source address that is not ours, ENODEV for a bad ``oif``, and the errno
    of an unreachable, prohibit or blackhole route. ANY as destination means this host (RFC 1122 3.2.1.3, as Linux has
    it).
    """
    fib = inet.fib
    key = (daddr, saddr, oif)
    rt = fib.routes.get(key)
    if rt is None:
        rt = _lookup(inet, daddr, saddr, oif)
        fib.remember(key, rt)
    return rt


def _lookup(inet: InetNet, daddr: bytes, saddr: bytes, oif: int) -> Rtable:
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
    entry = fib.lookup(daddr)
    if entry is None or (entry.type == RTN_UNICAST and dev is not None and entry.dev is not dev):
        raise err(errno.ENETUNREACH)
    if entry.type in _FAILURES:
        raise err(_FAILURES[entry.type])
    if entry.type == RTN_LOCAL:
        # To ourselves: through loopback, whichever device holds the address.
        loopback = inet.net.loopback_dev
        if loopback is None or not loopback.flags & IFF_UP:
            raise err(errno.ENETUNREACH)
        return Rtable(RTN_LOCAL, loopback, saddr if saddr != ANY else entry.prefsrc, daddr, None, fib.generation)
    assert entry.dev is not None
    if not entry.dev.flags & IFF_UP:
        raise err(errno.ENETUNREACH)
    source_addr = saddr if saddr != ANY else entry.prefsrc
    if is_loopback(source_addr) and not entry.dev.flags & IFF_LOOPBACK:
        raise err(errno.EINVAL)  # RFC 1122 3.2.1.3: such an address never leaves the host
    return Rtable(entry.type, entry.dev, source_addr, daddr, entry.gateway, fib.generation)


def _output_many(inet: InetNet, daddr: bytes, saddr: bytes, dev: NetDevice | None) -> Rtable:
    """Multicast and limited broadcast: the given device, else the route's, else the first that can."""
    if dev is None:
        entry = inet.fib.lookup(daddr)
        if entry is not None and entry.type == RTN_UNICAST:
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


def input_type(inet: InetNet, saddr: bytes, daddr: bytes, dev: NetDevice) -> int:
    """Whose a received datagram is: RTN_LOCAL, RTN_BROADCAST, RTN_MULTICAST, RTN_UNICAST (forward), or 0: drop it.

    Martians are dropped (RFC 1812 5.3.7, fib_validate_source): a source that is broadcast, multicast, "this network"
    (but to everybody on the link, as DHCP does) or, off the loopback device, loopback or our own.
    """
    lookup = inet.fib.lookup
    if not dev.flags & IFF_LOOPBACK:
        if is_loopback(saddr) or is_loopback(daddr):
            return 0
        source = lookup(saddr)
        if source is not None and source.type in (RTN_LOCAL, RTN_BROADCAST):
            return 0
    if is_multicast(saddr) or saddr == b"\xff\xff\xff\xff":
        return 0
    if not saddr[0] and daddr != b"\xff\xff\xff\xff" and daddr[:3] != _LINK_LOCAL_GROUPS:
        return 0
    if is_multicast(daddr):
        return RTN_MULTICAST
    if daddr == b"\xff\xff\xff\xff":
        return RTN_BROADCAST
    entry = lookup(daddr)
    return 0 if entry is None else entry.type

"""Stateless autoconfiguration (RFC 4862, RFC 4861 6.3, RFC 4191; ndisc_router_discovery, addrconf_prefix_rcv): what a
host learns from router advertisements, and how long that is good.

    link-local address usable -> solicit_routers: up to router_solicitations times, further and further apart
    advertisement             -> default route, hop limit, MTU, timers of neighbours, prefixes: routes and addresses
    `verify`                  -> one timer a namespace: addresses are deprecated and go, routes go, path MTUs too

Not here: temporary addresses, RDNSS, route information options, sending advertisements.
"""

from __future__ import annotations

from functools import partial
from struct import Struct

from pysock.core.clock import NEVER, NSEC_PER_MSEC, NSEC_PER_SEC
from pysock.core.neighbour import UPDATE_ISROUTER, UPDATE_OVERRIDE_ISROUTER
from pysock.core.timer import Timer
from pysock.families.inet.fib import RTN_UNICAST
from pysock.families.inet6 import addrconf, ndisc
from pysock.families.inet6.addr import ALL_ROUTERS, ANY6, eui64, is_linklocal, is_multicast, prefix_of
from pysock.families.inet6.devconf import IFA_F_DEPRECATED, IFA_F_TENTATIVE, Inet6Dev, Inet6Ifaddr, address_on, idev_of
from pysock.families.inet6.fib6 import METRIC_USER, RTPROT_RA, Fib6Entry
from pysock.uapi.if_ import IFF_LOOPBACK
from pysock.uapi.in6 import IPV6_MIN_MTU
from pysock.wire.icmpv6 import OPT_MTU, OPT_PREFIX, OPT_SOURCE_LL, walk_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from pysock.core.netdevice import NetDevice
    from pysock.families.inet6.net import Inet6Net

#: Router advertisement: type, code, checksum, hop limit, flags, lifetime (s), reachable and retransmission time (ms)
_ADVERTISEMENT: Final = Struct("!BBHBBHII")
#: Prefix information behind kind and length: prefix length, flags, valid and preferred lifetime (s), reserved, prefix
_PREFIX: Final = Struct("!BBIII16s")
_ON_LINK: Final = 0x80
_AUTONOMOUS: Final = 0x40
_INFINITY: Final = 0xFFFFFFFF
_TWO_HOURS: Final = 7200 * NSEC_PER_SEC
_MAX_INTERVAL: Final = 3600 * NSEC_PER_SEC
_PREFERENCES: Final = {0b01: 1, 0b00: 0, 0b11: -1, 0b10: 0}


def _accepts(idev: Inet6Dev) -> bool:
    """A router does not listen to routers, unless accept_ra is 2."""
    return idev.conf.accept_ra == 2 or (idev.conf.accept_ra == 1 and not idev.conf.forwarding)


# --- asking -------------------------------------------------------------------------------------------------------


def solicit_routers(inet6: Inet6Net, dev: NetDevice) -> None:
    """Ask for an advertisement now, and again until one comes (addrconf_dad_completed, addrconf_rs_timer)."""
    idev = idev_of(dev)
    if idev is None or dev.flags & IFF_LOOPBACK or not _accepts(idev) or not idev.conf.router_solicitations:
        return
    idev.rs_left = idev.conf.router_solicitations
    idev.rs_interval = idev.conf.router_solicitation_interval * NSEC_PER_SEC
    if idev.rs_timer is None:
        idev.rs_timer = Timer(partial(_solicit, inet6, idev))
    _solicit(inet6, idev)


def _solicit(inet6: Inet6Net, idev: Inet6Dev) -> None:
    source = addrconf.link_local_of(idev.dev)
    if source is None or not idev.rs_left or idev.rs_timer is None or not idev.ready:
        return
    ndisc.send_rs(inet6, idev.dev, source, ALL_ROUTERS)
    if idev.rs_left > 0:
        idev.rs_left -= 1
    if idev.rs_left:
        interval = idev.rs_interval
        # RFC 7559: a tenth more or less, so that hosts don't ask in step
        interval += inet6.kernel.random("ip6.rs").randrange(-interval // 10, interval // 10)
        inet6.kernel.timers.mod_timer(idev.rs_timer, inet6.kernel.now + interval)
        idev.rs_interval = min(idev.rs_interval * 2, _MAX_INTERVAL)


# --- listening ----------------------------------------------------------------------------------------------------


def router_advertisement(inet6: Inet6Net, idev: Inet6Dev, message: bytes, saddr: bytes) -> None:
    """ndisc_router_discovery(). Raises Malformed for bad options."""
    if len(message) < _ADVERTISEMENT.size or not is_linklocal(saddr) or not _accepts(idev):
        return
    dev = idev.dev
    options = walk_options(message[_ADVERTISEMENT.size :])
    first = ndisc.options_of(dev, message, _ADVERTISEMENT.size)
    _, _, _, hop_limit, flags, lifetime, reachable, retransmission = _ADVERTISEMENT.unpack_from(message)
    idev.rs_left = 0
    if idev.rs_timer is not None:
        inet6.kernel.timers.del_timer(idev.rs_timer)
    if idev.conf.accept_ra_defrtr:
        _default_route(inet6, dev, saddr, lifetime, _PREFERENCES[flags >> 3 & 3])
    if hop_limit >= max(idev.conf.accept_ra_min_hop_limit, 1) and hop_limit != idev.conf.hop_limit:
        idev.conf.hop_limit = hop_limit
        inet6.fib6.flush()
    parms = inet6.nd.parms_of(dev)
    if retransmission:
        parms.retrans_time = max(retransmission, 10) * NSEC_PER_MSEC
    if reachable:
        parms.base_reachable_time = reachable * NSEC_PER_MSEC
    ndisc.learn(inet6, dev, saddr, first.get(OPT_SOURCE_LL), UPDATE_OVERRIDE_ISROUTER | UPDATE_ISROUTER)
    if idev.conf.accept_ra_pinfo:
        for kind, data in options:
            if kind == OPT_PREFIX and len(data) >= _PREFIX.size:
                _prefix(inet6, idev, data)
    mtu = first.get(OPT_MTU)
    if mtu is not None and idev.conf.accept_ra_mtu and len(mtu) == 6:
        value = int.from_bytes(mtu[2:], "big")
        if IPV6_MIN_MTU <= value <= dev.mtu and value != idev.mtu:
            idev.mtu = value
            inet6.fib6.flush()
    verify(inet6)


def _default_route(inet6: Inet6Net, dev: NetDevice, router: bytes, lifetime: int, pref: int) -> None:
    """rt6_add_dflt_router(), or its end."""
    fib = inet6.fib6
    for entry in list(fib.main.at(ANY6, 0)):
        if entry.dev is dev and entry.gateway == router and entry.protocol == RTPROT_RA:
            if lifetime and entry.pref == pref:
                entry.expires = inet6.kernel.now + lifetime * NSEC_PER_SEC
                return
            fib.remove(entry)
    if lifetime:
        entry = Fib6Entry(ANY6, 0, RTN_UNICAST, dev, router, METRIC_USER, protocol=RTPROT_RA)
        entry.pref = pref
        entry.expires = inet6.kernel.now + lifetime * NSEC_PER_SEC
        fib.add(entry)


def drop_routers(inet6: Inet6Net, dev: NetDevice, router: bytes | None = None) -> None:
    """The default routes learnt on ``dev`` go, or those over ``router`` (rt6_purge_dflt_routers, rt6_clean_tohost)."""
    for entry in list(inet6.fib6.main.at(ANY6, 0)):
        if entry.dev is dev and router in (None, entry.gateway) and entry.protocol == RTPROT_RA:
            inet6.fib6.remove(entry)


def _until(inet6: Inet6Net, lifetime: int) -> int:
    return NEVER if lifetime == _INFINITY else inet6.kernel.now + lifetime * NSEC_PER_SEC


def _prefix(inet6: Inet6Net, idev: Inet6Dev, data: bytes) -> None:
    """addrconf_prefix_rcv()."""
    plen, flags, valid, preferred, _, prefix = _PREFIX.unpack_from(data)
    if preferred > valid or plen > 128 or is_linklocal(prefix) or is_multicast(prefix):
        return
    prefix = prefix_of(prefix, plen)
    dev = idev.dev
    if flags & _ON_LINK:
        if valid:
            addrconf.add_prefix_route(inet6, dev, prefix, plen).expires = _until(inet6, valid)
        else:
            for entry in list(inet6.fib6.main.at(prefix, plen)):
                if entry.dev is dev and entry.gateway is None and entry.expires != NEVER:
                    inet6.fib6.remove(entry)
    if flags & _AUTONOMOUS and idev.conf.autoconf and plen == 64 and dev.addr_len == 6:
        _autonomous(inet6, idev, prefix[:8] + eui64(dev.dev_addr), valid, preferred)


def _autonomous(inet6: Inet6Net, idev: Inet6Dev, address: bytes, valid: int, preferred: int) -> None:
    """Make the address of an advertised prefix, or prolong it (RFC 4862 5.5.3)."""
    ifa = address_on(idev.dev, address)
    valid_until, preferred_until = _until(inet6, valid), _until(inet6, preferred)
    if ifa is None:
        if valid:
            addrconf.add_address(
                inet6, idev.dev, address, 64, 0, preferred_until=preferred_until, valid_until=valid_until
            )
        return
    now = inet6.kernel.now
    if valid * NSEC_PER_SEC <= _TWO_HOURS and valid_until < ifa.valid_until:
        # 5.5.3 e: nobody may take an address away at once by advertising a short life
        valid_until = max(min(ifa.valid_until, now + _TWO_HOURS), valid_until)
    ifa.valid_until = valid_until
    ifa.preferred_until = min(preferred_until, valid_until)
    if ifa.preferred_until > now:
        ifa.flags &= ~IFA_F_DEPRECATED


# --- what time takes away -----------------------------------------------------------------------------------------


def verify(inet6: Inet6Net) -> None:
    """Deprecate, delete, and look again when the next thing falls due (addrconf_verify_rtnl, fib6_run_gc)."""
    now = inet6.kernel.now
    coming = inet6.fib6.expire(now)
    for entry in inet6.fib6.main.entries():
        if entry.expires <= now:
            inet6.fib6.remove(entry)
        else:
            coming = min(coming, entry.expires)
    for dev in inet6.net.devices:
        idev = idev_of(dev)
        for ifa in list(idev.addresses) if idev is not None else ():
            coming = min(coming, _verify_address(inet6, ifa, now))
    state = addrconf.addrconf_of(inet6)
    if coming != NEVER:
        if state.timer is None:
            state.timer = Timer(partial(verify, inet6))
        inet6.kernel.timers.mod_timer(state.timer, coming)


def _verify_address(inet6: Inet6Net, ifa: Inet6Ifaddr, now: int) -> int:
    """When ``ifa`` has to be looked at again."""
    if ifa.valid_until <= now:
        addrconf.del_address(inet6, ifa.dev, ifa.address)
        return NEVER
    if ifa.preferred_until <= now:
        if not ifa.flags & (IFA_F_DEPRECATED | IFA_F_TENTATIVE):
            ifa.flags |= IFA_F_DEPRECATED
            inet6.fib6.flush()  # routes in use may have chosen it as source
        return ifa.valid_until
    return min(ifa.preferred_until, ifa.valid_until)

"""Redirects (RFC 4861 8): a router knows a better next hop to a destination, which is on the sender's own link. It says
so (`send`: ndisc_send_redirect), and a host believes it (`rcv`: ndisc_redirect_rcv, rt6_do_redirect).
"""

from __future__ import annotations

from pysock.core.clock import NSEC_PER_SEC
from pysock.core.neighbour import NUD_VALID, UPDATE_ISROUTER, UPDATE_OVERRIDE_ISROUTER
from pysock.core.skb_data import skb_copy_bits
from pysock.families.inet.icmp_rate import spend
from pysock.families.inet6 import ndisc, route
from pysock.families.inet6.addr import ANY6, is_linklocal, is_multicast
from pysock.families.inet6.addrconf import link_local_of
from pysock.families.inet6.devconf import Inet6Dev
from pysock.families.inet6.icmp6_rate import icmp6_of
from pysock.uapi.in6 import IPV6_MIN_MTU
from pysock.wire.icmpv6 import HEADER, OPT_REDIRECTED, OPT_TARGET_LL, REDIRECT, build_option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from pysock.core.skbuff import SkBuff
    from pysock.families.inet6.net import Inet6Net
    from pysock.families.inet6.route import Rt6

_SIZE: Final = 40
_HEADER: Final = 40  # IPv6's


def rcv(inet6: Inet6Net, idev: Inet6Dev, message: bytes, saddr: bytes) -> None:
    """Believe the router that we use for the destination, and only a host does. Raises Malformed for bad options."""
    if len(message) < _SIZE or not is_linklocal(saddr) or idev.conf.forwarding or not idev.conf.accept_redirects:
        return
    target, destination = message[8:24], message[24:40]
    if is_multicast(destination) or (target != destination and not is_linklocal(target)):
        return
    lladdr = ndisc.options_of(idev.dev, message, _SIZE).get(OPT_TARGET_LL)
    try:
        rt = route.output(inet6, destination, oif=idev.dev.ifindex)
    except OSError:
        return
    if rt.gateway != saddr:
        return
    flags = UPDATE_OVERRIDE_ISROUTER | (UPDATE_ISROUTER if target != destination else 0)
    if ndisc.learn(inet6, idev.dev, target, lladdr, flags) is None:
        return
    inet6.fib6.exception(destination).gateway = target
    inet6.fib6.flush()


def send(inet6: Inet6Net, skb: SkBuff, rt: Rt6, saddr: bytes, daddr: bytes) -> None:
    """Tell the sender of ``skb``, which leaves over ``rt`` by the device that it came in by, where it should have sent
    it: to a router with a link-local address, or to the destination itself. About once a second for each destination
    and for each sender. ``skb`` stays the caller's.
    """
    dev = rt.dev
    source = link_local_of(dev)
    target = rt.gateway or daddr
    if source is None or (target != daddr and not is_linklocal(target)):
        return
    peers, now = icmp6_of(inet6).peers, inet6.kernel.now
    if not spend(peers, daddr, NSEC_PER_SEC, now):
        return
    try:
        back = route.output(inet6, saddr, ANY6, dev.ifindex)
    except OSError:
        return
    if back.gateway is not None or back.dev is not dev or not spend(peers, saddr, NSEC_PER_SEC, now):
        return  # the sender is not on this link
    options = b""
    neigh = inet6.nd.lookup(dev, target)
    if neigh is not None and neigh.nud_state & NUD_VALID and dev.addr_len:
        options = build_option(OPT_TARGET_LL, neigh.ha)
    at = skb.network_header - skb.data
    quoted = min(IPV6_MIN_MTU - _HEADER - _SIZE - len(options) - 8, skb.len - at) & ~7
    options += build_option(OPT_REDIRECTED, bytes(6) + skb_copy_bits(skb, at, quoted))
    ndisc.send(inet6, dev, source, saddr, HEADER.pack(REDIRECT, 0, 0, 0) + target + daddr + options)

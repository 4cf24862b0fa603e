"""Redirects (RFC 4861 8; ndisc_redirect_rcv, rt6_do_redirect): our router knows a better next hop to a destination."""

from __future__ import annotations

from pysock.core.neighbour import UPDATE_ISROUTER, UPDATE_OVERRIDE_ISROUTER
from pysock.families.inet6 import ndisc, route
from pysock.families.inet6.addr import is_linklocal, is_multicast
from pysock.families.inet6.devconf import Inet6Dev
from pysock.wire.icmpv6 import OPT_TARGET_LL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from pysock.families.inet6.net import Inet6Net

_SIZE: Final = 40


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

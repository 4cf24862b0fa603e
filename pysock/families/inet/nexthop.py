"""What the network taught us about single destinations: the MTU of the path, a better gateway (struct
fib_nh_exception; RFC 1191, RFC 1122 3.2.2.2).

Exceptions live in the routing table beside the routes (`FibTable.exceptions`) and are good for a time; every change
raises the table's generation, so that sockets and cached routes take it up. One timer waits for the first to expire.
Source: net/ipv4/route.c: __ip_rt_update_pmtu, __ip_do_redirect, update_or_create_fnhe.
"""

from __future__ import annotations

from pysock.core.clock import NEVER, NSEC_PER_SEC
from pysock.core.neighbour import NUD_VALID
from pysock.core.timer import Timer
from pysock.families.inet import route
from pysock.families.inet.addr import is_multicast
from pysock.families.inet.devinet import in_device, onlink
from pysock.families.inet.fib import RTN_UNICAST, RouteException
from pysock.families.inet.ip_fragment import accepts_pmtu
from pysock.uapi.if_ import IFF_LOOPBACK
from pysock.wire.icmp import DEST_UNREACH, FRAG_NEEDED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from pysock.core.netdevice import NetDevice
    from pysock.families.inet.inet_sock import InetSock
    from pysock.families.inet.net import InetNet

_LIMIT: Final = 2048
#: How long a redirect is followed (ip_rt_gc_timeout).
_REDIRECT_TIME: Final = 300 * NSEC_PER_SEC


class RouteLimits:
    """The sysctls net.ipv4.route.* and ip_no_pmtu_disc, and the timer of a namespace's exceptions."""

    __slots__ = ("inet", "min_pmtu", "mtu_expires", "no_pmtu_disc", "timer")

    def __init__(self, inet: InetNet) -> None:
        self.inet = inet
        self.min_pmtu = 552
        self.mtu_expires = 600
        self.no_pmtu_disc = 0
        self.timer = Timer(self._expire)
        inet.net.sysctl.register_lazy("net.ipv4", self._register_sysctls)

    def _register_sysctls(self) -> None:
        sysctl = self.inet.net.sysctl
        sysctl.register_int("net.ipv4.route.min_pmtu", 552, 68, on_change=self._setter("min_pmtu"))
        sysctl.register_int("net.ipv4.route.mtu_expires", 600, 0, on_change=self._setter("mtu_expires"))
        sysctl.register_int("net.ipv4.ip_no_pmtu_disc", 0, 0, 3, on_change=self._setter("no_pmtu_disc"))

    def _setter(self, name: str) -> Callable[[int], None]:
        return lambda value: setattr(self, name, value)

    def remember(self, daddr: bytes, found: RouteException) -> None:
        """Keep what was learnt of ``daddr``; the oldest makes room."""
        exceptions = self.inet.fib.exceptions
        exceptions.pop(daddr, None)
        if len(exceptions) >= _LIMIT:
            del exceptions[next(iter(exceptions))]
        exceptions[daddr] = found
        self.inet.fib.flush()
        timers = self.inet.kernel.timers
        if not self.timer.pending or found.expires < self.timer.expires:
            timers.mod_timer(self.timer, found.expires)

    def _expire(self) -> None:
        fib = self.inet.fib
        now = self.inet.kernel.now
        for daddr, found in list(fib.exceptions.items()):
            if found.expires <= now:
                del fib.exceptions[daddr]
        fib.flush()
        first = min((found.expires for found in fib.exceptions.values()), default=NEVER)
        if first != NEVER:
            self.inet.kernel.timers.mod_timer(self.timer, first)


def setup(inet: InetNet) -> None:
    """Give a namespace its memory of paths."""
    inet.state["route"] = RouteLimits(inet)


def limits_of(inet: InetNet) -> RouteLimits:
    """The limits of a namespace."""
    state = inet.state["route"]
    assert isinstance(state, RouteLimits)
    return state


def icmp_says(sk: InetSock, quoted: bytes, type: int, code: int, info: int) -> None:
    """An ICMP error quotes a datagram of ``sk``: if it says "fragmentation needed", the path's MTU is ``info``
    (ipv4_sk_update_pmtu).
    """
    if type == DEST_UNREACH and code == FRAG_NEEDED and accepts_pmtu(sk):
        update_pmtu(sk.inet, quoted[16:20], info)


def update_pmtu(inet: InetNet, daddr: bytes, mtu: int) -> None:
    """Somebody on the way to ``daddr`` takes at most ``mtu`` bytes (__ip_rt_update_pmtu).

    What is larger than we know is ignored, and nothing below min_pmtu is believed: then the MTU is that, and our
    datagrams carry no DF. With ip_no_pmtu_disc, all of it is taken for such (1) or ignored (2, 3).
    """
    limits = limits_of(inet)
    if limits.no_pmtu_disc:
        if limits.no_pmtu_disc > 1:
            return
        mtu = 0
    try:
        old = route.output(inet, daddr).mtu
    except OSError:
        return
    known = inet.fib.exceptions.get(daddr)
    if old < mtu or (known is not None and known.locked):
        return
    locked = mtu < limits.min_pmtu
    if locked:
        mtu = min(old, limits.min_pmtu)
    life = limits.mtu_expires * NSEC_PER_SEC
    now = inet.kernel.now
    if known is not None and known.mtu == mtu and not locked and now < known.expires - life // 2:
        return
    limits.remember(daddr, RouteException(mtu, locked, known.gateway if known is not None else None, now + life))


def _is_gateway(inet: InetNet, dev: NetDevice, address: bytes) -> bool:
    """Whether some route has this gateway (ip_fib_check_default)."""
    return any(
        (entry.gateway == address and entry.dev is dev)
        or any(hop.gateway == address and hop.dev is dev for hop in entry.nexthops)
        for entry in inet.fib.entries()
    )


def redirect(inet: InetNet, dev: NetDevice, daddr: bytes, old: bytes, new: bytes) -> bool:
    """The gateway ``old`` says that ``new`` is the better one for ``daddr`` (__ip_do_redirect); whether it is followed.

    Only if ``old`` is the gateway that we use, ``new`` is a neighbour on the same link whose address can be found, and
    accept_redirects and its like allow it: without shared_media, secure_redirects wants a ``new`` that is a gateway
    already.
    """
    state = in_device(dev)
    if dev.flags & IFF_LOOPBACK or new == old or is_multicast(new) or not new[0] or new == b"\xff\xff\xff\xff":
        return False
    accepted = state.conf.accept_redirects, state.all.accept_redirects
    if not (all(accepted) if state.conf.forwarding else any(accepted)):
        return False
    entry = inet.fib.local.lookup(new)
    if entry is not None:
        return False  # ourselves, or a broadcast address
    if not (state.conf.shared_media or state.all.shared_media):
        if not onlink(dev, new, old):
            return False
        if (state.conf.secure_redirects or state.all.secure_redirects) and not _is_gateway(inet, dev, new):
            return False
    try:
        rt = route.output(inet, daddr)
        if rt.gateway != old or rt.dev is not dev or rt.type != RTN_UNICAST:
            return False
        neigh = inet.arp.find(dev, new)
    except OSError:
        return False
    if not neigh.nud_state & NUD_VALID:
        neigh.event_send(None)  # find out; the next redirect counts
        return False
    known = inet.fib.exceptions.get(daddr)
    mtu, locked = (known.mtu, known.locked) if known is not None else (0, False)
    limits_of(inet).remember(daddr, RouteException(mtu, locked, new, inet.kernel.now + _REDIRECT_TIME))
    return True

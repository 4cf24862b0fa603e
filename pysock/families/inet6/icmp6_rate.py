"""Icmp6Net: ICMPv6's settings in one namespace, and how often it may speak (net.ipv6.icmp.*, icmpv6_xrlim_allow).

Errors are limited as IPv4's are: by the bucket of the whole namespace, which both families share, and by one for each
destination, where a route to a wide prefix gets more (a default route sixteen times as many). Informational messages
and "packet too big" never are; nothing is on loopback.
"""

from __future__ import annotations

from pysock.core.clock import NSEC_PER_MSEC
from pysock.families.inet.icmp_rate import icmp_of, spend
from pysock.uapi.if_ import IFF_LOOPBACK
from pysock.wire.icmpv6 import ERROR_LIMIT, PKT_TOOBIG

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pysock.core.netdevice import NetDevice
    from pysock.families.inet6.net import Inet6Net
    from pysock.families.inet6.route import Rt6


class Icmp6Net:
    """Settings are sysctls of net.ipv6.icmp. ``peers`` are the buckets by destination."""

    __slots__ = ("echo_ignore_all", "echo_ignore_multicast", "inet6", "peers", "ratelimit")

    def __init__(self, inet6: Inet6Net) -> None:
        self.inet6 = inet6
        self.echo_ignore_all = False
        self.echo_ignore_multicast = False
        self.ratelimit = 1000
        self.peers: dict[bytes, tuple[int, int]] = {}
        inet6.net.sysctl.register_lazy("net.ipv6.icmp", self._register_sysctls)

    def _register_sysctls(self) -> None:
        sysctl = self.inet6.net.sysctl
        for name in ("echo_ignore_all", "echo_ignore_multicast"):
            sysctl.register_bool(f"net.ipv6.icmp.{name}", getattr(self, name), on_change=self._setter(name))
        sysctl.register_int("net.ipv6.icmp.ratelimit", self.ratelimit, minimum=0, on_change=self._setter("ratelimit"))

    def _setter(self, name: str) -> Callable[[int], None]:
        return lambda value: setattr(self, name, value)

    def global_allow(self, dev: NetDevice, type: int) -> bool:
        """May the namespace answer a packet that came in through ``dev`` with a message of ``type``?"""
        return bool(dev.flags & IFF_LOOPBACK) or _unlimited(type) or icmp_of(self.inet6.inet).take_token()

    def peer_allow(self, rt: Rt6, type: int) -> bool:
        """May a message go to this destination now? Counts OutRateLimitHost."""
        if rt.loopback or not self.ratelimit or _unlimited(type):
            return True
        entry = self.inet6.fib6.lookup(rt.daddr, rt.dev.ifindex)
        shift = (128 - entry.plen) >> 5 if entry is not None else 0
        if spend(self.peers, rt.daddr, self.ratelimit * NSEC_PER_MSEC >> shift, self.inet6.kernel.now):
            return True
        self.inet6.mibs.icmp6.OutRateLimitHost += 1
        return False


def _unlimited(type: int) -> bool:
    return type >= ERROR_LIMIT or type == PKT_TOOBIG


def icmp6_of(inet6: Inet6Net) -> Icmp6Net:
    """The ICMPv6 settings and state of a namespace."""
    state = inet6.state["icmp6"]
    assert isinstance(state, Icmp6Net)
    return state

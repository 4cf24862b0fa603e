"""The forwarding information base of IPv6 in one namespace (net/ipv6/ip6_fib.c): which route a destination takes.

Two tables, as in Linux: ``local`` (our own addresses, and ff00::/8 of each device) is asked before ``main``. Each is a
dict for every prefix length in use, searched longest first, as in families/inet/fib.py. It is not that class with 128
for 32, because a lookup here has a second key: the same prefix (fe80::/64, ff00::/8) has a route on every device, and
the device asked for chooses among them, so a lookup walks the routes of a prefix where IPv4's takes the first.

``exceptions`` holds what the path to one destination taught us: a smaller MTU, or a better next hop (RFC 8201, RFC 4861
8; rt6_exception in Linux). ``multipath`` says that some prefix has several ways (multipath6.py).
Every change raises ``generation``; sockets compare it before they use a cached route.
"""

from __future__ import annotations

import errno

from pysock.core.clock import NEVER
from pysock.core.errors import err
from pysock.families.inet.fib import NO_METRICS, RTN_LOCAL, RTN_MULTICAST, RTN_UNICAST
from pysock.families.inet6.addr import ANY6, prefix_of
from pysock.wire.addr import inet6_ntoa

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.netdevice import NetDevice
    from pysock.families.inet6.route import Rt6

_CACHE_LIMIT = 8192
_EXCEPTION_LIMIT = 4096

RTPROT_KERNEL = 2
RTPROT_BOOT = 3
RTPROT_RA = 9

METRIC_ADDRCONF = 256  # IP6_RT_PRIO_ADDRCONF
METRIC_USER = 1024  # IP6_RT_PRIO_USER


class Fib6Entry:
    """One route (struct fib6_info). ``prefix`` and ``prefsrc`` are 16 bytes (ANY6: choose by RFC 6724), ``gateway`` too
    or None when the network is on the link. ``metrics`` has numbers by RTAX_*. ``expires`` in monotonic ns or NEVER;
    ``pref`` is RFC 4191's preference as a number to compare: 1 high, 0 medium, -1 low. ``weight``, 1 to 256, counts
    among siblings; ``dead``: passed over, until the device is up.
    """

    __slots__ = (
        "dead", "dev", "expires", "gateway", "metric", "metrics", "plen", "pref", "prefix", "prefsrc", "protocol",
        "type", "weight",
    )  # fmt: skip

    def __init__(
        self,
        prefix: bytes,
        plen: int,
        type: int,
        dev: NetDevice | None,
        gateway: bytes | None = None,
        metric: int = METRIC_USER,
        prefsrc: bytes = ANY6,
        protocol: int = RTPROT_BOOT,
        metrics: dict[int, int] = NO_METRICS,
    ) -> None:
        self.prefix = prefix
        self.plen = plen
        self.type = type
        self.dev = dev
        self.gateway = gateway
        self.metric = metric
        self.prefsrc = prefsrc
        self.protocol = protocol
        self.metrics = metrics
        self.expires = NEVER
        self.pref = 0
        self.weight = 1
        self.dead = False

    def __repr__(self) -> str:
        dev = self.dev.name if self.dev else "-"
        return f"<Fib6Entry {inet6_ntoa(self.prefix)}/{self.plen} type {self.type} dev {dev}>"


class _Table:
    """Routes by prefix length, then by prefix; several for one prefix are ordered by metric and preference."""

    __slots__ = ("by_length", "lengths")

    def __init__(self) -> None:
        self.by_length: dict[int, dict[int, list[Fib6Entry]]] = {}
        self.lengths: tuple[int, ...] = ()

    def add(self, entry: Fib6Entry) -> None:
        prefixes = self.by_length.setdefault(entry.plen, {})
        entries = prefixes.setdefault(_bits(entry), [])
        for e in entries:
            if e.metric == entry.metric and e.dev is entry.dev and e.gateway == entry.gateway and e.type == entry.type:
                raise err(errno.EEXIST)
        entries.append(entry)
        if len(entries) > 1:
            entries.sort(key=lambda e: (e.metric, -e.pref))
        if len(self.lengths) != len(self.by_length):
            self.lengths = tuple(sorted(self.by_length, reverse=True))

    def remove(self, entry: Fib6Entry) -> None:
        prefixes = self.by_length.get(entry.plen, {})
        key = _bits(entry)
        entries = prefixes.get(key, [])
        if entry not in entries:
            raise err(errno.ESRCH)
        entries.remove(entry)
        if not entries:
            del prefixes[key]
        if not prefixes:
            del self.by_length[entry.plen]
            self.lengths = tuple(sorted(self.by_length, reverse=True))

    def discard(self, entry: Fib6Entry) -> None:
        """`remove`, if it is there."""
        if entry in self.at(entry.prefix, entry.plen):
            self.remove(entry)

    def lookup(self, daddr: bytes, oif: int) -> Fib6Entry | None:
        value = int.from_bytes(daddr, "big")
        for plen in self.lengths:
            for entry in self.by_length[plen].get(value >> (128 - plen), ()):
                if (not oif or entry.dev is None or entry.dev.ifindex == oif) and not entry.dead:
                    return entry
        return None

    def at(self, prefix: bytes, plen: int) -> list[Fib6Entry]:
        """The routes for just this prefix, best first."""
        return self.by_length.get(plen, {}).get(int.from_bytes(prefix, "big") >> (128 - plen), [])

    def entries(self) -> list[Fib6Entry]:
        return [e for plen in self.lengths for es in self.by_length[plen].values() for e in es]


def _bits(entry: Fib6Entry) -> int:
    return int.from_bytes(entry.prefix, "big") >> (128 - entry.plen)


class Exception6:
    """What is known of the path to one destination: ``mtu`` (0: nothing) until ``mtu_until`` (monotonic ns), and
    ``gateway`` (None: nothing).
    """

    __slots__ = ("gateway", "mtu", "mtu_until")

    def __init__(self) -> None:
        self.mtu = 0
        self.mtu_until = NEVER
        self.gateway: bytes | None = None


class Fib6Table:
    """fib6_lookup() and its tables."""

    __slots__ = ("_cache", "exceptions", "generation", "local", "main", "multipath", "routes")

    def __init__(self) -> None:
        self.local = _Table()
        self.main = _Table()
        self.generation = 1
        self.multipath = False
        self._cache: dict[tuple[bytes, int], Fib6Entry | None] = {}
        self.exceptions: dict[bytes, Exception6] = {}
        #: Routes in use by (destination, source, device index, preferences), and the flow if there is multipath: flows
        #: to one place share one Rt6.
        self.routes: dict[tuple[bytes | int, ...], Rt6] = {}

    def _table(self, entry: Fib6Entry) -> _Table:
        return self.local if entry.type in (RTN_LOCAL, RTN_MULTICAST) else self.main

    def add(self, entry: Fib6Entry) -> None:
        """Add a route (ip6_route_add): EEXIST when the same is there already, EINVAL for bits below the mask."""
        if not 0 <= entry.plen <= 128 or prefix_of(entry.prefix, entry.plen) != entry.prefix:
            raise err(errno.EINVAL)
        self._table(entry).add(entry)
        if not self.multipath:
            self.multipath = len(self.siblings(entry)) > 1
        self.flush()

    def remove(self, entry: Fib6Entry) -> None:
        """Take a route away (ip6_del_rt): ESRCH when it is not there."""
        self._table(entry).remove(entry)
        self._count_ways()
        self.flush()

    def discard(self, entry: Fib6Entry) -> None:
        """`remove`, if it is there."""
        if self.has(entry):
            self.remove(entry)

    def has(self, entry: Fib6Entry) -> bool:
        return entry in self._table(entry).at(entry.prefix, entry.plen)

    def _count_ways(self) -> None:
        if self.multipath:
            self.multipath = any(len(self.siblings(entry)) > 1 for entry in self.main.entries())

    def siblings(self, entry: Fib6Entry) -> list[Fib6Entry]:
        """The routes among which flows choose that ``entry`` is for, itself among them; none where it stands alone by
        its kind (rt6_qualify_for_ecmp).
        """
        if entry.gateway is None or entry.type != RTN_UNICAST or entry.protocol == RTPROT_RA:
            return []
        return [
            one
            for one in self.main.at(entry.prefix, entry.plen)
            if one.metric == entry.metric
            and one.pref == entry.pref
            and one.gateway is not None
            and one.type == RTN_UNICAST
            and one.protocol != RTPROT_RA
        ]

    def remove_device(self, dev: NetDevice, gone: bool = True) -> None:
        """Drop every route through ``dev``; while it is only down and not ``gone``, one of several ways waits for it
        if another works (rt6_disable_ip, rt6_sync_down_dev).
        """
        for table in (self.local, self.main):
            for entry in table.entries():
                if entry.dev is dev and not entry.dead:
                    ways = self.siblings(entry) if self.multipath and not gone else []
                    if any(not way.dead and way.dev is not dev for way in ways):
                        entry.dead = True
                        continue
                    for way in ways or (entry,):
                        table.discard(way)
                elif entry.dev is dev and gone:
                    table.discard(entry)
        self._count_ways()
        self.flush()

    def revive(self, dev: NetDevice) -> None:
        """``dev`` is up: ways that waited for it are there again (rt6_sync_up)."""
        if self.multipath:
            for entry in self.main.entries():
                if entry.dev is dev:
                    entry.dead = False
            self.flush()

    def flush(self) -> None:
        """Forget cached results, here and in the sockets; not what paths taught us."""
        self.generation += 1
        self._cache.clear()
        self.routes.clear()

    def remember(self, key: tuple[bytes | int, ...], rt: Rt6) -> None:
        """Keep a route until the next `flush`."""
        if len(self.routes) >= _CACHE_LIMIT:
            self.routes.clear()
        self.routes[key] = rt

    def lookup(self, daddr: bytes, oif: int = 0) -> Fib6Entry | None:
        """The route to ``daddr``, through the device with index ``oif`` if that is not 0; None when there is none."""
        cache = self._cache
        key = (daddr, oif)
        try:
            return cache[key]
        except KeyError:
            entry = self.local.lookup(daddr, oif) or self.main.lookup(daddr, oif)
            if len(cache) >= _CACHE_LIMIT:
                cache.clear()
            cache[key] = entry
            return entry

    def entries(self) -> list[Fib6Entry]:
        """All routes, local table first, longest prefix first."""
        return self.local.entries() + self.main.entries()

    # -- what paths taught us ------------------------------------------------------------------------------

    def exception(self, daddr: bytes) -> Exception6:
        """The record of ``daddr``, made now if there is none; call `flush` after changing it."""
        found = self.exceptions.get(daddr)
        if found is None:
            if len(self.exceptions) >= _EXCEPTION_LIMIT:
                self.exceptions.clear()
            found = self.exceptions[daddr] = Exception6()
        return found

    def expire(self, now: int) -> int:
        """Forget the path MTUs that are out of date at ``now``; the next instant at which one will be, or NEVER."""
        due = [found for found in self.exceptions.values() if found.mtu and found.mtu_until <= now]
        for found in due:
            found.mtu = 0
        if due:
            self.flush()
        return min((found.mtu_until for found in self.exceptions.values() if found.mtu), default=NEVER)

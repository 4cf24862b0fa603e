"""The forwarding information base of one namespace: which route a destination takes.

Two tables, as in Linux: ``local`` (our own and broadcast addresses) is asked before ``main`` (connected networks and
gateways). Each is a dict for every prefix length in use, searched longest first, so a lookup costs one dict access a
length; results are remembered by destination until ``generation`` changes. Sockets compare the same number before
they use a cached route.

Not here yet: metrics beyond "the first one wins", multipath, policy rules, 100,000 routes (the device layer's issue).
"""

from __future__ import annotations

import errno

from pysock.core.errors import err

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.netdevice import NetDevice
    from pysock.families.inet.route import Rtable

RTN_UNICAST = 1
RTN_LOCAL = 2
RTN_BROADCAST = 3
RTN_MULTICAST = 5
RTN_BLACKHOLE = 6
RTN_UNREACHABLE = 7
RTN_PROHIBIT = 8

RT_SCOPE_UNIVERSE = 0
RT_SCOPE_LINK = 253
RT_SCOPE_HOST = 254

_CACHE_LIMIT = 8192


class FibEntry:
    """One route. ``prefix`` and ``prefsrc`` are 4 wire bytes (ANY: each flow chooses), ``gateway`` too or None when the
    network is on the link.
    """

    __slots__ = ("dev", "gateway", "metric", "plen", "prefix", "prefsrc", "scope", "type")

    def __init__(
        self,
        prefix: bytes,
        plen: int,
        type: int,
        dev: NetDevice | None,
        prefsrc: bytes,
        gateway: bytes | None = None,
        metric: int = 0,
        scope: int = RT_SCOPE_UNIVERSE,
    ) -> None:
        self.prefix = prefix
        self.plen = plen
        self.type = type
        self.dev = dev
        self.prefsrc = prefsrc
        self.gateway = gateway
        self.metric = metric
        self.scope = scope

    def __repr__(self) -> str:
        dev = self.dev.name if self.dev else "-"
        return f"<FibEntry {'.'.join(map(str, self.prefix))}/{self.plen} type {self.type} dev {dev}>"


class RouteException:
    """What we learnt of one destination (struct fib_nh_exception): ``mtu`` bytes (0: nothing), ``locked`` when it is
    too small to be believed and DF must not be set, a better ``gateway`` or None; good until ``expires`` (ns).
    """

    __slots__ = ("expires", "gateway", "locked", "mtu")

    def __init__(self, mtu: int, locked: bool, gateway: bytes | None, expires: int) -> None:
        self.mtu = mtu
        self.locked = locked
        self.gateway = gateway
        self.expires = expires


class _Table:
    """Routes by prefix length, then by prefix; several for one prefix are ordered by metric."""

    __slots__ = ("by_length", "lengths")

    def __init__(self) -> None:
        self.by_length: dict[int, dict[int, list[FibEntry]]] = {}
        self.lengths: tuple[int, ...] = ()

    def add(self, entry: FibEntry) -> None:
        prefixes = self.by_length.setdefault(entry.plen, {})
        entries = prefixes.setdefault(prefix_bits(entry.prefix, entry.plen), [])
        if any(e.metric == entry.metric and e.type == entry.type and e.dev is entry.dev for e in entries):
            raise err(errno.EEXIST)
        entries.append(entry)
        entries.sort(key=lambda e: e.metric)
        self.lengths = tuple(sorted(self.by_length, reverse=True))

    def remove(self, entry: FibEntry) -> None:
        prefixes = self.by_length.get(entry.plen, {})
        key = prefix_bits(entry.prefix, entry.plen)
        entries = prefixes.get(key, [])
        if entry not in entries:
            raise err(errno.ESRCH)
        entries.remove(entry)
        if not entries:
            del prefixes[key]
        if not prefixes:
            del self.by_length[entry.plen]
            self.lengths = tuple(sorted(self.by_length, reverse=True))

    def at(self, prefix: bytes, plen: int) -> list[FibEntry]:
        """The routes to exactly this prefix, best first."""
        return list(self.by_length.get(plen, {}).get(prefix_bits(prefix, plen), ()))

    def has(self, entry: FibEntry) -> bool:
        return entry in self.at(entry.prefix, entry.plen)

    def lookup(self, daddr: bytes, dev: NetDevice | None = None) -> FibEntry | None:
        """The best route to ``daddr``, through ``dev`` only if one is given."""
        value = int.from_bytes(daddr, "big")
        for plen in self.lengths:
            for entry in self.by_length[plen].get(value >> (32 - plen), ()):
                if dev is None or entry.dev is dev:
                    return entry
        return None

    def entries(self) -> list[FibEntry]:
        return [e for plen in self.lengths for es in self.by_length[plen].values() for e in es]


def prefix_bits(prefix: bytes, plen: int) -> int:
    """The first ``plen`` bits of a 4-byte address as an int."""
    return int.from_bytes(prefix, "big") >> (32 - plen)


class FibTable:
    """fib_lookup() and its tables. Every change raises ``generation``."""

    __slots__ = ("_cache", "exceptions", "generation", "local", "main", "routes")

    def __init__(self) -> None:
        self.local = _Table()
        self.main = _Table()
        self.generation = 1
        self._cache: dict[bytes, FibEntry | None] = {}
        #: By destination; see nexthop.py, which alone changes them.
        self.exceptions: dict[bytes, RouteException] = {}
        #: Routes in use by (destination, source, device index): flows to one place share one Rtable.
        self.routes: dict[tuple[bytes, bytes, int], Rtable] = {}

    def _table(self, entry: FibEntry) -> _Table:
        return self.local if entry.type in (RTN_LOCAL, RTN_BROADCAST) else self.main

    def add(self, entry: FibEntry) -> None:
        """fib_table_insert(): EEXIST when the same route is there already, EINVAL for host bits below the mask."""
        if not 0 <= entry.plen <= 32 or prefix_bits(entry.prefix, entry.plen) << (32 - entry.plen) != int.from_bytes(
            entry.prefix, "big"
        ):
            raise err(errno.EINVAL)
        self._table(entry).add(entry)
        self.flush()

    def remove(self, entry: FibEntry) -> None:
        """fib_table_delete(): ESRCH when it is not there."""
        self._table(entry).remove(entry)
        self.flush()

    def remove_device(self, dev: NetDevice) -> None:
        """Drop every route through ``dev`` (fib_sync_down_dev)."""
        for table in (self.local, self.main):
            for entry in table.entries():
                if entry.dev is dev:
                    table.remove(entry)
        self.flush()

    def flush(self) -> None:
        """Forget cached results, here and in the sockets (rt_cache_flush)."""
        self.generation += 1
        self._cache.clear()
        self.routes.clear()

    def remember(self, key: tuple[bytes, bytes, int], rt: Rtable) -> None:
        """Keep a route until the next `flush`."""
        if len(self.routes) >= _CACHE_LIMIT:
            self.routes.clear()
        self.routes[key] = rt

    def __contains__(self, entry: FibEntry) -> bool:
        return self._table(entry).has(entry)

    def lookup(self, daddr: bytes) -> FibEntry | None:
        """The route to ``daddr``, local table first; None when there is none."""
        cache = self._cache
        try:
            return cache[daddr]
        except KeyError:
            entry = self.local.lookup(daddr) or self.main.lookup(daddr)
            if len(cache) >= _CACHE_LIMIT:
                cache.clear()
            cache[daddr] = entry
            return entry

    def entries(self) -> list[FibEntry]:
        """All routes, local table first, longest prefix first."""
        return self.local.entries() + self.main.entries()

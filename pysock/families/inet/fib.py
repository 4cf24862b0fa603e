"""The forwarding information base of one namespace: which route a destination takes (fib_trie.c, fib_semantics.c).

    FibTable (the namespace) -> rules (fib_rules.py), or local, main, default in this order -> Table -> FibEntry

A `Table` is a dict for every prefix length in use, searched longest first: a lookup costs one dict access a length
(1.2 us with 100,000 routes of 18 lengths), a change one dict write (0.5 us; a Patricia trie in Python takes 8 and 14,
sorted prefixes with bisect 1.1 and 26). Several routes to one prefix stand in Linux's order: by type of service, then
by metric, then as they were added.

Results are remembered by destination until ``generation`` changes. Sockets compare the same number before they use a
cached route. As long as only the default rules exist and no route has a type of service or several next hops, the
destination decides alone and ``plain`` says so; otherwise a `Flow` is asked for (fib_rules.py).
"""

from __future__ import annotations

import errno

from pysock.core.errors import err
from pysock.uapi.netlink import NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final

    from pysock.core.netdevice import NetDevice
    from pysock.families.inet.fib_rules import FibRules, Flow
    from pysock.families.inet.route import Rtable

RTN_UNICAST = 1
RTN_LOCAL = 2
RTN_BROADCAST = 3
RTN_MULTICAST = 5
RTN_BLACKHOLE = 6
RTN_UNREACHABLE = 7
RTN_PROHIBIT = 8
RTN_THROW = 9

RT_SCOPE_UNIVERSE = 0
RT_SCOPE_LINK = 253
RT_SCOPE_HOST = 254
RT_SCOPE_NOWHERE = 255

RT_TABLE_DEFAULT = 253
RT_TABLE_MAIN = 254
RT_TABLE_LOCAL = 255

RTPROT_KERNEL = 2
RTPROT_BOOT = 3

# Keys of `FibEntry.metrics`
RTAX_LOCK = 1  # a bit for each of the others that must stay as it is
RTAX_MTU = 2
RTAX_WINDOW = 3
RTAX_RTT = 4
RTAX_ADVMSS = 8
RTAX_HOPLIMIT = 10
RTAX_INITCWND = 11
RTAX_RTO_MIN = 13
RTAX_INITRWND = 14
#: The most that the kernel keeps of some (ip_metrics_convert)
_RTAX_MOST = {RTAX_MTU: 65535 - 15, RTAX_ADVMSS: 65535 - 40, RTAX_HOPLIMIT: 255}

_CACHE_LIMIT = 8192
#: Routes without metrics share this: nobody writes to it.
NO_METRICS: Final[dict[int, int]] = {}


def checked_metrics(metrics: dict[int, int] | None) -> dict[int, int]:
    """What a route keeps of the metrics that a program asks for (ip_fib_metrics_init)."""
    return {key: min(value, _RTAX_MOST.get(key, value)) for key, value in metrics.items()} if metrics else NO_METRICS


class Nexthop:
    """One way of a route with several (struct fib_nh): ``gateway`` as in `FibEntry`, ``weight`` 1 to 256. ``dead``
    while its device is down, or has no carrier and net.ipv4.conf.DEV.ignore_routes_with_linkdown is set.
    """

    __slots__ = ("dead", "dev", "gateway", "weight")

    def __init__(self, dev: NetDevice, gateway: bytes | None = None, weight: int = 1) -> None:
        self.dev = dev
        self.gateway = gateway
        self.weight = weight
        self.dead = False

    def same(self, other: Nexthop) -> bool:
        """Whether both lead the same way."""
        return self.dev is other.dev and self.gateway == other.gateway and self.weight == other.weight


class FibEntry:
    """One route. ``prefix`` and ``prefsrc`` are 4 wire bytes (ANY: each flow chooses), ``gateway`` too or None when the
    network is on the link. ``nexthops`` is empty unless there are several; then ``dev`` and ``gateway`` are the
    first's. ``table`` is the id of its table; ``metrics`` has numbers by RTAX_*. ``dead``: passed over while no next
    hop works. ``chosen`` is fib_default.py's.
    """

    __slots__ = (
        "chosen", "dead", "dev", "gateway", "metric", "metrics", "nexthops", "onlink", "plen", "prefix", "prefsrc",
        "protocol", "scope", "table", "tos", "type",
    )  # fmt: skip

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
        *,
        table: int = 0,
        tos: int = 0,
        protocol: int = RTPROT_KERNEL,
        metrics: dict[int, int] = NO_METRICS,
        nexthops: tuple[Nexthop, ...] = (),
        onlink: bool = False,
    ) -> None:
        self.prefix = prefix
        self.plen = plen
        self.type = type
        self.dev = dev
        self.prefsrc = prefsrc
        self.gateway = gateway
        self.metric = metric
        self.scope = scope
        self.table = table or (RT_TABLE_LOCAL if type in (RTN_LOCAL, RTN_BROADCAST) else RT_TABLE_MAIN)
        self.tos = tos
        self.protocol = protocol
        self.metrics = metrics
        self.nexthops = nexthops
        self.onlink = onlink
        self.dead = False
        self.chosen = -1

    def __repr__(self) -> str:
        dev = self.dev.name if self.dev else "-"
        return f"<FibEntry {'.'.join(map(str, self.prefix))}/{self.plen} type {self.type} dev {dev}>"

    def through(self, dev: NetDevice) -> bool:
        """Whether one of its ways is ``dev``."""
        return self.dev is dev or any(hop.dev is dev for hop in self.nexthops)

    def same(self, other: FibEntry) -> bool:
        """Whether both are one route but for their place in the order (the perfect match of fib_table_insert)."""
        return (
            self.type == other.type
            and self.scope == other.scope
            and self.dev is other.dev
            and self.gateway == other.gateway
            and self.prefsrc == other.prefsrc
            and self.protocol == other.protocol
            and self.metrics == other.metrics
            and len(self.nexthops) == len(other.nexthops)
            and all(one.same(two) for one, two in zip(self.nexthops, other.nexthops, strict=True))
        )


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


class Table:
    """The routes with one table id."""

    __slots__ = ("_levels", "by_length", "id")

    def __init__(self, id: int) -> None:
        self.id = id
        self.by_length: dict[int, dict[int, tuple[FibEntry, ...]]] = {}
        #: What a lookup walks, longest first: how far to shift an address, and the prefixes of that length.
        self._levels: tuple[tuple[int, dict[int, tuple[FibEntry, ...]]], ...] = ()

    @property
    def lengths(self) -> tuple[int, ...]:
        """The prefix lengths in use, longest first."""
        return tuple(32 - shift for shift, _ in self._levels)

    def insert(self, entry: FibEntry, flags: int) -> FibEntry | None:
        """fib_table_insert() with the NLM_F_* of a request; the route that it replaced, if any.

        EEXIST: NLM_F_EXCL and there is one of this type of service and metric, or the very same is there. ENOENT:
        there is none to replace, or none may be made.
        """
        old = self.at(entry.prefix, entry.plen)
        if not old and flags & NLM_F_CREATE:
            self._store(entry, (entry,))
            return None
        rank = -entry.tos, entry.metric
        ranks = [(-one.tos, one.metric) for one in old]
        peers = [one for one, its in zip(old, ranks, strict=True) if its == rank]
        at = sum(its < rank for its in ranks)
        replaced = None
        if peers:
            if flags & NLM_F_EXCL:
                raise err(errno.EEXIST)
            if flags & NLM_F_REPLACE:
                if any(one.same(entry) for one in peers[1:]):
                    raise err(errno.EEXIST)
                replaced = old.pop(at)
            elif any(one.same(entry) for one in peers):
                raise err(errno.EEXIST)
            elif flags & NLM_F_APPEND:
                at += len(peers)
        if replaced is None and not flags & NLM_F_CREATE:
            raise err(errno.ENOENT)
        old.insert(at, entry)
        self._store(entry, tuple(old))
        return replaced

    def remove(self, entry: FibEntry) -> None:
        """ESRCH when it is not there."""
        old = self.at(entry.prefix, entry.plen)
        if entry not in old:
            raise err(errno.ESRCH)
        old.remove(entry)
        self._store(entry, tuple(old))

    def _store(self, entry: FibEntry, entries: tuple[FibEntry, ...]) -> None:
        prefixes = self.by_length.get(entry.plen)
        key = prefix_bits(entry.prefix, entry.plen)
        if entries:
            if prefixes is not None:
                prefixes[key] = entries
                return
            self.by_length[entry.plen] = {key: entries}
        else:
            assert prefixes is not None
            del prefixes[key]
            if prefixes:
                return
            del self.by_length[entry.plen]
        self._levels = tuple((32 - plen, self.by_length[plen]) for plen in sorted(self.by_length, reverse=True))

    def at(self, prefix: bytes, plen: int) -> list[FibEntry]:
        """The routes to exactly this prefix, best first."""
        prefixes = self.by_length.get(plen)
        return list(prefixes.get(prefix_bits(prefix, plen), ())) if prefixes is not None else []

    def lookup(self, daddr: bytes, dev: NetDevice | None = None, tos: int = 0, scope: int = 0) -> FibEntry | None:
        """The best route to ``daddr``, through ``dev`` only if one is given, and at least of ``scope``
        (fib_table_lookup). It may be of a type that says there is no way, RTN_THROW too.
        """
        value = int.from_bytes(daddr, "big")
        for shift, prefixes in self._levels:
            found = prefixes.get(value >> shift)
            if found is not None:
                for entry in found:
                    if (
                        not entry.dead
                        and entry.scope >= scope
                        and (not entry.tos or entry.tos == tos)
                        and (dev is None or entry.dev is dev or entry.dev is None or entry.through(dev))
                    ):
                        return entry
        return None

    def __iter__(self) -> Iterator[FibEntry]:
        for _, prefixes in self._levels:
            for entries in prefixes.values():
                yield from entries

    def entries(self) -> list[FibEntry]:
        """All, longest prefix first."""
        return list(self)


def prefix_bits(prefix: bytes, plen: int) -> int:
    """The first ``plen`` bits of a 4-byte address as an int."""
    return int.from_bytes(prefix, "big") >> (32 - plen)


def is_prefix(prefix: bytes, plen: int) -> bool:
    """Whether ``plen`` is a length, and no bit of ``prefix`` stands behind it."""
    return 0 <= plen <= 32 and prefix_bits(prefix, plen) << (32 - plen) == int.from_bytes(prefix, "big")


class FibTable:
    """fib_lookup() and the tables of a namespace. Every change raises ``generation``."""

    __slots__ = (
        "_cache", "_dead", "_default", "_special", "exceptions", "generation", "local", "main", "plain", "routes",
        "rules", "tables",
    )  # fmt: skip

    def __init__(self) -> None:
        self.local = Table(RT_TABLE_LOCAL)
        self.main = Table(RT_TABLE_MAIN)
        self._default: Table | None = None
        self.tables = {RT_TABLE_LOCAL: self.local, RT_TABLE_MAIN: self.main}
        self.generation = 1
        #: Policy rules, None as long as there are only the default ones.
        self.rules: FibRules | None = None
        #: No rules, and no route for which more than the destination matters.
        self.plain = True
        self._special = 0  # how many such routes there are
        self._cache: dict[bytes, FibEntry | None] = {}
        self._dead: set[NetDevice] = set()  # `set_dead` was told of
        #: By destination; see nexthop.py, which alone changes them.
        self.exceptions: dict[bytes, RouteException] = {}
        #: Routes in use by (destination, source, device index), and the flow's key behind when not ``plain``: flows to
        #: one place share one Rtable.
        self.routes: dict[tuple[bytes | int, ...], Rtable] = {}

    def table(self, id: int) -> Table:
        """The table ``id``, made when it is first asked for (fib_new_table)."""
        table = self.tables.get(id)
        if table is None:
            table = self.tables[id] = Table(id)
            if id == RT_TABLE_DEFAULT:
                self._default = table
        return table

    def add(self, entry: FibEntry, flags: int = NLM_F_CREATE | NLM_F_APPEND) -> FibEntry | None:
        """Put a route into its table; the one it replaced. Errors of `Table.insert`; EINVAL for host bits below the
        mask.
        """
        if not is_prefix(entry.prefix, entry.plen):
            raise err(errno.EINVAL)
        replaced = self.table(entry.table).insert(entry, flags)
        self._count(entry, 1)
        if replaced is not None:
            self._count(replaced, -1)
        self.flush()
        return replaced

    def remove(self, entry: FibEntry) -> None:
        """fib_table_delete(): ESRCH when it is not there."""
        self.table(entry.table).remove(entry)
        self._count(entry, -1)
        self.flush()

    def _count(self, entry: FibEntry, change: int) -> None:
        if entry.tos or entry.nexthops:
            self._special += change
            self.plain = not self._special and self.rules is None

    def set_rules(self, rules: FibRules | None) -> None:
        """Other rules hold from now on; None: the default ones."""
        self.rules = rules
        self.plain = not self._special and rules is None
        self.flush()

    def remove_device(self, dev: NetDevice) -> None:
        """``dev`` goes away: drop every route through it, and the way from those that have others
        (fib_sync_down_dev with force).
        """
        for entry in self.entries():
            if not entry.through(dev):
                continue
            hops = tuple(hop for hop in entry.nexthops if hop.dev is not dev)
            if not hops:
                self.remove(entry)
                continue
            self._count(entry, -1)
            entry.dev, entry.gateway = hops[0].dev, hops[0].gateway
            entry.nexthops = hops
            entry.dead = all(hop.dead for hop in hops)
            self._count(entry, 1)
        self._dead.discard(dev)
        self.flush()

    def device_down(self, dev: NetDevice) -> None:
        """``dev`` is down: its routes go but for its own addresses, a way of several is dead (fib_sync_down_dev)."""
        self.set_dead(dev, True)
        for entry in self.entries():
            if entry.type != RTN_LOCAL and (entry.dead if entry.nexthops else entry.dev is dev):
                self.remove(entry)
        self.flush()

    def set_dead(self, dev: NetDevice, dead: bool, single: bool = False) -> None:
        """Ways through ``dev`` cannot be used, or can again; with ``single`` also of routes that have only one."""
        if dead:
            self._dead.add(dev)
        elif dev in self._dead:
            self._dead.remove(dev)
        else:
            self.flush()
            return
        for entry in self.entries():
            for hop in entry.nexthops:
                if hop.dev is dev:
                    hop.dead = dead
            if entry.nexthops:
                entry.dead = all(hop.dead for hop in entry.nexthops)
            elif single and entry.dev is dev and entry.type != RTN_LOCAL:
                entry.dead = dead
        self.flush()

    def flush(self) -> None:
        """Forget cached results, here and in the sockets (rt_cache_flush)."""
        self.generation += 1
        self._cache.clear()
        self.routes.clear()

    def remember(self, key: tuple[bytes | int, ...], rt: Rtable) -> None:
        """Keep a route until the next `flush`."""
        if len(self.routes) >= _CACHE_LIMIT:
            self.routes.clear()
        self.routes[key] = rt

    def __contains__(self, entry: FibEntry) -> bool:
        table = self.tables.get(entry.table)
        return table is not None and entry in table.at(entry.prefix, entry.plen)

    def lookup(self, daddr: bytes) -> FibEntry | None:
        """The route to ``daddr``, as a datagram of which nothing else is known takes it; None when there is none."""
        cache = self._cache
        try:
            return cache[daddr]
        except KeyError:
            entry = self._lookup(daddr)
            if len(cache) >= _CACHE_LIMIT:
                cache.clear()
            cache[daddr] = entry
            return entry

    def _lookup(self, daddr: bytes) -> FibEntry | None:
        if self.rules is not None:
            return self.rules.lookup_address(daddr)
        entry = self.local.lookup(daddr)
        if entry is None or entry.type == RTN_THROW:
            entry = self.main.lookup(daddr)
            if (entry is None or entry.type == RTN_THROW) and self._default is not None:
                entry = self._default.lookup(daddr)
        return None if entry is None or entry.type == RTN_THROW else entry

    def resolve(self, flow: Flow, dev: NetDevice | None = None) -> FibEntry | None:
        """The route of a flow with all that it may depend on, through ``dev`` only if one is given (fib_lookup)."""
        if self.rules is not None:
            return self.rules.lookup(flow, dev)
        for table in (self.local, self.main, self._default):
            if table is not None:
                entry = table.lookup(flow.daddr, dev, flow.tos)
                if entry is not None and entry.type != RTN_THROW:
                    return entry
        return None

    def entries(self) -> list[FibEntry]:
        """All routes, local table first, then by table id from the highest; longest prefix first."""
        return [entry for id in sorted(self.tables, reverse=True) for entry in self.tables[id]]

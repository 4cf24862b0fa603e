"""NeighTable: all neighbours of one family in one namespace, its proxies, its garbage collection, its device events.

    table = NeighTable(net, ops)                      ops: the family's NeighOps
    neigh = table.lookup(dev, key) or table.create(dev, key)
    table.find(dev, key)                              the two together: what a route calls
    table.delete(neigh), table.flush_dev(dev, ...)

`tables_of(net)` has the tables of a namespace by address family: for netlink and for `ip neigh`. Device events arrive
through one notifier a kernel, which `NeighTable` registers; a family needs to do nothing about them.

Garbage is collected as in Linux: below gc_thresh1 entries nothing is; above it, what was not used for gc_stale_time
goes now and then; above gc_thresh2, for more than 5 s, and above gc_thresh3 old entries go when new ones come; if that
frees none above gc_thresh3, no new one is made. Permanent entries stay.
Source: net/core/neighbour.c, by function name; arp(7).
"""

from __future__ import annotations

import errno

from pysock.core.clock import NSEC_PER_SEC
from pysock.core.errors import err
from pysock.core.neighbour import NUD_IN_TIMER, NUD_VALID, Neighbour
from pysock.core.neighbour_parms import NeighParms, register_parms
from pysock.core.netdev_events import (
    NETDEV_CHANGE,
    NETDEV_CHANGEADDR,
    NETDEV_CHANGENAME,
    NETDEV_DOWN,
    NETDEV_REGISTER,
    NETDEV_UNREGISTER,
)
from pysock.core.skbuff import kfree_skb
from pysock.core.timer import Timer
from pysock.uapi.if_ import IFF_NOARP
from pysock.uapi.neighbour import NTF_EXT_LEARNED, NTF_ROUTER, NUD_FAILED, NUD_NOARP, NUD_PERMANENT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from pysock.core.neighbour import NeighOps
    from pysock.core.net import Net
    from pysock.core.netdevice import NetDevice
    from pysock.core.skbuff import SkBuff

#: The columns of /proc/net/stat/arp_cache.
_STAT_NAMES: Final = (
    "entries", "allocs", "destroys", "hash_grows", "lookups", "hits", "res_failed", "rcv_probes_mcast",
    "rcv_probes_ucast", "periodic_gc_runs", "forced_gc_runs", "unresolved_discards", "table_fulls",
)  # fmt: skip
_FORCED_AGE: Final = 5 * NSEC_PER_SEC


class NeighStats:
    """/proc/net/stat/arp_cache: the counters of struct neigh_statistics."""

    __slots__ = (
        "allocs", "destroys", "lookups", "hits", "res_failed", "rcv_probes_mcast", "rcv_probes_ucast",
        "periodic_gc_runs", "forced_gc_runs", "unres_discards", "table_fulls",
    )  # fmt: skip

    def __init__(self) -> None:
        self.allocs = self.destroys = self.lookups = self.hits = self.res_failed = 0
        self.rcv_probes_mcast = self.rcv_probes_ucast = 0
        self.periodic_gc_runs = self.forced_gc_runs = self.unres_discards = self.table_fulls = 0

    def as_dict(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in self.__slots__}


class ProxyEntry:
    """An address for which we answer in somebody else's place (struct pneigh_entry), on ``dev`` or (None) anywhere."""

    __slots__ = ("dev", "flags", "key")

    def __init__(self, key: bytes, dev: NetDevice | None, flags: int) -> None:
        self.key = key
        self.dev = dev
        self.flags = flags


class NeighTables:
    """The tables of a namespace by address family, and who wants to know of changes (RTM_NEWNEIGH, RTM_DELNEIGH)."""

    __slots__ = ("by_family", "listeners")

    def __init__(self) -> None:
        self.by_family: dict[int, NeighTable] = {}
        #: Called with an entry after it changed; one that left its table is ``dead``.
        self.listeners: tuple[Callable[[Neighbour], None], ...] = ()


def tables_of(net: Net) -> NeighTables:
    """The neighbour tables of ``net``, made on first use."""
    if not net.has(NeighTables):
        net.set(NeighTables())
    return net.get(NeighTables)


class NeighTable:
    """The neighbours of one family in ``net`` (struct neigh_table). ``count`` are the entries that garbage collection
    counts, all but the exempt ones; ``parms`` the defaults for devices that come.
    """

    __slots__ = (
        "_by_dev", "_concern", "_forced_at", "_gc_timer", "_parms_of", "_proxy_queue", "_proxy_timer", "_sysctls_of",
        "count", "gc_interval", "gc_thresh1", "gc_thresh2", "gc_thresh3", "kernel", "net", "ops", "parms", "proxies",
        "stats", "tables",
    )  # fmt: skip

    def __init__(self, net: Net, ops: NeighOps) -> None:
        self.net = net
        self.kernel = net.kernel
        self.ops = ops
        self._concern = f"neigh.{ops.name}"
        self.parms = NeighParms(net.kernel, self._concern)
        self.stats = NeighStats()
        self.proxies: dict[bytes, list[ProxyEntry]] = {}
        self.count = 0
        self.gc_interval = 30
        self.gc_thresh1, self.gc_thresh2, self.gc_thresh3 = 128, 512, 1024
        self._by_dev: dict[NetDevice, dict[bytes, Neighbour]] = {}
        self._parms_of: dict[NetDevice, NeighParms] = {}
        self._sysctls_of: dict[NetDevice, str] = {}
        self._forced_at = self.kernel.now
        self._gc_timer: Timer | None = None
        self._proxy_queue: list[tuple[int, SkBuff]] = []
        self._proxy_timer: Timer | None = None
        net.sysctl.register_lazy(f"{ops.sysctl}.default", self._register_sysctls)
        net.proc[f"net/stat/{ops.name}"] = self.stat_text
        self.tables = tables_of(net)
        self.tables.by_family[ops.family] = self
        for dev in net.devices:
            self.add_device(dev)
        follow_devices(net)

    def _register_sysctls(self) -> None:
        sysctl = self.net.sysctl
        below = f"{self.ops.sysctl}.default"
        register_parms(sysctl, below, self.parms)
        for name in ("gc_interval", "gc_thresh1", "gc_thresh2", "gc_thresh3"):
            sysctl.register_int(f"{below}.{name}", getattr(self, name), 0, on_change=self._setter(name))

    def _setter(self, name: str) -> Callable[[int], None]:
        def store(value: int) -> None:
            setattr(self, name, value)
            self._arm_gc()

        return store

    # -- finding and making --------------------------------------------------------------------------------

    def lookup(self, dev: NetDevice, key: bytes) -> Neighbour | None:
        """The entry for next hop ``key`` on ``dev`` (neigh_lookup), or None."""
        stats = self.stats
        stats.lookups += 1
        entries = self._by_dev.get(dev)
        neigh = None if entries is None else entries.get(key)
        if neigh is not None:
            stats.hits += 1
        return neigh

    def find(self, dev: NetDevice, key: bytes) -> Neighbour:
        """The entry, made if there is none (__neigh_lookup with creat). Errors of `create`."""
        return self.lookup(dev, key) or self.create(dev, key)

    def create(self, dev: NetDevice, key: bytes, exempt: bool = False) -> Neighbour:
        """A new entry in the table (__neigh_create). ENOBUFS when the table is full, EINVAL for a bad ``key``, or what
        the family's constructor raised. ``exempt``: an administrator's, which is never full and never collected.
        """
        if len(key) != self.ops.key_len:
            raise err(errno.EINVAL)
        if not exempt:
            self._make_room()
        neigh = Neighbour(self, dev, key, self.parms_of(dev))
        neigh.exempt = exempt
        self.ops.constructor(neigh)
        if neigh.nud_state & NUD_VALID:
            neigh.build_header()
        self._by_dev.setdefault(dev, {})[key] = neigh
        if not exempt:
            self.count += 1
        self.stats.allocs += 1
        self._arm_gc()
        return neigh

    def _make_room(self) -> None:
        """For one more entry (neigh_alloc); ENOBUFS."""
        count = self.count
        late = self.kernel.now > self._forced_at + _FORCED_AGE
        if count >= self.gc_thresh3 or (count >= self.gc_thresh2 and late):
            if not self._forced_gc() and count >= self.gc_thresh3:
                self.stats.table_fulls += 1
                raise err(errno.ENOBUFS)

    def delete(self, neigh: Neighbour) -> None:
        """Take an entry out of the table and kill it. No effect on one that left it already."""
        entries = self._by_dev.get(neigh.dev)
        if entries is None or entries.get(neigh.key) is not neigh:
            return
        del entries[neigh.key]
        if not entries:
            del self._by_dev[neigh.dev]
        if not neigh.exempt:
            self.count -= 1
        self.stats.destroys += 1
        neigh.release()
        self.notify(neigh)

    def entries(self, dev: NetDevice | None = None) -> list[Neighbour]:
        """All entries, or those of one device, oldest first for each device."""
        if dev is not None:
            return list(self._by_dev.get(dev, {}).values())
        return [neigh for entries in self._by_dev.values() for neigh in entries.values()]

    def notify(self, neigh: Neighbour) -> None:
        """Tell the listeners of the namespace that ``neigh`` changed (neigh_update_notify). They must not raise."""
        for listener in self.tables.listeners:
            listener(neigh)

    def stat_text(self) -> str:
        """/proc/net/stat/arp_cache and its like; we have one CPU and never grow a hash table."""
        counted = self.stats.as_dict()
        values = [len(self.entries()), counted.pop("allocs"), counted.pop("destroys"), 0, *counted.values()]
        cells = (f"{value:08x}".ljust(max(len(name), 8)) for name, value in zip(_STAT_NAMES, values, strict=True))
        return f"{' '.join(name.ljust(8) for name in _STAT_NAMES)}\n{' '.join(cells).rstrip()}\n"

    # -- devices -------------------------------------------------------------------------------------------

    def parms_of(self, dev: NetDevice) -> NeighParms:
        """The tunables of ``dev``; a family may change them (IPv6 does when a router advertises others)."""
        parms = self._parms_of.get(dev)
        if parms is None:
            parms = self._parms_of[dev] = self.parms.copy()
        return parms

    def add_device(self, dev: NetDevice) -> None:
        """``dev`` came into the namespace (neigh_parms_alloc), or has another name."""
        parms = self.parms_of(dev)
        below = f"{self.ops.sysctl}.{dev.name.replace('.', '/')}"
        if self._sysctls_of.get(dev) == below:
            return
        self._sysctls_of[dev] = below
        self.net.sysctl.register_lazy(below, lambda: register_parms(self.net.sysctl, below, parms))

    def remove_device(self, dev: NetDevice) -> None:
        """``dev`` left it: entries, proxies and tunables go (neigh_parms_release)."""
        self.flush_dev(dev)
        for key, entries in list(self.proxies.items()):
            self.proxies[key] = [entry for entry in entries if entry.dev is not dev]
            if not self.proxies[key]:
                del self.proxies[key]
        self._parms_of.pop(dev, None)
        self._remove_sysctls(dev)

    def _remove_sysctls(self, dev: NetDevice) -> None:
        below = self._sysctls_of.pop(dev, None)
        if below is not None:
            self.net.sysctl.unregister_below(below)

    def flush_dev(self, dev: NetDevice, keep_permanent: bool = False) -> None:
        """Drop the entries of ``dev`` (neigh_flush_dev): it went down (neigh_ifdown), changed its address
        (neigh_changeaddr), or lost its carrier (neigh_carrier_down: permanent ones stay).
        """
        for neigh in self.entries(dev):
            if not (keep_permanent and neigh.nud_state & NUD_PERMANENT):
                self.delete(neigh)
        kept = [(when, skb) for when, skb in self._proxy_queue if skb.dev is not dev]
        for _, skb in self._proxy_queue:
            if skb.dev is dev:
                kfree_skb(skb)
        self._proxy_queue = kept

    def device_event(self, event: int, dev: NetDevice) -> None:
        """What a device event means for its neighbours (arp_netdev_event, ndisc_netdev_event)."""
        if event == NETDEV_REGISTER:
            self.add_device(dev)
        elif event == NETDEV_UNREGISTER:
            self.remove_device(dev)
        elif event in (NETDEV_DOWN, NETDEV_CHANGEADDR):
            self.flush_dev(dev)
        elif event == NETDEV_CHANGE:
            if not dev.carrier and self.ops.evict_nocarrier(dev):
                self.flush_dev(dev, keep_permanent=True)
            elif any((neigh.nud_state & NUD_NOARP != 0) != (dev.flags & IFF_NOARP != 0) for neigh in self.entries(dev)):
                self.flush_dev(dev, keep_permanent=True)  # IFF_NOARP changed: what was known without asking is not
        elif event == NETDEV_CHANGENAME:
            self._remove_sysctls(dev)
            self.add_device(dev)

    # -- garbage -------------------------------------------------------------------------------------------

    def _arm_gc(self) -> None:
        """Look for garbage later, if there can be any."""
        if self.count < max(self.gc_thresh1, 1):
            return
        timer = self._gc_timer
        if timer is None:
            timer = self._gc_timer = Timer(self._periodic_gc)
        if not timer.pending:
            wait = max(self.parms.base_reachable_time // 2, NSEC_PER_SEC)
            self.kernel.timers.mod_timer(timer, self.kernel.now + wait)

    def _periodic_gc(self) -> None:
        """neigh_periodic_work()."""
        self.stats.periodic_gc_runs += 1
        if self.count < self.gc_thresh1:
            return
        now = self.kernel.now
        removable = False
        for neigh in self.entries():
            state = neigh.nud_state
            if neigh.exempt or state & NUD_PERMANENT or neigh.flags & NTF_EXT_LEARNED:
                continue
            removable = True
            if state & NUD_IN_TIMER:
                continue
            used = max(neigh.used, neigh.confirmed)
            if state & NUD_FAILED or now >= used + neigh.parms.gc_stale_time:
                self.delete(neigh)
        if removable:
            self._arm_gc()

    def _forced_gc(self) -> bool:
        """Make room: old entries that nothing happens to, oldest first (neigh_forced_gc). Whether any went."""
        self.stats.forced_gc_runs += 1
        now = self._forced_at = self.kernel.now
        surplus = self.count - self.gc_thresh2
        gone = 0
        for neigh in sorted(self.entries(), key=lambda neigh: neigh.updated):
            state = neigh.nud_state
            if neigh.exempt or state & (NUD_PERMANENT | NUD_IN_TIMER) or neigh.flags & NTF_EXT_LEARNED:
                continue
            if (
                state & (NUD_FAILED | NUD_NOARP)
                or self.ops.is_multicast(neigh.key)
                or neigh.updated < now - _FORCED_AGE
            ):
                self.delete(neigh)
                gone += 1
                if gone >= surplus:
                    break
        return gone > 0

    # -- proxies -------------------------------------------------------------------------------------------

    def proxy_lookup(self, dev: NetDevice, key: bytes) -> ProxyEntry | None:
        """Whether we answer for ``key`` on ``dev`` (pneigh_lookup)."""
        for entry in self.proxies.get(key, ()):
            if entry.dev is dev or entry.dev is None:
                return entry
        return None

    def proxy_add(self, dev: NetDevice | None, key: bytes, router: bool = False) -> ProxyEntry:
        """Answer for ``key`` on ``dev``, or everywhere. The entry that is there already, or a new one."""
        for entry in self.proxies.get(key, ()):
            if entry.dev is dev:
                return entry
        entry = ProxyEntry(key, dev, NTF_ROUTER if router else 0)
        self.ops.proxy_added(entry)
        self.proxies.setdefault(key, []).append(entry)
        return entry

    def proxy_delete(self, dev: NetDevice | None, key: bytes) -> None:
        """Stop (pneigh_delete). ENOENT when we did not answer for it."""
        entries = self.proxies.get(key, [])
        for entry in entries:
            if entry.dev is dev:
                entries.remove(entry)
                if not entries:
                    del self.proxies[key]
                self.ops.proxy_removed(entry)
                return
        raise err(errno.ENOENT)

    def proxy_enqueue(self, parms: NeighParms, skb: SkBuff) -> None:
        """Hand ``skb``, a solicitation that a proxy answers, to `NeighOps.proxy_redo` after a random part of
        proxy_delay, so that the real owner wins (pneigh_enqueue). Takes the reference.
        """
        if len(self._proxy_queue) >= parms.proxy_qlen:
            kfree_skb(skb, "NEIGH_QUEUEFULL")
            return
        delay = self.kernel.random(self._concern).randrange(parms.proxy_delay) if parms.proxy_delay else 0
        self._proxy_queue.append((self.kernel.now + delay, skb))
        self._arm_proxy()

    def _arm_proxy(self) -> None:
        timer = self._proxy_timer
        if timer is None:
            timer = self._proxy_timer = Timer(self._proxy_process)
        self.kernel.timers.mod_timer(timer, min(when for when, _ in self._proxy_queue))

    def _proxy_process(self) -> None:
        """neigh_proxy_process()."""
        now = self.kernel.now
        due = [skb for when, skb in self._proxy_queue if when <= now]
        self._proxy_queue = [(when, skb) for when, skb in self._proxy_queue if when > now]
        for skb in due:
            self.ops.proxy_redo(skb)
        if self._proxy_queue:
            self._arm_proxy()


def follow_devices(net: Net) -> None:
    """Have the device events of all namespaces come to their tables; registers once a kernel."""
    chain = net.kernel.dev_layer.netdev_chain
    if "neighbour" not in chain.callbacks():
        chain.register(_device_event, name="neighbour")


def _device_event(event: int, dev: NetDevice) -> None:
    if dev.net.has(NeighTables):
        for table in dev.net.get(NeighTables).by_family.values():
            table.device_event(event, dev)

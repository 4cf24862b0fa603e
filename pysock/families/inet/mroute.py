"""What the multicast routing of both versions of IP shares: interfaces, the forwarding cache, datagrams that wait for
the daemon (net/ipv4/ipmr_base.c, and what ipmr.c and ip6mr.c have in common).

    a datagram -> MrTable.find, find_any -> an Mfc: `forward` says by which interfaces it goes on
                  none: `wait`: the daemon hears of it (NOCACHE), and it waits for an entry for 10 s

Routes are by (source, group): which interface datagrams must come in by, and for each interface the TTL that they must
exceed to leave by it. Entries without a source are those of a shared tree: they accept datagrams from every interface
that they send to. The daemon is a program with a socket; how it is told, and how datagrams leave, is its family's.
"""

from __future__ import annotations

import errno
from collections import deque

from pysock.core.clock import NEVER, NSEC_PER_SEC
from pysock.core.errors import err
from pysock.core.skbuff import kfree_skb
from pysock.core.timer import Timer
from pysock.uapi.mroute import (
    IGMPMSG_NOCACHE,
    IGMPMSG_WRONGVIF,
    IGMPMSG_WRVIFWHOLE,
    MAXVIFS,
    MRT_FLUSH_MFC,
    MRT_FLUSH_MFC_STATIC,
    MRT_FLUSH_VIFS,
    MRT_FLUSH_VIFS_STATIC,
    SIOC_VIF_REQ,
    VIFF_STATIC,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final

    from pysock.core.kernel import Kernel
    from pysock.core.netdevice import NetDevice
    from pysock.core.skbuff import SkBuff
    from pysock.families.inet.datagram import DatagramSock

#: A threshold that no datagram exceeds.
NEVER_FORWARD: Final = 255
#: How long datagrams wait for the daemon, and how many of one (source, group).
_WAIT: Final = 10 * NSEC_PER_SEC
_WAITING_LIMIT: Final = 4
#: The least time between two reports of the wrong interface (MFC_ASSERT_THRESH).
_ASSERT_INTERVAL: Final = 3 * NSEC_PER_SEC


class Vif:
    """A multicast interface (struct vif_device): what the daemon said of it, and packets and bytes each way."""

    __slots__ = (
        "bytes_in", "bytes_out", "dev", "flags", "local", "packets_in", "packets_out", "rate_limit", "remote",
        "threshold",
    )  # fmt: skip

    def __init__(
        self, dev: NetDevice, flags: int = 0, threshold: int = 1, rate_limit: int = 0, local: bytes = b"",
        remote: bytes = b"",
    ) -> None:  # fmt: skip
        self.dev = dev
        self.flags = flags
        self.threshold = threshold
        self.rate_limit = rate_limit
        self.local = local
        self.remote = remote
        self.packets_in = self.packets_out = self.bytes_in = self.bytes_out = 0


class Mfc:
    """A route (struct mr_mfc): ``parent`` is the interface that datagrams come in by, ``ttls`` the threshold of each.
    ``static``: not the daemon's own, so it outlives it.
    """

    __slots__ = (
        "bytes", "group", "last_assert", "lastuse", "origin", "packets", "parent", "static", "ttls", "wrong_if",
    )  # fmt: skip

    def __init__(self, origin: bytes, group: bytes, parent: int) -> None:
        self.origin = origin
        self.group = group
        self.parent = parent
        self.ttls: tuple[int, ...] = (NEVER_FORWARD,) * MAXVIFS
        self.static = False
        self.packets = self.bytes = self.wrong_if = self.lastuse = 0
        self.last_assert = -_ASSERT_INTERVAL


class Unresolved:
    """Datagrams of one (source, group) that wait for a route until ``expires``."""

    __slots__ = ("expires", "group", "origin", "queue")

    def __init__(self, origin: bytes, group: bytes, expires: int) -> None:
        self.origin = origin
        self.group = group
        self.expires = expires
        self.queue: deque[SkBuff] = deque()


class MrTable:
    """A namespace's multicast routes (struct mr_table). ``sock`` is the daemon's socket, None while there is none.

    ``asserts``, ``pim`` and ``whole`` are MRT_ASSERT and MRT_PIM: whether the daemon wants to hear of datagrams by the
    wrong interface, even by one that is not among those they leave by, and to get them whole.
    """

    __slots__ = ("any", "asserts", "cache", "kernel", "pim", "reg_vif", "sock", "timer", "unresolved", "vifs", "whole")

    def __init__(self, kernel: Kernel, address_size: int) -> None:
        self.kernel = kernel
        self.any = bytes(address_size)
        self.sock: DatagramSock | None = None
        self.asserts = self.pim = self.whole = False
        self.reg_vif = -1
        self.vifs: list[Vif | None] = []
        #: By origin and group; several entries only if their parents differ.
        self.cache: dict[bytes, list[Mfc]] = {}
        self.unresolved: dict[bytes, Unresolved] = {}
        self.timer = Timer(self._expire)

    # -- the family's --------------------------------------------------------------------------------------

    def report(self, skb: SkBuff, vif: int, kind: int) -> bool:
        """Tell the daemon of ``skb``, which stays the caller's; whether it had room to listen."""
        raise NotImplementedError

    def resolved(self, skb: SkBuff, mfc: Mfc) -> None:
        """A datagram waited, and now there is a route. Takes the reference."""
        raise NotImplementedError

    def forwarding(self, dev: NetDevice, change: int) -> None:
        """One interface more or less (1 or -1) is on ``dev``."""
        raise NotImplementedError

    def count_daemon(self, change: int) -> None:
        """One daemon more or less (1 or -1) in the namespace."""
        raise NotImplementedError

    # -- the daemon ----------------------------------------------------------------------------------------

    def start(self, sk: DatagramSock) -> None:
        """``sk`` is the daemon's. EADDRINUSE when there is one."""
        if self.sock is not None:
            raise err(errno.EADDRINUSE)
        self.sock = sk
        self.count_daemon(1)

    def stop(self) -> None:
        """The daemon is gone, and what it made goes too (mrtsock_destruct, ip6mr_sk_done)."""
        self.sock = None
        self.count_daemon(-1)
        self.flush(MRT_FLUSH_VIFS | MRT_FLUSH_MFC)

    # -- interfaces ----------------------------------------------------------------------------------------

    def vif(self, index: int) -> Vif | None:
        """The interface with this number, if there is one."""
        return self.vifs[index] if 0 <= index < len(self.vifs) else None

    def vif_on(self, dev: NetDevice) -> int:
        """The number of the interface on ``dev``, the highest of several; -1."""
        for index in range(len(self.vifs) - 1, -1, -1):
            vif = self.vifs[index]
            if vif is not None and vif.dev is dev:
                return index
        return -1

    def add_vif(self, index: int, vif: Vif) -> None:
        """The caller has checked that it is free."""
        self.vifs += [None] * (index + 1 - len(self.vifs))
        self.vifs[index] = vif
        self.forwarding(vif.dev, 1)

    def del_vif(self, index: int) -> Vif:
        """EADDRNOTAVAIL when there is none (vif_delete)."""
        vif = self.vif(index)
        if vif is None:
            raise err(errno.EADDRNOTAVAIL)
        if index == self.reg_vif:
            self.reg_vif = -1
        self.vifs[index] = None
        while self.vifs and self.vifs[-1] is None:
            self.vifs.pop()
        self.forwarding(vif.dev, -1)
        return vif

    def vif_counts(self, arg: bytes) -> bytes:
        """A struct sioc_vif_req, long enough, filled in. EINVAL for an interface above all that exist, EADDRNOTAVAIL
        for one that does not.
        """
        index = SIOC_VIF_REQ.unpack_from(arg)[0]
        if index >= len(self.vifs):
            raise err(errno.EINVAL)
        vif = self.vifs[index]
        if vif is None:
            raise err(errno.EADDRNOTAVAIL)
        return SIOC_VIF_REQ.pack(index, vif.packets_in, vif.packets_out, vif.bytes_in, vif.bytes_out)

    def device_gone(self, dev: NetDevice) -> None:
        """ipmr_device_event()."""
        for index, vif in enumerate(list(self.vifs)):
            if vif is not None and vif.dev is dev:
                self.del_vif(index)

    # -- routes --------------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Mfc]:
        for entries in self.cache.values():
            yield from entries

    def find(self, origin: bytes, group: bytes, parent: int = -1) -> Mfc | None:
        """The route of just this source and group (mr_mfc_find_parent)."""
        for mfc in self.cache.get(origin + group, ()):
            if parent in (-1, mfc.parent):
                return mfc
        return None

    def find_any_parent(self, vif: int) -> Mfc | None:
        """The route of all groups that the interface ``vif`` belongs to."""
        for mfc in self.cache.get(self.any + self.any, ()):
            if mfc.ttls[vif] < NEVER_FORWARD:
                return mfc
        return None

    def find_any(self, group: bytes, vif: int) -> Mfc | None:
        """The shared tree of ``group`` that the interface ``vif`` belongs to, itself or by way of its parent
        (mr_mfc_find_any).
        """
        for mfc in self.cache.get(self.any + group, ()):
            if mfc.ttls[vif] < NEVER_FORWARD:
                return mfc
            proxy = self.find_any_parent(mfc.parent)
            if proxy is not None and proxy.ttls[vif] < NEVER_FORWARD:
                return mfc
        return self.find_any_parent(vif)

    def lookup(self, origin: bytes, group: bytes, dev: NetDevice) -> Mfc | None:
        """The route of a datagram that came in on ``dev``."""
        mfc = self.find(origin, group)
        if mfc is None:
            vif = self.vif_on(dev)
            if vif >= 0:
                mfc = self.find_any(group, vif)
        return mfc

    def add(self, origin: bytes, group: bytes, parent: int, ttls: bytes, static: bool, only: int = -1) -> None:
        """Add or change the route of ``origin`` and ``group`` (only that with the parent ``only`` unless -1), and send
        what waited for it. ``ttls`` of interfaces that do not exist, 0 and 255 mean never.
        """
        mfc = self.find(origin, group, only)
        if mfc is None:
            mfc = Mfc(origin, group, parent)
            self.cache.setdefault(origin + group, []).append(mfc)
        mfc.parent = parent
        mfc.ttls = tuple(
            ttl if ttl and self.vif(index) is not None else NEVER_FORWARD for index, ttl in enumerate(ttls)
        )
        mfc.lastuse = self.kernel.now
        mfc.static |= static
        waiting = self.unresolved.pop(origin + group, None)
        if not self.unresolved:
            self.kernel.timers.del_timer(self.timer)
        if waiting is not None:
            for skb in waiting.queue:
                self.resolved(skb, mfc)

    def delete(self, origin: bytes, group: bytes, only: int = -1) -> None:
        """ENOENT when there is none."""
        mfc = self.find(origin, group, only)
        if mfc is None:
            raise err(errno.ENOENT)
        self._drop(mfc)

    def _drop(self, mfc: Mfc) -> None:
        key = mfc.origin + mfc.group
        entries = self.cache[key]
        entries.remove(mfc)
        if not entries:
            del self.cache[key]

    def flush(self, what: int) -> None:
        """Take away what MRT_FLUSH_* names (mroute_clean_tables)."""
        for index, vif in enumerate(list(self.vifs)):
            if vif is not None and what & (MRT_FLUSH_VIFS_STATIC if vif.flags & VIFF_STATIC else MRT_FLUSH_VIFS):
                self.del_vif(index)
        for mfc in list(self):
            if what & (MRT_FLUSH_MFC_STATIC if mfc.static else MRT_FLUSH_MFC):
                self._drop(mfc)
        if what & MRT_FLUSH_MFC:
            self._forget(list(self.unresolved))

    # -- datagrams -----------------------------------------------------------------------------------------

    def forward(self, skb: SkBuff, mfc: Mfc, dev: NetDevice, ttl: int, size: int, ours: bool = False) -> list[int]:
        """By which interfaces a datagram of ``size`` bytes that came in on ``dev`` goes on, with one TTL less
        (ip_mr_forward). ``ours``: it is from here, and came back from its own device.
        """
        came_in = self.vif_on(dev)
        mfc.packets += 1
        mfc.bytes += size
        mfc.lastuse = self.kernel.now
        parent = self.vif(mfc.parent)
        if (parent is None or parent.dev is not dev) and not self._in_tree(mfc, came_in):
            if not ours:
                self._wrong_interface(skb, mfc, came_in)
            return []
        if parent is not None:
            parent.packets_in += 1
            parent.bytes_in += size
        if mfc.origin == mfc.group == self.any:  # up the tree only
            up = came_in >= 0 and came_in != mfc.parent and ttl > mfc.ttls[mfc.parent]
            return [mfc.parent] if up else []
        shared = mfc.origin == self.any
        return [
            index
            for index, threshold in enumerate(mfc.ttls)
            if threshold < ttl and threshold < NEVER_FORWARD and not (shared and index == came_in)
        ]

    def _in_tree(self, mfc: Mfc, came_in: int) -> bool:
        """For a shared tree, whether it has the interface."""
        if mfc.origin != self.any or came_in < 0:
            return False
        proxy = self.find_any_parent(mfc.parent)
        return proxy is not None and proxy.ttls[came_in] < NEVER_FORWARD

    def _wrong_interface(self, skb: SkBuff, mfc: Mfc, came_in: int) -> None:
        mfc.wrong_if += 1
        now = self.kernel.now
        if (
            came_in >= 0
            and self.asserts
            and (self.pim or mfc.ttls[came_in] < NEVER_FORWARD)
            and now > mfc.last_assert + _ASSERT_INTERVAL
        ):
            mfc.last_assert = now
            self.report(skb, came_in, IGMPMSG_WRONGVIF)
            if self.whole:
                self.report(skb, came_in, IGMPMSG_WRVIFWHOLE)

    def wait(self, skb: SkBuff, origin: bytes, group: bytes, dev: NetDevice) -> None:
        """There is no route: ask the daemon for one (ipmr_cache_unresolved). Takes the reference."""
        vif = self.vif_on(dev)
        if vif < 0:
            kfree_skb(skb, "NOT_SPECIFIED")
            return
        waiting = self.unresolved.get(origin + group)
        if waiting is None:
            if not self.report(skb, vif, IGMPMSG_NOCACHE):
                kfree_skb(skb, "NOMEM")
                return
            waiting = Unresolved(origin, group, self.kernel.now + _WAIT)
            self.unresolved[origin + group] = waiting
            if not self.timer.pending:
                self.kernel.timers.mod_timer(self.timer, waiting.expires)
        if len(waiting.queue) >= _WAITING_LIMIT:
            kfree_skb(skb, "NOMEM")
        else:
            waiting.queue.append(skb)

    def _expire(self) -> None:
        now = self.kernel.now
        self._forget([key for key, waiting in self.unresolved.items() if waiting.expires <= now])

    def _forget(self, keys: list[bytes]) -> None:
        for key in keys:
            for skb in self.unresolved.pop(key).queue:
                kfree_skb(skb, "NOT_SPECIFIED")
        first = min((waiting.expires for waiting in self.unresolved.values()), default=NEVER)
        if first == NEVER:
            self.kernel.timers.del_timer(self.timer)
        else:
            self.kernel.timers.mod_timer(self.timer, first)

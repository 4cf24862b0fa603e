"""Neighbours: which link-layer address a next hop on a link has, and how we know that it still answers.

    route --attach--> Neighbour --output--> header in front -> dev.queue_xmit
                        |  unresolved: the packet waits in `queue`, NeighOps.solicit asks
                        '- NeighTable (core/neighbour_table.py), one for each family and namespace

    NONE --packet--> INCOMPLETE --answer--> REACHABLE --time--> STALE --packet--> DELAY --time--> PROBE
                        '--silence--> FAILED                     from DELAY --hint--> REACHABLE <--answer--'
    PROBE --silence--> FAILED; NOARP and PERMANENT never change by themselves.

While an entry is connected (REACHABLE, NOARP, PERMANENT) its complete hard header stands in ``hh`` of every object that
was attached to it (routes), so that output is one concatenation and does not come here. In any other state their ``hh``
is None and they call `Neighbour.output`, which sends with the address it has (STALE, DELAY, PROBE) or keeps the packet.

Rules that keep it true:

* ``hh`` of the attached objects is written by `_tell_users` alone, whenever state, address or device address change.
* An entry that left its table is ``dead``: whoever holds one looks a new one up.
* A packet handed to `output` is disposed of exactly once. Nothing here raises because of what arrives or is sent.
* Timers run only while something can happen: an idle table arms none.

Instants are monotonic ns (``kernel.now``). Source: net/core/neighbour.c by function name, RFC 826, RFC 4861 7.3.
One thing differs: upper-layer confirmation ends DELAY and PROBE at once; Linux waits for the timer.
"""

from __future__ import annotations

import errno
from collections import deque
from weakref import WeakSet

from pysock.core.clock import NSEC_PER_SEC
from pysock.core.skb_copy import skb_orphan_frags
from pysock.core.skbuff import SkBuff, kfree_skb, skb_push_data, skb_truesize
from pysock.core.timer import Timer
from pysock.uapi.neighbour import (
    NTF_ROUTER,
    NUD_DELAY,
    NUD_FAILED,
    NUD_INCOMPLETE,
    NUD_NAMES,
    NUD_NOARP,
    NUD_NONE,
    NUD_PERMANENT,
    NUD_PROBE,
    NUD_REACHABLE,
    NUD_STALE,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, Protocol

    from pysock.core.neighbour_parms import NeighParms
    from pysock.core.neighbour_table import NeighTable, ProxyEntry
    from pysock.core.netdevice import NetDevice

    class HhUser(Protocol):
        """What may be attached: anything weakly referenceable with an attribute ``hh``."""

        hh: bytes | None


NUD_IN_TIMER: Final = NUD_INCOMPLETE | NUD_REACHABLE | NUD_DELAY | NUD_PROBE
NUD_CONNECTED: Final = NUD_PERMANENT | NUD_NOARP | NUD_REACHABLE
#: The address is known.
NUD_VALID: Final = NUD_CONNECTED | NUD_PROBE | NUD_STALE | NUD_DELAY

# What `Neighbour.update` may do (NEIGH_UPDATE_F_*)
UPDATE_OVERRIDE: Final = 0x01  # a different address replaces the known one
UPDATE_WEAK_OVERRIDE: Final = 0x02  # a different address makes a connected entry STALE and changes no more
UPDATE_OVERRIDE_ISROUTER: Final = 0x04  # take over UPDATE_ISROUTER
UPDATE_ISROUTER: Final = 0x40  # the neighbour is a router
UPDATE_ADMIN: Final = 0x80  # an administrator says so: NOARP and PERMANENT change too

#: The least time between two looks at an entry.
_TICK: Final = NSEC_PER_SEC // 100


class NeighOps:
    """What a family does for its table (struct neigh_ops and the hooks of struct neigh_table). One object a table.

    All methods run under the kernel lock and must not raise, but for `constructor`.
    """

    __slots__ = ()

    family = 0  # AF_*
    protocol = 0  # EtherType of the packets, for the hard header
    key_len = 0  # bytes of a next-hop address
    name = ""  # "arp_cache", "ndisc_cache"
    sysctl = ""  # "net.ipv4.neigh"

    def constructor(self, neigh: Neighbour) -> None:
        """A new entry: set ``nud_state`` and ``ha`` if they are known without asking (NOARP devices, multicast), and
        ``type`` (RTN_*). The hard header is built afterwards. OSError: there is no such neighbour; none is made.
        """

    def solicit(self, neigh: Neighbour, skb: SkBuff | None) -> None:
        """Ask for ``neigh``; ``skb`` is the last packet that waits for the answer (read only), or None.

        Unicast to ``neigh.ha`` while ``neigh.probes < neigh.parms.ucast_probes`` and the address is valid; then
        `app_probe` for the next app_probes; then multicast or broadcast. ``probes`` is counted by the caller.
        """
        raise NotImplementedError

    def error_report(self, neigh: Neighbour, skb: SkBuff) -> None:
        """``skb`` (data at the network header) can't be sent: tell its sender, and free it."""
        kfree_skb(skb, "NEIGH_FAILED")

    def is_multicast(self, key: bytes) -> bool:
        """Entries of multicast addresses are collected first."""
        return False

    def evict_nocarrier(self, dev: NetDevice) -> bool:
        """Whether what was learnt on ``dev`` is forgotten when it loses its carrier (arp_evict_nocarrier)."""
        return True

    def proxy_added(self, entry: ProxyEntry) -> None:
        """``entry`` is to be a proxy's (pconstructor); what is raised forbids it."""

    def proxy_removed(self, entry: ProxyEntry) -> None:
        """It is no more (pdestructor); not called when its device goes."""

    def proxy_redo(self, skb: SkBuff) -> None:
        """Handle the solicitation again that `NeighTable.proxy_enqueue` delayed. Takes the reference."""
        kfree_skb(skb)


class Neighbour:
    """One entry (struct neighbour): next hop ``key`` (wire bytes) on ``dev``.

    ``ha`` is its link-layer address (dev.addr_len bytes, zeros while unknown), ``hh`` the complete hard header towards
    it (None until known). ``flags`` are NTF_*; ``confirmed`` is when it last answered, ``used`` when a packet last
    needed a decision, ``updated`` when the entry last changed. ``queue`` holds the packets that wait, ``queue_bytes``
    their truesize. Garbage collection neither counts nor takes an ``exempt`` entry.
    """

    __slots__ = (
        "confirmed", "dead", "dev", "exempt", "flags", "ha", "hh", "key", "nud_state", "parms", "probes", "progress",
        "queue", "queue_bytes", "table", "timer", "type", "updated", "used", "users",
    )  # fmt: skip

    def __init__(self, table: NeighTable, dev: NetDevice, key: bytes, parms: NeighParms) -> None:
        now = table.kernel.now
        self.table = table
        self.dev = dev
        self.key = key
        self.parms = parms
        self.nud_state = NUD_NONE
        self.flags = 0
        self.type = 0
        self.ha = bytes(dev.addr_len)
        self.hh: bytes | None = None
        self.dead = self.exempt = False
        self.probes = 0
        self.used = self.updated = now
        self.confirmed = now - 2 * parms.base_reachable_time
        self.queue: deque[SkBuff] = deque()
        self.queue_bytes = 0
        self.timer: Timer | None = None
        self.users: WeakSet[HhUser] = WeakSet()
        #: How far each connection had got when it last sent through a suspect entry; see `hint_progress`.
        self.progress: dict[object, int] = {}

    # -- for routes and protocols --------------------------------------------------------------------------

    def attach(self, user: HhUser) -> None:
        """Keep ``user.hh`` up to date from now on: the hard header while connected, else None. Held weakly."""
        self.users.add(user)
        user.hh = self.hh if self.nud_state & NUD_CONNECTED else None

    def output(self, skb: SkBuff) -> int:
        """Send ``skb``, its data at the network header, to this neighbour (neigh_resolve_output); it may wait here.

        Takes the reference. 0 for sent or waiting, else what `NetDevice.queue_xmit` said, or -EHOSTUNREACH when the
        entry is dead or may not be asked for.
        """
        if self.event_send(skb):
            return 0 if self.nud_state & NUD_INCOMPLETE and not self.dead else -errno.EHOSTUNREACH
        return self.transmit(skb)

    def transmit(self, skb: SkBuff) -> int:
        """Put the hard header in front of ``skb`` and hand it to the device, whatever the state
        (neigh_connected_output). -EINVAL, and the packet is gone, while no address is known.
        """
        hh = self.hh
        if hh is None:
            kfree_skb(skb, "NEIGH_HH_FILLFAIL")
            return -errno.EINVAL
        skb_push_data(skb, hh)
        skb.mac_header = skb.data
        skb.dev = self.dev
        return self.dev.queue_xmit(skb)

    def event_send(self, skb: SkBuff | None) -> bool:
        """A packet wants to go (neigh_event_send): False if it may now; True if it was queued, or dropped.

        With None only the state machine moves: an unknown address is asked for, a stale one soon verified.
        """
        now = self.table.kernel.now
        self.used = now
        state = self.nud_state
        if state & (NUD_CONNECTED | NUD_DELAY | NUD_PROBE):
            return False
        if self.dead:
            if skb is not None:
                kfree_skb(skb, "NEIGH_DEAD")
            return True
        if state & NUD_STALE:
            self._set_state(NUD_DELAY)
            self._arm(now + self.parms.delay_probe_time)
            return False
        ask = not state & NUD_INCOMPLETE
        if ask:
            parms = self.parms
            if not parms.mcast_probes + parms.app_probes:
                self._set_state(NUD_FAILED)
                if skb is not None:
                    kfree_skb(skb, "NEIGH_FAILED")
                return True
            self.probes = parms.ucast_probes
            self._set_state(NUD_INCOMPLETE)
            self._arm(now + max(parms.retrans_time, _TICK))
        if skb is not None:
            self._enqueue(skb)
        if ask:
            self._probe()
        return True

    def confirm(self) -> None:
        """An upper layer knows that what we send arrives (dst_confirm, MSG_CONFIRM; RFC 4861 7.3.1)."""
        now = self.confirmed = self.table.kernel.now
        if self.nud_state & (NUD_DELAY | NUD_PROBE):
            self._set_state(NUD_REACHABLE)
            self._arm(now + self.parms.reachable_time)
            self._tell_users()
            self.table.notify(self)

    def hint_progress(self, who: object, mark: int) -> None:
        """A connection ``who`` (hashable) sends through this suspect entry and has got as far as ``mark``, a number
        that grows as the peer acknowledges: if it grew since the last call, that is a confirmation.
        """
        if mark > self.progress.setdefault(who, mark):
            self.confirm()

    # -- news ----------------------------------------------------------------------------------------------

    def update(self, lladdr: bytes | None, new: int, flags: int = 0) -> int:
        """The state is to become ``new`` (NUD_*), the address ``lladdr`` (None: as it is), as ``flags`` (UPDATE_*)
        allow (neigh_update). Packets that wait are sent when the address becomes valid, or given up.

        0; -EPERM for a NOARP or PERMANENT entry without UPDATE_ADMIN; -EINVAL for a dead entry, for an address of the
        wrong length, or none while none is known.
        """
        old = self.nud_state
        if self.dead:
            return -errno.EINVAL
        if not flags & UPDATE_ADMIN and old & (NUD_NOARP | NUD_PERMANENT):
            return -errno.EPERM
        if not new & NUD_VALID:
            self._invalidate(old, new)
            return 0
        known = bool(old & NUD_VALID)
        if not self.dev.addr_len:
            lladdr = self.ha
        elif lladdr is None:
            if not known:
                return -errno.EINVAL
            lladdr = self.ha
        elif len(lladdr) != self.dev.addr_len:
            return -errno.EINVAL
        now = self.table.kernel.now
        if new & NUD_CONNECTED:
            self.confirmed = now
        differs = not known or lladdr != self.ha
        if known and differs and not flags & UPDATE_OVERRIDE:
            if not (flags & UPDATE_WEAK_OVERRIDE and old & NUD_CONNECTED):
                return 0
            new = NUD_STALE
            differs = False
            flags &= ~UPDATE_OVERRIDE_ISROUTER
        elif known and not differs and new == NUD_STALE and not flags & UPDATE_ADMIN:
            new = old
        notify = new != old or differs
        if new != old:
            self._set_state(new)
            self.probes = 0
            if new & NUD_IN_TIMER:
                self._arm(now + (self.parms.reachable_time if new & NUD_REACHABLE else 0))
        if differs:
            self.ha = lladdr
            self.updated = now
            if not new & NUD_CONNECTED:
                self.confirmed = now - 2 * self.parms.base_reachable_time
            self.build_header()
        if notify:
            self._tell_users()
        if not known:
            self._send_queued()
        if flags & UPDATE_OVERRIDE_ISROUTER and self._set_router(bool(flags & UPDATE_ISROUTER)):
            notify = True
        if notify:
            self.table.notify(self)
        return 0

    def build_header(self) -> None:
        """Compute ``hh`` from the device's header_ops, address and ``ha`` (neigh_hh_init); does not tell the users."""
        ops = self.dev.header_ops
        self.hh = b"" if ops is None else ops.build(self.dev, self.table.ops.protocol, self.ha, None)

    def release(self) -> None:
        """The table dropped the entry (neigh_cleanup_and_release): packets that wait are freed, users cut off."""
        self.dead = True
        self._disarm()
        self.timer = None
        self.purge("NEIGH_DEAD")
        self.nud_state = NUD_NOARP if self.nud_state & NUD_VALID else NUD_NONE
        for user in list(self.users):
            user.hh = None
        self.users.clear()

    def purge(self, reason: str) -> None:
        """Free the packets that wait."""
        queue, self.queue, self.queue_bytes = self.queue, deque(), 0
        for skb in queue:
            kfree_skb(skb, reason)

    # -- the machine ---------------------------------------------------------------------------------------

    def _set_state(self, new: int) -> None:
        self._disarm()
        self.nud_state = new
        self.updated = self.table.kernel.now
        self.progress.clear()

    def _set_router(self, router: bool) -> bool:
        flags = self.flags | NTF_ROUTER if router else self.flags & ~NTF_ROUTER
        changed = flags != self.flags
        self.flags = flags
        return changed

    def _tell_users(self) -> None:
        hh = self.hh if self.nud_state & NUD_CONNECTED else None
        for user in list(self.users):
            user.hh = hh

    def _arm(self, when: int) -> None:
        timer = self.timer
        if timer is None:
            timer = self.timer = Timer(self._on_timer)
        self.table.kernel.timers.mod_timer(timer, when)

    def _disarm(self) -> None:
        if self.timer is not None:
            self.table.kernel.timers.del_timer(self.timer)

    def _max_probes(self) -> int:
        parms = self.parms
        multicast = parms.mcast_reprobes if self.nud_state & NUD_PROBE else parms.mcast_probes
        return parms.ucast_probes + parms.app_probes + multicast

    def _on_timer(self) -> None:
        """neigh_timer_handler()."""
        state = self.nud_state
        now = self.table.kernel.now
        parms = self.parms
        if self.dead or not state & NUD_IN_TIMER:
            return
        if state & NUD_REACHABLE:
            self._reachable_ends(now)
            return
        if state & NUD_DELAY:
            if now <= self.confirmed + parms.delay_probe_time:
                self.confirm_late(now)
                return
            self._set_state(NUD_PROBE)
            self.probes = 0
            self.table.notify(self)
        if self.probes >= self._max_probes():
            self._invalidate(self.nud_state, NUD_FAILED)
            return
        self._arm(now + max(parms.retrans_time, _TICK))
        self._probe()

    def _reachable_ends(self, now: int) -> None:
        parms = self.parms
        if now <= self.confirmed + parms.reachable_time:
            self._arm(max(self.confirmed + parms.reachable_time, now + _TICK))
        elif now <= self.used + parms.delay_probe_time:
            self._set_state(NUD_DELAY)
            self._tell_users()
            self._arm(now + max(parms.delay_probe_time, _TICK))
        else:
            self._set_state(NUD_STALE)
            self._tell_users()
            self.table.notify(self)

    def confirm_late(self, now: int) -> None:
        """DELAY is over and a confirmation came before it began: reachable after all."""
        self._set_state(NUD_REACHABLE)
        self._tell_users()
        self.table.notify(self)
        self._arm(max(self.confirmed + self.parms.reachable_time, now + _TICK))

    def _probe(self) -> None:
        """neigh_probe()."""
        self.table.ops.solicit(self, self.queue[-1] if self.queue else None)
        self.probes += 1

    def _enqueue(self, skb: SkBuff) -> None:
        """Let ``skb`` wait; the oldest make room for it."""
        skb_orphan_frags(skb)
        size = skb_truesize(skb)
        queue = self.queue
        while queue and self.queue_bytes + size > self.parms.queue_len_bytes:
            oldest = queue.popleft()
            self.queue_bytes -= skb_truesize(oldest)
            self.table.stats.unres_discards += 1
            kfree_skb(oldest, "NEIGH_QUEUEFULL")
        queue.append(skb)
        self.queue_bytes += size

    def _send_queued(self) -> None:
        queue, self.queue, self.queue_bytes = self.queue, deque(), 0
        for skb in queue:
            self.transmit(skb)

    def _invalidate(self, old: int, new: int) -> None:
        """No address any more, or none to be had (neigh_invalidate): the packets that wait are reported and freed."""
        self._set_state(new)
        if old & NUD_CONNECTED:
            self._tell_users()
        if old & (NUD_INCOMPLETE | NUD_PROBE) and new & NUD_FAILED:
            self.table.stats.res_failed += 1
            queue, self.queue, self.queue_bytes = self.queue, deque(), 0
            for skb in queue:
                self.table.ops.error_report(self, skb)
        if new & NUD_FAILED or old & NUD_VALID:
            self.table.notify(self)

    def __repr__(self) -> str:
        state = NUD_NAMES.get(self.nud_state, hex(self.nud_state))
        return f"<Neighbour {self.key.hex(':')} dev {self.dev.name} lladdr {self.ha.hex(':')} {state}>"

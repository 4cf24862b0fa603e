"""Queueing disciplines: what stands between a protocol and a device that can be busy.

A plugin registers `QdiscOps(id, factory)`; the factory makes one `Qdisc` for each device it is attached to. `Qdisc` has
the machinery of sch_generic.c, which a discipline does not override: `xmit` (hand in, then run), `run` (hand out while
the driver takes), packets that the driver refused (they go first the next time), and scheduling on the NET_TX softirq.
A discipline is `enqueue`, `dequeue`, `peek` and `reset` over queues of its own; one that holds packets back until an
instant has a `QdiscWatchdog`.

Everything runs under the kernel lock. What a discipline raises is reported under its plugin's name: a packet handed in
is then dropped, a run ends.
"""

from __future__ import annotations

import errno
from collections import deque

from pysock.core.dev_xmit import NET_XMIT_DROP, NET_XMIT_SUCCESS, hard_start_xmit, validate_xmit, xmit_raised, xmit_slow
from pysock.core.device_ops import NETDEV_TX_BUSY
from pysock.core.errors import err
from pysock.core.netdev_events import NETDEV_FEAT_CHANGE
from pysock.core.skbuff import kfree_skb, skb_orphan
from pysock.core.timer import Timer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import ClassVar

    from pysock.core.netdevice import NetDevice
    from pysock.core.skbuff import SkBuff

#: Packets that one run hands out before it leaves the rest to the softirq (net.core.dev_weight).
DEV_TX_WEIGHT = 64
#: When a driver says BUSY without stopping its queue, it is asked again this much later (ns): one tick of 1000 HZ.
BUSY_RETRY_NS = 1_000_000


class QdiscOps:
    """A kind of queueing discipline (struct Qdisc_ops). ``id`` is tc's name for it.

    ``factory(dev, **options)`` makes the Qdisc; it raises EINVAL for options it does not know or cannot take.
    """

    __slots__ = ("factory", "id")

    def __init__(self, id: str, factory: Callable[..., Qdisc]) -> None:
        self.id = id
        self.factory = factory


class Qdisc:
    """The queueing discipline of one device (struct Qdisc). Override enqueue, dequeue, peek, reset; keep `qlen` and
    `backlog` through `enqueued` and `dequeued`.

    ``qlen`` packets of ``backlog`` bytes wait, without those the driver refused. ``packets`` and ``bytes`` were sent,
    ``drops`` dropped, ``requeues`` times the driver said BUSY, ``overlimits`` times the discipline held back.
    """

    __slots__ = (
        "backlog", "bytes", "dev", "drops", "handle", "id", "overlimits", "owner", "packets", "qlen", "refused",
        "requeues", "retry", "running", "scheduled",
    )  # fmt: skip

    #: No queue at all: packets go straight to the driver (noqueue).
    queueless: ClassVar[bool] = False
    #: An empty queue may be skipped (TCQ_F_CAN_BYPASS): the order of packets is all that it decides.
    can_bypass: ClassVar[bool] = False
    #: It looks at the sockets of packets: those of TCP bring theirs, and are paced.
    by_socket: ClassVar[bool] = False

    def __init__(self, dev: NetDevice) -> None:
        self.dev = dev
        self.id = ""
        self.owner = ""
        self.handle = 0
        self.qlen = self.backlog = 0
        self.bytes = self.packets = self.drops = self.requeues = self.overlimits = 0
        self.refused: deque[SkBuff] = deque()
        self.running = False
        self.scheduled = False
        self.retry: Timer | None = None

    # -- what a discipline is ------------------------------------------------------------------------------

    def enqueue(self, skb: SkBuff) -> int:
        """Take ``skb`` in: NET_XMIT_SUCCESS; NET_XMIT_DROP after `drop(skb)`; NET_XMIT_CN if another was dropped."""
        raise NotImplementedError

    def dequeue(self) -> SkBuff | None:
        """The next packet to send, None if there is none or its time has not come (then arrange a `schedule`)."""
        raise NotImplementedError

    def peek(self) -> SkBuff | None:
        """What dequeue would return, left in place."""
        raise NotImplementedError

    def reset(self) -> None:
        """Free every queued packet; the device goes down or the discipline is replaced."""

    def destroy(self) -> None:
        """The discipline goes away, after reset: stop timers."""

    def dump(self) -> dict[str, object]:
        """The parameters, as the factory takes them."""
        return {}

    # -- helpers for disciplines -----------------------------------------------------------------------------

    def enqueued(self, skb: SkBuff) -> int:
        """Account for a packet taken in; returns NET_XMIT_SUCCESS."""
        self.qlen += 1
        self.backlog += skb.len
        return NET_XMIT_SUCCESS

    def dequeued(self, skb: SkBuff) -> SkBuff:
        """Account for a packet taken out; returns it."""
        self.qlen -= 1
        self.backlog -= skb.len
        return skb

    def drop(self, skb: SkBuff) -> int:
        """Free a packet that does not fit; returns NET_XMIT_DROP."""
        self.drops += 1
        kfree_skb(skb, "QDISC_DROP")
        return NET_XMIT_DROP

    def free(self, skb: SkBuff) -> None:
        """Free a packet that waited, for reset(); purge() puts the counts right."""
        kfree_skb(skb, "QUEUE_PURGE")

    # -- the machinery: not to be overridden -------------------------------------------------------------------

    def bypass(self, skb: SkBuff) -> int:
        """The same where `NetDevice.xmit_bypass` says so: most packets can go to the driver as they are."""
        dev = self.dev
        if self.qlen or self.refused or self.running or skb.ext is not None or skb.gso_size:
            return xmit_slow(dev, skb)
        self.running = True
        self.packets += 1
        self.bytes += skb.len
        start_xmit = dev.start_xmit
        try:
            busy = start_xmit(skb, dev) == NETDEV_TX_BUSY
        except Exception as exc:
            busy = False
            xmit_raised(dev, skb, exc)
        finally:
            self.running = False
        if busy:
            self._requeue((skb,))
        elif self.qlen:
            self.run()  # the driver called back and something was queued meanwhile
        return NET_XMIT_SUCCESS

    def xmit(self, skb: SkBuff) -> int:
        """Hand in a packet and send what can be sent (__dev_xmit_skb)."""
        if self.can_bypass and not (self.qlen or self.refused or self.running or self.dev.tx_stopped):
            self.running = True
            self.packets += 1
            self.bytes += skb.len
            try:
                sent = self._send(skb)
            finally:
                self.running = False
            if sent and self.qlen:
                self.run()  # the driver called back and something was queued meanwhile
            return NET_XMIT_SUCCESS
        try:
            result = self.enqueue(skb)
        except Exception as exc:
            self.dev.kernel.errors.report(self.owner or self.id, "enqueue", exc)
            self.drops += 1
            skb_orphan(skb)
            result = NET_XMIT_DROP
        self.run()
        return result

    def run(self) -> None:
        """Hand packets to the driver until it has no room, nothing waits, or the weight is used up (__qdisc_run)."""
        dev = self.dev
        if self.running or not dev.running:
            return  # the loop below us takes up what was queued
        self.running = True
        quota = dev.kernel.dev_layer.tx_weight
        try:
            while not dev.tx_stopped:
                skb = self._next()
                if skb is None or not self._send(skb):
                    break
                quota -= 1
                if quota <= 0:
                    self.schedule()
                    break
        except Exception as exc:
            dev.kernel.errors.report(self.owner or self.id, "dequeue", exc)
        finally:
            self.running = False

    def schedule(self) -> None:
        """Run on the next NET_TX softirq (__netif_schedule)."""
        if not self.scheduled:
            self.scheduled = True
            self.dev.kernel.softnet.tx_action(self._tx_action)

    def purge(self) -> None:
        """Free everything, the refused packets too (qdisc_reset)."""
        refused = self.refused
        while refused:
            kfree_skb(refused.popleft(), "QUEUE_PURGE")
        try:
            self.reset()
        except Exception as exc:
            self.dev.kernel.errors.report(self.owner or self.id, "reset", exc)
        self.qlen = self.backlog = 0
        if self.retry is not None:
            self.dev.kernel.timers.del_timer(self.retry)

    def statistics(self) -> dict[str, int]:
        """What `tc -s qdisc` shows."""
        return {
            "bytes": self.bytes,
            "packets": self.packets,
            "drops": self.drops,
            "overlimits": self.overlimits,
            "requeues": self.requeues,
            "backlog": self.backlog,
            "qlen": self.qlen + len(self.refused),
        }

    def _next(self) -> SkBuff | None:
        """The next packet, counted as sent when it leaves the discipline; a refused one has left it already."""
        if self.refused:
            return self.refused.popleft()
        skb = self.dequeue()
        if skb is not None:
            self.packets += 1
            self.bytes += skb.len
        return skb

    def _send(self, skb: SkBuff) -> bool:
        """Make ``skb`` fit and give it to the driver (sch_direct_xmit). False when the driver had no room."""
        dev = self.dev
        ready = validate_xmit(dev, skb)
        for at, one in enumerate(ready):
            if dev.tx_stopped or hard_start_xmit(dev, one) == NETDEV_TX_BUSY:
                self._requeue(ready[at:])
                return False
        return True

    def _requeue(self, packets: tuple[SkBuff, ...]) -> None:
        """dev_requeue_skb(): these are the next to be sent."""
        self.requeues += 1
        self.refused.extendleft(reversed(packets))
        if self.dev.tx_stopped:
            return  # netif_wake_queue schedules us
        # Linux asks again in the softirq at once; a driver that is always busy would never let us leave it.
        timer = self.retry
        if timer is None:
            timer = self.retry = Timer(self.run)
        kernel = self.dev.kernel
        kernel.timers.mod_timer(timer, kernel.now + BUSY_RETRY_NS)

    def _tx_action(self) -> None:
        """net_tx_action() for this discipline."""
        self.scheduled = False
        self.run()


class QdiscWatchdog:
    """Has a discipline run again at an instant (qdisc_watchdog): for `dequeue` when a packet's time has not come."""

    __slots__ = ("_qdisc", "_timer")

    def __init__(self, qdisc: Qdisc) -> None:
        self._qdisc = qdisc
        self._timer = Timer(self._run)

    def schedule(self, expires: int) -> None:
        """Run at ``expires`` (monotonic ns), and not at the instant that was set before."""
        self._qdisc.dev.kernel.timers.mod_timer(self._timer, expires)

    def cancel(self) -> None:
        """In reset() and destroy()."""
        self._qdisc.dev.kernel.timers.del_timer(self._timer)

    def _run(self) -> None:
        root = self._qdisc.dev.qdisc  # the discipline may be a child of the device's
        if root is not None:
            root.run()


# --- attaching one to a device ----------------------------------------------------------------------------------------


def qdisc_create(dev: NetDevice, id: str, options: Mapping[str, object] | None = None) -> Qdisc:
    """A new discipline for ``dev``. ENOENT when nobody registered ``id``; EINVAL for bad options."""
    layer = dev.kernel.dev_layer
    ops = layer.qdiscs.get(id)
    if ops is None:
        raise err(errno.ENOENT, f"no queueing discipline {id!r} (there are: {', '.join(sorted(layer.qdiscs))})")
    owner = layer.qdisc_owner(id)
    try:
        qdisc = ops.factory(dev, **(options or {}))
    except OSError:
        raise
    except TypeError as exc:  # an option that the factory does not take
        raise err(errno.EINVAL, f"queueing discipline {id!r}: {exc}") from exc
    except Exception as exc:
        layer.kernel.errors.report(owner, f"create qdisc {id!r}", exc)
        raise err(errno.EIO) from exc
    qdisc.id = id
    qdisc.owner = owner
    return qdisc


def qdisc_replace(dev: NetDevice, id: str, options: Mapping[str, object] | None = None) -> Qdisc:
    """Give ``dev`` another root discipline, as `tc qdisc replace dev X root ID`; what waited in the old one is
    lost. Errors as `qdisc_create`; the old one stays then.
    """
    qdisc = qdisc_create(dev, id, options)
    qdisc_graft(dev, qdisc)
    return qdisc


def qdisc_graft(dev: NetDevice, qdisc: Qdisc | None) -> None:
    """Make ``qdisc``, which was made for ``dev``, its root discipline (dev_graft_qdisc); None: none at all."""
    old = dev.qdisc
    dev.qdisc = qdisc
    if old is not None:
        qdisc_destroy(old)
    dev.update_path()
    if (old is not None and old.by_socket) != (qdisc is not None and qdisc.by_socket):
        dev.kernel.dev_layer.netdev_chain.call_chain(NETDEV_FEAT_CHANGE, dev)  # routes in use have to know


def qdisc_destroy(qdisc: Qdisc) -> None:
    """Free what it holds and let it end; the device must not refer to it any more."""
    qdisc.purge()
    try:
        qdisc.destroy()
    except Exception as exc:
        qdisc.dev.kernel.errors.report(qdisc.owner or qdisc.id, "destroy", exc)


def attach_default_qdisc(dev: NetDevice) -> None:
    """Give a device that comes up its first discipline (attach_default_qdiscs): noqueue for one without a transmit
    queue, else net.core.default_qdisc. One that nobody registered or that fails means none, which is what noqueue does.
    """
    if dev.qdisc is not None:
        return
    layer = dev.kernel.dev_layer
    id = "noqueue" if dev.no_queue else layer.default_qdisc
    if id in layer.qdiscs:
        try:
            dev.qdisc = qdisc_create(dev, id)
        except OSError as exc:
            layer.kernel.errors.report(layer.qdisc_owner(id), "attach default qdisc", exc)

"""netem: a bad cable. tc-netem(8), net/sched/sch_netem.c.

Packets that a device sends wait here for their time, and may be lost, doubled, damaged or overtaken on the way. What
happens to one is decided when it is handed in, in this order: doubled, lost, damaged, dropped for want of room,
delayed. All chance comes from a stream of the kernel's seed that belongs to this device alone.

* The queue is ordered by the instant at which a packet may leave. So jitter reorders packets, as in Linux, unless
  ``rate`` is set: then one is on the wire after the other.
* ``rate`` counts the whole frame: a packet leaves when its last byte would be sent, ``delay`` counts meanwhile.
* A super-segment is cut first, since a wire loses, delays and sends frames, not 64 KiB at once (Linux cuts only to
  damage). Under a ``delay`` alone, which treats all alike, it stays whole.
* A packet that is to be damaged gets its checksums first, so that the receiver can notice the one bit that is turned.
* Loss is no error for the sender: NET_XMIT_SUCCESS.

Not here: slots, the 4-state loss model, tables of distributions, cells and overhead of the rate.
"""

from __future__ import annotations

import errno
from heapq import heappop, heappush

from pysock.core.clock import NSEC_PER_SEC
from pysock.core.dev_xmit import NET_XMIT_SUCCESS
from pysock.core.errors import err
from pysock.core.gso import pass_on_owner
from pysock.core.qdisc import Qdisc, QdiscWatchdog
from pysock.core.skb_copy import skb_clone, skb_copy
from pysock.core.skb_data import skb_checksum_help, skb_store_bits
from pysock.core.skbuff import consume_skb, kfree_skb, skb_orphan
from pysock.sched.chance import Crandom, GilbertElliott, Jitter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pysock.core.netdevice import NetDevice
    from pysock.core.skbuff import SkBuff

DEFAULT_LIMIT = 1000
_DISTRIBUTIONS = ("uniform", "normal")


class Netem(Qdisc):
    """Delays are in ns, ``rate`` in bytes a second (0: infinite), ``limit`` in packets, chances and correlations
    fractions from 0 to 1; `change` has them all. ``gemodel`` (p, r, lost in bad, lost in good; the last two may be
    missing) takes the place of ``loss``. With ``gap`` n, ``reorder`` may send every n-th packet at once.

    EINVAL for a value that is out of range.
    """

    __slots__ = (
        "_corrupt", "_duplicate", "_jitter", "_last", "_loss", "_order", "_queue", "_reorder", "_since", "_whole",
        "gap", "limit", "options", "rate", "rng", "watchdog",
    )  # fmt: skip

    def __init__(self, dev: NetDevice, **options: object) -> None:
        super().__init__(dev)
        self.rng = dev.kernel.random(f"netem/{dev.net.name}/{dev.name}")
        self._queue: list[tuple[int, int, SkBuff]] = []  # a heap: when it may leave, in which order it came
        self._order = 0
        self._last = 0  # when the last packet leaves, with a rate
        self._since = 0  # packets since one was sent at once
        self.watchdog = QdiscWatchdog(self)
        self.change(**options)  # type: ignore[arg-type]  # it checks them

    def change(
        self,
        *,
        limit: int = DEFAULT_LIMIT,
        delay: int = 0,
        jitter: int = 0,
        delay_correlation: float = 0.0,
        distribution: str = "uniform",
        loss: float = 0.0,
        loss_correlation: float = 0.0,
        gemodel: Sequence[float] = (),
        duplicate: float = 0.0,
        duplicate_correlation: float = 0.0,
        corrupt: float = 0.0,
        corrupt_correlation: float = 0.0,
        reorder: float = 0.0,
        reorder_correlation: float = 0.0,
        gap: int = 0,
        rate: int = 0,
    ) -> None:
        """Other parameters, for the packets to come (`tc qdisc change`). EINVAL as for a new one."""
        options = {name: value for name, value in locals().items() if name != "self"}
        for name, value in options.items():
            _check(name, value)
        if reorder and not delay:
            raise err(errno.EINVAL, "netem: reorder needs a delay: it means that some packets do not wait for it")
        self.options = options
        self.limit = limit
        self.rate = rate
        self.gap = gap or (1 if reorder else 0)
        rng = self.rng
        self._jitter = Jitter(rng, delay, jitter, delay_correlation, distribution)
        self._loss = GilbertElliott(rng, *gemodel) if gemodel else Crandom(rng, loss, loss_correlation)
        self._duplicate = Crandom(rng, duplicate, duplicate_correlation)
        self._corrupt = Crandom(rng, corrupt, corrupt_correlation)
        self._reorder = Crandom(rng, reorder, reorder_correlation)
        self._whole = not (jitter or loss or gemodel or duplicate or corrupt or reorder or rate)

    # -- taking packets in -----------------------------------------------------------------------------------

    def enqueue(self, skb: SkBuff) -> int:
        result = NET_XMIT_SUCCESS
        for one in (skb,) if self._whole else self.frames(skb):
            result = max(result, self.impair(one))
        return result

    def frames(self, skb: SkBuff) -> Sequence[SkBuff]:
        """What a wire would carry for ``skb``: a super-segment's pieces, else the packet itself."""
        if not skb.gso_size:
            return (skb,)
        segments = self.dev.kernel.dev_layer.gso_segment(skb, self.dev.features)
        if not segments or segments[0] is skb:
            return segments or (skb,)  # nobody knows how to cut it: it goes as it is
        for one in segments:
            one.gso_size = 0
        pass_on_owner(skb, segments)
        consume_skb(skb)
        return segments

    def impair(self, skb: SkBuff, extra: int = 0) -> int:
        """One frame's fate, ``extra`` ns later than the others. Takes it."""
        copies = 1 + self._duplicate.happens() - self._loss.happens()
        if not copies:
            self.lose(skb)
            return NET_XMIT_SUCCESS
        skb_orphan(skb)  # the sender need not wait for it any longer
        if copies > 1:
            self._admit(skb_clone(skb), extra)
        return self._admit(skb, extra)

    def lose(self, skb: SkBuff) -> None:
        """It is lost on the wire."""
        self.drops += 1
        kfree_skb(skb, "QDISC_DROP")

    def _admit(self, skb: SkBuff, extra: int) -> int:
        if self._corrupt.happens():
            skb = self.damage(skb)
        if len(self._queue) >= self.limit:
            return self.drop(skb)
        now = self.dev.kernel.now
        if self.gap and self._since >= self.gap - 1 and self._reorder.happens():
            self._since = 0
            self.put(skb, now)
        else:
            self._since += 1
            self.put(skb, self._leaves(skb, now) + extra)
        return NET_XMIT_SUCCESS

    def _leaves(self, skb: SkBuff, now: int) -> int:
        """When ``skb`` may leave."""
        delay = self._jitter.draw()
        if self.rate:
            wait = self._last - now
            if wait > 0:  # behind the one before; what it waits for that counts as its own delay
                delay = max(wait, delay)
            delay += skb.len * NSEC_PER_SEC // self.rate
            self._last = now + delay
        return now + delay

    def put(self, skb: SkBuff, leaves: int) -> None:
        """Keep ``skb`` until ``leaves`` (monotonic ns)."""
        self._order += 1
        heappush(self._queue, (leaves, self._order, skb))
        self.enqueued(skb)

    def damage(self, skb: SkBuff) -> SkBuff:
        """A copy of ``skb``, which is freed, with one bit turned over."""
        copy = skb_copy(skb)
        consume_skb(skb)
        skb_checksum_help(copy)
        at = self.rng.randrange(copy.len)
        turned = copy.head[copy.data + at] ^ 1 << self.rng.randrange(8)
        skb_store_bits(copy, at, bytes((turned,)))
        return copy

    # -- letting them out ------------------------------------------------------------------------------------

    def dequeue(self) -> SkBuff | None:
        queue = self._queue
        if not queue:
            return None
        leaves = queue[0][0]
        if leaves > self.dev.kernel.now:
            self.overlimits += 1
            self.watchdog.schedule(leaves)
            return None
        return self.dequeued(heappop(queue)[2])

    def peek(self) -> SkBuff | None:
        queue = self._queue
        return queue[0][2] if queue and queue[0][0] <= self.dev.kernel.now else None

    def reset(self) -> None:
        self.watchdog.cancel()
        self._last = 0
        while self._queue:
            self.free(heappop(self._queue)[2])

    def destroy(self) -> None:
        self.watchdog.cancel()

    def dump(self) -> dict[str, object]:
        return dict(self.options)


def _check(name: str, value: object) -> None:
    """EINVAL, naming what is right, for a value that ``name`` can't have."""
    if name == "distribution":
        if value not in _DISTRIBUTIONS:
            raise err(errno.EINVAL, f"netem: distribution is {' or '.join(_DISTRIBUTIONS)}, not {value!r}")
    elif name == "gemodel":
        if not isinstance(value, (tuple, list)) or len(value) not in (0, 2, 3, 4) or not all(map(_fraction, value)):
            raise err(errno.EINVAL, "netem: gemodel is (p, r, lost in bad, lost in good), fractions from 0 to 1")
    elif name in ("limit", "delay", "jitter", "gap", "rate"):
        if not isinstance(value, int) or value < 0:
            raise err(errno.EINVAL, f"netem: {name} is a whole number from 0 up, not {value!r}")
    elif not _fraction(value):
        raise err(errno.EINVAL, f"netem: {name} is a fraction from 0 to 1, not {value!r}")


def _fraction(value: object) -> bool:
    return isinstance(value, (int, float)) and 0 <= value <= 1

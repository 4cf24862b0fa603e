"""pfifo_fast: three first-in-first-out bands; a lower one waits while a higher one has packets. tc-pfifo_fast(8).

The band comes from skb.priority (SO_PRIORITY, or the TOS byte through IP) by `PRIO2BAND`. Each band holds up to
dev.tx_queue_len packets. Source: net/sched/sch_generic.c.
"""

from __future__ import annotations

from collections import deque

from pysock.core.qdisc import Qdisc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.netdevice import NetDevice
    from pysock.core.skbuff import SkBuff

BANDS = 3
TC_PRIO_MAX = 15
#: From priority (TC_PRIO_*: 0 best effort, 2 bulk, 6 interactive, 7 control) to band, 0 the first to be sent.
PRIO2BAND = (1, 2, 2, 2, 1, 2, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1)


class PfifoFast(Qdisc):
    """The default discipline of a device with a transmit queue."""

    __slots__ = ("bands",)
    can_bypass = True

    def __init__(self, dev: NetDevice) -> None:
        super().__init__(dev)
        self.bands: tuple[deque[SkBuff], ...] = tuple(deque() for _ in range(BANDS))

    def enqueue(self, skb: SkBuff) -> int:
        band = self.bands[PRIO2BAND[skb.priority & TC_PRIO_MAX]]
        if len(band) >= self.dev.tx_queue_len:
            return self.drop(skb)
        band.append(skb)
        return self.enqueued(skb)

    def dequeue(self) -> SkBuff | None:
        for band in self.bands:
            if band:
                return self.dequeued(band.popleft())
        return None

    def peek(self) -> SkBuff | None:
        for band in self.bands:
            if band:
                return band[0]
        return None

    def reset(self) -> None:
        for band in self.bands:
            while band:
                self.free(band.popleft())

    def dump(self) -> dict[str, object]:
        return {"bands": BANDS}

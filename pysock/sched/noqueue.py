"""noqueue: no queue at all; packets go straight to the driver. net/sched/sch_generic.c."""

from __future__ import annotations

from pysock.core.qdisc import Qdisc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.skbuff import SkBuff


class NoQueue(Qdisc):
    """For devices that are never busy: loopback, dummy, tunnels. The transmit path does not call it."""

    __slots__ = ()
    queueless = True

    def enqueue(self, skb: SkBuff) -> int:
        return self.drop(skb)

    def dequeue(self) -> SkBuff | None:
        return None

    def peek(self) -> SkBuff | None:
        return None

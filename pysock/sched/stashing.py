"""For disciplines that know their next packet only by taking it: peek takes it and keeps it (qdisc_peek_dequeued)."""

from __future__ import annotations

from pysock.core.qdisc import Qdisc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.netdevice import NetDevice
    from pysock.core.skbuff import SkBuff


class Stashing(Qdisc):
    """Override `take` instead of dequeue and peek, and extend `reset`. The packet in ``stash`` counts as waiting."""

    __slots__ = ("stash",)

    def __init__(self, dev: NetDevice) -> None:
        super().__init__(dev)
        self.stash: SkBuff | None = None

    def take(self) -> SkBuff | None:
        """What `Qdisc.dequeue` is."""
        raise NotImplementedError

    def dequeue(self) -> SkBuff | None:
        skb = self.stash
        if skb is None:
            return self.take()
        self.stash = None
        return self.dequeued(skb)

    def peek(self) -> SkBuff | None:
        if self.stash is None:
            skb = self.take()
            if skb is not None:
                self.stash = skb
                self.enqueued(skb)
        return self.stash

    def reset(self) -> None:
        if self.stash is not None:
            self.free(self.stash)
            self.stash = None

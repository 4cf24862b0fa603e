"""pfifo and bfifo: one first-in-first-out queue with a limit, in packets or in bytes. tc-pfifo(8), sch_fifo.c."""

from __future__ import annotations

import errno
from collections import deque

from pysock.core.errors import err
from pysock.core.qdisc import Qdisc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.netdevice import NetDevice
    from pysock.core.skbuff import SkBuff


class Fifo(Qdisc):
    """What both share. ``limit`` is fixed when it is made."""

    __slots__ = ("limit", "queue")

    def __init__(self, dev: NetDevice, limit: int) -> None:
        super().__init__(dev)
        if not 0 <= limit < 1 << 32:
            raise err(errno.EINVAL, f"limit {limit} is not in 0..{(1 << 32) - 1}")
        self.limit = limit
        self.queue: deque[SkBuff] = deque()

    def dequeue(self) -> SkBuff | None:
        return self.dequeued(self.queue.popleft()) if self.queue else None

    def peek(self) -> SkBuff | None:
        return self.queue[0] if self.queue else None

    def reset(self) -> None:
        while self.queue:
            self.free(self.queue.popleft())

    def dump(self) -> dict[str, object]:
        return {"limit": self.limit}


class Pfifo(Fifo):
    """At most ``limit`` packets; dev.tx_queue_len when not given."""

    __slots__ = ()

    def __init__(self, dev: NetDevice, limit: int | None = None) -> None:
        super().__init__(dev, dev.tx_queue_len if limit is None else limit)

    def enqueue(self, skb: SkBuff) -> int:
        if len(self.queue) >= self.limit:
            return self.drop(skb)
        self.queue.append(skb)
        return self.enqueued(skb)


class Bfifo(Fifo):
    """At most ``limit`` bytes; room for dev.tx_queue_len frames of full size when not given."""

    __slots__ = ()

    def __init__(self, dev: NetDevice, limit: int | None = None) -> None:
        super().__init__(dev, dev.tx_queue_len * (dev.mtu + dev.hard_header_len) if limit is None else limit)

    def enqueue(self, skb: SkBuff) -> int:
        if self.backlog + skb.len > self.limit:
            return self.drop(skb)
        self.queue.append(skb)
        return self.enqueued(skb)

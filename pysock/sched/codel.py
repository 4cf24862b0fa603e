"""CoDel's control law (RFC 8289), as fq_codel runs it on each of its queues (include/net/codel_impl.h).

A packet that leaves after more than ``target`` in the queue is a sign; when all of an ``interval`` showed nothing else,
the queue is in the dropping state: one packet is dropped (or ECN-marked), and the next ever sooner, by the square root
of their count, until one leaves in time.
"""

from __future__ import annotations

from collections import deque
from math import sqrt

from pysock.sched.packets import set_ce

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pysock.core.skbuff import SkBuff

#: A queue that left the dropping state less than this many intervals ago goes on where it was (RFC 8289 5.5).
_RESUME_INTERVALS = 16


class CodelParams:
    """The settings and counters that all queues of a discipline share: times in ns, ``ce_threshold`` 0 for none,
    ``mtu`` in bytes: a queue that holds no more than one packet is never too long.
    """

    __slots__ = ("ce_mark", "ce_threshold", "ecn", "ecn_mark", "interval", "mtu", "target")

    def __init__(self, target: int, interval: int, mtu: int, ecn: bool, ce_threshold: int) -> None:
        self.target = target
        self.interval = interval
        self.mtu = mtu
        self.ecn = ecn
        self.ce_threshold = ce_threshold
        self.ecn_mark = self.ce_mark = 0


class CodelQueue:
    """One queue under CoDel: packets with the instants at which they came. ``backlog`` in bytes."""

    __slots__ = (
        "backlog", "count", "drop_next", "dropping", "first_above", "last_count", "params", "queue", "sojourn",
    )  # fmt: skip

    def __init__(self, params: CodelParams) -> None:
        self.params = params
        self.queue: deque[tuple[SkBuff, int]] = deque()
        self.backlog = 0
        self.count = self.last_count = 0
        self.dropping = False
        self.first_above = self.drop_next = 0  # instants, 0 for none
        self.sojourn = 0  # of the last packet taken out, ns

    def push(self, skb: SkBuff, now: int) -> None:
        self.queue.append((skb, now))
        self.backlog += skb.len

    def pop(self) -> SkBuff | None:
        """The oldest packet, whatever CoDel thinks of it."""
        if not self.queue:
            return None
        skb, _ = self.queue.popleft()
        self.backlog -= skb.len
        return skb

    def dequeue(self, now: int, drop: Callable[[SkBuff], object]) -> SkBuff | None:
        """The next packet to send, after ``drop(skb)`` for those that the law takes out (codel_dequeue)."""
        params = self.params
        skb, late = self._take(now)
        if self.dropping:
            if not late:
                self.dropping = False
            while self.dropping and skb is not None and now >= self.drop_next:
                self.count += 1
                if params.ecn and set_ce(skb):
                    params.ecn_mark += 1
                    self.drop_next = self._law(self.drop_next)
                    break
                drop(skb)
                skb, late = self._take(now)
                if late:
                    self.drop_next = self._law(self.drop_next)
                else:
                    self.dropping = False
        elif late and skb is not None:
            if params.ecn and set_ce(skb):
                params.ecn_mark += 1
            else:
                drop(skb)
                skb, _ = self._take(now)
            self.dropping = True
            since = self.count - self.last_count
            resume = since > 1 and now - self.drop_next < _RESUME_INTERVALS * params.interval
            self.count = self.last_count = since if resume else 1
            self.drop_next = self._law(now)
        if skb is not None and params.ce_threshold and self.sojourn > params.ce_threshold and set_ce(skb):
            params.ce_mark += 1
        return skb

    def _take(self, now: int) -> tuple[SkBuff | None, bool]:
        """The oldest packet, and whether the queue has been too slow for an interval (codel_should_drop)."""
        if not self.queue:
            self.first_above = 0
            self.dropping = False
            return None, False
        skb, came = self.queue.popleft()
        self.backlog -= skb.len
        self.sojourn = now - came
        if self.sojourn < self.params.target or self.backlog <= self.params.mtu:
            self.first_above = 0
            return skb, False
        if not self.first_above:
            self.first_above = now + self.params.interval
            return skb, False
        return skb, now > self.first_above

    def _law(self, t: int) -> int:
        return t + int(self.params.interval / sqrt(self.count))

"""SkBuffHead: a queue of packets (struct sk_buff_head), counted in packets and in bytes.

The deque is made at the first packet (an empty one takes 760 bytes, and most sockets' queues stay empty)
and dropped by purge. Both ends cost O(1); unlink and insert in the middle cost a search. A queue holds one
reference to each packet: enqueueing hands the caller's over, dequeueing hands it back. The big lock guards
it, so the locked and unlocked forms of Linux (skb_queue_tail and __skb_queue_tail) are one here.
"""

from __future__ import annotations

from collections import deque

from pysock.core.skbuff import SkBuff, kfree_skb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["SkBuffHead"]


class SkBuffHead:
    """`qlen` packets of together `bytes` bytes (the sum of skb.len as each was when it went in).

    A packet whose length changes while queued must be told to `resize`, or the byte count drifts.
    """

    __slots__ = ("_q", "bytes")

    def __init__(self) -> None:
        self._q: deque[SkBuff] | None = None
        self.bytes: int = 0

    def __len__(self) -> int:
        q = self._q
        return 0 if q is None else len(q)

    def __bool__(self) -> bool:
        return bool(self._q)

    def __iter__(self) -> Iterator[SkBuff]:
        return iter(self._q or ())

    @property
    def qlen(self) -> int:
        """Number of packets (skb_queue_len)."""
        q = self._q
        return 0 if q is None else len(q)

    def tail(self, skb: SkBuff) -> None:
        """Add behind the last packet (skb_queue_tail)."""
        q = self._q
        if q is None:
            q = self._q = deque()
        q.append(skb)
        self.bytes += skb.len

    def head(self, skb: SkBuff) -> None:
        """Add before the first packet (skb_queue_head)."""
        q = self._q
        if q is None:
            q = self._q = deque()
        q.appendleft(skb)
        self.bytes += skb.len

    def dequeue(self) -> SkBuff | None:
        """Take the first packet, None if there is none (skb_dequeue)."""
        if not self._q:
            return None
        skb = self._q.popleft()
        self.bytes -= skb.len
        return skb

    def dequeue_tail(self) -> SkBuff | None:
        """Take the last packet, None if there is none (skb_dequeue_tail)."""
        if not self._q:
            return None
        skb = self._q.pop()
        self.bytes -= skb.len
        return skb

    def peek(self) -> SkBuff | None:
        """The first packet, left in place (skb_peek)."""
        return self._q[0] if self._q else None

    def peek_tail(self) -> SkBuff | None:
        """The last packet, left in place (skb_peek_tail)."""
        return self._q[-1] if self._q else None

    def _index(self, skb: SkBuff) -> int:
        for i, other in enumerate(self._q or ()):
            if other is skb:
                return i
        raise ValueError(f"{skb!r} is not in this queue")

    def unlink(self, skb: SkBuff) -> None:
        """Take out `skb`, wherever it is (skb_unlink). Raises ValueError if it is not queued here."""
        i = self._index(skb)
        assert self._q is not None
        del self._q[i]
        self.bytes -= skb.len

    def insert_after(self, old: SkBuff, new: SkBuff) -> None:
        """Put `new` behind `old` (skb_append). Raises ValueError if `old` is not queued here."""
        i = self._index(old)
        assert self._q is not None
        self._q.insert(i + 1, new)
        self.bytes += new.len

    def insert_before(self, old: SkBuff, new: SkBuff) -> None:
        """Put `new` before `old` (__skb_queue_before). Raises ValueError if `old` is not queued here."""
        i = self._index(old)
        assert self._q is not None
        self._q.insert(i, new)
        self.bytes += new.len

    def resize(self, delta: int) -> None:
        """A queued packet became `delta` bytes longer (shorter if negative)."""
        self.bytes += delta

    def splice(self, other: SkBuffHead) -> None:
        """Move all packets of `other` in front of ours, emptying it (skb_queue_splice_init)."""
        self._join(other, front=True)

    def splice_tail(self, other: SkBuffHead) -> None:
        """Move all packets of `other` behind ours, emptying it (skb_queue_splice_tail_init)."""
        self._join(other, front=False)

    def _join(self, other: SkBuffHead, front: bool) -> None:
        if other is self:
            raise ValueError("a queue can't be spliced into itself")
        q = self._q
        if not other._q:
            return
        if not q:
            self._q, other._q = other._q, None
        else:
            if front:
                q.extendleft(reversed(other._q))
            else:
                q.extend(other._q)
            other._q = None
        self.bytes += other.bytes
        other.bytes = 0

    def purge(self, reason: str = "QUEUE_PURGE") -> None:
        """Free all packets (skb_queue_purge_reason). Destructors may queue here again: those packets stay."""
        q = self._q
        self._q = None
        self.bytes = 0
        for skb in q or ():
            kfree_skb(skb, reason)

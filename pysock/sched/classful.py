"""Disciplines that have others inside: how packets and their accounts pass between them.

A child keeps its own queue and counters; the parent's `qlen` and `backlog` are those of its children together, whatever
a child does (one that drops what waits, as fq_codel does, takes it off the parent's account too).
"""

from __future__ import annotations

from pysock.core.dev_xmit import NET_XMIT_DROP
from pysock.core.qdisc import Qdisc, qdisc_create, qdisc_destroy
from pysock.sched.packets import option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pysock.core.skbuff import SkBuff


class Classful(Qdisc):
    """Base of such disciplines: say what the `children` are, and call them by `enqueue_child`,
    `dequeue_child` and `peek_child`."""

    __slots__ = ()

    def children(self) -> Sequence[Qdisc]:
        """The disciplines inside, by class."""
        raise NotImplementedError

    def graft(self, index: int, id: str, options: Mapping[str, object] | None = None) -> Qdisc:
        """Make class ``index`` (from 0) a new discipline ``id``: `tc qdisc add parent X:index+1 ID`; what waited there
        is lost. Errors of `qdisc_create`, EINVAL for a class that is not there. To be extended: store what this
        returns.
        """
        children = self.children()
        option("class", index, 0, len(children) - 1)
        new = qdisc_create(self.dev, id, options)
        old = children[index]
        self.qlen -= old.qlen
        self.backlog -= old.backlog
        qdisc_destroy(old)
        return new

    def enqueue_child(self, child: Qdisc, skb: SkBuff) -> int:
        """``child.enqueue(skb)``; its answer."""
        qlen, backlog, drops = child.qlen, child.backlog, child.drops
        result = child.enqueue(skb)
        self._account(child, qlen, backlog, drops)
        if result == NET_XMIT_DROP and child.drops == drops:
            self.drops += 1
        return result

    def dequeue_child(self, child: Qdisc) -> SkBuff | None:
        """``child.dequeue()``, counted as sent by the child."""
        qlen, backlog, drops = child.qlen, child.backlog, child.drops
        skb = child.dequeue()
        self._account(child, qlen, backlog, drops)
        if skb is not None:
            child.packets += 1
            child.bytes += skb.len
        return skb

    def peek_child(self, child: Qdisc) -> SkBuff | None:
        """``child.peek()``, which may drop packets on the way to the one that is next."""
        qlen, backlog, drops = child.qlen, child.backlog, child.drops
        skb = child.peek()
        self._account(child, qlen, backlog, drops)
        return skb

    def _account(self, child: Qdisc, qlen: int, backlog: int, drops: int) -> None:
        self.qlen += child.qlen - qlen
        self.backlog += child.backlog - backlog
        self.drops += child.drops - drops

    def reset(self) -> None:
        for child in self.children():
            child.purge()

    def destroy(self) -> None:
        for child in self.children():
            qdisc_destroy(child)

"""Faults aimed at a moment: the n-th SYN, the packet with these bytes, whatever a function says.

A `Fault` is a condition and what to do with the packets that meet it. The faults of one end of a link are looked at by
its queueing discipline, `FaultyQueue`, before chance has its turn: it is netem with a mind of its own. So what is
dropped here was never on the wire, and no capture of the link shows it; the fault's ``log`` does.
"""

from __future__ import annotations

from pysock.core.dev_xmit import NET_XMIT_SUCCESS
from pysock.core.skb_copy import skb_clone
from pysock.core.skb_data import skb_to_bytes
from pysock.lab.packet import Seen, condition_of
from pysock.lab.units import count
from pysock.sched.netem import Netem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.skbuff import SkBuff
    from pysock.lab.link import End
    from pysock.lab.packet import Condition

DROP, DUPLICATE, CORRUPT, DELAY = "drop", "duplicate", "corrupt", "delay"


class Fault:
    """What happens to which packets. ``seen`` met the condition so far, ``hits`` of them were treated, and ``log`` has
    a line for each of those: (monotonic ns, what tcpdump would print).

    ``nth`` spares all but the n-th that meets it (from 1), ``times`` ends it after so many hits.
    """

    __slots__ = ("_condition", "_ends", "action", "delay", "hits", "log", "nth", "seen", "times")

    def __init__(
        self,
        action: str,
        when: str | Condition,
        ends: tuple[End, ...],
        *,
        times: int | None = None,
        nth: int | None = None,
        delay: int = 0,
    ) -> None:
        for name, value in (("times", times), ("nth", nth)):
            if value is not None:
                count(value, name)
        self._condition = condition_of(when)
        self._ends = ends
        self.action = action
        self.delay = delay
        self.times = 1 if nth is not None and times is None else times
        self.nth = nth
        self.seen = self.hits = 0
        self.log: list[tuple[int, str]] = []

    @property
    def active(self) -> bool:
        """Whether it may still hit."""
        return self.times is None or self.hits < self.times

    def meets(self, packet: Seen, now: int) -> bool:
        """Whether ``packet`` is to be treated; counts it."""
        if not self.active or not self._condition(packet):
            return False
        self.seen += 1
        if self.nth is not None and self.seen < self.nth:
            return False
        self.hits += 1
        self.log.append((now, repr(packet)))
        return True

    def cancel(self) -> None:
        """No more hits. Harmless when it has ended by itself."""
        for end in self._ends:
            if self in end.faults:
                end.faults.remove(self)
        for end in self._ends:
            end.refresh()

    def __repr__(self) -> str:
        return f"<Fault {self.action}: {self.hits} of {self.seen} seen{'' if self.active else ', over'}>"


class FaultyQueue(Netem):
    """The discipline of a link's end that has faults, cut-off senders, or impairments."""

    __slots__ = ("end",)

    def __init__(self, end: End, options: dict[str, object]) -> None:
        self.end = end
        super().__init__(end.dev, **options)
        self.id = "netem"
        self.owner = "pysock.lab"

    def enqueue(self, skb: SkBuff) -> int:
        end = self.end
        if not end.faults and not end.cut:
            return super().enqueue(skb)
        result = NET_XMIT_SUCCESS
        for one in self.frames(skb):
            result = max(result, self._judge(one))
        return result

    def _judge(self, skb: SkBuff) -> int:
        end = self.end
        packet = Seen(skb_to_bytes(skb), end, end.peer)
        if any(sender.sent(packet) for sender in end.cut):
            self.lose(skb)
            return NET_XMIT_SUCCESS
        extra = 0
        for fault in tuple(end.faults):
            if not fault.meets(packet, end.dev.kernel.now):
                continue
            action = fault.action
            if action == DROP:
                self.lose(skb)
                return NET_XMIT_SUCCESS
            if action == DUPLICATE:
                self.impair(skb_clone(skb), extra)
            elif action == CORRUPT:
                skb = self.damage(skb)
            else:
                extra += fault.delay
        return self.impair(skb, extra)

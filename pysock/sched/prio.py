"""prio: bands in strict order, each a discipline of its own. tc-prio(8), net/sched/sch_prio.c.

A packet goes to band ``priomap[priority & 15]``; a priority that names a class (``handle`` in its upper 16 bits, the
band's number from 1 on in the lower ones) goes there. Bands are pfifos until `graft` puts something else in.
"""

from __future__ import annotations

import errno

from pysock.core.errors import err
from pysock.core.qdisc import Qdisc, qdisc_create
from pysock.sched.classful import Classful
from pysock.sched.packets import option
from pysock.sched.pfifo_fast import PRIO2BAND, TC_PRIO_MAX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pysock.core.netdevice import NetDevice
    from pysock.core.skbuff import SkBuff

MAX_BANDS = 16


class Prio(Classful):
    """``bands`` 2 to 16; ``priomap`` 16 numbers of bands, one for each priority."""

    __slots__ = ("bands", "priomap")

    def __init__(self, dev: NetDevice, bands: int = 3, priomap: Sequence[int] = PRIO2BAND) -> None:
        super().__init__(dev)
        option("bands", bands, 2, MAX_BANDS)
        if len(priomap) != TC_PRIO_MAX + 1:
            raise err(errno.EINVAL, f"priomap has {len(priomap)} numbers instead of {TC_PRIO_MAX + 1}")
        self.priomap = tuple(option("priomap", band, 0, bands - 1) for band in priomap)
        self.bands: list[Qdisc] = [qdisc_create(dev, "pfifo") for _ in range(bands)]

    def graft(self, index: int, id: str, options: Mapping[str, object] | None = None) -> Qdisc:
        new = super().graft(index, id, options)
        self.bands[index] = new
        return new

    def classify(self, skb: SkBuff) -> Qdisc:
        """The band of ``skb`` (prio_classify)."""
        priority = skb.priority
        if self.handle and priority >> 16 == self.handle and 1 <= priority & 0xFFFF <= len(self.bands):
            return self.bands[(priority & 0xFFFF) - 1]
        return self.bands[self.priomap[priority & TC_PRIO_MAX]]

    def enqueue(self, skb: SkBuff) -> int:
        return self.enqueue_child(self.classify(skb), skb)

    def dequeue(self) -> SkBuff | None:
        for band in self.bands:
            if band.qlen:
                skb = self.dequeue_child(band)
                if skb is not None:
                    return skb
        return None

    def peek(self) -> SkBuff | None:
        for band in self.bands:
            skb = self.peek_child(band)
            if skb is not None:
                return skb
        return None

    def children(self) -> Sequence[Qdisc]:
        return self.bands

    def dump(self) -> dict[str, object]:
        return {"bands": len(self.bands), "priomap": self.priomap}

"""tbf: a token bucket. No more than ``rate`` on average, ``burst`` at once. tc-tbf(8), net/sched/sch_tbf.c.

Tokens are time: the bucket holds as many ns as ``burst`` bytes take at ``rate``, fills by the clock, and a packet costs
the ns that it takes. A second, small bucket of ``mtu`` bytes bounds the rate within a burst (``peakrate``). What finds
no tokens waits in a bfifo of ``limit`` bytes, or whatever is grafted in its place.
"""

from __future__ import annotations

import errno

from pysock.core.dev_xmit import NET_XMIT_CN, NET_XMIT_DROP, NET_XMIT_SUCCESS
from pysock.core.errors import err
from pysock.core.qdisc import Qdisc, QdiscWatchdog, qdisc_create
from pysock.sched.classful import Classful
from pysock.sched.packets import frame_size, option, segments, wire_length

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pysock.core.netdevice import NetDevice
    from pysock.core.skbuff import SkBuff

_SECOND = 1_000_000_000
_RATE_MAX = 1 << 50


def _ns(size: int, rate: int) -> int:
    """How long ``size`` bytes take at ``rate`` bytes a second (psched_l2t_ns)."""
    return size * _SECOND // rate


class Tbf(Classful):
    """``rate`` and ``peakrate`` (0: none) in bytes a second, ``burst`` and ``mtu`` (the peak bucket's burst) in bytes.

    ``limit`` is what may wait, in bytes; or ``latency`` how long, in ns: one of the two. EINVAL when a bucket is too
    small for any packet, or the peak rate below the rate.
    """

    __slots__ = (
        "burst", "checked", "child", "limit", "mtu", "peak_tokens", "peakrate", "rate", "tokens", "watchdog",
    )  # fmt: skip

    def __init__(
        self,
        dev: NetDevice,
        rate: int,
        burst: int,
        limit: int | None = None,
        latency: int | None = None,
        peakrate: int = 0,
        mtu: int | None = None,
    ) -> None:
        super().__init__(dev)
        self.rate = option("rate", rate, 1, _RATE_MAX)
        self.burst = option("burst", burst, 1)
        self.peakrate = option("peakrate", peakrate, 0, _RATE_MAX)
        self.mtu = option("mtu", frame_size(dev) if mtu is None else mtu, 1)
        if self.peakrate and self.peakrate <= self.rate:
            raise err(errno.EINVAL, f"peakrate {peakrate} is not above rate {rate}")
        if (limit is None) == (latency is None):
            raise err(errno.EINVAL, "tbf takes one of limit and latency")
        if latency is not None:
            option("latency", latency, 1, 1 << 62)
            limit = latency * self.rate // _SECOND + self.burst
            if self.peakrate:
                limit = min(limit, latency * self.peakrate // _SECOND + self.mtu)
        assert limit is not None
        self.limit = option("limit", limit)
        self.child: Qdisc = qdisc_create(dev, "bfifo", {"limit": self.limit})
        self.watchdog = QdiscWatchdog(self)
        self._fill()

    def _fill(self) -> None:
        self.tokens = _ns(self.burst, self.rate)
        self.peak_tokens = _ns(self.mtu, self.peakrate) if self.peakrate else 0
        self.checked = self.dev.kernel.now

    @property
    def max_size(self) -> int:
        """The longest packet that ever gets tokens."""
        return min(self.burst, self.mtu) if self.peakrate else self.burst

    def enqueue(self, skb: SkBuff) -> int:
        if wire_length(skb) <= self.max_size:
            return self.enqueue_child(self.child, skb)
        cut = segments(self.dev, skb) if skb.gso_size else []
        if not cut:
            return self.drop(skb)
        results = [self._enqueue_segment(one) for one in cut]
        if NET_XMIT_SUCCESS in results or NET_XMIT_CN in results:
            return NET_XMIT_SUCCESS
        return NET_XMIT_DROP

    def _enqueue_segment(self, one: SkBuff) -> int:
        return self.drop(one) if one.len > self.max_size else self.enqueue_child(self.child, one)

    def dequeue(self) -> SkBuff | None:
        skb = self.peek_child(self.child)
        if skb is None:
            return None
        size = wire_length(skb)
        now = self.dev.kernel.now
        passed = min(now - self.checked, _ns(self.burst, self.rate))
        peak_left = 0
        if self.peakrate:
            peak_left = min(passed + self.peak_tokens, _ns(self.mtu, self.peakrate)) - _ns(size, self.peakrate)
        left = min(passed + self.tokens, _ns(self.burst, self.rate)) - _ns(size, self.rate)
        if left >= 0 and peak_left >= 0:
            self.checked = now
            self.tokens = left
            self.peak_tokens = peak_left
            return self.dequeue_child(self.child)
        self.watchdog.schedule(now + max(-left, -peak_left))
        self.overlimits += 1
        return None

    def peek(self) -> SkBuff | None:
        return self.peek_child(self.child)

    def children(self) -> Sequence[Qdisc]:
        return (self.child,)

    def graft(self, index: int, id: str, options: Mapping[str, object] | None = None) -> Qdisc:
        self.child = super().graft(index, id, options)
        return self.child

    def reset(self) -> None:
        super().reset()
        self._fill()
        self.watchdog.cancel()

    def destroy(self) -> None:
        super().destroy()
        self.watchdog.cancel()

    def dump(self) -> dict[str, object]:
        return {
            "rate": self.rate,
            "burst": self.burst,
            "limit": self.limit,
            "peakrate": self.peakrate,
            "mtu": self.mtu,
        }

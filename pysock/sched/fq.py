"""fq: a queue for each flow, served in turns, and paced: no flow sends faster than its socket says. tc-fq(8), sch_fq.c.

    new flows -> old flows -> (throttled until an instant, in a heap) -> old flows again
               -> detached: an empty flow, kept a while for its credit and its next instant

A flow is a socket, as far as the packet knows it, else a hash of addresses and ports. Its rate is the least of
SO_MAX_PACING_RATE and ``maxrate``: after a quantum of bytes the next packet waits as long as they take. A packet with a
time of its own (skb.tstamp, by SO_TXTIME, or TCP's, which paces itself) leaves then. TC_PRIO_CONTROL packets wait for
nobody.
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush

from pysock.core.flow import flow_hash
from pysock.core.qdisc import QdiscWatchdog
from pysock.core.sock_ext import NO_PACING_LIMIT, Cookies
from pysock.sched.packets import frame_size, option, set_ce, wire_length
from pysock.sched.pfifo_fast import TC_PRIO_MAX
from pysock.sched.stashing import Stashing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.netdevice import NetDevice
    from pysock.core.skbuff import SkBuff

_SECOND = 1_000_000_000
_TC_PRIO_CONTROL = 7
_IN_NO_LIST, _IN_LIST, _THROTTLED = range(3)
#: A detached flow is forgotten after this (FQ_GC_AGE), looked for when a new flow comes and there are that many.
_GC_AGE = 3 * _SECOND
_GC_FLOWS = 64


class _Flow:
    """One flow: packets with the instants before which they must not leave, in that order."""

    __slots__ = ("credit", "detached_at", "key", "next_time", "place", "queue")

    def __init__(self, key: int, credit: int) -> None:
        self.key = key
        self.credit = credit
        self.queue: deque[tuple[int, SkBuff]] = deque()
        self.next_time = 0
        self.place = _IN_NO_LIST
        self.detached_at = 0

    def add(self, skb: SkBuff, at: int) -> None:
        queue = self.queue
        if not queue or queue[-1][0] <= at:  # the usual one: they come in order
            queue.append((at, skb))
            return
        index = len(queue)
        while index and queue[index - 1][0] > at:
            index -= 1
        queue.insert(index, (at, skb))


class Fq(Stashing):
    """Options by tc's names: ``limit`` and ``flow_limit`` packets, ``quantum`` and ``initial_quantum`` bytes,
    ``maxrate`` (0: none) and ``low_rate_threshold`` bytes a second, ``pacing`` 0 or 1, ``refill_delay``, ``horizon``
    and ``ce_threshold`` (0: none) in ns, ``horizon_drop`` 0 (shorten) or 1.
    """

    __slots__ = (
        "ce_mark", "ce_threshold", "detached", "flow_limit", "flows", "flows_plimit", "horizon", "horizon_caps",
        "horizon_drop", "horizon_drops", "initial_quantum", "internal", "limit", "low_rate_threshold", "maxrate",
        "new_flows", "old_flows", "order", "pacing", "quantum", "refill_delay", "throttled", "throttled_count",
        "watchdog",
    )  # fmt: skip

    by_socket = True

    def __init__(
        self,
        dev: NetDevice,
        limit: int = 10000,
        flow_limit: int = 100,
        quantum: int | None = None,
        initial_quantum: int | None = None,
        maxrate: int = 0,
        low_rate_threshold: int = 550_000 // 8,
        pacing: int = 1,
        refill_delay: int = 40_000_000,
        horizon: int = 10 * _SECOND,
        horizon_drop: int = 1,
        ce_threshold: int = 0,
    ) -> None:
        super().__init__(dev)
        frame = frame_size(dev)
        self.limit = option("limit", limit)
        self.flow_limit = option("flow_limit", flow_limit)
        self.quantum = option("quantum", 2 * frame if quantum is None else quantum, 1, 1 << 20)
        self.initial_quantum = option("initial_quantum", 10 * frame if initial_quantum is None else initial_quantum)
        self.maxrate = option("maxrate", maxrate, 0, NO_PACING_LIMIT) or NO_PACING_LIMIT
        self.low_rate_threshold = option("low_rate_threshold", low_rate_threshold)
        self.pacing = option("pacing", pacing, 0, 1)
        self.refill_delay = option("refill_delay", refill_delay, 0, 1 << 62)
        self.horizon = option("horizon", horizon, 0, 1 << 62)
        self.horizon_drop = option("horizon_drop", horizon_drop, 0, 1)
        self.ce_threshold = option("ce_threshold", ce_threshold, 0, 1 << 62)
        self.watchdog = QdiscWatchdog(self)
        self.internal: deque[SkBuff] = deque()
        self.flows: dict[int, _Flow] = {}
        self.new_flows: deque[_Flow] = deque()
        self.old_flows: deque[_Flow] = deque()
        self.throttled: list[tuple[int, int, _Flow]] = []
        self.order = 0  # of those throttled until the same instant
        self.detached = 0
        self.flows_plimit = self.throttled_count = self.horizon_drops = self.horizon_caps = self.ce_mark = 0

    # -- in ------------------------------------------------------------------------------------------------

    def enqueue(self, skb: SkBuff) -> int:
        now = self.dev.kernel.now
        if self.qlen >= self.limit:
            return self.drop(skb)
        if skb.priority & TC_PRIO_MAX == _TC_PRIO_CONTROL:
            self.internal.append(skb)
            return self.enqueued(skb)
        at = skb.tstamp or now
        if at > now + self.horizon:
            if self.horizon_drop:
                self.horizon_drops += 1
                return self.drop(skb)
            self.horizon_caps += 1
            at = now + self.horizon
            skb.tstamp = at
        flow = self._classify(skb, now)
        if len(flow.queue) >= self.flow_limit:
            self.flows_plimit += 1
            return self.drop(skb)
        flow.add(skb, at)
        if flow.place == _IN_NO_LIST:
            self.detached -= 1
            if now - flow.detached_at > self.refill_delay:
                flow.credit = max(flow.credit, self.quantum)
            flow.place = _IN_LIST
            self.new_flows.append(flow)
        return self.enqueued(skb)

    def _classify(self, skb: SkBuff, now: int) -> _Flow:
        """The flow of ``skb``: its socket's, by the number that no other has, or by what is in its headers."""
        sk = skb.sk
        key = -flow_hash(skb) if sk is None else Cookies.of(sk.net).of_sock(sk)
        flow = self.flows.get(key)
        if flow is None:
            if self.detached >= _GC_FLOWS:
                self._collect(now)
            flow = self.flows[key] = _Flow(key, self.initial_quantum)
            flow.detached_at = now
            self.detached += 1
        return flow

    def _collect(self, now: int) -> None:
        """fq_gc(): forget flows that have sent nothing for a while."""
        for key, flow in list(self.flows.items()):
            if flow.place == _IN_NO_LIST and now - flow.detached_at > _GC_AGE:
                del self.flows[key]
                self.detached -= 1

    # -- out -----------------------------------------------------------------------------------------------

    def take(self) -> SkBuff | None:
        if self.internal:
            return self.dequeued(self.internal.popleft())
        if not self.qlen:
            return None
        now = self.dev.kernel.now
        throttled = self.throttled
        while throttled and throttled[0][0] <= now:
            flow = heappop(throttled)[2]
            flow.place = _IN_LIST
            self.old_flows.append(flow)
        while True:
            flows = self.new_flows or self.old_flows
            if not flows:
                if throttled:
                    self.watchdog.schedule(throttled[0][0])
                return None
            flow = flows[0]
            if flow.credit <= 0:
                flow.credit += self.quantum
                self.old_flows.append(flows.popleft())
            elif not flow.queue:
                flows.popleft()
                if flows is self.new_flows and self.old_flows:
                    self.old_flows.append(flow)  # it must not be new again before those that wait
                else:
                    flow.place = _IN_NO_LIST
                    flow.detached_at = now
                    self.detached += 1
            else:
                at = max(flow.queue[0][0], flow.next_time)
                if now >= at:
                    return self._hand_out(flow, now, at)
                flow.next_time = at
                flow.place = _THROTTLED
                flows.popleft()
                self.order += 1
                self.throttled_count += 1
                heappush(throttled, (at, self.order, flow))

    def _hand_out(self, flow: _Flow, now: int, at: int) -> SkBuff:
        _, skb = flow.queue.popleft()
        if self.ce_threshold and now - at > self.ce_threshold and set_ce(skb):
            self.ce_mark += 1
        size = wire_length(skb)
        flow.credit -= size
        if self.pacing:
            self._pace(flow, skb, size, now)
        return self.dequeued(skb)

    def _pace(self, flow: _Flow, skb: SkBuff, size: int, now: int) -> None:
        """Set the instant of the flow's next packet."""
        rate = self.maxrate
        if not skb.tstamp:  # a packet with its own time is paced by who set it
            sk = skb.sk
            if sk is not None and sk.ext is not None:
                rate = min(rate, sk.ext.pacing_rate)
            if rate <= self.low_rate_threshold:
                flow.credit = 0
            else:
                size = max(size, self.quantum)
                if flow.credit > 0:
                    return
        if rate >= NO_PACING_LIMIT:
            return
        delay = min(size * _SECOND // rate, _SECOND) if rate else _SECOND
        if flow.next_time:
            delay -= min(delay // 2, now - flow.next_time)  # what was late does not make the next one late too
        flow.next_time = now + delay

    # -- the rest ------------------------------------------------------------------------------------------

    def reset(self) -> None:
        super().reset()
        while self.internal:
            self.free(self.internal.popleft())
        for flow in self.flows.values():
            for _, skb in flow.queue:
                self.free(skb)
        self.flows.clear()
        self.new_flows.clear()
        self.old_flows.clear()
        self.throttled.clear()
        self.detached = 0
        self.watchdog.cancel()

    def destroy(self) -> None:
        self.watchdog.cancel()

    def dump(self) -> dict[str, object]:
        names = (
            "limit", "flow_limit", "quantum", "initial_quantum", "low_rate_threshold", "pacing", "refill_delay",
            "horizon", "horizon_drop", "ce_threshold",
        )  # fmt: skip
        found: dict[str, object] = {name: getattr(self, name) for name in names}
        found["maxrate"] = 0 if self.maxrate == NO_PACING_LIMIT else self.maxrate
        return found

    def statistics(self) -> dict[str, int]:
        found = super().statistics()
        found.update(
            flows=len(self.flows),
            inactive_flows=self.detached,
            throttled_flows=len(self.throttled),
            throttled=self.throttled_count,
            flows_plimit=self.flows_plimit,
            horizon_drops=self.horizon_drops,
            horizon_caps=self.horizon_caps,
            ce_mark=self.ce_mark,
        )
        return found

"""fq_codel: a queue for each flow, served in turns, each kept short by CoDel. RFC 8290, tc-fq_codel(8).

Flows are told apart by a hash of addresses and ports. A flow that has just begun to wait is served before those that
keep a queue, so sparse flows see no queue at all. When the whole is too long, the longest queue loses packets from its
head. Source: net/sched/sch_fq_codel.c.
"""

from __future__ import annotations

from collections import deque

from pysock.core.dev_xmit import NET_XMIT_CN, NET_XMIT_SUCCESS
from pysock.core.flow import flow_hash
from pysock.core.skbuff import skb_truesize
from pysock.sched.codel import CodelParams, CodelQueue
from pysock.sched.packets import frame_size, option, wire_length
from pysock.sched.stashing import Stashing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.netdevice import NetDevice
    from pysock.core.skbuff import SkBuff

_MS = 1_000_000


class _Flow(CodelQueue):
    """One flow; ``deficit`` bytes it may still send in this turn, ``waits`` while it is in one of the lists."""

    __slots__ = ("deficit", "key", "waits")

    def __init__(self, params: CodelParams, key: int) -> None:
        super().__init__(params)
        self.key = key
        self.deficit = 0
        self.waits = False


class FqCodel(Stashing):
    """Options by tc's names: ``limit`` packets, ``flows`` hash buckets, ``target``, ``interval`` and ``ce_threshold``
    (0: none) in ns, ``quantum`` and ``memory_limit`` in bytes, ``ecn`` 0 or 1, ``drop_batch`` packets.

    A flow's state lives while packets of it wait, and as long as CoDel needs it: buckets are made on first use.
    """

    __slots__ = (
        "codel", "drop_batch", "drop_overlimit", "drop_overmemory", "flows", "flows_cnt", "limit", "maxpacket",
        "memory_limit", "memory_usage", "new_flow_count", "new_flows", "old_flows", "perturbation", "quantum",
    )  # fmt: skip

    def __init__(
        self,
        dev: NetDevice,
        limit: int = 10240,
        flows: int = 1024,
        target: int = 5 * _MS,
        interval: int = 100 * _MS,
        quantum: int | None = None,
        memory_limit: int = 32 << 20,
        ecn: int = 1,
        ce_threshold: int = 0,
        drop_batch: int = 64,
    ) -> None:
        super().__init__(dev)
        self.limit = option("limit", limit, 1)
        self.flows_cnt = option("flows", flows, 1, 65536)
        self.quantum = option("quantum", frame_size(dev) if quantum is None else quantum, 256, 1 << 20)
        self.memory_limit = option("memory_limit", memory_limit)
        self.drop_batch = option("drop_batch", drop_batch, 1)
        self.codel = CodelParams(
            option("target", target, 1, 1 << 62),
            option("interval", interval, 1, 1 << 62),
            frame_size(dev),
            bool(option("ecn", ecn, 0, 1)),
            option("ce_threshold", ce_threshold, 0, 1 << 62),
        )
        self.perturbation = dev.kernel.random("fq_codel").getrandbits(32)
        self.flows: dict[int, _Flow] = {}
        self.new_flows: deque[_Flow] = deque()
        self.old_flows: deque[_Flow] = deque()
        self.memory_usage = self.maxpacket = 0
        self.drop_overlimit = self.drop_overmemory = self.new_flow_count = 0

    def enqueue(self, skb: SkBuff) -> int:
        key = flow_hash(skb, self.perturbation) % self.flows_cnt
        flow = self.flows.get(key)
        if flow is None:
            flow = self.flows[key] = _Flow(self.codel, key)
        flow.push(skb, self.dev.kernel.now)
        self.memory_usage += skb_truesize(skb)
        self.enqueued(skb)
        if not flow.waits:
            flow.waits = True
            flow.deficit = self.quantum
            self.new_flow_count += 1
            self.new_flows.append(flow)
        over_memory = self.memory_usage > self.memory_limit
        if self.qlen <= self.limit and not over_memory:
            return NET_XMIT_SUCCESS
        fattest, dropped = self._drop_from_the_fattest()
        self.drop_overlimit += dropped
        if over_memory:
            self.drop_overmemory += dropped
        return NET_XMIT_CN if fattest is flow else NET_XMIT_SUCCESS

    def _drop_from_the_fattest(self) -> tuple[_Flow, int]:
        """Take half of the longest queue, in bytes, but at most drop_batch packets (fq_codel_drop): whose, how many."""
        fattest = max(self.flows.values(), key=lambda flow: flow.backlog)
        threshold = fattest.backlog >> 1
        dropped = size = 0
        while dropped < self.drop_batch and (not dropped or size < threshold):
            skb = fattest.pop()
            if skb is None:
                break
            size += skb.len
            dropped += 1
            self._discard(skb)
        return fattest, dropped

    def _discard(self, skb: SkBuff) -> None:
        self.memory_usage -= skb_truesize(skb)
        self.drop(self.dequeued(skb))

    def take(self) -> SkBuff | None:
        now = self.dev.kernel.now
        while True:
            flows = self.new_flows or self.old_flows
            if not flows:
                return None
            flow = flows[0]
            if flow.deficit <= 0:
                flow.deficit += self.quantum
                self.old_flows.append(flows.popleft())
                continue
            skb = flow.dequeue(now, self._discard)
            if skb is not None:
                break
            flows.popleft()
            if flows is self.new_flows and self.old_flows:
                self.old_flows.append(flow)  # else it could be new again, before those that wait (RFC 8290 4.2)
            else:
                flow.waits = False
                self._forget_idle()
        size = wire_length(skb)
        flow.deficit -= size
        self.maxpacket = max(self.maxpacket, size)
        self.memory_usage -= skb_truesize(skb)
        return self.dequeued(skb)

    def _forget_idle(self) -> None:
        """The state of flows that wait for nothing, once there are as many as may be."""
        if len(self.flows) >= self.flows_cnt:
            self.flows = {key: flow for key, flow in self.flows.items() if flow.waits}

    def reset(self) -> None:
        super().reset()
        for flow in self.flows.values():
            for skb, _ in flow.queue:
                self.free(skb)
        self.flows.clear()
        self.new_flows.clear()
        self.old_flows.clear()
        self.memory_usage = 0

    def dump(self) -> dict[str, object]:
        codel = self.codel
        return {
            "limit": self.limit,
            "flows": self.flows_cnt,
            "target": codel.target,
            "interval": codel.interval,
            "quantum": self.quantum,
            "memory_limit": self.memory_limit,
            "ecn": int(codel.ecn),
            "ce_threshold": codel.ce_threshold,
            "drop_batch": self.drop_batch,
        }

    def statistics(self) -> dict[str, int]:
        found = super().statistics()
        found.update(
            maxpacket=self.maxpacket,
            drop_overlimit=self.drop_overlimit,
            drop_overmemory=self.drop_overmemory,
            new_flow_count=self.new_flow_count,
            ecn_mark=self.codel.ecn_mark,
            ce_mark=self.codel.ce_mark,
            memory_used=self.memory_usage,
            new_flows_len=len(self.new_flows),
            old_flows_len=len(self.old_flows),
        )
        return found

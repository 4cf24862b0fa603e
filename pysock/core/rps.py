"""Which CPU receives a packet, and which queue of a device sends it: RPS, RFS and XPS.

    netif_set_rps_cpus(dev, 0, 0b1111)        /sys/class/net/DEV/queues/rx-0/rps_cpus
    netif_set_rps_flow_cnt(dev, 0, 4096)      /sys/class/net/DEV/queues/rx-0/rps_flow_cnt
    netif_set_xps_cpus(dev, 1, 0b0010)        /sys/class/net/DEV/queues/tx-1/xps_cpus
    net.core.rps_sock_flow_entries, net.core.flow_limit_cpu_bitmap, net.core.flow_limit_table_len     sysctls

RPS spreads the flows that arrive in one receive queue over a set of CPUs, by hash: a flow keeps its CPU and so its
order. RFS sends a flow to the CPU where its reader last read, as soon as no packet of it waits on the old one. XPS has
each CPU send through queues of its own. Documentation/networking/scaling.rst; get_rps_cpu(), netdev_pick_tx() and
skb_flow_limit() in net/core/dev.c.

Nothing here is asked in a kernel of one CPU; the CPUs themselves are in smp.py.
"""

from __future__ import annotations

import errno
from collections import deque

from pysock.core.errors import err
from pysock.core.flow import reciprocal_scale, skb_get_hash
from pysock.core.softirq import FLOW_LIMIT_TABLE
from pysock.uapi.if_ether import ETH_P_IP, ETH_P_IPV6

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

    from pysock.core.netdevice import NetDevice
    from pysock.core.skbuff import SkBuff
    from pysock.core.smp import Cpu

FLOW_LIMIT_HISTORY: Final = 128
_MAX_ENTRIES: Final = 1 << 29


def round_up_to_power(entries: int) -> int:
    """The size of a table of at least ``entries``; 0 for none (roundup_pow_of_two)."""
    return 1 << (entries - 1).bit_length() if entries else 0


class _Flow:
    """A flow of a receive queue (struct rps_dev_flow): its CPU, and which of that one's packets is its last."""

    __slots__ = ("cpu", "last")

    def __init__(self) -> None:
        self.cpu = -1
        self.last = 0


class RxQueue:
    """How one receive queue of a device is steered (struct netdev_rx_queue)."""

    __slots__ = ("cpus", "flow_mask", "flows")

    def __init__(self) -> None:
        self.cpus: tuple[int, ...] = ()  # rps_map
        self.flows: dict[int, _Flow] = {}  # rps_dev_flow_table, of those that were seen
        self.flow_mask = -1  # -1: there is none


class SockFlows:
    """Where the readers of flows are (struct rps_sock_flow_table), one for a kernel."""

    __slots__ = ("_flows", "mask")

    def __init__(self) -> None:
        self._flows: dict[int, tuple[int, int]] = {}
        self.mask = -1  # -1: nobody is looked for

    def resize(self, entries: int) -> None:
        """net.core.rps_sock_flow_entries: 0 turns RFS off. What was known is forgotten. EINVAL for more than 2^29."""
        if entries > _MAX_ENTRIES:
            raise err(errno.EINVAL)
        self.mask = round_up_to_power(entries) - 1
        self._flows.clear()

    def record(self, hash: int, cpu: int) -> None:
        """The reader of the flow is at ``cpu`` (rps_record_sock_flow)."""
        self._flows[hash & self.mask] = hash, cpu

    def reader(self, hash: int) -> int:
        """Its CPU, -1 when it is not known, or another flow took its place."""
        known = self._flows.get(hash & self.mask)
        return known[1] if known is not None and known[0] == hash else -1


def steer(skb: SkBuff, queues: Sequence[RxQueue], readers: SockFlows, cpus: Sequence[Cpu]) -> tuple[int, _Flow | None]:
    """The CPU that is to receive ``skb``, -1: no rule is for it (get_rps_cpu); and the flow to tell when it is queued.

    ``skb.data`` is behind the link-layer header.
    """
    recorded = skb.queue_mapping
    queue = queues[recorded - 1 if 0 < recorded <= len(queues) else 0]
    if (not queue.cpus and queue.flow_mask < 0) or skb.protocol not in (ETH_P_IP, ETH_P_IPV6):
        return -1, None
    skb.network_header = skb.data
    hash = skb_get_hash(skb)
    if queue.flow_mask >= 0 and readers.mask >= 0:
        reader = readers.reader(hash)
        if reader >= 0:
            flow = queue.flows.get(hash & queue.flow_mask)
            if flow is None:
                flow = queue.flows[hash & queue.flow_mask] = _Flow()
            if flow.cpu != reader and (flow.cpu < 0 or cpus[flow.cpu].head >= flow.last):
                flow.cpu = reader  # nothing of it waits where it was: order is kept
            return flow.cpu, flow
    if queue.cpus:
        return queue.cpus[reciprocal_scale(hash, len(queue.cpus))], None
    return -1, None


class FlowLimit:
    """Keeps one flow from filling the second half of a backlog (struct sd_flow_limit). ``count`` were refused."""

    __slots__ = ("_buckets", "_history", "count", "size")

    def __init__(self, size: int = FLOW_LIMIT_TABLE) -> None:
        self.size = size
        self.count = 0
        self._buckets: dict[int, int] = {}
        self._history: deque[int] = deque()

    def exceeded(self, skb: SkBuff) -> bool:
        """Whether more than half of the last FLOW_LIMIT_HISTORY packets were of this packet's flow (skb_flow_limit)."""
        if skb.network_header < 0:
            skb.network_header = skb.data
        buckets = self._buckets
        new = skb_get_hash(skb) & (self.size - 1)
        if len(self._history) == FLOW_LIMIT_HISTORY:
            buckets[self._history.popleft()] -= 1
        self._history.append(new)
        buckets[new] = buckets.get(new, 0) + 1
        if buckets[new] > FLOW_LIMIT_HISTORY // 2:
            self.count += 1
            return True
        return False


# --- settings of a device ---------------------------------------------------------------------------------------------


def cpus_of_mask(dev: NetDevice, mask: int) -> tuple[int, ...]:
    """The CPUs in a bitmap, those that there are (cpumask_and with cpu_online_mask). EINVAL for a negative one."""
    if mask < 0:
        raise err(errno.EINVAL)
    return tuple(cpu for cpu in range(len(dev.kernel.cpus)) if mask >> cpu & 1)


def _rx_queue(dev: NetDevice, index: int) -> RxQueue:
    if not 0 <= index < dev.num_rx_queues:
        raise err(errno.ENOENT)
    if dev.rx_queues is None:
        dev.rx_queues = tuple(RxQueue() for _ in range(dev.num_rx_queues))
    return dev.rx_queues[index]


def netif_set_rps_cpus(dev: NetDevice, index: int, mask: int) -> None:
    """Spread what arrives in receive queue ``index`` over the CPUs in the bitmap ``mask``; 0: leave it where it is.
    ENOENT for a queue that there is not (store_rps_map).
    """
    _rx_queue(dev, index).cpus = cpus_of_mask(dev, mask)


def netif_set_rps_flow_cnt(dev: NetDevice, index: int, entries: int) -> None:
    """Let the flows of receive queue ``index`` follow their readers, telling apart ``entries`` of them (rounded up to
    a power of two; 0: let them not). ENOENT for a queue that there is not, EINVAL (store_rps_dev_flow_table_cnt).
    """
    if not 0 <= entries <= _MAX_ENTRIES:
        raise err(errno.EINVAL)
    queue = _rx_queue(dev, index)
    queue.flow_mask = round_up_to_power(entries) - 1
    queue.flows.clear()


def netif_set_xps_cpus(dev: NetDevice, index: int, mask: int) -> None:
    """Let the CPUs in ``mask`` send through queue ``index``: when a CPU may use several, the flow decides; when none
    is for it, all (netif_set_xps_queue). ENOENT for a queue that there is not.
    """
    if not 0 <= index < dev.num_tx_queues:
        raise err(errno.ENOENT)
    cpus = cpus_of_mask(dev, mask)
    table = dict(dev.xps or {})
    for cpu in range(len(dev.kernel.cpus)):
        queues = set(table.get(cpu, ())) - {index}
        if cpu in cpus:
            queues.add(index)
        table[cpu] = tuple(sorted(queues))
    dev.xps = table if any(table.values()) else None


def netdev_pick_tx(dev: NetDevice, skb: SkBuff) -> None:
    """Choose the transmit queue of ``skb``, for a device with several (netdev_pick_tx): skb.queue_mapping, from 0 on.

    By the CPU that sends, as far as XPS says; else by the queue that it was received in, if it was, or its flow.
    """
    queues: Sequence[int] = range(dev.num_tx_queues)
    if dev.xps is not None:
        queues = dev.xps.get(dev.kernel.softnet.cpu) or queues
    if len(queues) == 1:
        skb.queue_mapping = queues[0]
    elif skb.queue_mapping and dev.xps is None:
        skb.queue_mapping = (skb.queue_mapping - 1) % dev.num_tx_queues
    else:
        skb.queue_mapping = queues[reciprocal_scale(skb_get_hash(skb), len(queues))]

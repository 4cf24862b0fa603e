"""Softirqs: the work that packets cause, done by whoever leaves the kernel.

Process context (a system call) queues packets and raises a softirq; `Softirq.run` is called on the way out,
while the kernel lock is still held, and runs to completion. There is no thread of its own and no recursion: a
packet that causes another one queues it, and the loop here takes it up.

`SoftnetData` is what Linux keeps per CPU: the backlog that non-NAPI drivers feed by netif_rx, the NAPI poll
list, and the queues that wait for net_tx_action. A kernel has one; booted with more CPUs, several behind a front
(smp.py). Budgets are Linux's: a poll may handle ``weight`` packets
(64), one run of NET_RX ``netdev_budget`` (300), and a run that is still busy after MAX_RESTART rounds leaves
the rest to the next time somebody enters or is about to sleep (Linux: ksoftirqd).
"""

from __future__ import annotations

from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pysock.core.contain import ErrorReporter
    from pysock.core.gro import Gro
    from pysock.core.rps import FlowLimit
    from pysock.core.skbuff import SkBuff

NET_TX_SOFTIRQ = 1
NET_RX_SOFTIRQ = 2

NET_RX_SUCCESS = 0
NET_RX_DROP = 1

NAPI_POLL_WEIGHT = 64
NETDEV_BUDGET = 300
NETDEV_MAX_BACKLOG = 1000
#: Flows that a flow limit tells apart (rps.py).
FLOW_LIMIT_TABLE = 4096
MAX_RESTART = 10


class NapiStruct:
    """A device's poll function on the poll list. ``poll(budget)`` returns how many packets it handled;
    less than ``budget`` means that it called `napi_complete_done` (or has nothing left).

    ``owner`` names the driver in error reports. ``gro`` is what `napi_gro_receive` holds, sent on after each poll.
    """

    __slots__ = ("at", "gro", "owner", "poll", "queued", "scheduled", "softnet", "weight")

    def __init__(self, softnet: SoftnetData, poll: Callable[[int], int], weight: int, owner: str) -> None:
        self.softnet = self.at = softnet  # ``at``: the CPU on whose poll list it stands
        self.poll = poll
        self.weight = weight
        self.owner = owner
        self.gro: Gro | None = None
        self.scheduled = False
        self.queued = False  # it stands on the poll list; not while it is polled

    def schedule(self) -> bool:
        """napi_schedule(): queue for polling; False when it is queued already."""
        if self.scheduled:
            return False
        self.scheduled = True
        self.softnet.napi_schedule(self)
        return True

    def complete_done(self, work_done: int) -> bool:
        """napi_complete_done(): leave the poll list; the driver re-enables its interrupts after this."""
        self.scheduled = False
        return True


class SoftnetData:
    """The packet queues of one CPU and their counters (/proc/net/softnet_stat).

    ``receive`` takes what leaves the backlog, ``napi_receive`` what a NAPI poll hands in. Of several CPUs see smp.py.
    """

    __slots__ = (
        "_crowded",
        "_max_backlog",
        "budget",
        "cpu",
        "dropped",
        "flow_limit",
        "input_pkt_queue",
        "napi_receive",
        "output_queue",
        "pending",
        "poll_list",
        "processed",
        "receive",
        "received_rps",
        "report",
        "running",
        "time_squeeze",
    )

    def __init__(self, receive: Callable[[SkBuff], int], report: ErrorReporter) -> None:
        self.cpu = 0
        self.budget = NETDEV_BUDGET  # packets of one run of NET_RX (net.core.netdev_budget)
        self.input_pkt_queue: deque[SkBuff] = deque()
        self.poll_list: deque[NapiStruct] = deque()
        self.output_queue: deque[Callable[[], None]] = deque()
        self.flow_limit: FlowLimit | None = None
        self.max_backlog = NETDEV_MAX_BACKLOG
        self.pending = 0
        self.running = False
        self.processed = 0
        self.dropped = 0
        self.time_squeeze = 0
        self.received_rps = 0
        self.receive = self.napi_receive = receive
        self.report = report

    def use(self, receive: Callable[[SkBuff], int]) -> None:
        """Have ``receive`` take every packet from now on."""
        self.receive = self.napi_receive = receive

    @property
    def max_backlog(self) -> int:
        """How many packets the backlog holds (net.core.netdev_max_backlog)."""
        return self._max_backlog

    @max_backlog.setter
    def max_backlog(self, packets: int) -> None:
        self._max_backlog = packets
        self._crowded = packets if self.flow_limit is None else packets // 2

    def limit_flows(self, limit: FlowLimit | None) -> None:
        """Let no single flow fill the backlog's second half (net.core.flow_limit_cpu_bitmap); None: let it."""
        self.flow_limit = limit
        self.max_backlog = self._max_backlog

    def raise_softirq(self, number: int) -> None:
        self.pending |= number

    def napi_schedule(self, napi: NapiStruct) -> None:
        """Put ``napi`` on the poll list of this CPU, where its interrupt came in (____napi_schedule)."""
        napi.at = self
        napi.queued = True
        self.poll_list.append(napi)
        self.raise_softirq(NET_RX_SOFTIRQ)

    def tx_action(self, work: Callable[[], None]) -> None:
        """Have ``work`` done by the next NET_TX softirq."""
        self.output_queue.append(work)
        self.raise_softirq(NET_TX_SOFTIRQ)

    def netif_rx(self, skb: SkBuff) -> int:
        """Queue a received packet on the backlog: NET_RX_SUCCESS, or NET_RX_DROP when it is full."""
        queue = self.input_pkt_queue
        if len(queue) >= self._crowded and self._refuses(skb):
            return NET_RX_DROP
        queue.append(skb)
        self.pending |= NET_RX_SOFTIRQ
        return NET_RX_SUCCESS

    def _refuses(self, skb: SkBuff) -> bool:
        """There is no room, or none for this flow. Counted."""
        limit = self.flow_limit
        if len(self.input_pkt_queue) < self._max_backlog and not (limit is not None and limit.exceeded(skb)):
            return False
        self.dropped += 1
        return True

    def run(self) -> None:
        """do_softirq(): called with the kernel lock held whenever ``pending`` is set."""
        if self.running:
            return  # a handler left the kernel: the loop below takes up what it queued
        self.running = True
        try:
            if self.pending == NET_RX_SOFTIRQ and len(self.input_pkt_queue) == 1 and not self.poll_list:
                # By far the most frequent case: one packet, and it causes no other.
                self.pending = 0
                self.processed += 1
                receive = self.receive
                receive(self.input_pkt_queue.popleft())
                if self.pending:
                    self._run_rounds(MAX_RESTART - 1)
            elif self.pending == NET_RX_SOFTIRQ and len(self.poll_list) == 1 and not self.input_pkt_queue:
                # The same with NAPI: one device.
                self.pending = 0
                budget = self.budget - self._poll_one()
                if budget <= 0:
                    self._squeezed()
                elif self.poll_list or self.input_pkt_queue:
                    self._net_rx_action(budget)
                if self.pending:
                    self._run_rounds(MAX_RESTART - 1)
            else:
                self._run_rounds(MAX_RESTART)
        finally:
            self.running = False

    def _run_rounds(self, rounds: int) -> None:
        """Do what is pending, and what that caused, at most ``rounds`` times over."""
        while self.pending and rounds:
            pending = self.pending
            self.pending = 0
            if pending & NET_TX_SOFTIRQ:
                self._net_tx_action()
            if self.poll_list:
                self._net_rx_action(self.budget)
            elif pending & NET_RX_SOFTIRQ:
                self._process_backlog(self.budget)
            rounds -= 1

    def run_pending(self) -> None:
        """Let packets move in the middle of a call that would otherwise have to wait for them."""
        if self.pending:
            self.run()

    def _process_backlog(self, quota: int) -> int:
        """Receive at most ``quota`` packets of the backlog; those left over keep NET_RX raised."""
        queue = self.input_pkt_queue
        receive = self.receive
        popleft = queue.popleft
        left = quota
        while queue:
            if not left:
                self.time_squeeze += 1
                self.pending |= NET_RX_SOFTIRQ
                break
            left -= 1
            receive(popleft())
        done = quota - left
        self.processed += done
        return done

    def _net_rx_action(self, budget: int) -> None:
        """net_rx_action() with devices to poll: the backlog takes its turn as a device of weight 64."""
        queue = self.input_pkt_queue
        while self.poll_list or queue:
            if queue:
                squeezed = self.time_squeeze
                budget -= self._process_backlog(NAPI_POLL_WEIGHT)
                self.time_squeeze = squeezed  # a turn that ended is no squeeze: the budget decides
            if self.poll_list:
                budget -= self._poll_one()
            if budget <= 0:
                self._squeezed()
                return

    def _squeezed(self) -> None:
        """The budget is used up: the rest is for the next round."""
        self.time_squeeze += 1
        self.pending |= NET_RX_SOFTIRQ

    def _poll_one(self) -> int:
        napi = self.poll_list.popleft()
        napi.queued = False
        try:
            poll = napi.poll  # in two steps: calling what a slot holds in one is twice as slow
            work = poll(napi.weight)
        except Exception as exc:
            napi.scheduled = False
            self.report.report(napi.owner, "poll", exc)
            work = 0
        if napi.gro is not None:
            napi.gro.flush()
        self.processed += work
        if napi.scheduled and not napi.queued:
            # Not completed: it goes to the end of the list, behind the other devices. (Completed and scheduled again
            # meanwhile, it is there already.)
            napi.queued = True
            self.poll_list.append(napi)
        return work if work > 0 else 1

    def _net_tx_action(self) -> None:
        queue = self.output_queue
        for _ in range(len(queue)):
            queue.popleft()()

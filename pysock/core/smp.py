"""Several simulated CPUs: `Kernel.boot(cpus=4)`.

    netif_rx(skb), a NAPI poll --- steer (rps.py) ---> the backlog of a CPU ---> receive_skb, there
    raise_softirq, napi.schedule, qdisc.schedule ----> the CPU that the caller is on

Everything still runs under the one big lock, one thing after the other: a CPU is a place with queues of its own, where
things happen, not a thread. Threads and asyncio tasks are on CPU 0 until `Kernel.set_cpu` puts them elsewhere. Softirqs
run round by round, in each the CPUs in the order of their numbers, so that a run is the same every time.

Rules that keep it true:

* `kernel.softnet` is the `Front`: it has no queues, but knows what is pending anywhere, and ``cpu``, where we are now.
* While a CPU's softirqs run, ``cpu`` is that one; outside, it is the one of the thread that holds the lock.
* A kernel of one CPU has a plain `SoftnetData` there, and knows nothing of all this.
"""

from __future__ import annotations

from contextvars import ContextVar

from pysock.core.rps import SockFlows, steer
from pysock.core.skbuff import kfree_skb
from pysock.core.sock import ProtoOps
from pysock.core.sock_ext import ext_of
from pysock.core.sockopt_set import SOCK_NOTE_CPU
from pysock.core.softirq import MAX_RESTART, NET_RX_DROP, NET_RX_SOFTIRQ, NET_RX_SUCCESS, SoftnetData
from pysock.uapi.socket import AF_INET, AF_INET6
from pysock.uapi.tcp import TCP_ESTABLISHED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pysock.core.contain import ErrorReporter
    from pysock.core.kernel import Kernel
    from pysock.core.skbuff import SkBuff
    from pysock.core.sock import MsgHdr, Sock, Socket
    from pysock.core.softirq import NapiStruct


class Cpu(SoftnetData):
    """One of several CPUs. ``tail`` counts the packets ever put into its backlog, ``head`` those taken out."""

    __slots__ = ("front", "tail")

    def __init__(self, front: Front, number: int, report: ErrorReporter) -> None:
        super().__init__(self._receive, report)
        self.front = front
        self.cpu = number
        self.tail = 0
        self.napi_receive = front.napi_receive

    @property
    def head(self) -> int:
        return self.tail - len(self.input_pkt_queue)

    def raise_softirq(self, number: int) -> None:
        self.pending |= number
        self.front.pending |= number

    def netif_rx(self, skb: SkBuff) -> int:
        """enqueue_to_backlog(). From another CPU, one that is idle has to be told (rps_trigger_softirq)."""
        front = self.front
        idle = not self.input_pkt_queue
        if super().netif_rx(skb):
            return NET_RX_DROP
        if idle and front.cpu != self.cpu:
            self.received_rps += 1
        self.tail += 1
        front.pending |= NET_RX_SOFTIRQ
        return NET_RX_SUCCESS

    def _receive(self, skb: SkBuff) -> int:
        """What leaves the backlog is received here."""
        return self.front.receive(skb)

    def run_round(self) -> None:
        """Do what is pending, once; what that causes waits for the next round."""
        self._run_rounds(1)


class Front(SoftnetData):
    """What stands in `kernel.softnet` before several CPUs. Its counters are the sums."""

    __slots__ = ("cpus", "place", "readers")

    def __init__(self, number: int, receive: Callable[[SkBuff], int], report: ErrorReporter) -> None:
        self.cpus: tuple[Cpu, ...] = ()
        super().__init__(receive, report)
        self.napi_receive = self._napi_receive
        self.readers = SockFlows()
        self.place: ContextVar[int] = ContextVar("cpu", default=0)
        self.cpus = tuple(Cpu(self, cpu, report) for cpu in range(number))

    @property
    def max_backlog(self) -> int:
        return self._max_backlog

    @max_backlog.setter
    def max_backlog(self, packets: int) -> None:
        self._max_backlog = packets
        for cpu in self.cpus:
            cpu.max_backlog = packets

    def use(self, receive: Callable[[SkBuff], int]) -> None:
        self.receive = receive

    # -- packets ---------------------------------------------------------------------------------------------

    def netif_rx(self, skb: SkBuff) -> int:
        """Queue a received packet on the backlog of the CPU that the rules of its device say, else here."""
        dev = skb.dev
        if dev is None or dev.rx_queues is None:
            return self.cpus[self.cpu].netif_rx(skb)
        number, flow = steer(skb, dev.rx_queues, self.readers, self.cpus)
        cpu = self.cpus[number if number >= 0 else self.cpu]
        result = cpu.netif_rx(skb)
        if flow is not None:
            flow.last = cpu.tail
        return result

    def _napi_receive(self, skb: SkBuff) -> int:
        """netif_receive_skb_internal(): a poll's packet is received here and now, unless a rule sends it elsewhere."""
        dev = skb.dev
        if dev is None or dev.rx_queues is None:
            return self.receive(skb)
        number, flow = steer(skb, dev.rx_queues, self.readers, self.cpus)
        if number < 0:
            return self.receive(skb)
        cpu = self.cpus[number]
        result = cpu.netif_rx(skb)
        if result:
            dev.stats.rx_dropped += 1
            kfree_skb(skb, "CPU_BACKLOG")
        if flow is not None:
            flow.last = cpu.tail
        return result

    # -- softirqs --------------------------------------------------------------------------------------------

    def raise_softirq(self, number: int) -> None:
        self.cpus[self.cpu].raise_softirq(number)

    def napi_schedule(self, napi: NapiStruct) -> None:
        self.cpus[self.cpu].napi_schedule(napi)

    def tx_action(self, work: Callable[[], None]) -> None:
        self.cpus[self.cpu].tx_action(work)

    def run(self) -> None:
        """do_softirq() on every CPU that has something to do, round by round."""
        if self.running:
            return
        self.running = True
        here = self.cpu
        rounds = MAX_RESTART
        try:
            while self.pending and rounds:
                for cpu in self.cpus:
                    if cpu.pending:
                        self.cpu = cpu.cpu
                        cpu.run_round()
                self._sum_up()
                rounds -= 1
        finally:
            self.cpu = here
            self.running = False
            self._sum_up()

    def _sum_up(self) -> None:
        pending = processed = dropped = squeezed = received = 0
        for cpu in self.cpus:
            pending |= cpu.pending
            processed += cpu.processed
            dropped += cpu.dropped
            squeezed += cpu.time_squeeze
            received += cpu.received_rps
        self.pending, self.processed, self.dropped = pending, processed, dropped
        self.time_squeeze, self.received_rps = squeezed, received

    # -- where threads are -----------------------------------------------------------------------------------

    def entered(self) -> None:
        """A thread took the kernel lock: we are where it is."""
        if not self.running:
            self.cpu = self.place.get()


# --- readers ----------------------------------------------------------------------------------------------------------


def _record(kernel: Kernel, sk: Sock) -> None:
    """sock_rps_record_flow(): the program that uses this connection is here."""
    front = kernel.softnet
    assert isinstance(front, Front)
    ext = sk.ext
    if front.readers.mask >= 0 and ext is not None and ext.rxhash and sk.state == TCP_ESTABLISHED:
        front.readers.record(ext.rxhash, front.cpu)


class _Recording(ProtoOps):
    """In front of a family's ops, in a kernel of several CPUs: reading and writing tell where the program is."""

    __slots__ = ()

    def sendmsg(self, sock: Socket, data: bytes, flags: int, msg: MsgHdr | None = None) -> int:
        _record(sock.sk.kernel, sock.sk)
        return super().sendmsg(sock, data, flags, msg)

    def recvmsg(self, sock: Socket, size: int, flags: int, msg: MsgHdr | None = None) -> bytes:
        _record(sock.sk.kernel, sock.sk)
        return super().recvmsg(sock, size, flags, msg)


_recording: dict[type[ProtoOps], ProtoOps] = {}


def watch_socket(sock: Socket) -> None:
    """Have a new socket of the internet families remember which CPU its packets come in on, and where it is read."""
    ops = sock.ops
    if ops.family not in (AF_INET, AF_INET6):
        return
    sock.sk.flags |= SOCK_NOTE_CPU
    ext_of(sock.sk)
    kind = type(ops)
    recording = _recording.get(kind)
    if recording is None:
        recording = _recording[kind] = type(kind.__name__, (_Recording, kind), {"__slots__": ()})()
    sock.ops = recording

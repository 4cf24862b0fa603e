"""The machinery around queueing disciplines: order, busy drivers, scheduling, and disciplines that fail."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.devices import boot, frame, ops_of, packet, softirqs, wire

from pysock.core.dev_xmit import NET_XMIT_DROP, NET_XMIT_SUCCESS
from pysock.core.device import NetDevice, dev_close, dev_open, netif_stop_queue, netif_wake_queue
from pysock.core.kernel import Kernel
from pysock.core.qdisc import BUSY_RETRY_NS, Qdisc, QdiscOps, qdisc_replace
from pysock.core.skbuff import SkBuff


@pytest.fixture
def kernel() -> Kernel:
    return boot()


def queue_of(dev: NetDevice) -> Qdisc:
    assert dev.qdisc is not None
    return dev.qdisc


def send(dev: NetDevice, *names: bytes) -> list[int]:
    return [dev.queue_xmit(packet(dev, name)) for name in names]


def sent(dev: NetDevice) -> list[bytes]:
    return [data[14:] for data in ops_of(dev).sent]


def test_the_default_is_by_the_length_of_the_queue(kernel: Kernel) -> None:
    assert queue_of(wire(kernel, queue=True)).id == "pfifo_fast"
    assert queue_of(wire(kernel)).id == "noqueue"
    kernel.init_net.sysctl.write("net.core.default_qdisc", "pfifo")
    assert queue_of(wire(kernel, queue=True)).id == "pfifo"
    with pytest.raises(OSError) as info:
        kernel.init_net.sysctl.write("net.core.default_qdisc", "nonesuch")
    assert info.value.errno == errno.ENOENT
    assert kernel.init_net.sysctl.get("net.core.default_qdisc") == "pfifo"


def test_without_any_discipline_packets_go_straight_through() -> None:
    kernel = Kernel.boot(
        clock="virtual", seed=1, entry_points=False, log=lambda text: None,
        blocked=["pysock.sched.plugin", "pysock.families.inet.plugin", "pysock.families.unix.plugin"],
    )  # fmt: skip
    dev = wire(kernel, queue=True)
    assert dev.qdisc is None
    assert dev.xmit_direct
    assert send(dev, b"x") == [0]


def test_an_idle_queue_is_skipped(kernel: Kernel) -> None:
    dev = wire(kernel, queue=True)
    assert not dev.xmit_direct
    assert send(dev, b"a", b"b") == [NET_XMIT_SUCCESS] * 2
    assert sent(dev) == [b"a", b"b"]
    stats = queue_of(dev).statistics()
    assert (stats["packets"], stats["bytes"], stats["qlen"]) == (2, 30, 0)


def test_a_stopped_queue_waits_for_the_softirq_after_the_wake(kernel: Kernel) -> None:
    dev = wire(kernel, queue=True)
    netif_stop_queue(dev)
    assert send(dev, b"a", b"b") == [0, 0]
    assert sent(dev) == []
    stats = queue_of(dev).statistics()
    assert (stats["qlen"], stats["backlog"]) == (2, 30)
    netif_wake_queue(dev)
    assert sent(dev) == []
    softirqs(kernel)
    assert sent(dev) == [b"a", b"b"]
    assert queue_of(dev).statistics()["qlen"] == 0


def test_what_the_driver_refused_goes_first(kernel: Kernel) -> None:
    dev = wire(kernel, queue=True)
    ops_of(dev).room = 1
    send(dev, b"a", b"b", b"c")
    assert sent(dev) == [b"a"]
    stats = queue_of(dev).statistics()
    assert (stats["qlen"], stats["requeues"]) == (2, 2)  # c was handed in, b was offered again
    ops_of(dev).room = None
    send(dev, b"d")
    assert sent(dev) == [b"a", b"b", b"c", b"d"]
    assert queue_of(dev).statistics()["packets"] == 4


def test_a_busy_driver_is_asked_again_later(kernel: Kernel) -> None:
    dev = wire(kernel, queue=True)
    ops_of(dev).room = 0
    send(dev, b"a")
    softirqs(kernel)  # comes back although the driver is still busy
    assert sent(dev) == []
    now = kernel.now
    assert kernel.advance()
    assert kernel.now == now + BUSY_RETRY_NS
    ops_of(dev).room = None
    assert kernel.advance()
    assert sent(dev) == [b"a"]
    assert not kernel.advance()


def test_a_driver_that_stops_its_queue_when_full(kernel: Kernel) -> None:
    dev = wire(kernel, queue=True)
    ops = ops_of(dev)
    ops.stop_when_full = True
    ops.room = 2
    send(dev, b"a", b"b", b"c", b"d", b"e")
    assert sent(dev) == [b"a", b"b"]
    assert queue_of(dev).statistics()["requeues"] == 0
    ops.room = 2
    netif_wake_queue(dev)
    softirqs(kernel)
    assert sent(dev) == [b"a", b"b", b"c", b"d"]
    assert dev.tx_stopped


@given(st.lists(st.sampled_from(["send", "one", "many", "wake", "stop", "later"]), max_size=40))
def test_the_order_holds_and_nothing_is_lost(steps: list[str]) -> None:
    """Whatever the driver does, packets leave in order, and each is sent, waiting or counted as dropped."""
    kernel = boot()
    dev = wire(kernel, queue=True)
    ops = ops_of(dev)
    ops.room = 0
    handed = 0
    for step in steps:
        if step == "send":
            send(dev, handed.to_bytes(2, "big"))
            handed += 1
        elif step == "one":
            ops.room = 1
        elif step == "many":
            ops.room = 5
        elif step == "wake":
            netif_wake_queue(dev)
            softirqs(kernel)
        elif step == "stop":
            netif_stop_queue(dev)
        else:
            kernel.advance()
    numbers = [int.from_bytes(name, "big") for name in sent(dev)]
    assert numbers == sorted(numbers)
    stats = queue_of(dev).statistics()
    assert len(numbers) + stats["qlen"] + stats["drops"] == handed


def test_the_weight_leaves_the_rest_to_the_softirq(kernel: Kernel) -> None:
    dev = wire(kernel, queue=True, setup=lambda dev: setattr(dev, "tx_queue_len", 100))
    kernel.init_net.sysctl.set("net.core.dev_weight", 8)
    netif_stop_queue(dev)
    send(dev, *(bytes([n]) for n in range(20)))
    dev.tx_stopped = False
    queue_of(dev).run()
    assert len(sent(dev)) == 8
    softirqs(kernel)
    assert len(sent(dev)) == 20


def test_closing_frees_what_waits(kernel: Kernel) -> None:
    dev = wire(kernel, queue=True)
    ops_of(dev).room = 0
    send(dev, b"a", b"b")
    dev_close(dev)
    assert queue_of(dev).statistics()["qlen"] == 0
    assert queue_of(dev).statistics()["backlog"] == 0
    assert not kernel.advance()
    ops_of(dev).room = None
    dev_open(dev)
    send(dev, b"c")
    assert sent(dev) == [b"c"]


def test_replacing_a_discipline(kernel: Kernel) -> None:
    dev = wire(kernel)
    assert dev.xmit_direct
    new = qdisc_replace(dev, "pfifo", {"limit": 2})
    assert dev.qdisc is new
    assert not dev.xmit_direct
    assert new.dump() == {"limit": 2}
    netif_stop_queue(dev)
    assert send(dev, b"a", b"b", b"c") == [0, 0, NET_XMIT_DROP]
    qdisc_replace(dev, "noqueue")
    netif_wake_queue(dev)
    assert dev.xmit_direct
    assert sent(dev) == []
    for id, options, number in (
        ("nonesuch", None, errno.ENOENT),
        ("pfifo", {"colour": 1}, errno.EINVAL),
        ("pfifo", {"limit": -1}, errno.EINVAL),
    ):
        with pytest.raises(OSError) as info:
            qdisc_replace(dev, id, options)
        assert info.value.errno == number
    assert queue_of(dev).id == "noqueue"


# --- disciplines that fail --------------------------------------------------------------------------------------------


class Broken(Qdisc):
    """Raises wherever `where` says."""

    def __init__(self, dev: NetDevice, where: int = 0) -> None:
        super().__init__(dev)
        self.where = ("", "enqueue", "dequeue", "reset", "destroy", "init")[where]
        self.held: list[SkBuff] = []
        self._maybe("init")

    def _maybe(self, where: str) -> None:
        if self.where == where:
            raise LookupError(where)

    def enqueue(self, skb: SkBuff) -> int:
        self._maybe("enqueue")
        self.held.append(skb)
        return self.enqueued(skb)

    def dequeue(self) -> SkBuff | None:
        self._maybe("dequeue")
        return self.dequeued(self.held.pop(0)) if self.held else None

    def reset(self) -> None:
        self._maybe("reset")

    def destroy(self) -> None:
        self._maybe("destroy")


@pytest.mark.parametrize("where", [1, 2, 3, 4])
def test_a_discipline_that_raises_is_contained(kernel: Kernel, where: int) -> None:
    register, _ = kernel.dev_layer.qdisc_registrar("broken-plugin")
    register(QdiscOps("broken", Broken))
    dev = wire(kernel, queue=True)
    qdisc_replace(dev, "broken", {"where": where})
    freed: list[SkBuff] = []
    skb = packet(dev)
    skb.destructor = freed.append
    result = dev.queue_xmit(skb)
    if where == 1:
        assert result == NET_XMIT_DROP
        assert freed == [skb]
    qdisc_replace(dev, "pfifo_fast")
    assert kernel.errors.count("broken-plugin") == 1
    ops_of(dev).sent.clear()
    send(dev, b"ok")
    assert ops_of(dev).sent == [frame(b"ok")]


def test_a_discipline_that_cannot_be_made(kernel: Kernel) -> None:
    register, _ = kernel.dev_layer.qdisc_registrar("broken-plugin")
    register(QdiscOps("broken", Broken))
    dev = wire(kernel, queue=True)
    old = dev.qdisc
    with pytest.raises(OSError) as info:
        qdisc_replace(dev, "broken", {"where": 5})
    assert info.value.errno == errno.EIO
    assert dev.qdisc is old
    assert kernel.errors.count("broken-plugin") == 1


def test_a_default_discipline_that_cannot_be_made_does_not_keep_a_device_down(kernel: Kernel) -> None:
    def factory(dev: NetDevice) -> Qdisc:
        return Broken(dev, 5)

    register, _ = kernel.dev_layer.qdisc_registrar("broken-plugin")
    register(QdiscOps("broken", factory))
    kernel.init_net.sysctl.write("net.core.default_qdisc", "broken")
    dev = wire(kernel, queue=True)
    assert send(dev, b"x") == [0]
    assert sent(dev) == [b"x"]
    assert {record.owner for record in kernel.errors.records()} == {"broken-plugin"}

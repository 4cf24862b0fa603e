"""SO_PRIORITY and SO_MARK reach the queueing discipline from every kind of socket, and cost others nothing."""

from __future__ import annotations

import pytest
from support.hosts import HostApi, Hosts

from pysock.core.device import NetDevice
from pysock.core.netdevice import netif_start_queue, netif_stop_queue
from pysock.core.qdisc import qdisc_replace
from pysock.sched.prio import Prio
from pysock.uapi.in_ import IPPROTO_TCP
from pysock.uapi.socket import SO_MARK, SO_PRIORITY, SOL_SOCKET
from pysock.uapi.tcp import TCP_NODELAY


def prio_on(host: HostApi, dev: NetDevice) -> Prio:
    qdisc = host.call(qdisc_replace, dev, "prio")
    assert isinstance(qdisc, Prio)
    return qdisc


def counted(prio: Prio) -> list[int]:
    counts = [band.packets for band in prio.bands]
    for band in prio.bands:
        band.packets = 0
    return counts


def test_tcp() -> None:
    lab = Hosts()
    a, b = lab.pair()
    listener = b.listen("10.0.0.2", 80)
    fd = a.tcp()
    a.connect(fd, ("10.0.0.2", 80))
    peer = b.accept(listener)
    prio = prio_on(a, a.dev())
    a.sendto(fd, b"x")
    assert b.recv(peer) == b"x"
    assert counted(prio) == [0, 1, 0]
    assert a.sk(fd).dst is not None
    a.setopt(fd, SOL_SOCKET, SO_PRIORITY, 6)
    a.sendto(fd, b"x")
    assert b.recv(peer) == b"x"
    assert counted(prio) == [1, 0, 0]
    a.setopt(fd, SOL_SOCKET, SO_PRIORITY, 0)
    a.sendto(fd, b"x")
    assert b.recv(peer) == b"x"
    assert counted(prio) == [0, 1, 0]
    route = a.sk(fd).dst
    assert route is not None
    assert route.inner is None  # back on the fast path


def test_udp_connected_or_not() -> None:
    lab = Hosts()
    a, b = lab.pair()
    prio = prio_on(a, a.dev())
    receiver = b.socket()
    b.bind(receiver, ("10.0.0.2", 9))
    fd = a.socket()
    a.sendto(fd, b"x", ("10.0.0.2", 9))  # ARP asks first
    counted(prio)
    a.sendto(fd, b"x", ("10.0.0.2", 9))
    assert counted(prio)[1:] == [1, 0]
    a.setopt(fd, SOL_SOCKET, SO_PRIORITY, 2)
    a.sendto(fd, b"x", ("10.0.0.2", 9))
    a.connect(fd, ("10.0.0.2", 9))
    a.sendto(fd, b"x")
    assert counted(prio) == [0, 0, 2]


def test_urgent_overtakes_bulk_in_a_stopped_queue() -> None:
    lab = Hosts()
    a, b = lab.pair()
    listener = b.listen("10.0.0.2", 80)
    fds = [a.tcp() for _ in range(2)]
    peers = []
    for fd in fds:
        a.connect(fd, ("10.0.0.2", 80))
        peers.append(b.accept(listener))
        a.setopt(fd, IPPROTO_TCP, TCP_NODELAY, 1)
    prio = prio_on(a, a.dev())
    a.setopt(fds[1], SOL_SOCKET, SO_PRIORITY, 6)
    a.call(netif_stop_queue, a.dev())
    a.sendto(fds[0], b"bulk")
    a.sendto(fds[1], b"urgent")
    frames = lab.record(b.dev())
    a.call(netif_start_queue, a.dev())
    a.call(prio.run)
    lab.sleep(0.01)
    order = [name for frame in frames for name in (b"bulk", b"urgent") if frame.endswith(name)]
    assert order == [b"urgent", b"bulk"]


@pytest.mark.parametrize("name", [SO_MARK, SO_PRIORITY])
def test_what_rides_on_tcp_packets(name: int) -> None:
    lab = Hosts()
    a, b = lab.pair()
    listener = b.listen("10.0.0.2", 80)
    fd = a.tcp()
    a.setopt(fd, SOL_SOCKET, name, 5)
    marks: list[tuple[int, int]] = []
    start_xmit = a.dev().start_xmit

    def look(skb: object, dev: object) -> int:
        marks.append((skb.mark, skb.priority))  # type: ignore[attr-defined]
        return start_xmit(skb, dev)  # type: ignore[arg-type]

    a.dev().start_xmit = look
    a.connect(fd, ("10.0.0.2", 80))
    b.accept(listener)
    expected = (5, 0) if name == SO_MARK else (0, 5)
    assert marks.count(expected) == 2  # SYN and ACK; what ARP sends has none

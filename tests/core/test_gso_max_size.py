"""dev.gso_max_size: a device may take super-segments, but not of any length (netif_set_gso_max_size)."""

from __future__ import annotations

import threading

from support.hosts import HostApi, Hosts

from pysock.syscalls.message import sys_sendto
from pysock.syscalls.socket import sys_connect, sys_shutdown
from pysock.wire import ethernet

HEADERS = ethernet.HEADER_SIZE + 20 + 32
MSS = 1448
LIMIT = 20_000
SIZE = 200_000


def pour(limit_first: bool) -> list[int]:
    """The payloads that a host puts on its device, whose limit is there before it connects, or comes later."""
    lab = Hosts()
    a, b = lab.pair()
    dev = a.dev()

    def limit() -> None:
        dev.gso_max_size = LIMIT
        dev.update_path()

    if limit_first:
        limit()
    server = b.listen("10.0.0.2", 80)
    client = a.tcp()
    sys_connect(a.task, client, ("10.0.0.2", 80))
    if not limit_first:
        limit()
    end = b.accept(server)
    frames = lab.record(dev)
    reader = threading.Thread(target=_drain, args=(b, end))
    reader.start()
    for _ in range(SIZE // 50_000):
        sys_sendto(a.task, client, bytes(50_000))
    sys_shutdown(a.task, client, 1)
    reader.join()
    assert not lab.log
    mine = [frame for frame in frames if frame[6:12] == dev.dev_addr and len(frame) > HEADERS]
    assert sum(len(frame) - HEADERS for frame in mine) == SIZE
    assert max(map(len, mine)) < LIMIT
    return [len(frame) - HEADERS for frame in mine]


def _drain(host: HostApi, fd: int) -> None:
    while host.recv(fd):
        pass


def test_tcp_makes_none_that_is_longer() -> None:
    """It fills them with whole segments instead."""
    sizes = pour(limit_first=True)
    assert max(sizes) > LIMIT - 320 - MSS
    assert max(sizes) % MSS == 0


def test_a_longer_one_is_cut_for_the_device() -> None:
    sizes = pour(limit_first=False)
    assert MSS in sizes

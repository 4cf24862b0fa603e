"""The table of sockets."""

from __future__ import annotations

import pytest
from support import devices
from support.inet_api import InetSocket, boot, connection, datagram_socket, listener

from pysock.core.kernel import Kernel
from pysock.tools.ss import Row, rows, ss_table


@pytest.fixture
def kernel() -> Kernel:
    return boot()


def test_a_connection_with_data_on_its_way(kernel: Kernel) -> None:
    server, client, peer = connection(kernel)
    client.send(b"hello")
    port = client.name()[1]
    assert rows(kernel.init_net) == [
        Row("tcp", "LISTEN", 0, 5, "127.0.0.1:8080", "0.0.0.0:*"),
        Row("tcp", "ESTAB", 0, 0, f"127.0.0.1:{port}", "127.0.0.1:8080"),
        Row("tcp", "ESTAB", 5, 0, "127.0.0.1:8080", f"127.0.0.1:{port}"),
    ]
    for sock in (client, peer, server):
        sock.close()


def test_as_text(kernel: Kernel) -> None:
    server, client, peer = connection(kernel, 8080)
    port = client.name()[1]
    table = ss_table(kernel.init_net, udp=False)
    assert table.splitlines() == [
        "State  Recv-Q Send-Q Local Address:Port  Peer Address:Port",
        "LISTEN 0      5          127.0.0.1:8080       0.0.0.0:*",
        f"ESTAB  0      0          127.0.0.1:{port}    127.0.0.1:8080",
        f"ESTAB  0      0          127.0.0.1:8080     127.0.0.1:{port}",
    ]
    assert ss_table(kernel.init_net, listening=True).splitlines()[1:] == [
        "tcp   LISTEN 0      5          127.0.0.1:8080      0.0.0.0:*"
    ]
    assert "LISTEN" not in ss_table(kernel.init_net, listening=False)
    assert ss_table(kernel.init_net, tcp=False).startswith("State Recv-Q Send-Q Local Address:Port Peer Address:Port")
    for sock in (client, peer, server):
        sock.close()


def test_the_accept_queue_is_the_listeners_recv_q(kernel: Kernel) -> None:
    server = listener(kernel, backlog=3)
    clients = [InetSocket(kernel) for _ in range(2)]
    for client in clients:
        client.connect(("127.0.0.1", 8080))
    assert rows(kernel.init_net)[0][1:4] == ("LISTEN", 2, 3)
    server.accept().close()
    assert rows(kernel.init_net)[0][1:4] == ("LISTEN", 1, 3)


def test_half_open_closing_and_gone(kernel: Kernel) -> None:
    server, client, peer = connection(kernel)
    client.close()
    assert {row.state for row in rows(kernel.init_net)} == {"LISTEN", "FIN-WAIT-2", "CLOSE-WAIT"}
    peer.close()
    waiting = rows(kernel.init_net)[-1]
    assert (waiting.state, waiting.timer) == ("TIME-WAIT", "timewait,1min,0")
    assert ss_table(kernel.init_net, timers=True).endswith(" timer:(timewait,1min,0)")
    assert "timer" not in ss_table(kernel.init_net)
    server.close()
    kernel.advance()
    assert rows(kernel.init_net) == []


def test_a_peer_that_never_answers(kernel: Kernel) -> None:
    devices.dev_open(kernel.init_net.loopback_dev)  # type: ignore[arg-type]
    lost = kernel.init_net.loopback_dev
    assert lost is not None
    kernel.enter()
    lost.netdev_ops = devices.WireOps()  # swallows everything
    lost.start_xmit = lost.netdev_ops.ndo_start_xmit
    kernel.leave()
    client = InetSocket(kernel)
    with pytest.raises(BlockingIOError):
        client.connect(("127.0.0.1", 9))
    (row,) = rows(kernel.init_net)
    assert (row.state, row.send_q, row.peer, row.timer) == ("SYN-SENT", 1, "127.0.0.1:9", "on,1.000sec,0")
    assert kernel.advance()
    assert rows(kernel.init_net)[0].timer == "on,2.000sec,1"
    client.close()


def test_datagram_sockets(kernel: Kernel) -> None:
    a, b = datagram_socket(kernel, 5353), datagram_socket(kernel)
    b.connect(("127.0.0.1", 5353))
    b.send(b"x")
    found = rows(kernel.init_net)
    port = b.name()[1]
    assert [row[:2] + row[4:] for row in found] == [
        ("udp", "UNCONN", "127.0.0.1:5353", "0.0.0.0:*", ""),
        ("udp", "ESTAB", f"127.0.0.1:{port}", "127.0.0.1:5353", ""),
    ]
    assert found[0].recv_q > 0
    a.recv()
    assert rows(kernel.init_net)[0].recv_q == 0
    a.close()
    b.close()
    assert rows(kernel.init_net) == []


def test_a_kernel_without_inet() -> None:
    assert rows(devices.boot().init_net) == []
    assert ss_table(devices.boot().init_net) == "Netid State Recv-Q Send-Q Local Address:Port Peer Address:Port"

"""A file crosses a bad cable: every byte arrives, some of them more than once. The capture has what the cable carried.

    pytest examples/test_lossy_link.py
"""

import hashlib
import socket


def test_a_file_over_a_lossy_link(pysock, tmp_path):
    net = pysock.network
    client, server = net.hosts("client", "server")
    link = net.link(client, server, delay="20ms", jitter="5ms", loss="3%", rate="10mbit")
    net.capture(tmp_path / "lossy.pcapng")
    blob = bytes(range(256)) * 1000

    def send() -> None:
        with socket.create_connection(("server", 7777)) as sock:
            sock.sendall(blob)

    with server, socket.create_server(("server", 7777)) as listener:
        sending = client.start(send)
        peer, _ = listener.accept()
        got = bytearray()
        with peer:
            while data := peer.recv(65536):
                got += data
    sending.result()

    assert hashlib.sha256(got).digest() == hashlib.sha256(blob).digest()
    assert client.counters.tcp.RetransSegs > 0
    assert link.ends[0].dev.qdisc.drops > 0


def test_damaged_segments_are_noticed(pysock):
    net = pysock.network
    client, server = net.hosts("client", "server")
    net.link(client, server, corrupt="10%")
    with server:
        listener = socket.create_server(("server", 7777))
    with client:
        sock = socket.create_connection(("server", 7777))
    peer, _ = listener.accept()
    for number in range(100):
        sock.sendall(bytes([number]) * 1000)
        assert peer.recv(1000, socket.MSG_WAITALL) == bytes([number]) * 1000
    for one in (sock, peer, listener):
        one.close()
    assert server.counters.tcp.InCsumErrors > 0


def test_the_first_syn_is_lost(pysock):
    net = pysock.network
    client, server = net.hosts("client", "server")
    link = net.link(client, server)
    lost = link.drop("syn", times=1)
    with server:
        listener = socket.create_server(("server", 7777))
    before = pysock.clock.monotonic_ns()
    with client:
        socket.create_connection(("server", 7777)).close()
    assert lost.hits == 1
    assert 1.0 <= (pysock.clock.monotonic_ns() - before) / 1e9 < 1.1  # TCP tries again after a second
    listener.close()

"""A blocking connect() over loopback does the packets' work itself instead of going to sleep for them."""

from __future__ import annotations

from support.inet_api import InetSocket, boot


def test_it_does_not_park() -> None:
    kernel = boot()
    listener = InetSocket(kernel)
    listener.bind(("127.0.0.1", 0))
    listener.listen(1)
    client = InetSocket(kernel)
    client._call(client.sock.ops.connect, client.sock, listener.name(), 0)
    assert client.sock.sk.wait_queue is None
    assert kernel.participants == 1  # it takes part in virtual time all the same
    assert listener.accept().sock.sk is not None

"""Buffers far below the loopback's segment size slow nothing down: no timer may be what keeps the data moving."""

from __future__ import annotations

import socket
import threading
import time

import pytest


@pytest.mark.parametrize("option", [socket.SO_SNDBUF, socket.SO_RCVBUF])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_large_transfer_waits_for_no_timer(pysock: object, option: int, when: str) -> None:
    received = bytearray()

    def read(sock: socket.socket) -> None:
        while data := sock.recv(65536):
            received.extend(data)

    with socket.socket() as listener, socket.socket() as client:
        listener.bind(("127.0.0.1", 0))
        for moment in ("before", "after"):
            if moment == when:
                (client if option == socket.SO_SNDBUF else listener).setsockopt(socket.SOL_SOCKET, option, 4096)
            if moment == "before":
                listener.listen()
        client.connect(listener.getsockname())
        server, _ = listener.accept()
        with server:
            reader = threading.Thread(target=read, args=(server,))
            reader.start()
            before = time.monotonic()
            client.sendall(b"x" * 200_000)
            client.shutdown(socket.SHUT_WR)
            reader.join()
            assert time.monotonic() - before < 0.15, "the clock of a run that waits for nothing stands still"
    assert bytes(received) == b"x" * 200_000

"""Many threads over TCP at once: every byte comes back, and no thread is forgotten in its sleep."""

from __future__ import annotations

import random
import socket
import threading

import pytest
from support.patience import PATIENCE


def serve(listener: socket.socket) -> None:
    def echo(connection: socket.socket) -> None:
        with connection:
            while data := connection.recv(4096):
                connection.sendall(data)

    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=echo, args=(connection,)).start()


@pytest.mark.pysock(clock="real", seed=11)
def test_every_byte_comes_back(pysock: object) -> None:
    """Small segments meet delayed ACKs here, so progress depends on timers that some sleeping thread has to keep."""
    good: list[int] = []

    def client(number: int) -> None:
        chance = random.Random(number)
        for _ in range(3):
            with socket.create_connection(address) as connection:
                for _ in range(5):
                    data = chance.randbytes(chance.randrange(1, 30_000))
                    connection.sendall(data)
                    back = b""
                    while len(back) < len(data):
                        back += connection.recv(65536)
                    assert back == data
        good.append(number)

    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        address = listener.getsockname()
        server = threading.Thread(target=serve, args=(listener,))
        server.start()
        clients = [threading.Thread(target=client, args=(number,)) for number in range(16)]
        for thread in clients:
            thread.start()
        for thread in clients:
            thread.join(PATIENCE)
        assert sorted(good) == list(range(16))
        listener.shutdown(socket.SHUT_RDWR)  # ends accept(), as on Linux
        server.join(PATIENCE)
        assert not server.is_alive()

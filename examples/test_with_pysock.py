"""How a test suite uses pysock: an ordinary pytest file. With the ``pysock`` fixture (it comes with the package) the
test runs in a network of its own, in virtual time; without it, on the operating system.

    pytest examples/test_with_pysock.py
"""

import socket
import threading
import time

import pytest


def wait_for_greeting(port: int, timeout: float) -> bytes:
    """The code under test: connect and wait for the server's first line."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as sock:
        return sock.recv(100)


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def test_the_server_greets(listener):
    """On the operating system's network."""
    port = listener.getsockname()[1]
    result = []
    thread = threading.Thread(target=lambda: result.append(wait_for_greeting(port, 5)))
    thread.start()
    connection, _ = listener.accept()
    with connection:
        connection.sendall(b"hello\n")
    thread.join()
    assert result == [b"hello\n"]


def test_the_server_greets_in_pysock(pysock):
    """The same in pysock's: nothing here reaches the operating system's network."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        connection, _ = server.accept()
        connection.sendall(b"hello\n")
        assert client.recv(100) == b"hello\n"
        client.close()
        connection.close()


def test_a_silent_server_is_given_up_after_an_hour(pysock):
    """Virtual time: the hour takes milliseconds."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        before = time.monotonic()
        with pytest.raises(TimeoutError):
            wait_for_greeting(server.getsockname()[1], timeout=3600)
        assert time.monotonic() - before == pytest.approx(3600)


@pytest.mark.pysock(clock="real", seed=7)
def test_in_real_time(pysock):
    """The marker chooses the clock and the seed."""
    assert pysock.seed == 7
    left, right = socket.socketpair()
    left.send(b"x")
    assert right.recv(1) == b"x"
    left.close()
    right.close()

"""TLS on sockets that do not block: what the calls want, select(), and partial writes. On both kernels."""

from __future__ import annotations

import select
import selectors
import ssl
import threading
from collections.abc import Iterator

import pytest
from support.tls import client_context, pair, shake, tcp_pair, unshaken

import pysock


@pytest.fixture(params=["pysock", "real"], autouse=True)
def where(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "real":
        yield "real"
        return
    with pysock.patch(seed=1):
        yield "pysock"


def test_a_handshake_in_steps() -> None:
    client, server = unshaken()
    with client, server:
        for end in (client, server):
            with pytest.raises(ssl.SSLWantReadError) as caught:
                end.do_handshake() if end is client else end.read(1)
            assert caught.value.errno == ssl.SSL_ERROR_WANT_READ
        shake(client, server)
        with pytest.raises(ssl.SSLWantReadError):
            client.recv(1)
        client.send(b"x")
        assert server.recv(1) == b"x"


def test_a_handshake_that_would_block_at_once() -> None:
    client, server = tcp_pair()
    client.setblocking(False)
    with client, server, pytest.raises(ValueError, match="non-blocking"):
        client_context().wrap_socket(client, server_hostname="localhost")


def test_writing_begins_with_the_handshake() -> None:
    client, server = unshaken()
    with client, server:
        sent = 0
        while not sent:
            try:
                sent = client.send(b"early")
            except ssl.SSLWantReadError:
                with pytest.raises(ssl.SSLWantReadError):
                    server.recv(10)
        assert sent == 5
        assert server.recv(10) == b"early"


def test_select_sees_the_record_after_the_one_that_was_read() -> None:
    client, server = pair()
    with client, server:
        client.send(b"first")
        client.send(b"second")
        server.setblocking(False)
        assert select.select([server], [], [], 10)[0] == [server]
        assert server.recv(100) == b"first"
        assert server.pending() == 0
        assert select.select([server], [], [], 10)[0] == [server]
        assert server.recv(100) == b"second"
        assert select.select([server], [], [], 0)[0] == []


def test_a_write_is_repeated_until_all_of_it_is_sent() -> None:
    client, server = pair()
    with client, server:
        client.setblocking(False)
        data = bytes(range(256)) * 40_000
        got = bytearray()

        def read() -> None:
            while len(got) < len(data):
                got.extend(server.recv(65536))

        with pytest.raises(ssl.SSLWantWriteError) as caught:
            client.send(data)
        assert caught.value.errno == ssl.SSL_ERROR_WANT_WRITE
        assert caught.value.reason is None
        reader = threading.Thread(target=read)
        reader.start()
        with selectors.DefaultSelector() as selector:
            selector.register(client, selectors.EVENT_WRITE)
            sent = 0
            while not sent:
                selector.select()
                try:
                    sent = client.send(data)
                except ssl.SSLWantWriteError:
                    pass
        reader.join()
        assert sent == len(data)
        assert bytes(got) == data


def test_a_write_cannot_be_taken_back() -> None:
    client, server = pair()
    with client, server:
        client.setblocking(False)
        with pytest.raises(ssl.SSLWantWriteError):
            client.send(bytes(20_000_000))
        with pytest.raises(ssl.SSLError, match="BAD_LENGTH"):
            client.send(b"something shorter")


def test_reading_goes_on_while_writing_is_stuck() -> None:
    client, server = pair()
    with client, server:
        client.setblocking(False)
        server.send(b"for you")
        with pytest.raises(ssl.SSLWantWriteError):
            client.send(bytes(20_000_000))
        assert client.recv(100) == b"for you"


def test_unwrap_in_steps() -> None:
    client, server = pair()
    with client, server:
        client.setblocking(False)
        with pytest.raises(ssl.SSLWantReadError):
            client.unwrap()
        assert server.recv(1) == b""
        assert server.unwrap() is server
        select.select([client], [], [], 10)
        assert client.unwrap() is client
        with pytest.raises(ValueError, match="No SSL wrapper"):
            client.unwrap()


def test_an_empty_write() -> None:
    client, server = pair()
    with client, server:
        assert client.send(b"") == 0
        client.sendall(b"x")
        assert server.recv(10) == b"x"

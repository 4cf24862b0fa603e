"""What goes wrong below TLS ends in the same error from us as from this interpreter's own `_ssl`."""

from __future__ import annotations

import re
import socket
import ssl
import struct
import time
from collections.abc import Callable

import pytest
from support.tls import authority, client_context, pair, server_context, step, unshaken

import pysock


def outcome(call: Callable[[], object]) -> object:
    try:
        return call()
    except OSError as exc:
        return type(exc), exc.errno, re.sub(r" \(_ssl\.c:\d+\)", "", str(exc))


def reset(end: ssl.SSLSocket) -> None:
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    end.close()


def a_client_that_is_rejected_after_its_handshake() -> list[object]:
    """TLS 1.3: it learns that with the first data, and by way of a reset."""
    asking, answering = client_context(), server_context()
    authority().configure_trust(answering)
    answering.verify_mode = ssl.CERT_REQUIRED
    client, server = unshaken(asking, answering)
    with client:
        while not step(client):
            assert not step(server)
        rejected = outcome(server.do_handshake)
        server.close()
        time.sleep(0.05)  # the kernel's loopback may take its time
        return [rejected, outcome(lambda: client.send(b"data")), outcome(lambda: client.recv(9))]


def a_reader_whose_peer_resets() -> list[object]:
    client, server = pair()
    with client:
        client.suppress_ragged_eofs = False
        reset(server)
        return [outcome(lambda: client.recv(1)), outcome(lambda: client.recv(1))]


def a_writer_whose_peer_resets() -> list[object]:
    client, server = pair()
    with client:
        reset(server)
        return [outcome(lambda: client.send(b"x"))]


def an_end_whose_peer_resets() -> list[object]:
    client, server = pair()
    with client:
        reset(server)
        return [outcome(client.unwrap)]


def a_handshake_that_is_reset() -> list[object]:
    client, server = unshaken()
    with client:
        assert not step(client)
        reset(server)
        return [outcome(client.do_handshake)]


def a_handshake_that_is_cut_short() -> list[object]:
    client, server = unshaken()
    with client:
        assert not step(client)
        socket.socket.recv(server, 4096)
        server.close()
        return [outcome(client.do_handshake)]


@pytest.mark.parametrize(
    "scene",
    [
        a_client_that_is_rejected_after_its_handshake,
        a_reader_whose_peer_resets,
        a_writer_whose_peer_resets,
        an_end_whose_peer_resets,
        a_handshake_that_is_reset,
        a_handshake_that_is_cut_short,
    ],
)
def test_same_error(scene: Callable[[], list[object]]) -> None:
    wanted = scene()
    with pysock.patch(seed=1):
        assert scene() == wanted

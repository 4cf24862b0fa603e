"""TLS between blocking sockets: the same on pysock and on the operating system's."""

from __future__ import annotations

import contextlib
import gc
import http.client
import socket
import ssl
import struct
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.patience import PATIENCE
from support.tls import authority, client_context, pair, server_context, step, tcp_pair, unshaken

import pysock

BOTH = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.fixture(params=["pysock", "real"], autouse=True)
def where(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "real":
        yield "real"
        return
    with pysock.patch(seed=1):
        yield "pysock"


def in_thread(function: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=function)
    thread.start()
    return thread


@pytest.mark.parametrize("version", BOTH)
def test_data_both_ways_and_an_orderly_end(version: ssl.TLSVersion) -> None:
    client, server = pair(client_context(version))
    with client, server:
        client.sendall(b"question")
        assert server.recv(100) == b"question"
        server.sendall(b"answer")
        buffer = bytearray(100)
        assert client.recv_into(buffer) == 6
        assert client.version() == {BOTH[0]: "TLSv1.2", BOTH[1]: "TLSv1.3"}[version]
        ending = in_thread(client.unwrap)
        assert server.recv(1) == b""
        assert server.unwrap() is server
        ending.join()


def test_what_is_known_of_the_connection() -> None:
    asking, answering = client_context(), server_context()
    asking.set_alpn_protocols(["h2", "http/1.1"])
    answering.set_alpn_protocols(["http/1.1"])
    client, server = pair(asking, answering)
    with client, server:
        assert client.selected_alpn_protocol() == server.selected_alpn_protocol() == "http/1.1"
        assert ("DNS", "localhost") in client.getpeercert()["subjectAltName"]
        assert server.getpeercert() is None
        assert client.cipher() == server.cipher()
        assert client.cipher() in server.shared_ciphers()
        assert client.shared_ciphers() is None
        assert client.compression() is None
        assert (client.server_side, server.server_side) == (False, True)
        assert client.server_hostname == "localhost"
        assert client._sslobj.owner is client
        assert client.context is asking


def test_channel_binding_is_the_same_on_both_ends() -> None:
    client, server = pair(client_context(ssl.TLSVersion.TLSv1_2))
    with client, server:
        assert client.get_channel_binding() == server.get_channel_binding()
        assert len(client.get_channel_binding()) >= 12


def test_a_client_that_does_not_know_the_authority() -> None:
    client, server = unshaken(ssl.create_default_context())
    with client, server:
        client.setblocking(True)
        server.setblocking(True)
        failed: list[ssl.SSLError] = []

        def serve() -> None:
            with pytest.raises(ssl.SSLError) as caught:
                server.do_handshake()
            failed.append(caught.value)

        serving = in_thread(serve)
        with pytest.raises(ssl.SSLCertVerificationError, match="unable to get local issuer"):
            client.do_handshake()
        serving.join()
        assert failed[0].reason == "TLSV1_ALERT_UNKNOWN_CA", "the client's alert must arrive"


def test_plain_bytes_instead_of_a_handshake() -> None:
    client, server = tcp_pair()
    with client:
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        with pytest.raises(ssl.SSLError) as caught:
            server_context().wrap_socket(server, server_side=True)
        assert caught.value.reason == "HTTP_REQUEST"


def test_server_name_callback_gets_the_socket_and_may_change_the_context() -> None:
    answering, other = server_context(), server_context()
    seen = []

    def named(connection: ssl.SSLSocket, name: str, context: ssl.SSLContext) -> None:
        connection.version()  # asks while the handshake is on
        seen.append((connection, name, context))
        connection.context = other

    answering.sni_callback = named
    client, server = pair(server=answering)
    with client, server:
        assert seen == [(server, "localhost", answering)]
        assert server.context is other


@pytest.mark.parametrize("version", BOTH)
def test_a_session_is_resumed(version: ssl.TLSVersion) -> None:
    asking, answering = client_context(version), server_context()
    client, server = pair(asking, answering)
    with client, server:
        server.sendall(b"x")
        client.recv(1)  # tickets come with the first data
        session = client.session
        assert not client.session_reused
    client, server = pair(asking, answering, session)
    with client, server:
        assert client.session_reused
        assert server.session_reused


def test_messages_and_keys_are_shown(tmp_path: Path) -> None:
    asking = client_context()
    asking.keylog_filename = str(tmp_path / "keys")
    seen = []
    asking._msg_callback = lambda connection, direction, *rest: seen.append((connection, direction))  # type: ignore[attr-defined]
    client, server = pair(asking)
    with client, server:
        assert {direction for _, direction in seen} == {"read", "write"}
        assert all(connection is client for connection, _ in seen)
        assert "CLIENT_TRAFFIC_SECRET_0" in (tmp_path / "keys").read_text()


def test_the_server_asks_for_a_certificate_after_the_handshake() -> None:
    asking, answering = client_context(), server_context()
    asking.post_handshake_auth = answering.post_handshake_auth = True
    authority().issue_cert("client.example").configure_cert(asking)
    authority().configure_trust(answering)
    answering.verify_mode = ssl.CERT_REQUIRED
    client, server = pair(asking, answering)
    with client, server:
        assert server.getpeercert() is None
        server.verify_client_post_handshake()
        server.sendall(b"who are you?")
        assert client.recv(100) == b"who are you?"
        client.sendall(b"me")
        assert server.recv(100) == b"me"
        assert ("DNS", "client.example") in server.getpeercert()["subjectAltName"]


def test_much_data_both_ways_at_once() -> None:
    """Two threads on each end, one writing while the other reads."""
    client, server = pair()
    size = 3_000_000
    got: dict[ssl.SSLSocket, bytes] = {}

    def read(end: ssl.SSLSocket) -> None:
        data = bytearray()
        while len(data) < size:
            data += end.recv(65536)
        got[end] = bytes(data)

    with client, server:
        threads = [in_thread(lambda end=end: read(end)) for end in (client, server)]
        threads += [
            in_thread(lambda end=end, byte=byte: end.sendall(byte * size))
            for end, byte in ((client, b"c"), (server, b"s"))
        ]
        for thread in threads:
            thread.join()
        assert got[server] == b"c" * size
        assert got[client] == b"s" * size


def test_what_was_not_asked_for_is_pending() -> None:
    client, server = pair()
    with client, server:
        client.sendall(b"0123456789")
        assert server.recv(4) == b"0123"
        assert server.pending() == 6
        assert server.recv(100) == b"456789"
        assert server.pending() == 0


def test_plain_bytes_after_the_end_of_tls() -> None:
    """`unwrap` must leave alone what follows the peer's close_notify."""
    client, server = pair()
    with client, server:

        def end() -> None:
            plain = client.unwrap()
            plain.sendall(b"plain again")
            plain.close()

        ending = in_thread(end)
        assert server.recv(1) == b""
        plain = server.unwrap()
        assert plain.recv(100) == b"plain again"
        ending.join()


def test_starttls() -> None:
    client, server = tcp_pair()
    with client, server:
        client.sendall(b"STARTTLS\r\n")
        assert server.recv(10) == b"STARTTLS\r\n"
        wrapped: list[ssl.SSLSocket] = []
        serving = in_thread(lambda: wrapped.append(server_context().wrap_socket(server, server_side=True)))
        with client_context().wrap_socket(client, server_hostname="localhost") as secured:
            serving.join()
            with wrapped[0]:
                wrapped[0].sendall(b"now secret")
                assert secured.recv(100) == b"now secret"


def test_a_peer_that_leaves_without_a_word() -> None:
    client, server = pair()
    with client, server:
        socket.socket.close(server)
        assert client.recv(1) == b""
        assert client.suppress_ragged_eofs
    client, server = pair()
    with client, server:
        client.suppress_ragged_eofs = False
        socket.socket.close(server)
        with pytest.raises(ssl.SSLEOFError):
            client.recv(1)


def test_timeouts_say_what_timed_out() -> None:
    client, server = pair()
    with client, server:
        client.settimeout(0.01)
        with pytest.raises(TimeoutError, match=r"^The read operation timed out$"):
            client.recv(1)
        with pytest.raises(TimeoutError, match=r"^The write operation timed out$"):
            client.sendall(bytes(20_000_000))
    client, server = pair()
    with client, server:
        client.settimeout(0.01)
        with pytest.raises(TimeoutError, match=r"^The read operation timed out$"):
            client.unwrap()
    plain, silent = tcp_pair()
    with silent:
        plain.settimeout(0.01)
        with pytest.raises(TimeoutError, match=r"handshake operation timed out$"):
            client_context().wrap_socket(plain, server_hostname="localhost")


@pytest.mark.parametrize("reset", [False, True])
def test_a_client_that_leaves_before_it_got_its_tickets(reset: bool) -> None:
    """The handshake is good for OpenSSL even if the tickets cannot be sent."""
    client, server = unshaken()
    with server:
        while not step(client):
            assert not step(server)
        client.sendall(b"bye")
        if reset:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        server.do_handshake()
        # After a reset, what came before it is there if the delayed ACK of the server's flight had left by then.
        assert server.recv(100) in ((b"", b"bye") if reset else (b"bye",))


def test_a_file_is_sent(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"content" * 1000)
    client, server = pair()
    with client, server, path.open("rb") as file:
        assert client.sendfile(file) == 7000
        with server.makefile("rb") as reader:
            assert reader.read(7000) == b"content" * 1000


def test_nothing_but_the_program_holds_the_socket() -> None:
    client, server = pair()
    with server:
        gone = weakref.ref(client)
        client.close()
        gc.disable()
        try:
            del client
            assert gone() is None, "a reference cycle"
        finally:
            gc.enable()


def test_the_certificate_of_a_server() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            # The client leaves as soon as it has the certificate.
            with connection, contextlib.suppress(OSError):
                with server_context().wrap_socket(connection, server_side=True) as wrapped:
                    wrapped.recv(1)

        serving = in_thread(serve)
        text = ssl.get_server_certificate(listener.getsockname(), timeout=PATIENCE)
        serving.join()
    assert text.startswith("-----BEGIN CERTIFICATE-----")


def test_https_with_the_stdlibs_client() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def serve() -> None:
            secured = server_context().wrap_socket(listener, server_side=True)
            connection, _ = secured.accept()
            with secured, connection:
                assert connection.recv(1000).startswith(b"GET /it HTTP/1.1\r\n")
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                connection.recv(1)

        serving = in_thread(serve)
        client = http.client.HTTPSConnection("localhost", port, context=client_context(), timeout=PATIENCE)
        client.request("GET", "/it")
        assert client.getresponse().read() == b"ok"
        client.close()
        serving.join()

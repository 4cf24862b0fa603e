"""`ssl` changes hands with the rest, whenever it was imported, and wraps sockets of both kinds meanwhile."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
import threading

import pytest
from support.patience import PATIENCE
from support.tls import client_context, pair, server_context, tcp_pair

import pysock
from pysock.shim.patching import Patch
from pysock.shim.tls import TlsSocket


class Derived(ssl.SSLSocket):
    """Derives from the operating system's class: defined before any patch."""

    __slots__ = ("extra",)

    def recv(self, *args: int) -> bytes:
        return super().recv(*args).upper()


def test_ours_under_patch_and_the_originals_after_it() -> None:
    real, context = ssl.SSLSocket, dict(vars(ssl.SSLContext))
    created = vars(real)["_create"]
    with pysock.patch():
        assert ssl.SSLSocket is not real
        assert issubclass(ssl.SSLSocket, socket.socket)
        assert ssl.SSLSocket.__doc__ == real.__doc__
        client, server = pair()
        with client, server:
            assert isinstance(client, ssl.SSLSocket)
            assert isinstance(client._sslobj, TlsSocket)
        ours = ssl.SSLSocket
    assert ssl.SSLSocket is real
    assert dict(vars(ssl.SSLContext)) == context
    assert vars(real)["_create"] is created
    with pysock.patch():
        assert ssl.SSLSocket is ours, "the twin is made once"
    client, server = pair()
    with client, server:
        assert type(client) is real


def test_real_sockets_are_wrapped_natively_under_patch() -> None:
    a, b = tcp_pair()
    real = ssl.SSLSocket
    with pysock.patch():
        wrapped: list[ssl.SSLSocket] = []
        thread = threading.Thread(target=lambda: wrapped.append(server_context().wrap_socket(b, server_side=True)))
        thread.start()
        with client_context().wrap_socket(a, server_hostname="localhost") as client:
            thread.join()
            with wrapped[0] as server:
                assert type(client) is type(server) is real
                client.sendall(b"x")
                assert server.recv(1) == b"x"


def test_a_real_listener_accepts_under_patch() -> None:
    real = socket.socket
    with (
        socket.create_server(("127.0.0.1", 0)) as plain,
        server_context().wrap_socket(plain, server_side=True) as listener,
    ):
        client = socket.create_connection(listener.getsockname())
        with pysock.patch():
            accepted: list[ssl.SSLSocket] = []
            thread = threading.Thread(target=lambda: accepted.append(listener.accept()[0]))
            thread.start()
            with client_context().wrap_socket(client, server_hostname="localhost") as end:
                thread.join()
                with accepted[0] as server, real(socket.AF_INET) as another:
                    assert isinstance(server, real)
                    assert isinstance(another, real)
                    end.sendall(b"x")
                    assert server.recv(1) == b"x"


def test_connections_from_before_go_on_and_ours_outlive_the_patch() -> None:
    client, server = pair()
    with client, server, pysock.patch():
        client.sendall(b"x")
        assert server.recv(1) == b"x"
        ours, peer = pair()
    with ours, peer:
        ours.sendall(b"y")
        assert peer.recv(1) == b"y"


def test_a_derived_class_from_before(patched: Patch) -> None:
    context = client_context()
    context.sslsocket_class = Derived
    client, server = pair(context)
    with client, server:
        client.extra = "slots are there"  # type: ignore[attr-defined]  # it is a Derived
        server.sendall(b"shout")
        assert client.recv(5) == b"SHOUT"
        assert isinstance(client._sslobj, TlsSocket)


def test_a_socket_that_is_none(patched: Patch) -> None:
    class Fake:
        def getsockopt(self, *args: int) -> int:
            return socket.SOCK_DGRAM

    with pytest.raises(NotImplementedError, match="only stream sockets"):
        client_context().wrap_socket(Fake(), server_hostname="localhost")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        client_context()._wrap_socket(Fake(), False)  # type: ignore[attr-defined]


LATE = """
import sys, socket
real = socket.socket
import pysock
assert "ssl" not in sys.modules, "importing pysock must not import ssl"
with pysock.patch():
    assert "ssl" not in sys.modules, "nor must a patch"
    import ssl
    from ssl import SSLSocket
    from support.tls import client_context, pair, server_context, tcp_pair
    from pysock.shim.tls import TlsSocket
    client, server = pair()
    with client, server:
        client.sendall(b"x")
        assert server.recv(1) == b"x"
        assert type(client._sslobj) is TlsSocket
        assert issubclass(SSLSocket, socket.socket)
assert ssl.SSLSocket is SSLSocket is ssl.SSLContext.sslsocket_class
assert issubclass(SSLSocket, real)
assert "_wrap_socket" not in vars(ssl.SSLContext)
client, server = pair()
with client, server:
    client.sendall(b"x")
    assert server.recv(1) == b"x"
    assert type(client) is SSLSocket
    assert type(client._sslobj).__module__ != "pysock.shim.tls"
with pysock.patch():
    client, server = pair()
    with client, server:
        assert type(client._sslobj) is TlsSocket
print("good")
"""

RUN = """
import ssl
from support.tls import pair
client, server = pair()
with client, server:
    client.sendall(b"x")
    assert server.recv(1) == b"x"
    print(type(client._sslobj).__name__)
"""


def python(*args: str) -> str:
    environment = {"PYTHONPATH": ":".join(path for path in sys.path if path)}
    result = subprocess.run(
        [sys.executable, "-W", "error", *args],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        env=environment,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_ssl_imported_under_patch() -> None:
    assert python("-c", LATE) == "good"


def test_ssl_in_a_program_that_is_run() -> None:
    assert python("-m", "pysock", "run", "-c", RUN) == "TlsSocket"

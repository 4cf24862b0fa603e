"""TLS connections for tests: certificates of an authority made once, and a pair that has shaken hands in one thread."""

from __future__ import annotations

import functools
import socket
import ssl

import trustme


@functools.cache
def authority() -> trustme.CA:
    return trustme.CA()


@functools.cache
def certificate() -> trustme.LeafCert:
    return authority().issue_cert("localhost", "127.0.0.1", "other.example")


def server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate().configure_cert(context)
    return context


def client_context(version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority().configure_trust(context)
    context.maximum_version = version
    return context


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
    return client, server


def unshaken(
    client: ssl.SSLContext | None = None, server: ssl.SSLContext | None = None, session: ssl.SSLSession | None = None
) -> tuple[ssl.SSLSocket, ssl.SSLSocket]:
    """Two non-blocking ends of a connection, before the handshake."""
    a, b = tcp_pair()
    a.setblocking(False)
    b.setblocking(False)
    return (
        (client or client_context()).wrap_socket(
            a, server_hostname="localhost", do_handshake_on_connect=False, session=session
        ),
        (server or server_context()).wrap_socket(b, server_side=True, do_handshake_on_connect=False),
    )


def step(end: ssl.SSLSocket) -> bool:
    """Go on with a non-blocking handshake; True when it is done."""
    try:
        end.do_handshake()
    except ssl.SSLWantReadError:
        return False
    return True


def shake(client: ssl.SSLSocket, server: ssl.SSLSocket) -> None:
    """Shake hands, both ends in turn."""
    done = {client: False, server: False}
    while not all(done.values()):
        for end in (client, server):
            done[end] = done[end] or step(end)


def pair(
    client: ssl.SSLContext | None = None, server: ssl.SSLContext | None = None, session: ssl.SSLSession | None = None
) -> tuple[ssl.SSLSocket, ssl.SSLSocket]:
    """Two blocking ends that have shaken hands: client, server."""
    ends = unshaken(client, server, session)
    try:
        shake(*ends)
    except BaseException:
        for end in ends:
            end.close()
        raise
    for end in ends:
        end.setblocking(True)
    return ends

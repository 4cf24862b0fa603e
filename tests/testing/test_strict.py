"""Strict mode: whoever reaches for the real network is named."""

from __future__ import annotations

import pytest
from support.suites import run

REACHING = """
    import asyncio, socket, sys, urllib.request
    import pytest

    real_socket = socket.socket

    def test_connect():
        with socket.socket() as sock:
            sock.connect(("192.0.2.1", 80))

    def test_bind():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("127.0.0.1", 0))

    def test_sendto():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"x", ("127.0.0.1", 9))

    def test_name():
        socket.gethostbyname("db.example")

    def test_asyncio():
        asyncio.run(asyncio.wait_for(asyncio.open_connection("db.example", 5432), 5))

    def test_retrying_program():
        try:
            urllib.request.urlopen("http://127.0.0.1:9/")
        except OSError:
            pass
"""


def test_every_way_to_the_real_network_is_an_error_that_names_the_call(suite: pytest.Pytester) -> None:
    result = run(suite, REACHING, "--pysock-strict=true")
    result.assert_outcomes(failed=6)
    text = result.stdout.str()
    for call in (
        r"socket.connect(('192.0.2.1', 80))",
        r"socket.bind(('127.0.0.1', 0))",
        r"socket.sendto(('127.0.0.1', 9))",
        r"socket.gethostbyname('db.example')",
        r"socket.getaddrinfo('db.example', 5432)",
        r"socket.connect(('127.0.0.1', 9))",
    ):
        assert f"RealNetworkError: {call} at " in text
    assert "reached for the real network during test_every_way" in text.replace("\n", "")


def test_a_simulated_network_and_local_sockets_pass(suite: pytest.Pytester, tmp_path: object) -> None:
    source = """
        import asyncio, os, socket, threading
        import pytest

        @pytest.mark.pysock
        def test_network():
            with socket.create_server(("localhost", 80)) as server:
                socket.create_connection(("localhost", 80)).close()
                socket.getaddrinfo("localhost", 80)
                with socket.socket(type=socket.SOCK_DGRAM) as sock:
                    sock.sendto(b"x", ("127.0.0.1", 9))

        def test_unix(tmp_path, monkeypatch):
            monkeypatch.chdir(tmp_path)
            with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
                server.bind("server")
                server.listen()
                client.connect("server")
            asyncio.run(asyncio.sleep(0))
        """
    run(suite, source, "--pysock-strict=true").assert_outcomes(passed=2)


def test_a_real_socket_kept_from_before_is_caught_inside_a_simulated_network(suite: pytest.Pytester) -> None:
    source = """
        import socket
        import pytest

        @pytest.fixture(scope="module")
        def kept():
            with socket.socket() as sock:
                yield sock

        @pytest.mark.pysock(strict=True)
        def test_it(kept):
            kept.connect(("127.0.0.1", 9))
        """
    result = run(suite, source)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*RealNetworkError: socket.connect(('127.0.0.1', 9)) at*"])


def test_strict_is_asked_for_test_by_test(suite: pytest.Pytester) -> None:
    source = """
        import socket
        import pytest

        def bind():
            with socket.socket() as sock:
                sock.bind(("127.0.0.1", 0))

        @pytest.mark.pysock(strict=True)
        def test_strict(request):
            bind()

        def test_lax():
            bind()
        """
    run(suite, source).assert_outcomes(passed=2)
    run(suite, source, "--pysock-strict=1").assert_outcomes(passed=1, failed=1)

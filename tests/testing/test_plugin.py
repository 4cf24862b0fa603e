"""The pytest plugin, seen from the outside: small test suites that use it, each in a process of its own."""

from __future__ import annotations

import re

import pytest
from support.suites import run


def test_inert_when_unused(suite: pytest.Pytester) -> None:
    result = run(
        suite,
        """
        import socket, sys, time

        REAL = [socket.socket, time.time]

        def test_nothing_is_imported_or_patched():
            loaded = {name for name in sys.modules if name.startswith("pysock")}
            mine = {"pysock.testing" + name for name in ("", ".plugin", ".settings", ".strict")}
            assert loaded == {"pysock", "pysock._version", *mine}
            assert "_socket" not in loaded

        def test_still_not():
            assert [socket.socket, time.time] == REAL
        """,
    )
    result.assert_outcomes(passed=2)


def test_the_fixture(suite: pytest.Pytester) -> None:
    result = run(
        suite,
        """
        import asyncio, socket, threading, time
        import pytest

        REAL = [socket.socket, time.time]

        def test_datagram(pysock):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as a, socket.socket(type=socket.SOCK_DGRAM) as b:
                a.bind(("127.0.0.1", 5353))
                b.sendto(b"ping", ("127.0.0.1", 5353))
                assert a.recvfrom(16)[0] == b"ping"
                assert a.fileno() in pysock.task.fds

        def test_again_with_the_same_port(pysock):
            test_datagram(pysock)

        def test_waiting_takes_no_time(pysock):
            before = time.time()
            asyncio.run(asyncio.sleep(365 * 86400))
            assert time.time() - before >= 365 * 86400
            assert time.time_ns() == pysock.clock.time_ns()
            assert pysock.kernel.clock.virtual

        def test_names(pysock):
            pysock.hosts.add("127.0.0.5", "db.example")
            with socket.create_server(("db.example", 5432)) as server:
                socket.create_connection(("db.example", 5432)).close()
                assert server.getsockname() == ("127.0.0.5", 5432)

        def test_threads(pysock):
            a, b = socket.socketpair()
            def echo():
                while data := b.recv(100):
                    b.sendall(data)
            thread = threading.Thread(target=echo)
            with a, b:
                thread.start()
                for _ in range(10):
                    a.sendall(b"x")
                    assert a.recv(1) == b"x"
                    time.sleep(3600)
                a.shutdown(socket.SHUT_WR)
                thread.join()

        def test_everything_is_back():
            assert [socket.socket, time.time] == REAL
        """,
    )
    result.assert_outcomes(passed=6)


def test_the_marker(suite: pytest.Pytester) -> None:
    result = run(
        suite,
        """
        import socket, time, unittest
        import pytest

        REAL = [socket.socket, time.time]

        @pytest.mark.pysock
        def test_bare():
            assert socket.socket is not REAL[0] and time.time is not REAL[1]

        @pytest.mark.pysock(clock="real", seed=7)
        def test_arguments(request):
            assert socket.socket is not REAL[0] and time.time is REAL[1]
            assert request.getfixturevalue("pysock").seed == 7

        @pytest.mark.pysock(seed=8)
        class TestClass:
            def test_method(self, pysock):
                assert pysock.seed == 8

        @pytest.mark.pysock
        class TestUnittest(unittest.TestCase):
            def setUp(self):
                assert socket.socket is not REAL[0]

            def test_method(self):
                assert socket.socket is not REAL[0]

        def test_unmarked():
            assert socket.socket is REAL[0]
        """,
    )
    result.assert_outcomes(passed=5)


def test_other_fixtures(suite: pytest.Pytester) -> None:
    """Those of the test run inside, whatever their order; those that several tests share run outside."""
    result = run(
        suite,
        """
        import socket
        import pytest

        REAL = [socket.socket]

        @pytest.fixture(scope="module")
        def shared():
            assert socket.socket is REAL[0]
            return "shared"

        @pytest.fixture(autouse=True)
        def everywhere():
            here = socket.socket
            yield
            assert socket.socket is here

        @pytest.fixture
        def server():
            with socket.create_server(("127.0.0.1", 80)) as server:
                yield server
            assert socket.socket is not REAL[0]

        def test_order(server, shared, pysock):
            assert server.fileno() in pysock.task.fds

        @pytest.mark.pysock
        def test_marker(server, shared):
            socket.create_connection(server.getsockname()).close()
        """,
    )
    result.assert_outcomes(passed=2)


@pytest.mark.parametrize("clock", ["virtual", "real"])
def test_a_failure_says_how_to_see_it_again(suite: pytest.Pytester, clock: str) -> None:
    source = f"""
        import pytest, random, socket

        @pytest.fixture
        def server():
            with socket.create_server(("127.0.0.1", 7000)) as server:
                yield server

        @pytest.mark.pysock(clock={clock!r})
        @pytest.mark.parametrize("text", ["a b"])
        def test_chance(text, server):
            with socket.socket() as sock:
                sock.bind(("", 0))
                assert sock.getsockname() == "port"

        def test_passes(pysock):
            pass
        """
    first = run(suite, source)
    first.assert_outcomes(failed=1, passed=1)
    first.stdout.fnmatch_lines(
        [
            "*- pysock -*",
            f"<pysock: clock={clock} seed=* driver=loopback host=pysock>",
            "replay: pytest *",
            "capture: *.pcapng",
            "Netid*State*",
            "tcp*LISTEN*127.0.0.1:7000*",
        ]
    )
    command = next(line for line in first.outlines if line.startswith("replay: "))
    found = re.fullmatch(
        r"replay: pytest '(.*::test_chance\[a b\])' (--pysock-clock=\w+) (--pysock-seed=\d+) --pysock-driver=loopback",
        command,
    )
    assert found is not None
    again = run(suite, source, *found.groups())
    again.assert_outcomes(failed=1)
    port = re.compile(r"\('0.0.0.0', (\d+)\)")
    assert port.findall(first.stdout.str())[0] == port.findall(again.stdout.str())[0]


def test_undone_after_failures_and_errors(suite: pytest.Pytester) -> None:
    result = run(
        suite,
        """
        import socket
        import pytest

        REAL = [socket.socket]

        @pytest.fixture
        def broken():
            raise ZeroDivisionError

        def test_failure(pysock):
            assert 0

        def test_back(): assert socket.socket is REAL[0]

        def test_error(pysock, broken):
            pass

        def test_back_again(): assert socket.socket is REAL[0]
        """,
    )
    result.assert_outcomes(failed=1, errors=1, passed=2)
    assert result.stdout.str().count("replay: pytest") == 2


@pytest.mark.parametrize("arguments", ["clock='fast'", "seeds=1", "'real'"])
def test_wrong_markers_say_what_is_right(suite: pytest.Pytester, arguments: str) -> None:
    result = run(suite, f"import pytest\n@pytest.mark.pysock({arguments})\ndef test_it(): pass")
    result.assert_outcomes(errors=1)
    said = r".*@pytest\.mark\.pysock(\(clock=...\) must be 'virtual' or| takes clock=, seed=,).*"
    result.stdout.re_match_lines([said])


def test_same_seed_same_instants(suite: pytest.Pytester) -> None:
    source = """
        import asyncio, time

        async def talk():
            async def echo(reader, writer):
                writer.write(await reader.readline())
                writer.close()
            async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
                address = server.sockets[0].getsockname()
                reader, writer = await asyncio.open_connection(*address)
                await asyncio.sleep(1.5)
                writer.write(b"x\\n")
                await reader.read()
                name = writer.get_extra_info("sockname")
                writer.close()
                await writer.wait_closed()
                return address, name, time.monotonic_ns()

        def test_it(pysock):
            with open("seen", "w") as file:
                print(asyncio.run(talk()), file=file)
        """
    seen = []
    for seed in (3, 3, 4):
        run(suite, source, f"--pysock-seed={seed}").assert_outcomes(passed=1)
        seen.append((suite.path / "seen").read_text())
    assert seen[0] == seen[1] != seen[2]


def test_capture(suite: pytest.Pytester) -> None:
    pytest.importorskip("pysock.lab.capture")
    result = run(
        suite,
        """
        import socket

        def test_it(pysock, tmp_path):
            pysock.capture("out.pcapng")
            with socket.create_server(("127.0.0.1", 0)) as server:
                socket.create_connection(server.getsockname()).close()
        """,
    )
    result.assert_outcomes(passed=1)
    assert (suite.path / "out.pcapng").read_bytes()[:4] == b"\x0a\x0d\x0d\x0a"

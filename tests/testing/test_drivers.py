"""What the driver setting means for a test: a cable of that kind from its own host to a peer."""

from __future__ import annotations

import pytest
from support.realnet import missing
from support.suites import run

BODY = """
    import socket
    import pytest

    def test_it(pysock):
        assert pysock.network.driver == DRIVER
        with pysock.peer:
            server = socket.create_server(("peer", 80))
        with server, socket.create_connection(("peer", 80)) as client:
            accepted, address = server.accept()
            with accepted:
                client.sendall(b"hello")
                assert accepted.recv(10) == b"hello"
            assert address[0] == pysock.host.address == socket.gethostbyname(socket.gethostname())
        device = pysock.host.ends[0].dev
        assert (device.name, device.driver.name) == ("eth0", KIND)
        assert pysock.peer.ends[0].dev.stats.rx_bytes > 0

    def test_local(pysock):
        names = [name for _, name in socket.if_nameindex()]
        assert names == (["lo"] if DRIVER == "loopback" else ["lo", "eth0"])
        with socket.create_server(("127.0.0.1", 80)), socket.create_connection(("127.0.0.1", 80)):
            pass
"""
#: A child that answers as one on a machine without TAP devices.
REFUSING = """
    import pathlib
    import pysock.lab.tapcables as cables

    cables._PROGRAM = pathlib.Path(__file__).with_name("refusing.py")
    cables._PROGRAM.write_text(
        "import socket, sys\\n"
        "peer = socket.socket(fileno=int(sys.argv[1]))\\n"
        "peer.recv(100)\\n"
        "peer.send(b'%d no /dev/net/tun here')\\n"
    )
"""


@pytest.mark.parametrize(("driver", "kind"), [("loopback", "veth"), ("e100", "e100"), ("tap", "tap")])
def test_the_cable_is_made_of_it(suite: pytest.Pytester, driver: str, kind: str) -> None:
    if driver == "tap" and missing():
        pytest.skip(f"TAP: {missing()}")
    source = BODY.replace("DRIVER", repr(driver)).replace("KIND", repr(kind))
    run(suite, source, f"--pysock-driver={driver}").assert_outcomes(passed=2)


def test_the_host_can_be_linked_to_more(suite: pytest.Pytester) -> None:
    source = """
        import socket

        def test_it(pysock):
            net = pysock.network
            a, b = net.hosts("a", "b")
            router = net.router("router", pysock.host, net.switch("lan", a, b))
            with b:
                server = socket.create_server(("b", 80))
            with server, socket.create_connection(("b", 80)) as client:  # by the router, which nobody told it of
                accepted, address = server.accept()
                accepted.close()
                assert address[0] == str(pysock.host.addresses[-2])  # of its second card
                assert client.recv(1) == b""
            assert router.counters.ip.ForwDatagrams > 0
            assert {link.medium.name for link in net.links} == {"e100"}
    """
    run(suite, source, "--pysock-driver=e100").assert_outcomes(passed=1)


@pytest.mark.parametrize("number", [2, 13, 1])  # ENOENT, EACCES, EPERM
def test_without_tap_devices_it_skips_aloud(suite: pytest.Pytester, number: int) -> None:
    suite.makeconftest(REFUSING.replace("%d", str(number)))
    result = run(suite, "def test_a(pysock): pass\ndef test_b(pysock): pass\ndef test_c(): pass", "--pysock-driver=tap")
    result.assert_outcomes(skipped=2, passed=1)
    assert "pysock: driver tap SKIPPED in 2 tests: no /dev/net/tun here" in result.stdout.str()


def test_another_error_is_an_error(suite: pytest.Pytester) -> None:
    suite.makeconftest(REFUSING.replace("%d", "5"))
    result = run(suite, "def test_a(pysock): pass", "--pysock-driver=tap")
    result.assert_outcomes(errors=1)
    assert "SKIPPED" not in result.stdout.str()


def test_the_clock_of_a_tap_is_real_unless_somebody_wants_another(suite: pytest.Pytester) -> None:
    suite.makeconftest(REFUSING.replace("%d", "2"))
    source = """
        import pytest
        from pysock.testing.settings import settings_of

        @pytest.fixture
        def settings(request):
            return settings_of(request.node)

        def test_default(settings):
            assert (settings.clock, settings.impossible) == ("real", "")

        @pytest.mark.pysock(clock="virtual")
        def test_marked(pysock):
            assert False

        @pytest.mark.pysock(clock="virtual", driver="e100")
        def test_marked_with_another_driver(pysock):
            assert pysock.clock.virtual
    """
    result = run(suite, source, "--pysock-driver=tap", "-rs")
    result.assert_outcomes(passed=2, skipped=1)
    assert "the test wants virtual time, and a TAP connects to real time" in result.stdout.str()
    assert "pysock: driver tap" not in result.stdout.str()


def test_a_contradiction_is_an_error(suite: pytest.Pytester) -> None:
    source = """
        import pytest

        @pytest.mark.pysock(clock="virtual", driver="tap")
        def test_it():
            pass
    """
    said = "driver tap and clock virtual exclude each other"
    result = run(suite, source)
    result.assert_outcomes(errors=1)
    assert said in result.stdout.str()
    result = run(suite, "def test_it(pysock): pass", "--pysock-driver=tap", "--pysock-clock=virtual")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert said in result.stderr.str()

"""Calls that sleep: until there is something, until a timeout, until the socket is closed.

One thread sleeps, the other one first sees it asleep (ObservedKernel), then acts. Timeouts run in virtual time, in
one thread.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable

import pytest
from support.patience import PATIENCE
from support.unix_api import DGRAM, SEQPACKET, STREAM, Unix, raises

from pysock.core.clock import NSEC_PER_SEC, RealClock
from pysock.core.sock import MsgHdr, Socket
from pysock.uapi.socket import MSG_WAITALL, SHUT_RD, SHUT_WR

pytestmark = pytest.mark.usefixtures("room")


class Sleeping:
    """A call in a thread of its own, which is asleep when the ``with`` body runs and done when it has ended."""

    def __init__(self, unix: Unix, call: Callable[[], object]) -> None:
        self.unix = unix
        self.result: object = None
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._run, args=(call,), daemon=True)

    def _run(self, call: Callable[[], object]) -> None:
        try:
            self.result = call()
        except BaseException as exc:
            self.error = exc

    def __enter__(self) -> Sleeping:
        kernel = self.unix.kernel
        kernel.sleeping.clear()
        self.thread.start()
        assert kernel.sleeping.wait(PATIENCE), "the call did not sleep"
        return self

    def __exit__(self, *exc: object) -> None:
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive(), "the call was not woken"

    def outcome(self) -> object:
        """What the call returned, or the errno it failed with."""
        return self.error.errno if isinstance(self.error, OSError) else self.result


@pytest.fixture
def live() -> Unix:
    """Blocking calls, in real time."""
    unix = Unix(RealClock())
    unix.dontwait = unix.nonblock = 0
    return unix


def test_recv_waits_for_data(live: Unix, kind: int) -> None:
    first, second = live.pair(kind)
    with Sleeping(live, lambda: live.recv(second, 9)) as call:
        live.send(first, b"data")
    assert call.outcome() == b"data"


@pytest.mark.parametrize("event", ["shutdown here", "shutdown there", "close"])
def test_recv_ends_with_the_connection(live: Unix, connected_kind: int, event: str) -> None:
    first, second = live.pair(connected_kind)
    with Sleeping(live, lambda: live.recv(second, 9)) as call:
        if event == "shutdown here":
            live.shutdown(second, SHUT_RD)
        elif event == "shutdown there":
            live.shutdown(first, SHUT_WR)
        else:
            live.close(first)
    assert call.outcome() == b""


def test_a_datagram_socket_shut_down_ends_a_recv(live: Unix) -> None:
    _, second = live.pair(DGRAM)
    with Sleeping(live, lambda: live.recv(second, 9)) as call:
        live.shutdown(second, SHUT_RD)
    assert call.outcome() == b""


def test_closing_a_socket_wakes_its_own_sleepers(live: Unix, kind: int) -> None:
    _, second = live.pair(kind)
    with Sleeping(live, lambda: live.recv(second, 9)) as call:
        live.close(second)
    assert call.outcome() == errno.EBADF


def test_recv_all_waits_for_all(live: Unix) -> None:
    first, second = live.pair(STREAM)
    live.send(first, b"ab")
    with Sleeping(live, lambda: live.recv(second, 5, MSG_WAITALL)) as call:
        live.send(first, b"cdefg")
    assert call.outcome() == b"abcde"
    assert live.recv(second, 9) == b"fg"


def test_recv_all_ends_with_the_connection(live: Unix) -> None:
    first, second = live.pair(STREAM)
    live.send(first, b"ab")
    with Sleeping(live, lambda: live.recv(second, 5, MSG_WAITALL)) as call:
        live.close(first)
    assert call.outcome() == b"ab"


def test_the_low_water_mark(live: Unix) -> None:
    first, second = live.pair(STREAM)
    live.sk(second).rcvlowat = 3
    live.send(first, b"ab")
    with Sleeping(live, lambda: live.recv(second, 9)) as call:
        live.send(first, b"c")
    assert call.outcome() == b"abc"


def test_a_stream_send_waits_until_all_is_taken(live: Unix) -> None:
    first, second = live.pair(STREAM)
    data = bytes(range(256)) * 4096
    received = bytearray()
    with Sleeping(live, lambda: live.send(first, data)) as call:
        while len(received) < len(data):
            received += live.recv(second, 30_000)
    assert call.outcome() == len(data)
    assert received == data


def test_a_stream_send_says_how_much_was_taken_before_the_end(live: Unix) -> None:
    first, second = live.pair(STREAM)
    with Sleeping(live, lambda: live.send(first, bytes(1 << 20))) as call:
        taken = live.inq(second)
        live.close(second)
    assert call.outcome() == taken
    with raises(errno.EPIPE):
        live.send(first, b"x")


@pytest.mark.parametrize("event", ["read", "closed", "shut down", "close"])
def test_a_message_send_waits_for_buffer(live: Unix, event: str) -> None:
    first, second = live.pair(SEQPACKET)
    live.send(first, bytes(200_000))
    live.send(first, bytes(20_000))
    expected = {"read": 1, "closed": errno.ECONNRESET, "shut down": errno.EPIPE, "close": errno.EBADF}
    with Sleeping(live, lambda: live.send(first, b"x")) as call:
        if event == "read":
            live.recv(second, 1)
        elif event == "closed":
            live.close(second)
        elif event == "shut down":
            live.shutdown(first, SHUT_WR)
        else:
            live.close(first)
    assert call.outcome() == expected[event]


def fill(unix: Unix) -> tuple[Socket, Socket]:
    server, client = unix.socket(DGRAM), unix.socket(DGRAM)
    unix.bind(server, "server")
    for _ in range(11):
        unix.sendto(client, b"x", "server")
    return server, client


@pytest.mark.parametrize("event", ["read", "server closed", "server connects elsewhere", "close"])
def test_a_datagram_send_waits_for_the_receiver(live: Unix, event: str) -> None:
    server, client = fill(live)
    other = live.socket(DGRAM)
    live.bind(other, "other")
    with Sleeping(live, lambda: live.sendto(client, b"!", "server")) as call:
        if event == "read":
            live.recv(server, 1)
        elif event == "server closed":
            live.close(server)
        elif event == "server connects elsewhere":
            live.connect(server, "other")
            live.recv(server, 1)
        else:
            live.close(client)
    expected = {
        "read": 1,
        "server closed": errno.ECONNREFUSED,
        "server connects elsewhere": errno.EPERM,
        "close": errno.EBADF,
    }
    assert call.outcome() == expected[event]
    if event != "server closed":
        assert not live.sk(server).peer_wait.entries


def listening(unix: Unix, kind: int) -> Socket:
    server = unix.socket(kind)
    unix.bind(server, "server")
    unix.listen(server, 0)
    return server


@pytest.mark.parametrize("event", ["connect", "shutdown", "close"])
def test_accept_waits(live: Unix, connected_kind: int, event: str) -> None:
    server = listening(live, connected_kind)
    with Sleeping(live, lambda: live.accept(server)) as call:
        if event == "connect":
            live.connect(live.socket(connected_kind), "server")
        elif event == "shutdown":
            live.shutdown(server, SHUT_RD)
        else:
            live.close(server)
    if event == "connect":
        assert isinstance(call.outcome(), Socket)
    else:
        assert call.outcome() == {"shutdown": errno.EINVAL, "close": errno.EBADF}[event]


@pytest.mark.parametrize("event", ["accept", "listen", "server closed", "close"])
def test_connect_waits_for_the_backlog(live: Unix, connected_kind: int, event: str) -> None:
    server = listening(live, connected_kind)
    live.connect(live.socket(connected_kind), "server")
    client = live.socket(connected_kind)
    with Sleeping(live, lambda: live.connect(client, "server")) as call:
        if event == "accept":
            live.accept(server)
        elif event == "listen":
            live.listen(server, 5)
        elif event == "server closed":
            live.close(server)
        else:
            live.close(client)
    expected = {"server closed": errno.ECONNREFUSED, "close": errno.EBADF}
    assert call.outcome() == expected.get(event)


def test_one_connection_wakes_one_accept(live: Unix) -> None:
    server = listening(live, STREAM)
    with Sleeping(live, lambda: live.accept(server)) as one, Sleeping(live, lambda: live.accept(server)) as two:
        live.connect(live.socket(STREAM), "server")
        live.connect(live.socket(STREAM), "server")
    assert one.outcome() is not two.outcome()


# -- timeouts --------------------------------------------------------------------------------------------


@pytest.fixture
def timed() -> Unix:
    """Blocking calls, in virtual time: when everybody sleeps, time jumps."""
    unix = Unix()
    unix.dontwait = unix.nonblock = 0
    return unix


def took(unix: Unix, call: Callable[[], object], number: int = errno.EAGAIN) -> float:
    """How many seconds of its own time the failing call took."""
    start = unix.kernel.clock_ns()
    with raises(number):
        call()
    return (unix.kernel.clock_ns() - start) / NSEC_PER_SEC


def test_receive_timeout(timed: Unix, kind: int) -> None:
    _, second = timed.pair(kind)
    timed.sk(second).rcvtimeo = 5 * NSEC_PER_SEC
    assert took(timed, lambda: timed.recv(second, 1)) == 5


def test_receive_timeout_with_something_received(timed: Unix) -> None:
    first, second = timed.pair(STREAM)
    timed.sk(second).rcvtimeo = 5 * NSEC_PER_SEC
    timed.send(first, b"ab")
    start = timed.kernel.clock_ns()
    assert timed.recv(second, 9, MSG_WAITALL) == b"ab"
    assert timed.kernel.clock_ns() == start + 5 * NSEC_PER_SEC


def test_send_timeout(timed: Unix, kind: int) -> None:
    first, _ = timed.pair(kind)
    timed.sk(first).sndtimeo = 7 * NSEC_PER_SEC
    timed.send(first, bytes(100_000))
    timed.send(first, bytes(100_000))
    timed.send(first, bytes(100_000))
    assert took(timed, lambda: timed.send(first, b"x")) == 7


def test_send_timeout_with_something_sent(timed: Unix) -> None:
    first, second = timed.pair(STREAM)
    timed.sk(first).sndtimeo = 7 * NSEC_PER_SEC
    assert timed.send(first, bytes(1 << 20)) == timed.inq(second)


def test_send_timeout_at_a_full_receiver(timed: Unix) -> None:
    server, client = fill(timed)
    timed.sk(client).sndtimeo = 3 * NSEC_PER_SEC
    assert took(timed, lambda: timed.sendto(client, b"x", "server")) == 3
    assert not timed.sk(server).peer_wait.entries


def test_accept_timeout(timed: Unix, connected_kind: int) -> None:
    server = listening(timed, connected_kind)
    timed.sk(server).rcvtimeo = 2 * NSEC_PER_SEC
    assert took(timed, lambda: timed.accept(server)) == 2


def test_connect_timeout(timed: Unix, connected_kind: int) -> None:
    listening(timed, connected_kind)
    timed.connect(timed.socket(connected_kind), "server")
    client = timed.socket(connected_kind)
    timed.sk(client).sndtimeo = 4 * NSEC_PER_SEC
    assert took(timed, lambda: timed.connect(client, "server")) == 4


def test_a_timeout_keeps_the_files_with_the_caller(timed: Unix) -> None:
    first, _ = timed.pair(STREAM)
    timed.sk(first).sndtimeo = NSEC_PER_SEC
    timed.send(first, bytes(1 << 20))
    msg = MsgHdr()
    file = object()
    msg.files = [file]
    assert took(timed, lambda: timed.call(first, "sendmsg", b"x", 0, msg)) == 1
    assert msg.files == [file]

"""What several rows need: the clock, connected pairs, and a thread whose failure is heard."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from time import perf_counter as clock

from benchmarks.stack import SocketModule

__all__ = ["LOCALHOST", "Worker", "clock", "tcp_pair"]

LOCALHOST = "127.0.0.1"


def tcp_pair(net: SocketModule) -> tuple[socket.socket, socket.socket]:
    """A client and the server's end of one connection over loopback, blocking, TCP_NODELAY on both."""
    with net.socket(net.AF_INET, net.SOCK_STREAM) as listener:
        listener.bind((LOCALHOST, 0))
        listener.listen(1)
        client = net.socket(net.AF_INET, net.SOCK_STREAM)
        client.connect(listener.getsockname())
        server, _ = listener.accept()
    for end in (client, server):
        end.setsockopt(net.IPPROTO_TCP, net.TCP_NODELAY, 1)
    return client, server


class Worker:
    """A thread that owns a socket: closes it when done, so that the peer wakes up even after a failure.

    As a context manager it is started on entry; leaving joins it and raises what it raised.
    """

    def __init__(self, work: Callable[[socket.socket], None], end: socket.socket) -> None:
        self._work = work
        self._end = end
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            with self._end:
                self._work(self._end)
        except BaseException as error:  # handed to the thread that waits for us
            self._error = error

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._thread.join()
        if self._error is not None:
            raise self._error

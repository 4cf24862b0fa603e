"""pysock.patch(): in place everywhere, and taken back without a trace."""

from __future__ import annotations

import asyncio
import copy
import fcntl
import gc
import http.server
import importlib
import os
import pickle
import select
import selectors
import signal
import socket
import sys
import threading
import time
import types
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from support.descriptors import held

import pysock
from pysock.core.kernel import Kernel
from pysock.shim import cselect, csocket
from pysock.shim.patching import Patch
from pysock.vfs.task import current, set_default_task

TOUCHED = (
    "socket",
    "select",
    "_socket",
    "selectors",
    "os",
    "posix",
    "fcntl",
    "signal",
    "time",
    "_thread",
    "threading",
    "ssl",
)

# In lists, where a patch does not look.
REAL = [socket.socket, select.epoll, os.read, time.time, socket.getaddrinfo]


def attributes() -> dict[str, dict[str, object]]:
    """Everything that every module and the pollers of `selectors` hold, by identity."""
    found: dict[str, dict[str, object]] = {}
    for name, module in list(sys.modules.items()):
        if type(module) is types.ModuleType and not name.startswith(("pysock", "_pytest", "tests", "hypothesis")):
            found[name] = dict(vars(module))
    for cls in (selectors.SelectSelector, selectors.PollSelector, selectors.EpollSelector):
        found[cls.__name__] = dict(vars(cls))
    return found


@pytest.mark.parametrize("clock", ["real", "virtual"])
def test_undone_completely(clock: str) -> None:
    pysock.patch(clock=clock).undo()  # imports what it imports
    handlers = [signal.getsignal(number) for number in signal.valid_signals()]
    modules = dict(sys.modules)
    before = attributes()
    with pysock.patch(clock=clock):
        changed = attributes()
    after = attributes()
    assert [n for n in before for k in before[n] if before[n][k] is not after[n].get(k)] == []
    assert {n: set(v) for n, v in before.items()} == {n: set(after[n]) for n in before}
    assert {n: m for n, m in modules.items() if sys.modules.get(n) is not m} == {}
    assert [signal.getsignal(number) for number in signal.valid_signals()] == handlers
    differing = {n for n in before for k in before[n] if before[n][k] is not changed.get(n, {}).get(k)}
    wanted = {"socket", "os", "posix", "fcntl", "signal", "_thread", "threading", "selectors", "EpollSelector"}
    assert wanted <= differing
    assert ("time" in differing) == (clock == "virtual")


def test_what_is_in_place(patched: Patch) -> None:
    assert sys.modules["_socket"] is csocket
    assert sys.modules["select"] is cselect
    assert importlib.import_module("_socket") is csocket
    assert socket.socket is pysock.socket is not REAL[0]
    assert socket.socket.__module__ == "socket"
    assert select.epoll is cselect.epoll
    a, b = socket.socketpair()
    with a, b:
        assert a.fileno() in patched.task.fds
        assert os.fstat(a.fileno()).st_mode & 0o170000 == 0o140000


def test_context_manager_undoes_after_an_exception() -> None:
    with pytest.raises(ZeroDivisionError), pysock.patch():
        _ = 1 / 0
    assert socket.socket is REAL[0]


def test_undo_twice() -> None:
    active = pysock.patch()
    active.undo()
    active.undo()
    assert socket.socket is REAL[0]
    assert "undone" in repr(active)


def test_patches_nest_and_are_undone_in_any_order() -> None:
    outer = pysock.patch(seed=1)
    inner = pysock.patch(clock="virtual", seed=2)
    with socket.socket() as sock:
        assert sock.fileno() in inner.task.fds
    assert time.time is not REAL[3]
    outer.undo()
    with socket.socket() as sock:
        assert sock.fileno() in inner.task.fds
    inner.undo()
    assert socket.socket is REAL[0]
    assert time.time is REAL[3]


def test_inner_patch_gives_the_outer_one_back() -> None:
    with pysock.patch() as outer:
        with pysock.patch(clock="virtual"):
            pass
        assert time.time is REAL[3]
        with socket.socket() as sock:
            assert sock.fileno() in outer.task.fds


def test_a_given_kernel_and_namespace() -> None:
    kernel = Kernel.boot(clock="virtual", seed=42)
    other = kernel.new_net("other")
    with pysock.patch(kernel) as active:
        assert (active.kernel, active.net, active.seed) == (kernel, kernel.init_net, 42)
        assert time.time_ns() == kernel.clock.time_ns()
    with pysock.patch(net=other) as active:
        assert active.net is other
    with pytest.raises(TypeError, match=r"Kernel\.boot"):
        pysock.patch(kernel, clock="virtual")


def test_two_patches_are_two_universes() -> None:
    with pysock.patch(), socket.create_server(("127.0.0.1", 4000)), pysock.patch():
        with socket.create_server(("127.0.0.1", 4000)):
            pass
        with socket.socket() as sock, pytest.raises(ConnectionRefusedError):
            sock.connect(("127.0.0.1", 4000))


def test_names_that_others_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "early.py").write_text("from socket import socket, getaddrinfo\nfrom os import read\nimport select\n")
    (tmp_path / "late.py").write_text("from select import epoll\nfrom socket import socket\nfrom time import time\n")
    monkeypatch.syspath_prepend(tmp_path)
    early = importlib.import_module("early")
    try:
        with pysock.patch(clock="virtual"):
            late = importlib.import_module("late")
            assert early.socket is late.socket is pysock.socket
            assert early.select is cselect
            assert early.read is os.read
            assert early.read is not REAL[2]
            assert late.time() == time.time()
        assert [early.socket, early.read, early.getaddrinfo] == [REAL[0], REAL[2], REAL[4]]
        assert early.select is select
        assert [late.socket, late.epoll, late.time] == [REAL[0], REAL[1], REAL[3]]
    finally:
        sys.modules.pop("early", None)
        sys.modules.pop("late", None)


def test_stand_ins_do_not_become_methods(virtual: Patch) -> None:
    class Holder:
        clock = time.monotonic
        read = os.read
        poll = select.poll
        wait = select.select

    holder = Holder()
    assert holder.clock() == time.monotonic()
    assert holder.wait([], [], [], 0) == ([], [], [])
    assert holder.poll().poll(0) == []
    assert holder.read.__name__ == "read"
    assert repr(os.read) == "<built-in function read>"


def test_stand_ins_are_copied_and_pickled_by_name(virtual: Patch) -> None:
    for function in (os.read, open, time.sleep, socket.gethostbyname):
        assert copy.deepcopy(function) is function
        assert pickle.loads(pickle.dumps(function)) is function


def test_real_descriptors_go_on_working(patched: Patch) -> None:
    out, into = os.pipe()
    try:
        os.write(into, b"abc")
        buffer = bytearray(2)
        assert os.readv(out, [buffer]) == 2
        assert os.read(out, 9) == b"c"
        assert os.get_blocking(out)
        assert fcntl.fcntl(out, fcntl.F_GETFD) == fcntl.FD_CLOEXEC
    finally:
        os.close(out)
        os.close(into)


def test_real_sockets_from_before_go_on_working() -> None:
    a, b = socket.socketpair()
    with a, b:
        with pysock.patch():
            a.send(b"x")
            assert select.select([b], [], [], 10)[0] == [b]
            assert b.recv(1) == b"x"
        b.send(b"y")
        assert a.recv(1) == b"y"


def test_sockets_that_outlive_the_patch() -> None:
    with pysock.patch():
        a, b = socket.socketpair()
    a.send(b"x")
    assert b.recv(1) == b"x"
    a.close()
    b.close()
    with pytest.raises(OSError):
        os.fstat(b.fileno() if b.fileno() >= 0 else 999_999)


def test_placeholders_are_closed_with_their_sockets(patched: Patch) -> None:
    before = held()
    socks = [socket.socket() for _ in range(10)]
    socks.append(socks[0].dup())
    assert len(held() - before) == 11
    for sock in socks:
        sock.close()
    del sock, socks
    gc.collect()
    assert held() <= before


@pytest.mark.parametrize("clock", ["real", "virtual"])
def test_asyncio_streams(clock: str) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readline())
        await writer.drain()
        writer.close()

    async def main() -> bytes:
        async with await asyncio.start_server(echo, "localhost", 0) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
            writer.write(b"hello\n")
            answer = await reader.read()
            writer.close()
            await writer.wait_closed()
            return answer

    with pysock.patch(clock=clock):
        assert asyncio.run(main()) == b"hello\n"


def test_asyncio_threads_wake_the_loop(patched: Patch) -> None:
    async def main() -> int:
        return await asyncio.to_thread(lambda: 42)

    assert asyncio.run(main()) == 42


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "4")
        self.end_headers()
        self.wfile.write(b"body")

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.mark.parametrize("clock", ["real", "virtual"])
def test_http(clock: str) -> None:
    with pysock.patch(clock=clock), http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            with urllib.request.urlopen(f"http://localhost:{server.server_port}/") as response:
                assert response.read() == b"body"
        finally:
            server.shutdown()
            thread.join()


def test_threads_work_for_the_task_that_started_them(patched: Patch) -> None:
    fds: list[int] = []

    def child() -> None:
        with socket.socket() as sock:
            fds.append(sock.fileno())
            assert sock.fileno() in patched.task.fds

    before = set_default_task(None)
    token = pysock_current_set(patched)
    try:
        thread = threading.Thread(target=child)
        thread.start()
        thread.join()
    finally:
        token()
        set_default_task(before)
    assert fds


def pysock_current_set(active: Patch) -> Callable[[], None]:

    token = current.set(active.task)
    return lambda: current.reset(token)

"""os.fork(): in the child, inherited sockets are dead and say so, all else works; the parent notices nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from support.patience import PATIENCE

import pysock

PREAMBLE = """
import errno, os, select, selectors, socket, subprocess, sys, threading

def in_child(function):
    # Its prints come through a pipe, which also says when it is done.
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(w, repr(function()).encode())
        except BaseException as exc:
            os.write(w, repr(exc).encode())
        finally:
            os._exit(0)
    os.close(w)
    with selectors.DefaultSelector() as selector:
        selector.register(r, selectors.EVENT_READ)
        selector.select()
    with open(r) as answer:
        print(answer.read())
    os.waitpid(pid, 0)

def error(call, *args):
    try:
        return call(*args)
    except OSError as exc:
        return exc.errno == errno.EBADF and "parent process" in str(exc)
"""


def run(program: str) -> list[str]:
    """The lines that ``program`` prints under ``python -m pysock run``."""
    root = Path(pysock.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-m", "pysock", "run", "-c", PREAMBLE + program],
        check=False,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.stderr == ""
    assert done.returncode == 0
    return done.stdout.splitlines()


def test_inherited_sockets_are_dead_in_the_child_alone() -> None:
    assert run("""
a, b = socket.socketpair()
listener = socket.create_server(("127.0.0.1", 0))
epoll = select.epoll()
in_child(lambda: [error(a.send, b"x"), error(a.recv, 1), error(listener.accept), error(a.getsockname),
                  error(a.getsockopt, socket.SOL_SOCKET, socket.SO_TYPE), error(os.read, b.fileno(), 1),
                  error(epoll.poll, 0), len(select.select([a], [], [])[0]), a.close(), b.close()])
a.send(b"alive")
print(b.recv(9))
with a, b, socket.create_connection(listener.getsockname()) as client:
    print(listener.accept()[0].send(b"too"), client.recv(9))
listener.close()
""") == ["[True, True, True, True, True, True, True, 1, None, None]", "b'alive'", "3 b'too'"]


def test_the_child_has_a_universe_of_its_own() -> None:
    assert run("""
def talk():
    with socket.create_server(("127.0.0.1", 7777)) as mine, socket.create_connection(("localhost", 7777)) as client:
        with mine.accept()[0] as server:
            client.send(b"child")
            return server.recv(9), socket.gethostname()
with socket.create_server(("127.0.0.1", 7777)) as listener:
    socket.sethostname("box")
    in_child(talk)
    listener.setblocking(False)
    print(error(listener.accept))
""") == ["(b'child', 'box')", "False"]


def test_fork_while_other_threads_are_in_the_kernel() -> None:
    assert run("""
a, b = socket.socketpair()
stop = []
def chatter():
    while not stop:
        a.send(b"x")
        b.recv(1)
busy = threading.Thread(target=chatter)
sleeper = threading.Thread(target=lambda: socket.create_server(("127.0.0.1", 0)).accept(), daemon=True)
busy.start()
sleeper.start()
def talk():
    c, d = socket.socketpair()
    c.settimeout(0.001)
    return error(c.recv, 1), threading.active_count()
for _ in range(20):
    in_child(talk)
stop.append(True)
busy.join()
a.close()
b.close()
""") == ["(False, 1)"] * 20


def test_children_of_children() -> None:
    assert run("""
def child():
    first, second = socket.socketpair()
    in_child(lambda: [error(first.send, b"x"), [pair[0].send(b"y") for pair in [socket.socketpair()]]])
    sys.stdout.flush()
    return first.send(b"z")
in_child(child)
""") == ["[True, [1]]", "1"]


def test_namespaces_are_there_and_empty() -> None:
    assert run("""
import pysock
with pysock.patch() as outer:
    outer.kernel.acquire()
    other = outer.kernel.new_net("other")
    outer.kernel.leave()
    with pysock.patch(net=other) as inner:
        def look():
            with socket.create_server(("127.0.0.1", 5)):
                return inner.net is other, inner.net.name, inner.kernel is outer.kernel, inner.net is outer.net
        in_child(look)
        print(inner.net is other)
""") == ["(False, 'other', True, False)", "True"]


def test_subprocess_beside_sockets() -> None:
    """preexec_fn makes subprocess fork in Python; pipes and sockets share a selector."""
    assert run("""
a, b = socket.socketpair()
child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, preexec_fn=lambda: None)
selector = selectors.DefaultSelector()
selector.register(a, selectors.EVENT_READ)
selector.register(child.stdout, selectors.EVENT_READ)
child.stdin.write(b"through cat")
child.stdin.close()
print([key.fileobj is child.stdout for key, _ in selector.select()], child.stdout.read(), child.wait())
selector.unregister(child.stdout)
child.stdout.close()
b.send(b"x")
print([key.fileobj is a for key, _ in selector.select()])
selector.close()
a.close()
b.close()
""") == ["[True] b'through cat' 0", "[True]"]


def test_multiprocessing_says_so() -> None:
    """What connects processes by pipes works; what does it by a socket pair fails with the reason."""
    assert run("""
import multiprocessing
context = multiprocessing.get_context("fork")
one_way = context.Pipe(duplex=False)
child = context.Process(target=one_way[1].send, args=("through a pipe",))
child.start()
print(one_way[0].recv())
child.join()
duplex = context.Pipe()
in_child(lambda: error(duplex[1].send, "x"))
""") == ["through a pipe", "True"]

"""Whose host a program is on: pools, coroutines, children; and the same in real time."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import socket
import sys

import pytest

import pysock


def pair(clock: str = "virtual") -> tuple[pysock.Network, pysock.Host, pysock.Host]:
    net = pysock.Network(seed=1, clock=clock)
    a, b = net.hosts("a", "b")
    net.link(a, b)
    return net, a, b


def test_coroutines_take_their_host_along() -> None:
    net, a, b = pair()

    async def name() -> str:
        await asyncio.sleep(0.01)
        return socket.gethostname()

    async def main() -> list[str]:
        loop = asyncio.get_running_loop()
        later: asyncio.Future[str] = loop.create_future()
        with a:
            task = asyncio.create_task(name())
            found = [await asyncio.to_thread(socket.gethostname)]
            loop.call_later(0.01, lambda: later.set_result(socket.gethostname()))
        with b:
            found += [await asyncio.to_thread(socket.gethostname), await name()]
            found += [await loop.run_in_executor(None, a.run, socket.gethostname)]
        return [*found, await task, await later, socket.gethostname()]

    with net:
        assert asyncio.run(main()) == ["a", "b", "b", "a", "a", "a", "pysock"]


def test_the_threads_of_a_pool_belong_to_the_host_that_started_them() -> None:
    net, a, b = pair()
    with net:
        with a:
            pool = concurrent.futures.ThreadPoolExecutor(1)
            assert pool.submit(socket.gethostname).result() == "a"
        with b:
            assert pool.submit(socket.gethostname).result() == "a"
            assert pool.submit(b.run, socket.gethostname).result() == "b"
        pool.shutdown()


@pytest.mark.parametrize("clock", ["virtual", "real"])
def test_threads_and_tasks_talk_in_either_time(clock: str) -> None:
    net, a, b = pair(clock)

    def serve() -> None:
        with socket.create_server(("a", 80)) as server:
            ready.set_result(None)
            peer, _ = server.accept()
            with peer:
                peer.sendall(peer.recv(10).upper())

    async def ask() -> bytes:
        with b:
            reader, writer = await asyncio.open_connection("a", 80)
        writer.write(b"hello")
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        return answer

    with net:
        ready: concurrent.futures.Future[None] = concurrent.futures.Future()
        serving = a.start(serve)
        ready.result()
        assert asyncio.run(ask()) == b"HELLO"
        serving.result()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_network_does_not_cross_a_fork() -> None:
    net, a, b = pair()
    with net:
        with a:
            server = socket.create_server(("a", 80))
        with b:
            client = socket.create_connection(("a", 80))
            peer, _ = server.accept()
            child = os.fork()
            if not child:
                try:
                    with pytest.raises(OSError, match="parent"):
                        client.send(b"x")
                    assert socket.gethostname() == "b"
                    with socket.create_server(("127.0.0.1", 0)) as own:  # a network of its own
                        socket.create_connection(own.getsockname()).close()
                except BaseException as exc:
                    print(exc, file=sys.stderr, flush=True)
                    os._exit(1)
                os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        client.sendall(b"as before")
        assert peer.recv(10) == b"as before"
        for sock in (server, client, peer):
            sock.close()

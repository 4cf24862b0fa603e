"""trio: TCP streams, datagrams, TLS, cancellation, threads."""

from __future__ import annotations

import trio
from _pki import client_context, server_context


async def echo(stream):
    async with stream:
        async for chunk in stream:
            await stream.send_all(chunk.upper())


async def streams(nursery):
    def start(task_status):
        return trio.serve_tcp(echo, 0, host="127.0.0.1", task_status=task_status)

    listeners = await nursery.start(start)
    port = listeners[0].socket.getsockname()[1]
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(b"hello" * 20_000)
        await stream.send_eof()
        print(sum([len(chunk) async for chunk in stream]))


async def tls(nursery):
    context = server_context()

    def start(task_status):
        return trio.serve_ssl_over_tcp(echo, 0, context, host="127.0.0.1", task_status=task_status)

    listeners = await nursery.start(start)
    port = listeners[0].transport_listener.socket.getsockname()[1]
    stream = await trio.open_ssl_over_tcp_stream("localhost", port, ssl_context=client_context())
    async with stream:
        await stream.send_all(b"secret")
        print(await stream.receive_some())


async def datagrams():
    a, b = (trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) for _ in range(2))
    with a, b:
        await a.bind(("127.0.0.1", 0))
        await b.sendto(b"ping", a.getsockname())
        data, peer = await a.recvfrom(100)
        await a.sendto(data + b" pong", peer)
        print(await b.recv(100))
        with trio.move_on_after(0.05) as scope:
            await b.recv(1)
        print("cancelled", scope.cancelled_caught)


async def main():
    async with trio.open_nursery() as nursery:
        await streams(nursery)
        await tls(nursery)
        await datagrams()
        print(await trio.to_thread.run_sync(lambda: trio.from_thread.run_sync(lambda: "from a thread")))
        print(sorted({info[4][0] for info in await trio.socket.getaddrinfo("127.0.0.1", 80)}))
        nursery.cancel_scope.cancel()


trio.run(main)

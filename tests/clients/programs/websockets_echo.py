"""websockets: an asyncio server; asyncio and threaded clients, plain and by TLS."""

from __future__ import annotations

import asyncio
import threading

import websockets
from _pki import client_context, server_context
from websockets.sync.client import connect as connect_sync
from websockets.sync.server import serve as serve_sync


async def echo(ws):
    async for message in ws:
        await ws.send(message[::-1])


async def asynchronous(tls):
    async with websockets.serve(echo, "127.0.0.1", 0, ssl=server_context() if tls else None) as server:
        port = server.sockets[0].getsockname()[1]
        uri = f"{'wss' if tls else 'ws'}://localhost:{port}"
        options = {"ssl": client_context()} if tls else {}
        async with websockets.connect(uri, host="127.0.0.1", **options) as ws:
            for text in ("hello", "x" * 70_000, "bye"):
                await ws.send(text)
                print(len(await ws.recv()), text[:5])
            pong = await ws.ping()
            await pong
    print("closed", ws.close_code)


def echo_sync(ws):
    for message in ws:
        ws.send(message * 2)


def threaded(tls):
    with serve_sync(echo_sync, "127.0.0.1", 0, ssl=server_context() if tls else None) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        port = server.socket.getsockname()[1]
        options = {"ssl": client_context()} if tls else {}
        with connect_sync(f"{'wss' if tls else 'ws'}://localhost:{port}", **options) as ws:
            ws.send(b"ab")
            print(ws.recv())
            try:
                ws.recv(timeout=0.05)
            except TimeoutError:
                print("nothing more")
        server.shutdown()
        thread.join()


for tls in (False, True):
    asyncio.run(asynchronous(tls))
    threaded(tls)

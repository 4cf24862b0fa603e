"""aiohttp's server and client in one loop: requests, uploads, a websocket, TLS, a timeout."""

from __future__ import annotations

import asyncio

import aiohttp
from _pki import client_context, server_context
from aiohttp import web


async def hello(request):
    return web.Response(text=f"hello {request.match_info['name']}")


async def upload(request):
    return web.json_response({"length": len(await request.read())})


async def socket(request):
    ws = web.WebSocketResponse()
    await ws.prepare(request)
    async for message in ws:
        if message.data == "bye":
            await ws.close()
        else:
            await ws.send_str(message.data.upper())
    return ws


async def slow(request):
    await asyncio.sleep(5)
    return web.Response()


async def exchange(base, context):
    async with aiohttp.ClientSession() as session:
        for name in ("a", "b"):
            async with session.get(f"{base}/hello/{name}", ssl=context) as response:
                print(response.status, await response.text())
        async with session.post(f"{base}/upload", data=b"x" * 500_000, ssl=context) as response:
            print(await response.json())
        async with session.ws_connect(f"{base}/socket", ssl=context) as ws:
            await ws.send_str("shout")
            print((await ws.receive()).data)
            await ws.send_str("bye")
            print((await ws.receive()).type.name)
        try:
            async with session.get(f"{base}/slow", timeout=aiohttp.ClientTimeout(total=0.1), ssl=context):
                pass
        except TimeoutError as exc:
            print(type(exc).__name__)


async def main():
    app = web.Application(client_max_size=10**7)
    app.add_routes([web.get("/hello/{name}", hello), web.post("/upload", upload)])
    app.add_routes([web.get("/socket", socket), web.get("/slow", slow)])
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    plain = web.TCPSite(runner, "127.0.0.1", 0)
    secure = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=server_context())
    await plain.start()
    await secure.start()
    (_, plain_port), (_, secure_port) = runner.addresses
    await exchange(f"http://127.0.0.1:{plain_port}", True)
    await exchange(f"https://localhost:{secure_port}", client_context())
    await runner.cleanup()


asyncio.run(main())

"""httpx, sync and async, against uvicorn in a thread, plain and by TLS."""

from __future__ import annotations

import asyncio
import os
import tempfile
import threading
import time

import httpx
import uvicorn
from _pki import authority, client_context


async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    answer = f"{scope['method']} {scope['path']} {len(body)}".encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    for place in range(0, len(answer), 5):
        await send({"type": "http.response.body", "body": answer[place : place + 5], "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def serve(**options):
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", lifespan="off", **options))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    return server, thread, server.servers[0].sockets[0].getsockname()[1]


def blocking(base, verify):
    with httpx.Client(verify=verify, trust_env=False) as client:
        for number in range(3):
            print(client.get(f"{base}/{number}").text)
        print(client.post(base, content=b"x" * 200_000).text)


async def asynchronous(base, verify):
    async with httpx.AsyncClient(verify=verify, trust_env=False) as client:
        answers = await asyncio.gather(*(client.get(f"{base}/{number}") for number in range(10)))
        print([answer.text for answer in answers])
        async with client.stream("GET", f"{base}/stream") as response:
            print(b"".join([chunk async for chunk in response.aiter_raw()]))


certificate = authority.issue_cert("localhost")
with tempfile.TemporaryDirectory() as folder:
    chain, key = os.path.join(folder, "chain.pem"), os.path.join(folder, "key.pem")
    with open(chain, "wb") as file:
        file.write(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
    certificate.private_key_pem.write_to_path(key)
    plain, plain_thread, plain_port = serve()
    secure, secure_thread, secure_port = serve(ssl_certfile=chain, ssl_keyfile=key)
    for base in (f"http://127.0.0.1:{plain_port}", f"https://localhost:{secure_port}"):
        blocking(base, client_context())
        asyncio.run(asynchronous(base, client_context()))
    for server, thread in ((plain, plain_thread), (secure, secure_thread)):
        server.should_exit = True
        thread.join()

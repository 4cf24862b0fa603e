"""anyio on both of its backends: TCP, UDP, Unix sockets, TLS, happy eyeballs, a subprocess beside them."""

from __future__ import annotations

import os
import sys
import tempfile

import anyio
from _pki import client_context, server_context
from anyio.streams.tls import TLSListener


async def echo(stream):
    async with stream:
        await stream.send(b"<" + await stream.receive() + b">")


async def main():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "socket")
        plain = await anyio.create_tcp_listener(local_host="127.0.0.1")
        inner = await anyio.create_tcp_listener(local_host="127.0.0.1")
        secure = TLSListener(inner, server_context(), False)
        local = await anyio.create_unix_listener(path)
        async with plain, secure, local, anyio.create_task_group() as tasks:
            for listener in (plain, secure, local):
                tasks.start_soon(listener.serve, echo)
            port = plain.extra(anyio.abc.SocketAttribute.local_port)
            secure_port = inner.extra(anyio.abc.SocketAttribute.local_port)
            async with await anyio.connect_tcp("localhost", port) as stream:
                await stream.send(b"plain")
                print(await stream.receive())
            context = client_context()
            async with await anyio.connect_tcp(
                "localhost", secure_port, ssl_context=context, tls_standard_compatible=False
            ) as stream:
                await stream.send(b"secure")
                print(await stream.receive())
            async with await anyio.connect_unix(path) as stream:
                await stream.send(b"local")
                print(await stream.receive())
            tasks.cancel_scope.cancel()
    async with await anyio.create_udp_socket(local_host="127.0.0.1") as udp:
        await udp.sendto(b"datagram", "127.0.0.1", udp.extra(anyio.abc.SocketAttribute.local_port))
        print((await udp.receive())[0])
    done = await anyio.run_process([sys.executable, "-c", "print('child')"])
    print(done.stdout)


for backend in ("asyncio", "trio"):
    anyio.run(main, backend=backend)

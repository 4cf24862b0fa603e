"""Programs as people write them, a server on one host and its clients on the other."""

from __future__ import annotations

import asyncio
import selectors
import socket
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from support.cables import Lan
from support.tls import client_context, server_context

POLLERS = [selectors.SelectSelector, selectors.PollSelector, selectors.EpollSelector]


def test_asyncio_on_both_hosts(lan: Lan) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert socket.gethostname() == "peer"
        while line := await reader.readline():
            writer.write(line.upper())
            await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def client(number: int) -> int:
        reader, writer = await asyncio.open_connection("peer", 80)
        for n in range(5):
            writer.write(b"client %d line %d\n" % (number, n))
            assert await reader.readline() == b"CLIENT %d LINE %d\n" % (number, n)
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
        return number

    async def main() -> list[int]:
        with lan.peer:
            server = await asyncio.start_server(serve, "peer", 80)
        async with server:
            return await asyncio.gather(*(client(number) for number in range(20)))

    assert asyncio.run(main()) == list(range(20))


def test_asyncio_datagrams(lan: Lan) -> None:
    class Echo(asyncio.DatagramProtocol):
        def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
            self.transport = transport

        def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
            self.transport.sendto(data * 2, addr)

    class Client(asyncio.DatagramProtocol):
        def __init__(self) -> None:
            self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
            self.answer.set_result(data)

    async def main() -> bytes:
        loop = asyncio.get_running_loop()
        with lan.peer:
            server, _ = await loop.create_datagram_endpoint(Echo, ("peer", 7))
        transport, client = await loop.create_datagram_endpoint(Client, remote_addr=("peer", 7))
        transport.sendto(b"twice")
        answer = await asyncio.wait_for(client.answer, 30)
        for one in (server, transport):
            one.close()
        return answer

    assert asyncio.run(main()) == b"twicetwice"


def test_a_thread_for_each_client(lan: Lan) -> None:
    def client(number: int) -> bytes:
        with socket.create_connection(("peer", 80)) as sock:
            sock.sendall(b"%d" % number * 1000)
            sock.shutdown(socket.SHUT_WR)
            parts = []
            while data := sock.recv(4096):
                parts.append(data)
            return b"".join(parts)

    def serve(sock: socket.socket) -> None:
        with sock:
            while data := sock.recv(4096):
                sock.sendall(data)

    with lan.listen() as server:
        clients = [lan.here.start(client, number) for number in range(8)]
        serving = [lan.peer.start(serve, server.accept()[0]) for _ in clients]
        for number, running in enumerate(clients):
            assert running.result(60) == b"%d" % number * 1000
        for one in serving:
            one.result(60)


def test_tls(lan: Lan, family: int) -> None:
    """A handshake, a megabyte each way, and a proper end."""

    def serve(server: socket.socket) -> int:
        sock, _ = server.accept()
        with server_context().wrap_socket(sock, server_side=True) as tls:
            got = 0
            while data := tls.recv(65536):
                tls.sendall(data)
                got += len(data)
                if got == 1 << 20:
                    break
            tls.unwrap().close()
            return got

    with lan.listen(family, 443) as server:
        serving = lan.peer.start(serve, server)
        sock = socket.create_connection((lan.address(family), 443))
        with client_context().wrap_socket(sock, server_hostname="localhost") as tls:
            assert tls.version() == "TLSv1.3"
            for n in range(64):
                block = bytes((n,)) * 16384
                tls.sendall(block)
                got = b""
                while len(got) < len(block):
                    got += tls.recv(len(block) - len(got))
                assert got == block
            assert tls.recv(1) == b""
            tls.unwrap().close()
        assert serving.result(60) == 1 << 20


@pytest.mark.parametrize("poller", POLLERS)
def test_one_thread_and_a_selector(lan: Lan, poller: type[selectors.BaseSelector]) -> None:
    with lan.listen() as server, poller() as selector:
        clients = [socket.create_connection(("peer", 80)) for _ in range(10)]
        server.setblocking(False)
        selector.register(server, selectors.EVENT_READ)
        for number, sock in enumerate(clients):
            sock.setblocking(False)
            selector.register(sock, selectors.EVENT_READ, number)
            sock.send(b"%d" % number)
        answered = set()
        while len(answered) < len(clients):
            events = selector.select(30)
            assert events
            for key, _ in events:
                if key.fileobj is server:
                    theirs, _ = server.accept()
                    theirs.setblocking(False)
                    selector.register(theirs, selectors.EVENT_READ)
                    continue
                assert isinstance(key.fileobj, socket.socket)
                data = key.fileobj.recv(100)
                if key.data is None and data:
                    key.fileobj.sendall(data)
                elif key.data is not None:
                    assert data == b"%d" % key.data
                    answered.add(key.data)
        for key in list(selector.get_map().values()):
            if key.fileobj is not server:
                assert isinstance(key.fileobj, socket.socket)
                key.fileobj.close()


def test_http(lan: Lan) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.path.encode() * 5000
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with lan.peer:
        server = ThreadingHTTPServer(("peer", 8000), Handler)
    serving = lan.peer.start(server.serve_forever, 0.01)
    for path in ("/one", "/two"):
        with urllib.request.urlopen(f"http://peer:8000{path}", timeout=60) as answer:
            assert answer.read() == path.encode() * 5000
    server.shutdown()
    serving.result(60)
    server.server_close()

"""Unmodified programs on a kernel of several simulated CPUs."""

from __future__ import annotations

import asyncio
import socket
import threading

import pysock
from pysock.core.rps import netif_set_rps_cpus, netif_set_rps_flow_cnt


def kernel_of_four(clock: str) -> pysock.Kernel:
    kernel = pysock.Kernel.boot(clock=clock, seed=1, cpus=4)
    lo = kernel.init_net.loopback_dev
    assert lo is not None
    netif_set_rps_cpus(lo, 0, 0b1111)
    netif_set_rps_flow_cnt(lo, 0, 1024)
    kernel.init_net.sysctl.set("net.core.rps_sock_flow_entries", 1024)
    return kernel


def test_threads_that_read_where_they_are() -> None:
    """Each server thread has a CPU, and in the end its connection's packets come in there."""
    kernel = kernel_of_four("real")
    found: dict[int, int] = {}

    def serve(conn: socket.socket, cpu: int) -> None:
        kernel.set_cpu(cpu)
        with conn:
            while data := conn.recv(100):
                conn.sendall(data.upper())
                found[cpu] = conn.getsockopt(socket.SOL_SOCKET, 49)  # SO_INCOMING_CPU

    with pysock.patch(kernel):
        listener = socket.create_server(("127.0.0.1", 0))
        threads = []
        clients = []
        for cpu in range(4):
            client = socket.create_connection(listener.getsockname())
            conn, _ = listener.accept()
            thread = threading.Thread(target=serve, args=(conn, cpu))
            thread.start()
            clients.append(client)
            threads.append(thread)
        for n in range(20):
            for client in clients:
                client.sendall(b"hello %d" % n)
            for client in clients:
                assert client.recv(100) == b"HELLO %d" % n
        for client in clients:
            client.close()
        for thread in threads:
            thread.join()
        listener.close()
    assert found == {0: 0, 1: 1, 2: 2, 3: 3}
    assert all(cpu.processed for cpu in kernel.cpus)


def test_asyncio() -> None:
    kernel = kernel_of_four("virtual")

    async def main() -> list[bytes]:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while line := await reader.readline():
                writer.write(line[::-1])
            writer.close()

        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]

        async def client(cpu: int) -> bytes:
            kernel.set_cpu(cpu)
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"%d abc\n" % cpu)
            writer.write_eof()
            answer = await reader.read()
            writer.close()
            return answer

        answers = await asyncio.gather(*(client(n % 4) for n in range(12)))
        server.close()
        return answers

    with pysock.patch(kernel):
        assert asyncio.run(main()) == [b"\ncba %d" % (n % 4) for n in range(12)]
    assert all(cpu.processed for cpu in kernel.cpus)

"""dnspython: queries by UDP, by TCP after truncation, and a timeout, against a small server."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading

import dns.asyncquery
import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rdatatype
import dns.resolver
import dns.rrset


def answer(wire, udp):
    query = dns.message.from_wire(wire)
    question = query.question[0]
    name = question.name.to_text()
    if name.startswith("silent"):
        return None
    response = dns.message.make_response(query)
    if udp and name.startswith("big"):
        response.flags |= dns.flags.TC
    else:
        count = 40 if name.startswith("big") else 1
        response.answer.append(dns.rrset.from_text(name, 60, "IN", "A", *(f"192.0.2.{n}" for n in range(1, count + 1))))
    return response.to_wire()


def serve_udp(sock):
    while True:
        wire, peer = sock.recvfrom(4096)
        if not wire:
            return
        reply = answer(wire, True)
        if reply:
            sock.sendto(reply, peer)


def serve_tcp(sock):
    while True:
        connection, _ = sock.accept()
        with connection, connection.makefile("rb") as file:
            head = file.read(2)
            if len(head) < 2:
                return
            reply = answer(file.read(struct.unpack("!H", head)[0]), False)
            connection.sendall(struct.pack("!H", len(reply)) + reply)


tcp = socket.create_server(("127.0.0.1", 0))
port = tcp.getsockname()[1]
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind(("127.0.0.1", port))
threads = [threading.Thread(target=serve_udp, args=(udp,)), threading.Thread(target=serve_tcp, args=(tcp,))]
for thread in threads:
    thread.start()

resolver = dns.resolver.Resolver(configure=False)
resolver.nameservers, resolver.port, resolver.lifetime = ["127.0.0.1"], port, 2
print([record.address for record in resolver.resolve("small.example", "A")])
print(len(resolver.resolve("big.example", "A")))
question = dns.message.make_query("big.example", dns.rdatatype.A)
print(dns.query.udp_with_fallback(question, "127.0.0.1", port=port, timeout=2)[1])
try:
    dns.query.udp(dns.message.make_query("silent.example", "A"), "127.0.0.1", port=port, timeout=0.1)
except dns.exception.Timeout:
    print("timeout")


async def asynchronous():
    reply = await dns.asyncquery.udp(dns.message.make_query("small.example", "A"), "127.0.0.1", port=port, timeout=2)
    print(reply.answer[0][0])
    reply = await dns.asyncquery.tcp(question, "127.0.0.1", port=port, timeout=2)
    print(len(reply.answer[0]))


asyncio.run(asynchronous())
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
    sock.sendto(b"", ("127.0.0.1", port))
socket.create_connection(("127.0.0.1", port)).close()
for thread in threads:
    thread.join()
udp.close()
tcp.close()

"""redis-py, blocking and asyncio, against a small server: commands, pipelines, blocking pops, publish and subscribe."""

from __future__ import annotations

import asyncio
import socketserver
import threading
from collections import defaultdict

import redis
import redis.asyncio

store: dict[bytes, bytes] = {}
lists: dict[bytes, list[bytes]] = defaultdict(list)
changed = threading.Condition()
subscribers: list[tuple[bytes, object]] = []


def bulk(value):
    return b"$-1\r\n" if value is None else b"$%d\r\n%s\r\n" % (len(value), value)


def array(*items):
    return b"*%d\r\n" % len(items) + b"".join(items)


class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        while head := self.rfile.readline():
            words = []
            for _ in range(int(head[1:])):
                length = int(self.rfile.readline()[1:])
                words.append(self.rfile.read(length + 2)[:-2])
            self.wfile.write(self.answer(words[0].upper(), words[1:]))

    def answer(self, command, args):
        if command == b"SET":
            store[args[0]] = args[1]
            return b"+OK\r\n"
        if command == b"GET":
            return bulk(store.get(args[0]))
        if command == b"INCRBY":
            store[args[0]] = b"%d" % (int(store.get(args[0], b"0")) + int(args[1]))
            return b":%s\r\n" % store[args[0]]
        if command == b"RPUSH":
            with changed:
                lists[args[0]] += args[1:]
                changed.notify_all()
            return b":%d\r\n" % len(args[1:])
        if command == b"BLPOP":
            with changed:
                changed.wait_for(lambda: lists[args[0]])
                return array(bulk(args[0]), bulk(lists[args[0]].pop(0)))
        if command == b"SUBSCRIBE":
            subscribers.append((args[0], self.wfile))
            return array(bulk(b"subscribe"), bulk(args[0]), b":1\r\n")
        if command == b"PUBLISH":
            for channel, file in subscribers:
                if channel == args[0]:
                    file.write(array(bulk(b"message"), bulk(channel), bulk(args[1])))
            return b":%d\r\n" % len(subscribers)
        if command in (b"CLIENT", b"PING", b"UNSUBSCRIBE"):
            return b"+OK\r\n"
        return b"-ERR unknown command\r\n"


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True


server = Server(("127.0.0.1", 0), Handler)
thread = threading.Thread(target=server.serve_forever, args=(0.05,))
thread.start()
options = {"host": "127.0.0.1", "port": server.server_address[1], "protocol": 2}

with redis.Redis(**options) as client:
    client.set("key", b"x" * 100_000)
    print(len(client.get("key")), client.get("nothing"))
    with client.pipeline(transaction=False) as pipe:
        for _ in range(100):
            pipe.incr("counter")
        print(pipe.execute()[-1])
    popped = []
    popper = threading.Thread(target=lambda: popped.append(redis.Redis(**options).blpop("list")))
    popper.start()
    client.rpush("list", "late")
    popper.join()
    print(popped)
    try:
        client.execute_command("NONSENSE")
    except redis.ResponseError as exc:
        print(exc)
    with client.pubsub() as pubsub:
        pubsub.subscribe("news")
        print(pubsub.get_message(timeout=5)["type"])
        client.publish("news", "today")
        print(pubsub.get_message(timeout=5)["data"])


async def asynchronous():
    async with redis.asyncio.Redis(**options) as client:
        print(await asyncio.gather(*(client.set(f"key{n}", n) for n in range(5))))
        print(await client.get("key3"))


asyncio.run(asynchronous())
server.shutdown()
thread.join()
server.server_close()

"""asyncssh: server and client in one loop, a command and a forwarded port."""

from __future__ import annotations

import asyncio

import asyncssh


class Server(asyncssh.SSHServer):
    def begin_auth(self, username):
        return True

    def password_auth_supported(self):
        return True

    def validate_password(self, username, password):
        return password == "secret"

    def connection_requested(self, dest_host, dest_port, orig_host, orig_port):
        return True


async def process(process):
    data = await process.stdin.read()
    process.stdout.write(f"{process.command} {len(data)}\n")
    process.exit(3)


async def echo(reader, writer):
    writer.write(await reader.readline())
    writer.close()


async def main():
    key = asyncssh.generate_private_key("ssh-ed25519")
    options = {"server_factory": Server, "server_host_keys": [key], "process_factory": process}
    server = await asyncssh.listen("127.0.0.1", 0, **options)
    port = server.sockets[0].getsockname()[1]
    target = await asyncio.start_server(echo, "127.0.0.1", 0)
    options = {"username": "user", "client_keys": None, "agent_path": None, "config": None, "known_hosts": None}
    async with asyncssh.connect("127.0.0.1", port, password="secret", **options) as connection:
        done = await connection.run("count", input="x" * 100_000)
        print(done.stdout, done.exit_status)
        forward = await connection.forward_local_port("127.0.0.1", 0, "127.0.0.1", target.sockets[0].getsockname()[1])
        reader, writer = await asyncio.open_connection("127.0.0.1", forward.get_port())
        writer.write(b"through the tunnel\n")
        print(await reader.readline())
        writer.close()
        await writer.wait_closed()
        forward.close()
    try:
        await asyncssh.connect("127.0.0.1", port, password="wrong", **options)
    except asyncssh.PermissionDenied as exc:
        print(type(exc).__name__)
    target.close()
    server.close()
    await server.wait_closed()


asyncio.run(main())

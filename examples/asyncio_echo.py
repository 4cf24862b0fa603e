"""An asyncio echo server and five clients at once.

    python examples/asyncio_echo.py
    python -m pysock run --clock virtual examples/asyncio_echo.py       the pauses take no time at all
"""

import asyncio


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while line := await reader.readline():
        await asyncio.sleep(0.05)  # a slow server
        writer.write(line.upper())
        await writer.drain()
    writer.close()


async def client(port: int, name: str) -> list[str]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answers = []
    for word in ("hello", "from", name):
        writer.write(f"{word}\n".encode())
        answers.append((await reader.readline()).decode().strip())
    writer.close()
    await writer.wait_closed()
    return answers


async def main() -> None:
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        names = ["ada", "barbara", "grace", "katherine", "radia"]
        for answers in await asyncio.gather(*(client(port, name) for name in names)):
            print(*answers)
        # A client that never speaks is noticed by a timeout.
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            await asyncio.wait_for(reader.readline(), timeout=0.2)
        except TimeoutError:
            print("nobody answered in 0.2 s")
        writer.close()
        await writer.wait_closed()


if __name__ == "__main__":
    asyncio.run(main())

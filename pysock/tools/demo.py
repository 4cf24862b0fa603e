"""`python -m pysock demo`: an unmodified HTTP exchange on pysock, and what it looked like from inside.

The standard library's server and client talk inside ``with pysock.patch():`` and know nothing about it. They do so
twice with the same seed, so it is the same twice: once with a capture on the loopback device, once with the client's
request followed through the functions it runs. So neither way of watching shows in the other. The sockets are listed
while the server answers.

Times apart, the output is the same in every run with the same seed.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, NamedTuple, TextIO

from pysock.families.inet.tcp.net import TcpNet
from pysock.families.inet.tcp.sock import TcpSock
from pysock.lab.capture import Capture
from pysock.lab.pcapng import Packet, write_file
from pysock.tools import picture, walk
from pysock.tools.ladder import ladder
from pysock.tools.ss import ss_table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from pysock.core.net import Net
    from pysock.tools.picture import Line

WIDTH = 100
PORT = 8080
COMMAND = "python -m pysock demo"
TEXT = """\
You are reading this over TCP, and no kernel has seen a byte of it.
It was cut into segments, numbered, checksummed and acknowledged
inside one Python process, by code that you can open and read.
"""
SOURCE = """\
with pysock.patch():
    server = ThreadingHTTPServer(("127.0.0.1", 8080), Handler)
    threading.Thread(target=server.handle_request).start()
    with urlopen("http://127.0.0.1:8080/hello.txt") as response:
        print(response.status, response.reason, response.read())
"""


class Result(NamedTuple):
    """What an exchange left: the answer's status line and text, the steps of the request, the table, the packets."""

    status: str
    text: str
    steps: list[walk.Step]
    sockets: str
    packets: list[Packet]
    milliseconds: float


def exchange(seed: int | None) -> Result:
    """Run the program twice, each time on a kernel of its own."""
    import pysock

    with pysock.patch(seed=seed) as active, Capture(active.net) as capture:
        start = time.perf_counter()
        status, text, sockets = program(active.net)
        took = (time.perf_counter() - start) * 1000
    with pysock.patch(seed=seed) as active:
        net = active.net
        followed = walk.Walk("sendall", ready=lambda: wait_for_reader(net))
        program(net, followed)
    return Result(status, text, followed.steps, sockets, capture.packets, took)


def program(net: Net, around: AbstractContextManager[object] | None = None) -> tuple[str, str, str]:
    """The exchange, to be called under patch: the status line, the text, and the sockets meanwhile. ``around`` is
    entered while the client is at work.
    """
    import threading
    import urllib.request
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    # urlopen() without the environment's proxies, which are out of this network's reach.
    urlopen = urllib.request.build_opener(urllib.request.ProxyHandler({})).open
    sockets: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        """Answers in HTTP/1.0: the end of the text is the end of the connection."""

        def do_GET(self) -> None:
            sockets.append(ss_table(net, udp=False))
            self.send_response(200)
            self.send_header("Content-Type", "text/plain")
            self.end_headers()
            self.wfile.write(TEXT.encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    url = f"http://127.0.0.1:{PORT}/hello.txt"
    with ThreadingHTTPServer(("127.0.0.1", PORT), Handler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        with around or nullcontext(), urlopen(url, timeout=30) as response:
            text = response.read().decode()
            status = f"{response.status} {response.reason}"
        thread.join()
    return status, text, "".join(sockets)


def wait_for_reader(net: Net) -> None:
    """Give the server's thread time (up to 1 s) to accept and fall asleep over its socket, so that the walk of what
    wakes it is the same in every run.
    """
    tcp = net.get(TcpNet)
    for _ in range(2000):
        ends = [sk for sk in list(tcp.ehash.values()) if isinstance(sk, TcpSock) and sk.sport == PORT]
        if net.kernel.parked and any(sk.wait_queue is not None and sk.wait_queue.entries for sk in ends):
            return
        time.sleep(0.0005)


# --- showing it -------------------------------------------------------------------------------------------------------


def page(result: Result, *, ascii: bool = False) -> list[Line]:
    """Everything, in lines of at most WIDTH columns."""
    rule = "-" if ascii else "─"
    sections = (
        ("The program: the standard library's server and client, unmodified", _program()),
        ("What it printed", _answer(result)),
        ("The walk of the request: client.sendall(), down to the driver and up to the server's socket", _walk(result)),
        ("The segments on lo: client on the left, server on the right", _ladder(result, ascii)),
        ("ss -tan, while the server was answering", _sockets(result)),
    )
    lines: list[Line] = []
    for number, (title, body) in enumerate(sections, 1):
        lines.append([("title", f"{number}. {title} "), ("dim", rule * (WIDTH - len(title) - 4))])
        lines += body
        lines.append([])
    note = f"{len(result.packets)} packets in {result.milliseconds:.1f} ms, capture included; none left this process."
    lines.append([("dim", note)])
    return lines


def _program() -> Iterator[Line]:
    return ([("program", line)] for line in SOURCE.splitlines())


def _answer(result: Result) -> Iterator[Line]:
    yield [("", result.status)]
    for line in result.text.splitlines():
        yield [("", line)]


def _walk(result: Result) -> Iterator[Line]:
    room = ""
    for shown, name, says in walk.columns(walk.compress(result.steps), WIDTH):
        room = shown.strip() or room
        style = room if room in picture.COLOURS else ""
        yield [(style, shown), (style, name), ("dim", says)]


def _ladder(result: Result, ascii: bool) -> Iterator[Line]:
    first, *rungs = ladder(result.packets, WIDTH, ascii=ascii).splitlines()
    yield [("dim", first)]
    for rung in rungs:
        back = "<" in rung[:14] or "◀" in rung[:14]
        yield [("dim", rung[:11]), ("back" if back else "forth", rung[11:])]


def _sockets(result: Result) -> Iterator[Line]:
    first, *rest = result.sockets.splitlines()
    yield [("dim", first)]
    for line in rest:
        yield [("", line)]


# --- the command ------------------------------------------------------------------------------------------------------


def main(argv: list[str]) -> int:
    """Run the demonstration: 0, 1 when a file can't be written, 2 (SystemExit) for bad arguments."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, default=1, help="what chance starts from (default: 1)")
    parser.add_argument("--svg", metavar="FILE", help="draw the output as a picture, too")
    parser.add_argument("--pcap", metavar="FILE", help="write the segments to a pcapng file, too")
    options = parser.parse_args(argv)
    result = exchange(options.seed)
    print(_for(sys.stdout, result))
    try:
        if options.svg:
            lines: list[Line] = [[("program", "$ "), ("title", COMMAND)], [], *page(result)]
            with open(options.svg, "w", encoding="utf-8") as file:
                file.write(picture.svg(lines, COMMAND, WIDTH))
        if options.pcap:
            write_file(options.pcap, result.packets)
    except OSError as exc:
        print(f"{COMMAND}: {exc.filename}: {exc.strerror}", file=sys.stderr)
        return 1
    return 0


def _for(stream: TextIO, result: Result) -> str:
    """The page as ``stream`` can show it: in colour on a terminal (unless NO_COLOR), with lines of - where it must."""
    lines = page(result)
    try:
        picture.plain(lines).encode(stream.encoding or "utf-8")
    except UnicodeEncodeError:
        lines = page(result, ascii=True)
    if stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb":
        return picture.ansi(lines)
    return picture.plain(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

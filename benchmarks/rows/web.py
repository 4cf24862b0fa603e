"""The stdlib's HTTP server, a thread a request, and urllib in front of it."""

from __future__ import annotations

import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from benchmarks.rows.common import LOCALHOST, clock
from benchmarks.stack import Stack

BODY = b"hello\n"
POLL_SECONDS = 0.05  # how soon the server sees that it is to stop


class Hello(BaseHTTPRequestHandler):
    """Answers every GET with the same six bytes."""

    def do_GET(self) -> None:
        """As http.server wants it named."""
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet: a terminal is slower than a network."""


class Server(ThreadingHTTPServer):
    """Waits for its request threads when it closes: none of them outlives the round, or the patch."""

    daemon_threads = False


def http_threads(stack: Stack, count: int) -> float:
    """GETs a second, one after the other, each on a connection and a server thread of its own."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # whatever the environment says
    with Server((LOCALHOST, 0), Hello) as server:
        thread = threading.Thread(target=server.serve_forever, args=(POLL_SECONDS,), daemon=True)
        thread.start()
        try:
            url = f"http://{LOCALHOST}:{server.server_address[1]}/"
            get(opener, url)
            start = clock()
            for _ in range(count):
                get(opener, url)
            return count / (clock() - start)
        finally:
            server.shutdown()
            thread.join()


def get(opener: urllib.request.OpenerDirector, url: str) -> None:
    """One GET; ValueError if the answer is not ours."""
    with opener.open(url) as response:
        body = response.read()
    if body != BODY:
        raise ValueError(f"the server answered {body!r}")

"""A threaded HTTP server and a client, both from the stdlib and neither aware of pysock.

    python examples/http_exchange.py                        on the operating system's loopback
    python -m pysock run examples/http_exchange.py          on pysock's
"""

import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Hello(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/missing":
            self.send_error(404)
            return
        body = f"you asked for {self.path}\n".encode() * (1 if self.path != "/big" else 20_000)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(201)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[::-1])

    def log_message(self, format: str, *args: object) -> None:
        pass


def main() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hello)
    threading.Thread(target=server.serve_forever).start()
    base = f"http://127.0.0.1:{server.server_port}"
    try:
        with urllib.request.urlopen(f"{base}/hello") as response:
            print(response.status, response.read().decode().strip())
        with urllib.request.urlopen(f"{base}/big") as response:
            print(response.status, len(response.read()), "bytes")
        with urllib.request.urlopen(f"{base}/echo", data=b"stressed") as response:
            print(response.status, response.read().decode())
        try:
            urllib.request.urlopen(f"{base}/missing")
        except urllib.error.HTTPError as error:
            print(error.code, error.reason)
            error.close()
    finally:
        server.shutdown()
        server.server_close()


if __name__ == "__main__":
    main()

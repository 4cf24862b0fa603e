"""An HTTPS server in a thread and two requests over TLS, all of it the stdlib's, with certificates made by trustme.

    pip install trustme
    python examples/https_exchange.py                       on the operating system's loopback
    python -m pysock run examples/https_exchange.py         on pysock's
"""

import ssl
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.error import URLError

import trustme


class Hello(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = f"{self.path} over {self.connection.version()}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


class QuietServer(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """A client that does not trust us is no news."""


def main() -> None:
    authority = trustme.CA()
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server_side)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)

    server = QuietServer(("127.0.0.1", 0), Hello)
    server.socket = server_side.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever).start()
    url = f"https://localhost:{server.server_port}/hello"
    try:
        with urllib.request.urlopen(url, context=trusting) as response:
            print(response.status, response.read().decode().strip())
        try:
            urllib.request.urlopen(url, context=ssl.create_default_context())
        except URLError as error:
            print(error.reason.verify_message)
    finally:
        server.shutdown()
        server.server_close()


if __name__ == "__main__":
    main()

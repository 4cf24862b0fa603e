"""requests against http.server in threads: keep-alive, redirects, streaming, timeouts, HTTPS."""

from __future__ import annotations

import os
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import requests
from _pki import ca_file, server_context


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_GET(self):
        if self.path == "/redirect":
            self.send_response(302)
            self.send_header("Location", "/hello")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif self.path == "/stream":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for number in range(20):
                chunk = str(number).encode() * 1000
                self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            self.wfile.write(b"0\r\n\r\n")
        elif self.path == "/slow":
            time.sleep(1)
            self.answer(b"late")
        else:
            self.answer(self.path.encode())

    def do_POST(self):
        self.answer(str(sum(self.rfile.read(int(self.headers["Content-Length"])))).encode())

    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        pass  # the client of /slow is gone


def serve(context=None):
    server = Server(("127.0.0.1", 0), Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    return server, thread


def exchange(base, **options):
    with requests.Session() as session:
        for number in range(5):
            print(session.get(f"{base}/{number}", **options).text)
        print(session.get(f"{base}/redirect", **options).history)
        with session.get(f"{base}/stream", stream=True, **options) as response:
            print(sum(len(chunk) for chunk in response.iter_content(777)))
        print(session.post(base, data=b"\x01" * 300_000, **options).text)
        try:
            session.get(f"{base}/slow", timeout=0.1, **options)
        except requests.Timeout as exc:
            print(type(exc).__name__)


plain, plain_thread = serve()
secure, secure_thread = serve(server_context())
exchange(f"http://127.0.0.1:{plain.server_port}")
certificate = ca_file()
exchange(f"https://localhost:{secure.server_port}", verify=certificate)
try:
    requests.get(f"https://localhost:{secure.server_port}", timeout=5)
except requests.exceptions.SSLError as exc:
    print("untrusted:", "certificate verify failed" in str(exc))
os.unlink(certificate)
for server, thread in ((plain, plain_thread), (secure, secure_thread)):
    server.shutdown()
    thread.join()
    server.server_close()
try:
    requests.get(f"http://127.0.0.1:{plain.server_port}", timeout=5)
except requests.ConnectionError as exc:
    print("refused:", "Connection refused" in str(exc))

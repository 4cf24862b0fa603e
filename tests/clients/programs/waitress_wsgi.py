"""waitress (asyncore-like: select over sockets and a pipe, worker threads) with urllib and http.client."""

from __future__ import annotations

import http.client
import threading
import urllib.request

from waitress.server import create_server


def app(environ, start_response):
    body = environ["wsgi.input"].read()
    answer = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']} {len(body)}".encode()
    start_response("200 OK", [("Content-Length", str(len(answer)))])
    return [answer]


server = create_server(app, host="127.0.0.1", port=0, threads=2)
thread = threading.Thread(target=server.run, daemon=True)  # it has no way to stop but a signal
thread.start()
port = server.effective_port
for number in range(3):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/{number}") as response:
        print(response.read())
connection = http.client.HTTPConnection("127.0.0.1", port)
for size in (0, 100_000):
    connection.request("POST", "/upload", body=b"x" * size)
    print(connection.getresponse().read())
connection.close()

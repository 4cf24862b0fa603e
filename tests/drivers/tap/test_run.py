"""`python -m pysock run --driver tap`: unmodified programs reach the real system, and it reaches them."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.patience import PATIENCE
from support.realnet import RealNet, device_name

import pysock

_ROOT = str(Path(pysock.__file__).parents[1])


def start(*arguments: str, cwd: Path | None = None) -> subprocess.Popen[str]:
    paths = [_ROOT, os.environ.get("PYTHONPATH", "")]
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(filter(None, paths)), PYTHONUNBUFFERED="1")
    return subprocess.Popen(
        [sys.executable, "-m", "pysock", "run", *arguments],
        cwd=cwd,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture
def peer() -> Iterator[RealNet]:
    with RealNet() as net:
        yield net


def appear(name: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not Path(f"/sys/class/net/{name}").exists():
        assert time.monotonic() < deadline, f"no {name}"
        time.sleep(0.01)


def test_an_http_server(peer: RealNet, tmp_path: Path) -> None:
    """curl of the real system and a TAP that `run` makes, IPv4 and IPv6."""
    page = os.urandom(300_000)
    (tmp_path / "page").write_bytes(page)
    name = device_name()
    addresses = ["--address", "10.77.0.2/24", "--address", "fd77::2/64"]
    addresses += ["--gateway", "10.77.0.1", "--gateway", "fd77::1"]
    server = start("--driver", "tap", "--tap-name", name, *addresses, "-m", "http.server", "--bind", "::", "8000",
                   cwd=tmp_path)  # fmt: skip
    try:
        appear(name)
        peer.adopt(name, "10.77.0.1/24", "fd77::1/64")
        peer.ip("-n", peer.name, "addr", "add", "10.88.0.1/32", "dev", "lo")
        for host in ("10.77.0.2", "fd77::2"):
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            with peer.socket(family, socket.SOCK_STREAM) as client:
                deadline = time.monotonic() + PATIENCE
                while client.connect_ex((host, 8000)):
                    assert time.monotonic() < deadline, f"nobody listens on {host}"
                    time.sleep(0.02)
                if host == "10.77.0.2":
                    assert client.getsockname()[0] == "10.77.0.1"
                client.sendall(b"GET /page HTTP/1.0\r\n\r\n")
                answer = b""
                while piece := client.recv(1 << 16):
                    answer += piece
                assert answer.partition(b"\r\n\r\n")[2] == page
        # Through the gateway: an address that is on no network of the server's.
        with peer.socket(socket.AF_INET, socket.SOCK_STREAM) as client:
            client.bind(("10.88.0.1", 0))
            client.connect(("10.77.0.2", 8000))
            client.sendall(b"HEAD / HTTP/1.0\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.0 200")
        if shutil.which("curl"):
            target = tmp_path / "got"
            for host in ("10.77.0.2", "[fd77::2]"):
                peer.run("curl", "-sS", "-m", "10", "-o", str(target), f"http://{host}:8000/page")
                assert target.read_bytes() == page
    finally:
        server.kill()
        output = server.communicate()[0]
    assert "GET /page HTTP/1." in output, output


CLIENT = """
import socket
with socket.create_connection(("10.77.0.1", 4000), timeout=150) as sock:
    print(sock.getsockname()[0], sock.recv(9), flush=True)
"""


def test_a_client(peer: RealNet) -> None:
    """A device that exists is attached to, by its name alone; the program's first packet finds it ready."""
    name = device_name()
    peer.ip("tuntap", "add", "dev", name, "mode", "tap")
    peer.adopt(name, "10.77.0.1/24")
    with peer.socket(socket.AF_INET, socket.SOCK_STREAM) as server:
        server.bind(("10.77.0.1", 4000))
        server.listen()
        # A device is looked for in one's own namespace: so `run` runs there.
        client = peer.popen(
            "env", f"PYTHONPATH={_ROOT}", sys.executable, "-m", "pysock", "run", "--driver", "tap", "--tap-name", name,
            "--address", "10.77.0.2/24", "-c", CLIENT,
        )  # fmt: skip
        try:
            server.settimeout(PATIENCE)
            end, address = server.accept()
            with end:
                assert address[0] == "10.77.0.2"
                end.sendall(b"hello")
                assert client.communicate(timeout=PATIENCE)[0] == "10.77.0.2 b'hello'\n"
        finally:
            client.kill()
            client.communicate()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--address", "10.0.0.1/8"], "go with --driver"),
        (["--driver", "tap"], "needs an --address"),
        (["--driver", "tap", "--address", "10.0.0.300/8"], "is not ADDRESS/PREFIXLENGTH"),
        (["--driver", "tap", "--address", "10.0.0.1/33"], "0 to 32 bits"),
        (["--driver", "tap", "--address", "10.0.0.2/24", "--gateway", "10.0.0.1/24"], "--gateway is an address"),
        (["--driver", "tap", "--clock", "virtual", "--address", "10.0.0.1/8"], "needs --clock real"),
        (["--driver", "tap", "--address", "10.0.0.2/24", "--gateway", "10.0.1.1"], "network of the gateway 10.0.1.1"),
        (["--driver", "tap", "--tap-name", "x" * 16, "--address", "10.0.0.2/24"], "not a device name"),
    ],
)
def test_wrong_options(arguments: list[str], words: str) -> None:
    process = start(*arguments, "-c", "print('ran')")
    output = process.communicate(timeout=PATIENCE)[0]
    assert process.returncode in (1, 2)
    assert words in output
    assert "ran" not in output
    assert "Traceback" not in output

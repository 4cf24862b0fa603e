"""``python -m pysock run``: what a program prints, and how it ends, is what it would be without us."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import pysock

PROGRAM = """\
import os, sys
print(__name__, __file__, sys.argv, sys.path[0], type(__spec__).__name__, __builtins__.__name__, __doc__)
print(sys.modules["__main__"].__dict__ is globals(), os.getcwd())
def fail(): raise ValueError("oops")
what = sys.argv[1:]
if "raise" in what: fail()
if "exit" in what: sys.exit(7)
if "message" in what: sys.exit("bye")
if "none" in what: sys.exit()
if "interrupt" in what: raise KeyboardInterrupt
if "chain" in what:
    try: fail()
    except ValueError as exc: raise TypeError("again") from exc
if "hook" in what:
    sys.excepthook = lambda kind, exc, tb: print("hook", kind.__name__, exc, tb.tb_frame.f_code.co_name)
    fail()
if "refused" in what:
    import socket
    with socket.socket() as closed, socket.socket() as client:
        closed.bind(("127.0.0.1", 0))
        client.connect(closed.getsockname())
if "late" in what:
    import atexit, threading, time
    atexit.register(lambda: print("atexit", fail.__name__))
    threading.Thread(target=lambda: (time.sleep(0.01), print("thread", fail.__name__))).start()
"""

SOCKETS = """
import select, socket, sys
from pysock.shim import csocket
a, b = socket.socketpair()
a.send(b"x")
print(b.recv(1), select.select([a], [b], [], 0)[1] == [b])
assert sys.modules["_socket"] is csocket and socket._socket is csocket
with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
    print(server.accept()[0].send(b"hello"), client.recv(9), type(client) is socket.socket)
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "script.py").write_text(PROGRAM)
    (tmp_path / "bad.py").write_text("x = (\n")
    (tmp_path / "link.py").symlink_to(tmp_path / "folder" / "__main__.py")
    for name in ("folder", "package"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__main__.py").write_text(PROGRAM)
    (tmp_path / "package" / "__init__.py").touch()
    (tmp_path / "module.py").write_text(PROGRAM)
    with zipfile.ZipFile(tmp_path / "archive.pyz", "w") as archive:
        archive.writestr("__main__.py", PROGRAM)
    return tmp_path


def python(place: Path, *arguments: str) -> tuple[int, str, str]:
    assert pysock.__file__ is not None
    environment = {**os.environ, "PYTHONPATH": str(Path(pysock.__file__).resolve().parents[1])}
    environment.pop("PYTHONSAFEPATH", None)
    done = subprocess.run(
        [sys.executable, *arguments], cwd=place, env=environment, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        "script.py a --clock b",
        "./script.py",
        "script.py raise",
        "script.py exit",
        "script.py message",
        "script.py none",
        "script.py interrupt",
        "script.py chain",
        "script.py hook",
        "script.py late",
        "script.py refused",
        "link.py x",
        "bad.py",
        "missing.py",
        "folder raise",
        "archive.pyz x",
        "-m module a -m b",
        "-mmodule",
        "-m package raise",
        "-m missing",
    ],
)
def test_same_as_without(place: Path, arguments: str) -> None:
    words = arguments.split()
    assert python(place, "-m", "pysock", "run", *words) == python(place, *words)


def test_code(place: Path) -> None:
    words = ["-c", "import sys; print(__name__, sys.argv, repr(sys.path[0])); 1/0", "-x", "y"]
    assert python(place, "-m", "pysock", "run", *words)[:2] == python(place, *words)[:2]


@pytest.mark.parametrize("options", ["", "--clock real", "--clock=virtual --seed 3", "--seed=9"])
def test_sockets_are_ours(place: Path, options: str) -> None:
    code, out, error = python(place, "-W", "ignore", "-m", "pysock", "run", *options.split(), "-c", SOCKETS)
    assert (code, error) == (0, "")
    assert out == "b'x' True\n5 b'hello' True\n"


def test_virtual_clock(place: Path) -> None:
    code = "from time import *\nt, m = time(), monotonic()\nsleep(3600)\nprint(time() - t, monotonic() - m)"
    assert python(place, "-m", "pysock", "run", "--clock", "virtual", "-c", code) == (0, "3600.0 3600.0\n", "")


def test_seed(place: Path) -> None:
    code = "import socket\ns = socket.socket()\ns.bind(('', 0))\nprint(s.getsockname())\ns.close()"
    runs = [python(place, "-m", "pysock", "run", "--seed", seed, "-c", code) for seed in ("1", "1", "2", "3", "4")]
    assert runs[0] == runs[1]
    assert len({out for _, out, _ in runs}) > 1


@pytest.mark.parametrize("arguments", ["run", "run --clock fast x.py", "run --nonsense x.py", "fly"])
def test_usage(place: Path, arguments: str) -> None:
    code, out, error = python(place, "-m", "pysock", *arguments.split())
    assert (code, out) == (2, "")
    assert "usage: python -m pysock" in error


def test_help_version_and_plugins(place: Path) -> None:
    assert python(place, "-m", "pysock")[0] == 0
    assert python(place, "-m", "pysock", "--version") == (0, f"pysock {pysock.__version__}\n", "")
    code, out, error = python(place, "-m", "pysock", "plugins")
    assert (code, error) == (0, "")
    assert "pysock.families.inet.plugin" in out


def test_pcap(place: Path) -> None:
    pytest.importorskip("pysock.lab.capture")
    code = "from socket import *\ns = create_server(('127.0.0.1', 80))\ncreate_connection(s.getsockname()).close()"
    assert python(place, "-m", "pysock", "run", "--pcap", "out.pcapng", "-c", code)[0] == 0
    assert (place / "out.pcapng").read_bytes()[:4] == b"\x0a\x0d\x0d\x0a"

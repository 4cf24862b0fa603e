"""`import pysock as socket`: cheap, complete, and the standard library's own code."""

from __future__ import annotations

import inspect
import re
import socket
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import pysock
from pysock.shim.loader import stdlib_socket

ROOT = str(Path(pysock.__file__).resolve().parents[1]) if pysock.__file__ else ""


def in_a_fresh_process(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {ROOT!r})\n{code}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_does_next_to_nothing() -> None:
    loaded = in_a_fresh_process("import pysock; print(*sys.modules)").split()
    assert {name for name in loaded if name.startswith("pysock")} == {"pysock", "pysock._version"}
    assert not {"pluggy", "asyncio", "ssl", "logging", "typing", "dataclasses", "socket"} & set(loaded)


def test_the_face_boots_no_kernel_before_the_first_socket() -> None:
    printed = in_a_fresh_process(
        "import pysock as socket\n"
        "socket.AF_INET, socket.socket, socket.create_server\n"
        "from pysock.vfs.task import current_task\n"
        "try: current_task()\n"
        "except RuntimeError: print('none')\n"
        "socket.socket().close()\n"
        "print(current_task().kernel.clock.virtual)\n"
        "print(sys.modules['_socket'].__name__, 'socket' in sys.modules and sys.modules['socket'] is not socket)\n"
    )
    assert printed.split()[:3] == ["none", "False", "_socket"]


def test_every_public_name_is_there() -> None:
    assert set(socket.__all__) <= set(pysock.__all__)
    assert set(socket.__all__) <= set(dir(pysock))
    missing = [name for name in vars(socket) if not name.startswith("__") and not hasattr(pysock, name)]
    assert missing == []
    assert {"Kernel", "Net", "Patch", "Task", "patch", "__version__"} <= set(pysock.__all__)


def test_star_import() -> None:
    namespace: dict[str, object] = {}
    exec("from pysock import *", namespace)
    assert namespace["socket"] is pysock.socket
    assert namespace["patch"] is pysock.patch


def test_names_that_are_not_there() -> None:
    with pytest.raises(AttributeError, match="module 'pysock' has no attribute 'no_such_name'"):
        _ = pysock.no_such_name  # type: ignore[attr-defined]  # that is the test
    with pytest.raises(ImportError):
        exec("from pysock import no_such_name")


@pytest.mark.parametrize("name", ["create_connection", "create_server", "fromfd", "getfqdn", "socketpair", "send_fds"])
def test_signatures_are_the_standard_librarys(name: str) -> None:
    ours, theirs = (str(inspect.signature(getattr(module, name))) for module in (pysock, socket))
    assert re.sub(r" at 0x\w+", "", ours) == re.sub(r" at 0x\w+", "", theirs)


def test_methods_take_the_same_arguments_by_name(face: ModuleType) -> None:
    a, b = face.socketpair()
    with a, b:
        a.send(b"abcd")
        buffer = bytearray(8)
        assert b.recv_into(buffer, nbytes=2, flags=0) == 2
        assert b.recvfrom_into(buffer=buffer, nbytes=2, flags=0)[0] == 2
        for wrong in (lambda: b.recv(bufsize=1), lambda: b.send(data=b""), lambda: b.bind(address="x")):
            with pytest.raises(TypeError):
                wrong()


def test_errors_and_enums_are_shared() -> None:
    assert pysock.timeout is TimeoutError
    assert pysock.gaierror is socket.gaierror
    assert pysock.AddressFamily is socket.AddressFamily
    assert pysock.AF_INET is socket.AF_INET


def test_the_code_is_the_standard_librarys_file() -> None:
    copy = stdlib_socket()
    assert copy.__file__ == socket.__file__
    assert pysock.socket is copy.socket
    assert pysock.socket is not socket.socket
    assert pysock.socket.makefile.__code__.co_filename == socket.socket.makefile.__code__.co_filename


def test_repr(face: ModuleType) -> None:
    with face.socket() as sock:
        assert repr(sock) == f"<socket.socket fd={sock.fileno()}, family=2, type=1, proto=0, laddr=('0.0.0.0', 0)>"
    assert repr(sock) == "<socket.socket [closed] fd=-1, family=2, type=1, proto=0>"


def test_a_mock_on_the_face_reaches_its_functions(face: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    class Mine(pysock.socket):
        pass

    with face.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(face, "socket", Mine)
        with face.create_connection(server.getsockname()) as client:
            assert type(client) is Mine
        server.accept()[0].close()


def test_virtual_numbers_work_where_socket_py_uses_os(face: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789" * 1000)
    a, b = face.socketpair()
    with a, b, path.open("rb") as file:
        assert a.sendfile(file, 10, 20) == 20
        assert b.recv(100) == b"0123456789" * 2
        a.settimeout(5)
        assert a.sendfile(file, 0, 5) == 5
        assert b.recv(100) == b"01234"
        assert not a.get_inheritable()
        a.set_inheritable(True)
        assert a.get_inheritable()

"""The demonstration."""

from __future__ import annotations

import io
import re
import socket
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from support.inet_api import tshark

from pysock.lab.pcapng import read_file
from pysock.tools import demo, picture


def shown(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    assert demo.main(list(argv)) == 0
    return capsys.readouterr().out


def without_times(text: str) -> str:
    return re.sub(r"\d+\.\d+ ms", "", re.sub(r"^ +\d+\.\d{6} ", "", text, flags=re.MULTILINE))


def test_what_it_shows(capsys: pytest.CaptureFixture[str]) -> None:
    real = socket.socket
    text = shown(capsys)
    assert socket.socket is real
    assert all(len(line) <= 100 for line in text.splitlines())
    assert f"200 OK\n{demo.TEXT}" in text
    parts = re.split(r"^\d\. ", text, flags=re.MULTILINE)[1:]
    assert len(parts) == 5
    _, _, walk, ladder, sockets = parts
    rooms = [line.split()[0] for line in walk.splitlines()[1:] if line and not line.startswith(" ")]
    assert rooms[:2] == ["shim", "syscalls"]
    assert {"families", "core", "drivers"} <= set(rooms)
    assert "SYN seq 0" in ladder and '"GET /hello.txt HTTP/1.1"' in ladder and '"HTTP/1.0 200 OK"' in ladder
    assert sockets.count("ESTAB") == 2 and sockets.count("LISTEN") == 1


def test_times_apart_the_same_seed_shows_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    first = shown(capsys, "--seed", "7")
    assert without_times(first) == without_times(shown(capsys, "--seed", "7"))
    assert without_times(first) != without_times(shown(capsys, "--seed", "8"))


def test_files(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    svg, pcap = tmp_path / "demo.svg", tmp_path / "demo.pcapng"
    text = shown(capsys, "--svg", str(svg), "--pcap", str(pcap))
    root = ElementTree.parse(svg).getroot()
    words = "".join(node.text or "" for node in root.iter("{http://www.w3.org/2000/svg}text"))
    assert text.replace("\n", "").replace(" ", "") in words.replace(" ", "")
    assert len(read_file(pcap)) == int(re.search(r"(\d+) packets in", text)[1])  # type: ignore[index]
    assert tshark(pcap, "-Y", "http", "-T", "fields", "-e", "http.request.uri", "-e", "http.response.code").split() == [
        "/hello.txt",
        "200",
    ]
    assert tshark(pcap, "-q", "-z", "expert,warn").strip() == ""


def test_a_file_that_cannot_be_written(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert demo.main(["--svg", str(tmp_path / "no" / "demo.svg")]) == 1
    assert "No such file" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stopped:
        demo.main(["--seed", "many"])
    assert stopped.value.code == 2


def test_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    result = demo.Result("200 OK", "text\n", [], "State\nESTAB", [], 1.0)

    class Terminal(io.StringIO):
        encoding = "utf-8"  # type: ignore[assignment]
        tty = True

        def isatty(self) -> bool:
            return self.tty

    terminal = Terminal()
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert demo._for(terminal, result) == picture.ansi(demo.page(result))
    monkeypatch.setenv("NO_COLOR", "1")
    assert demo._for(terminal, result) == picture.plain(demo.page(result))
    terminal.tty = False
    terminal.encoding = "latin-1"  # type: ignore[assignment]
    assert demo._for(terminal, result).isascii()


def test_as_a_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pysock.tools.demo"], capture_output=True, text=True, encoding="utf-8", check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("1. The program")

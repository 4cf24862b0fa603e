"""Every program in examples/ runs on the operating system's network and on pysock's, and prints the same."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.patience import PATIENCE

EXAMPLES = Path(__file__).parents[2] / "examples"
PROGRAMS = sorted(p.name for p in EXAMPLES.glob("*.py") if not p.name.startswith("test_"))


def run(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *args], capture_output=True, text=True, timeout=PATIENCE, check=False)


@pytest.fixture(scope="module")
def on_the_kernel():
    return {name: run(str(EXAMPLES / name)) for name in PROGRAMS}


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("clock", ["real", "virtual"])
def test_same_output_on_pysock_and_on_the_kernel(program, clock, on_the_kernel):
    expected = on_the_kernel[program]
    assert expected.returncode == 0, expected.stderr
    assert expected.stdout.strip()
    result = run("-m", "pysock", "run", "--clock", clock, "--seed", "1", str(EXAMPLES / program))
    assert (result.returncode, result.stdout, result.stderr) == (0, expected.stdout, expected.stderr)


def test_the_pytest_example_passes():
    result = run("-m", "pytest", "-q", "-p", "no:cacheprovider", str(EXAMPLES / "test_with_pysock.py"))
    assert result.returncode == 0, result.stdout + result.stderr
    assert "4 passed" in result.stdout


def test_programs_really_ran_on_pysock(tmp_path):
    """With the capture on, the HTTP exchange leaves its segments in the file."""
    capture = tmp_path / "walk.pcapng"
    result = run("-m", "pysock", "run", "--pcap", str(capture), str(EXAMPLES / "http_exchange.py"))
    assert result.returncode == 0, result.stderr
    data = capture.read_bytes()
    assert b"GET /hello HTTP/1.1" in data
    assert b"HTTP/1.1 200 OK" in data

"""Same program, same seed: the same bytes at the same instants. Captures of two runs are compared, byte for byte."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.patience import PATIENCE

EXAMPLES = Path(__file__).parents[2] / "examples"


def captured(program: str, seed: int, path: Path) -> bytes:
    command = ["-m", "pysock", "run", "--clock", "virtual", "--seed", str(seed), "--pcap", str(path)]
    done = subprocess.run(
        [sys.executable, *command, str(EXAMPLES / program)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return path.read_bytes()


@pytest.mark.parametrize("program", ["asyncio_echo.py", "udp_pair.py"])
def test_two_runs_leave_one_capture(program: str, tmp_path: Path) -> None:
    first = captured(program, 5, tmp_path / "first.pcapng")
    assert len(first) > 500
    assert captured(program, 5, tmp_path / "second.pcapng") == first


def test_another_seed_leaves_another(tmp_path: Path) -> None:
    """Initial sequence numbers, ports and IP identifications are drawn from the seed."""
    one = captured("asyncio_echo.py", 5, tmp_path / "one.pcapng")
    assert captured("asyncio_echo.py", 6, tmp_path / "two.pcapng") != one

"""Well-known clients and servers, unmodified: each program prints the same on the operating system's network and on
pysock's, in real and in virtual time.
"""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from support.patience import PATIENCE

FOLDER = Path(__file__).parent / "programs"
PROGRAMS = sorted(path.name for path in FOLDER.glob("[!_]*.py"))


@cache
def run(program: str, *pysock: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, *pysock, str(FOLDER / program)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("clock", ["real", "virtual"])
@pytest.mark.parametrize("program", PROGRAMS)
def test_same_output_on_pysock_and_on_the_kernel(program: str, clock: str) -> None:
    status, expected, errors = run(program)
    assert status == 0, errors
    assert len(expected) > 10
    assert run(program, "-m", "pysock", "run", "--clock", clock, "--seed", "1") == (0, expected, "")

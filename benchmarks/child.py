"""Runs Python code in a fresh process, from the same checkout and on the same core."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT = 100.0  # seconds: below the default of --timeout, so that a hung child is killed and named


def run_child(*arguments: str) -> str:
    """Run the interpreter with `arguments` and return what it prints.

    RuntimeError if it fails: the message is the last line of its standard error, a note has all of it.
    """
    # An installed package has its bytecode beside it; the warm-up round writes what is missing.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=env, capture_output=True, text=True, timeout=TIMEOUT, check=False
    )
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"status {done.returncode} and not a word"]
        error = RuntimeError(f"in a child process: {lines[-1]}")
        error.add_note(done.stderr.strip())
        raise error
    return done.stdout

"""Small test suites that use the pytest plugin, each run in a process of its own."""

from __future__ import annotations

import os
from importlib import metadata
from pathlib import Path

import pytest

import pysock

assert pysock.__file__ is not None
ROOT = str(Path(pysock.__file__).resolve().parents[1])
OTHERS = ("asyncio", "anyio", "xdist")
INSTALLED = any(entry.name == "pysock" for entry in metadata.entry_points(group="pytest11"))


def isolate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what steers our own run away from the suites."""
    monkeypatch.setenv("PYTHONPATH", ROOT + os.pathsep + os.environ.get("PYTHONPATH", ""))
    for name in list(os.environ):
        if name in ("PYTEST_ADDOPTS", "PYTHONSAFEPATH") or name.startswith("PYSOCK_"):
            monkeypatch.delenv(name)


def run(suite: pytest.Pytester, source: str, *arguments: str, beside: str = "") -> pytest.RunResult:
    """Run ``source`` as a test file; warnings are errors. Of the plugins that might be installed too, only the one
    called ``beside`` is loaded.
    """
    suite.makepyfile(source)
    plugins = [] if INSTALLED else ["-p", "pysock.testing.plugin"]
    for name in OTHERS:
        plugins += ["-p", f"no:{name}"] if name != beside else []
    return suite.runpytest_subprocess(*plugins, "-W", "error", "--strict-markers", *arguments)

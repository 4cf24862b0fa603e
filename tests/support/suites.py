"""Small test suites that use the pytest plugin, each run in a process of its own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import pysock

assert pysock.__file__ is not None
ROOT = str(Path(pysock.__file__).resolve().parents[1])

#: Environment and arguments for a pytest that loads our plugin, and none of those that happen to be installed too: so
#: it starts several times faster.
LEAN = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
WITH_PYSOCK = ["-p", "pysock.testing.plugin"]


def isolate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what steers our own run away from the suites."""
    monkeypatch.setenv("PYTHONPATH", ROOT + os.pathsep + os.environ.get("PYTHONPATH", ""))
    for name in list(os.environ):
        if name in ("PYTEST_ADDOPTS", "PYTHONSAFEPATH") or name.startswith("PYSOCK_"):
            monkeypatch.delenv(name)
    for name, value in LEAN.items():
        monkeypatch.setenv(name, value)


def run(suite: pytest.Pytester, source: str, *arguments: str, beside: str = "") -> pytest.RunResult:
    """Run ``source`` as a test file; warnings are errors. Of other plugins, only the module ``beside`` is loaded."""
    suite.makepyfile(source)
    plugins = [*WITH_PYSOCK, "-p", beside] if beside else WITH_PYSOCK
    return suite.runpytest_subprocess(*plugins, "-W", "error", "--strict-markers", *arguments)

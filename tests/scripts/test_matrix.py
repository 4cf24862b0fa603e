"""What `make test` says at its end, from the results that tox leaves."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
NO_TAP = "pysock: driver tap SKIPPED in 68 tests: no /dev/net/tun: load the module"


@pytest.fixture(scope="module")
def matrix() -> ModuleType:
    spec = importlib.util.spec_from_file_location("matrix", ROOT / ".ci/matrix.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def env(success: bool = True, output: str = "", skipped: bool = False) -> dict[str, object]:
    tests = [{"output": "make dist\n"}, {"output": f"... 5 passed\n{output}\n== 70 passed ==\n"}]
    return {"result": {"success": success, "skipped": skipped}, "test": tests}


def test_all_is_well(matrix: ModuleType) -> None:
    text, ran = matrix.summary({"py311-loopback": env(), "py311-tap": env(), ".pkg": {"test": []}})
    assert ran
    assert text == "matrix passed: py311-loopback, py311-tap\nmatrix: no interpreter was missing"


def test_a_column_without_its_driver_did_not_pass(matrix: ModuleType) -> None:
    text, ran = matrix.summary({"py311-loopback": env(output=NO_TAP), "py311-tap": env(output=NO_TAP)})
    assert ran
    assert text.splitlines() == [
        "matrix passed: py311-loopback",
        "matrix SKIPPED: py311-tap: 68 tests: no /dev/net/tun: load the module",
        "matrix: no interpreter was missing",
    ]


def test_a_failure_is_a_failure(matrix: ModuleType) -> None:
    text, _ = matrix.summary({"py311-tap": env(success=False, output=NO_TAP), "lint": env()})
    assert text.splitlines()[:2] == ["matrix passed: lint", "matrix FAILED: py311-tap"]


def test_a_missing_interpreter(matrix: ModuleType) -> None:
    text, ran = matrix.summary({"py313-loopback": env(skipped=True)})
    assert not ran
    assert text == "matrix SKIPPED: py313-loopback: this machine has no Python 3.13, nothing was tested with it"


def test_tox_has_every_column(matrix: ModuleType) -> None:
    """Those that are run by default, and what each of them runs."""
    text = (ROOT / "tox.ini").read_text(encoding="utf-8")
    assert "env_list = py311-{loopback,tap,e100}, py{312,313}-loopback, lint" in text
    for driver in ("loopback", "tap", "e100"):
        assert f"    {driver}: pytest --pysock-driver={driver} " in text

"""The script behind docs/compatibility.md, and that the page is about the clients that are pinned."""

from __future__ import annotations

import importlib.util
import json
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("compatibility", ROOT / "scripts" / "compatibility.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


BASELINE = {
    "python": "3.11.7",
    "modules": {
        "test_socket": {
            "tests": {
                "A.good": ["ok", True],
                "A.bad": ["ok", True],
                "A.gone": ["ok", True],
                "A.mock": "ok",
                "A.skipped": ["skip", False, 0, "why"],
                "B.exempt": ["ok", True],
            }
        },
        "test_mock": {"tests": {"A.mock": "ok"}},
    },
}
SHIM = {
    "python": "3.11.7",
    "modules": {
        "test_socket": {
            "tests": {
                "A.good": ["ok", True],
                "A.bad": ["skip", True, 0, "no"],
                "A.mock": "ok",
                "B.exempt": ["fail", True],
            }
        }
    },
}


def test_counting(script: ModuleType) -> None:
    suite = script.compare(BASELINE, SHIM, ["test_socket.B.*"])
    assert suite.modules == {"test_socket": {"A.good": True, "A.bad": False, "A.gone": False}}
    assert suite.totals() == suite.totals("test_socket") == (1, 3)


def test_the_page(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "fine.py").write_text("import anyio\nprint('the same')")
    reasons = tmp_path / "reasons.toml"
    reasons.write_text('[reasons]\n"test_socket.A.b*" = "because"')
    monkeypatch.setattr(script, "PROGRAMS", programs)
    monkeypatch.setattr(script, "REASONS", reasons)
    (tmp_path / "a.json").write_text(json.dumps(BASELINE))
    (tmp_path / "b.json").write_text(json.dumps(SHIM))
    (tmp_path / "exempt").write_text("# comment\ntest_socket.B.*  reason\n")
    (programs / "odd.py").write_text("import sys\nprint('pysock' in sys.modules)")
    arguments = ["--suite", str(tmp_path / "a.json"), str(tmp_path / "b.json"), "--exempt", str(tmp_path / "exempt")]
    assert script.main(arguments) == 0
    page = capsys.readouterr().out
    assert "| `test_socket` | 1 / 3 |" in page
    assert "| | 33.33% |" in page
    assert "- `test_socket.A.bad` (3.11.7): because" in page
    assert "- `test_socket.A.gone` (3.11.7): not explained yet" in page
    assert "| works | works |" in page
    assert "| `odd` |  | **fails** | **fails** |" in page


def test_the_page_is_about_the_pinned_versions() -> None:
    page = (ROOT / "docs" / "compatibility.md").read_text(encoding="utf-8")
    with open(ROOT / "pyproject.toml", "rb") as file:
        pins = tomllib.load(file)["dependency-groups"]["clients"]
    missing = [pin for pin in pins if pin.replace("==", " ") not in page]
    assert not missing

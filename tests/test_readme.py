"""Every Python example in README.md and docs/ runs as a reader would run it, in a process of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.patience import PATIENCE

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def examples() -> list[pytest.ParameterSet]:
    found = []
    for page in (README, *sorted((ROOT / "docs").glob("*.md"))):
        text = page.read_text(encoding="utf-8")
        for match in BLOCK.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            found.append(pytest.param(match[1], id=f"{page.name}-line{line}"))
    return found


@pytest.mark.parametrize("source", examples())
def test_example_runs(source: str, tmp_path: Path) -> None:
    # The name makes pytest collect it; for the others it is as good as any.
    script = tmp_path / "test_example.py"
    script.write_text(source, encoding="utf-8")
    runner = ["-m", "pytest", "-q", "-p", "no:cacheprovider"] if "\ndef test_" in source else []
    done = subprocess.run(
        [sys.executable, *runner, script.name],
        cwd=tmp_path,  # not the checkout: its pysock must not hide the installed one
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_there_are_examples_for_each_way_in() -> None:
    sources = "\n".join(match[1] for match in BLOCK.finditer(README.read_text(encoding="utf-8")))
    assert "import pysock as socket" in sources
    assert "pysock.patch()" in sources
    assert "(pysock):" in sources
    assert ".Network(" in sources

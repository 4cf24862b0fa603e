"""The documentation names functions and files: all of them exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NAMED = re.compile(r"`(pysock/[\w/]+\.py)(?:: ([\w.]+))?`")


def references() -> list[tuple[str, str, str]]:
    return [
        (page.name, path, name)
        for page in sorted((ROOT / "docs").glob("*.md"))
        for path, name in NAMED.findall(page.read_text())
    ]


def definitions(source: str) -> set[str]:
    names: set[str] = set()
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{item.name}" for item in node.body if isinstance(item, ast.FunctionDef)}
    return names


@pytest.mark.parametrize(("page", "path", "name"), references())
def test_what_the_documentation_names_is_there(page, path, name):
    file = ROOT / path
    assert file.is_file(), f"{page} names {path}"
    if name:
        assert name in definitions(file.read_text()), f"{page} names {name} in {path}"


def test_the_pattern_finds_the_walk():
    assert len(references()) > 20

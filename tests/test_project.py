"""What the project's own files promise: packaging, the README's opening, sizes, no trace of one machine."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

import pysock
from pysock._version import __version__

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
MADE_BY_TOOLS = {"__pycache__", "build", "dist", "node_modules"}
HIDDEN_BUT_OURS = {".ci", ".gitignore", ".github"}
LONGEST = 700

# Written so that they don't match themselves.
NOT_OURS = {
    "a folder of one machine": re.compile(r"(?<![\w.)/])/(?:work|root|home/\w+|Users/\w+|tmp/\w*venv)/[\w.]"),
    "a package index": re.compile(
        r"(?:index[-_]ur[l]|PIP_INDE[X]|trusted-hos[t]|find-link[s]|//[\w.-]*(?:pypi|pythonhosted)[\w-]*\.)"
    ),
}


def our_files() -> Iterator[Path]:
    """Every file that belongs to the project, whether or not git has heard of it yet."""
    for folder, names, files in os.walk(ROOT):
        names[:] = [n for n in names if n not in MADE_BY_TOOLS and (n[0] != "." or n in HIDDEN_BUT_OURS)]
        yield from (Path(folder, n) for n in files if n[0] != "." or n in HIDDEN_BUT_OURS)


def test_distribution_and_import_names() -> None:
    assert PROJECT["project"]["name"] == "pysock-shim"
    assert PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == ["pysock"]
    assert PROJECT["project"]["requires-python"] == ">=3.11"
    assert PROJECT["project"]["entry-points"]["pytest11"] == {"pysock": "pysock.testing.plugin"}


def test_only_two_runtime_dependencies() -> None:
    names = {re.match(r"[\w-]+", line)[0] for line in PROJECT["project"]["dependencies"]}  # type: ignore[index]
    assert names == {"pluggy", "cffi"}


def test_the_version_is_written_once() -> None:
    assert PROJECT["project"]["dynamic"] == ["version"]
    assert PROJECT["tool"]["hatch"]["version"]["path"] == "pysock/_version.py"
    assignment = re.compile(r"^__version__\s*(?::\s*\w+\s*)?=", re.MULTILINE)
    sources = (ROOT / "pysock").rglob("*.py")
    writers = [path for path in sources if assignment.search(path.read_text(encoding="utf-8"))]
    assert writers == [ROOT / "pysock/_version.py"]
    assert f'"{__version__}"' not in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def test_the_installed_distribution_has_that_version() -> None:
    try:
        installed = metadata.version("pysock-shim")
    except metadata.PackageNotFoundError:
        pytest.skip("pysock-shim is not installed here; tox installs it")
    assert installed == __version__


@pytest.mark.skipif("TOX_ENV_NAME" not in os.environ, reason="outside tox any copy will do")
def test_tox_tests_the_wheel_and_not_the_checkout() -> None:
    assert pysock.__file__ is not None
    assert "site-packages" in Path(pysock.__file__).parts


def test_types_are_published() -> None:
    assert (ROOT / "pysock/py.typed").is_file()


def test_readme_opens_with_the_two_commands() -> None:
    opening = (ROOT / "README.md").read_text(encoding="utf-8").split("```")[1].splitlines()
    commands = [line.split("#")[0].strip() for line in opening[1:] if line.strip()]
    assert commands == ["make demo", "make test"]
    assert all("#" in line for line in opening[1:] if line.strip()), "say beside each command what it runs"


def test_readme_commands_are_targets() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(r"^demo:", makefile, re.MULTILINE)
    assert re.search(r"^test:", makefile, re.MULTILINE)


def test_readme_links_lead_somewhere() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_changelog_is_open() -> None:
    assert "## [Unreleased]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_no_file_outgrows_one_idea() -> None:
    sizes = {p: len(p.read_bytes().splitlines()) for p in (ROOT / "pysock").rglob("*.py")}
    assert not {str(p.relative_to(ROOT)): n for p, n in sizes.items() if n > LONGEST}


def test_nothing_points_at_one_machine() -> None:
    found = []
    for path in our_files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # pictures and captures
        for what, pattern in NOT_OURS.items():
            found += [f"{path.relative_to(ROOT)}: {what}: {m[0]!r}" for m in pattern.finditer(text)]
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize(
    "text",
    [
        "cd " + "/work" + "/main",
        "#!" + "/tmp/venv" + "/bin/python",
        "pip --" + "index" + "-url x",
        "https:/" + "/pypi.example/simple",
    ],
)
def test_the_machine_check_sees(text: str) -> None:
    assert any(pattern.search(text) for pattern in NOT_OURS.values())

"""Write docs/compatibility.md: what of CPython's own test suite and which well-known clients work on pysock.

    python scripts/compatibility.py --suite BASELINE.json PYSOCK.json [--suite ...] [--exempt FILE] \\
        > docs/compatibility.md

Each --suite is one Python version: the results of the suite's socket tests on the operating system's network and on
pysock, as JSON: ``{"python": version, "modules": {module: {"tests": {test: result}}}}``, where a result is "ok", or a
list whose first item is the outcome and whose second says whether the test used a socket. FILE has a pattern and a
reason a line, of tests that no stack within one process can pass. The clients of tests/clients are run here and now,
on both clocks. The reasons for what does not pass are in scripts/compatibility.toml.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatchcase
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
PROGRAMS = ROOT / "tests" / "clients" / "programs"
REASONS = ROOT / "scripts" / "compatibility.toml"
PATIENCE = 120  # seconds, for a client

HEAD = """\
# What works on pysock

Made by `scripts/compatibility.py` from complete runs; do not edit.

What a network within one process cannot do, whatever is below: connect two processes. After `os.fork()` the child gets
a kernel of its own, and EBADF on the sockets it inherited; `subprocess` works; `multiprocessing` works as far as it
uses one-way pipes. `datetime.datetime.now()` shows real time under a virtual clock (`time.time()` does not), as its
clock is read in C. `_socket.socket` is a Python class, so attributes can be set on it where C refuses.

Extensions that open sockets in C (uvloop, gRPC, libpq) do not ask Python, and reach the real network even under a
patch: run asyncio's own event loop instead of uvloop. One that only polls can watch a socket of ours through
`pysock.mirror`.
"""


class Suite(NamedTuple):
    """One Python's results: for each module, the tests with sockets that pass on the kernel, and whether they pass on
    pysock.
    """

    python: str
    modules: dict[str, dict[str, bool]]

    def failures(self) -> Iterator[str]:
        for module, tests in self.modules.items():
            yield from (f"{module}.{name}" for name, passed in tests.items() if not passed)

    def totals(self, module: str | None = None) -> tuple[int, int]:
        """How many pass on pysock, of how many."""
        chosen = self.modules.values() if module is None else [self.modules.get(module, {})]
        results = [passed for tests in chosen for passed in tests.values()]
        return sum(results), len(results)


def passed(result: Any) -> bool:
    return result == "ok" or (isinstance(result, list) and result[0] == "ok")


def compare(baseline: dict[str, Any], shim: dict[str, Any], exempt: list[str]) -> Suite:
    """Judge by the tests that used a socket and passed on the kernel; a test that was not run did not pass."""
    modules = {}
    for module, data in baseline["modules"].items():
        ours = shim["modules"].get(module, {"tests": {}})["tests"]
        counted = {
            name: passed(ours.get(name))
            for name, result in data["tests"].items()
            if isinstance(result, list)
            and result[:2] == ["ok", True]
            and not any(fnmatchcase(f"{module}.{name}", pattern) for pattern in exempt)
        }
        if counted:
            modules[module] = counted
    return Suite(shim["python"], modules)


def suite_table(suites: list[Suite]) -> Iterator[str]:
    yield "## CPython's own tests\n"
    yield (
        "Tests of the standard library's suite that use a socket and pass on the operating system's network: how many"
        "\nof them pass under `python -m pysock run`, with the operating system's network out of reach.\n"
    )
    yield "| module | " + " | ".join(suite.python for suite in suites) + " |"
    yield "|---|" + "---|" * len(suites)
    modules = list(dict.fromkeys(module for suite in suites for module in suite.modules))
    for module in modules:
        yield f"| `{module}` | " + " | ".join(cell(*suite.totals(module)) for suite in suites) + " |"
    yield "| **all** | " + " | ".join(f"**{cell(*suite.totals())}**" for suite in suites) + " |"
    yield "| | " + " | ".join(f"{good / of:.2%}" for good, of in (suite.totals() for suite in suites)) + " |"


def cell(good: int, of: int) -> str:
    return f"{good} / {of}" if of else ""


def failure_list(suites: list[Suite], reasons: dict[str, str]) -> Iterator[str]:
    failing: dict[str, list[str]] = {}
    for suite in suites:
        for name in suite.failures():
            failing.setdefault(name, []).append(suite.python)
    if failing:
        yield "\nWhat does not pass:\n"
    for name, pythons in sorted(failing.items()):
        reason = next((text for pattern, text in reasons.items() if fnmatchcase(name, pattern)), "not explained yet")
        yield f"- `{name}` ({', '.join(pythons)}): {reason}"


def client_table() -> Iterator[str]:
    yield "\n## Clients and servers\n"
    yield (
        "The programs of `tests/clients/programs`: they print the same on the operating system's network and on pysock."
        f"\nCPython {sys.version.split()[0]}.\n"
    )
    yield "| program | versions | real clock | virtual clock |\n|---|---|---|---|"
    for path in sorted(PROGRAMS.glob("[!_]*.py")):
        expected = run(path)
        cells = []
        for clock in ("real", "virtual"):
            found = run(path, "-m", "pysock", "run", "--clock", clock, "--seed", "1")
            cells.append("works" if found == expected and expected[0] == 0 else "**fails**")
        yield f"| `{path.stem}` | {versions(path)} | {' | '.join(cells)} |"


def run(path: Path, *pysock: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, *pysock, str(path)], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    return done.returncode, done.stdout


def versions(path: Path) -> str:
    """The pinned distributions that the program imports."""
    with open(ROOT / "pyproject.toml", "rb") as file:
        pins = tomllib.load(file)["dependency-groups"]["clients"]
    imports = {"dns": "dnspython"}
    words = {
        imports.get(top, top)
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.startswith(("import ", "from "))
        for top in [line.split()[1].split(".")[0]]
    }
    names = [pin.split("==")[0] for pin in pins]
    return ", ".join(f"{name} {metadata.version(name)}" for name in names if name in words)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--suite", nargs=2, action="append", default=[], type=Path, metavar=("BASELINE", "PYSOCK"))
    parser.add_argument("--exempt", type=Path)
    options = parser.parse_args(arguments)
    exempt = []
    if options.exempt is not None:
        lines = options.exempt.read_text(encoding="utf-8").splitlines()
        exempt = [line.split()[0] for line in lines if line.strip() and not line.startswith("#")]
    suites = [
        compare(json.loads(baseline.read_text()), json.loads(shim.read_text()), exempt)
        for baseline, shim in options.suite
    ]
    with open(REASONS, "rb") as file:
        reasons = tomllib.load(file)["reasons"]
    print(HEAD)
    for part in (suite_table(suites), failure_list(suites, reasons), client_table()):
        for line in part:
            print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())

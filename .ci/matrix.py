"""Run the tox matrix with every interpreter this machine has, and say at the end what it had not.

    python .ci/matrix.py [PYTEST ARGUMENTS]      all of it, the arguments go to pytest
    TOX_ENV=py311-loopback python .ci/matrix.py  some of it, as tox -e would
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path


def pyenv_bins() -> list[str]:
    """The bin directories of pyenv's CPythons: its shims only answer for versions somebody activated."""
    pyenv = shutil.which("pyenv")
    if pyenv:
        found = subprocess.run([pyenv, "root"], capture_output=True, text=True, check=False).stdout.strip()
    else:
        found = os.environ.get("PYENV_ROOT", "")
    return sorted(str(path) for path in Path(found).glob("versions/3.1[1-9]*/bin")) if found else []


def no_driver(env: dict[str, object]) -> str:
    """Why the driver of this column could not be had, from what pysock's pytest plugin says at the end of a run."""
    runs = env.get("test")
    for run in runs if isinstance(runs, list) else ():
        found = re.search(r"^pysock: driver \w+ SKIPPED in (.*)$", str(run.get("output")), re.MULTILINE)
        if found:
            return found[1]
    return ""


def summary(results: dict[str, dict[str, object]]) -> tuple[str, bool]:
    """One line for each outcome, from tox's result file, and whether any environment ran at all.

    A tap column on a machine without TAP devices is none that passed: most of its tests were skipped.
    """
    outcome: dict[str, list[str]] = {"passed": [], "FAILED": []}
    skipped = []
    missing = False
    for name, env in results.items():
        result = env.get("result")
        if not isinstance(result, dict):
            continue  # the packaging environment has none
        reason = no_driver(env) if name.endswith("-tap") else ""
        if result.get("skipped"):
            missing = True
            python = re.sub(r"py(\d)(\d+).*", r"Python \1.\2", name)
            skipped.append(f"matrix SKIPPED: {name}: this machine has no {python}, nothing was tested with it")
        elif not result.get("success"):
            outcome["FAILED"].append(name)
        elif reason:
            skipped.append(f"matrix SKIPPED: {name}: {reason}")
        else:
            outcome["passed"].append(name)
    ran = outcome["passed"] + outcome["FAILED"]
    lines = [f"matrix {kind}: {', '.join(names)}" for kind, names in outcome.items() if names] + skipped
    if ran and not missing:
        lines.append("matrix: no interpreter was missing")
    return "\n".join(lines), bool(ran)


def main(pytest_args: list[str]) -> int:
    env = dict(os.environ)
    # After the user's own PATH, so that what they chose comes first.
    env["PATH"] = os.pathsep.join([env.get("PATH", os.defpath), *pyenv_bins()])
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch, "tox.json")
        # As many environments at once as there are processors; each prints when it is done.
        command = [sys.executable, "-m", "tox", "run-parallel", "--parallel", "auto", "--parallel-no-spinner"]
        command += ["--result-json", str(report)]
        if pytest_args:
            command += ["--", *pytest_args]
        code = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, check=False).returncode
        try:
            results = json.loads(report.read_text())["testenvs"]
        except (OSError, ValueError, KeyError):
            print("matrix FAILED: tox left no results", file=sys.stderr)
            return code or 1
    text, ran = summary(results)
    print(f"\n{text}", flush=True)
    return code if ran else code or 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

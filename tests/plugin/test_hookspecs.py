"""Every hook is documented and tested, and the room keeps to its contract."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from pysock.plugin import hookspecs
from pysock.plugin.relay import HookManager

HOOKS = HookManager().hook_names()


def test_the_hooks_are_these() -> None:
    assert HOOKS == [
        "pysock_net_exit",
        "pysock_net_init",
        "pysock_register_drivers",
        "pysock_register_families",
        "pysock_register_pci_drivers",
        "pysock_register_qdiscs",
        "pysock_request_family",
    ]


@pytest.mark.parametrize("hook", HOOKS)
def test_each_says_when_it_is_called_and_what_linux_calls_it(hook: str) -> None:
    text = inspect.getdoc(getattr(hookspecs, hook))
    assert text is not None
    assert "Called" in text
    assert "Linux: " in " ".join(text.split())


@pytest.mark.parametrize("hook", HOOKS)
def test_each_is_used_by_a_test(hook: str) -> None:
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py") if path != Path(__file__))
    assert hook in tests


def test_importing_the_package_does_not_import_pluggy() -> None:
    code = "import sys, pysock.plugin, pysock.core.contain, pysock.core.notifier; sys.exit('pluggy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

"""The import rule holds in every file of pysock, and the checker that says so can tell right from wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.import_rule import module_name, violations

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted((ROOT / "pysock").rglob("*.py"))


def test_every_file_keeps_the_rule() -> None:
    assert FILES
    found = []
    for path in FILES:
        name, is_package = module_name(path, ROOT)
        found += violations(path.read_text(encoding="utf-8"), name, is_package)
    assert not found, "\n" + "\n".join(found)


ALLOWED = [
    ("pysock.core.sock", "import struct, errno"),
    ("pysock.core.sock", "from pysock.core.skbuff import SkBuff"),
    ("pysock.core.dev", "from pysock.wire import ethernet"),
    ("pysock.families.inet.tcp.output", "from pysock.families.inet.ip_output import queue_xmit"),
    ("pysock.families.inet.tcp.output", "from ..ip_output import queue_xmit"),
    ("pysock.families.inet.tcp.output", "from pysock.core import dev"),
    ("pysock.families.inet6.udp6", "from pysock.families.inet.udp import UdpSock"),
    ("pysock.syscalls.socket", "from pysock.families.unix import af_unix"),
    ("pysock.testing.plugin", "from pysock.shim.patch import patch"),
    ("pysock.testing.plugin", "import pysock"),
    ("pysock.core.kernel", "def boot():\n    from pysock.plugin.manager import load"),
    ("pysock.plugin.hookspecs", "from pysock.uapi import socket"),
    ("pysock.plugin.hookspecs", "if TYPE_CHECKING:\n    from pysock.core.kernel import Kernel"),
    ("pysock.__main__", "from pysock.plugin.manager import listing"),
    ("pysock.uapi.socket", "from pysock._version import __version__"),
]

FORBIDDEN = [
    ("pysock.uapi.socket", "import pysock.wire.tcp", "wire is above uapi"),
    ("pysock.wire.tcp", "from pysock.core.skbuff import SkBuff", "core is above wire"),
    ("pysock.core.dev", "from pysock.drivers.loopback import setup", "drivers is above core"),
    ("pysock.core.dev", "from pysock import drivers", "drivers is above core"),
    ("pysock.core.dev", "from ..vfs import file", "vfs is above core"),
    ("pysock.vfs.file", "def f():\n    from pysock.syscalls.socket import bind", "syscalls is above vfs"),
    ("pysock.vfs.file", "if TYPE_CHECKING:\n    from pysock.shim.patch import patch", "shim is above vfs"),
    ("pysock.families.inet.udp", "from pysock.families.unix import x", "two families meet only in core"),
    ("pysock.families.inet.udp", "from ..inet6 import udp", "two families meet only in core"),
    ("pysock.families.inet.udp", "from pysock.families import inet6", "two families meet only in core"),
    ("pysock.families.inet6.udp6", "from pysock.families.unix import x", "two families meet only in core"),
    ("pysock.families.unix.stream", "from pysock.families.inet import addr", "two families meet only in core"),
    ("pysock.drivers.veth", "from pysock.drivers.loopback import setup", "two drivers meet only in core"),
    ("pysock.drivers.veth", "from pysock.sched.fq import Fq", "drivers and sched meet only in core"),
    ("pysock.families.inet.udp", "import pysock.drivers.veth", "families and drivers meet only in core"),
    ("pysock.core.net", "from pysock.plugin.manager import load", "core/kernel.py alone imports plugin"),
    ("pysock.tools.ss", "from pysock.plugin.manager import load", "core/kernel.py alone imports plugin"),
    ("pysock.plugin.manager", "from pysock.core.kernel import Kernel", "plugin imports uapi alone"),
    ("pysock.plugin.manager", "if TYPE_CHECKING:\n    import pysock.vfs.file", "plugin imports uapi alone"),
    ("pysock.syscalls.socket", "import pysock", "the public face is above every room"),
    ("pysock.shim.patch", "from pysock import Kernel", "the public face is above every room"),
    ("pysock.helpers", "import pysock.core.sock", "in no room that the design names"),
]


@pytest.mark.parametrize(("module", "source"), ALLOWED)
def test_what_the_rule_allows(module: str, source: str) -> None:
    assert violations(source, module) == []


@pytest.mark.parametrize(("module", "source", "reason"), FORBIDDEN)
def test_what_the_rule_forbids(module: str, source: str, reason: str) -> None:
    (sentence,) = violations(source, module)
    assert sentence.startswith(f"{module}:") and reason in sentence


def test_relative_imports_count_from_the_package_in_an_init_file() -> None:
    assert violations("from .tcp import output", "pysock.families.inet", is_package=True) == []
    assert violations("from ..inet6 import udp", "pysock.families.inet", is_package=True)
    assert violations("from ...vfs import file", "pysock.families.inet", is_package=True)


def test_names_of_files(tmp_path: Path) -> None:
    assert module_name(tmp_path / "pysock/core/__init__.py", tmp_path) == ("pysock.core", True)
    assert module_name(tmp_path / "pysock/core/sock.py", tmp_path) == ("pysock.core.sock", False)

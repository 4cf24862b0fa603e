"""Plugins made of source text: modules and installed distributions in a directory of the test's own."""

from __future__ import annotations

import importlib
import textwrap
from pathlib import Path


class Site:
    """A directory on sys.path. `module` writes a module; `distribution` "installs" one with entry points."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def module(self, name: str, source: str) -> str:
        (self.path / f"{name}.py").write_text(textwrap.dedent(source))
        importlib.invalidate_caches()
        return name

    def distribution(self, name: str, version: str | None, points: str) -> None:
        info = self.path / f"{name.replace('-', '_')}-{version or '0'}.dist-info"
        info.mkdir()
        metadata = f"Metadata-Version: 2.1\nName: {name}\n" + (f"Version: {version}\n" if version else "")
        (info / "METADATA").write_text(metadata)
        (info / "entry_points.txt").write_text(textwrap.dedent(points))
        importlib.invalidate_caches()

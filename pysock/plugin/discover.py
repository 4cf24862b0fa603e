"""Finding plugins: the entry points of group "pysock" among the installed distributions.

`importlib.metadata.entry_points()` reads every distribution's files, 47 ms on an ordinary machine, mostly to find none
of ours. So a quick look comes first: unless some `entry_points.txt` on the path has our section, there is nothing to
find. The look may only err on the side of calling importlib.metadata (for a zip file or a foreign finder on the path).
The result is cached for the process, by `sys.path`: it is a fact of the installation, not state of a Kernel.
"""

from __future__ import annotations

import functools
import importlib
import importlib.machinery
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from importlib.metadata import EntryPoint

__all__ = ["Candidate", "entry_points", "forget", "import_object"]

GROUP = "pysock"
_SECTION = b"[pysock]"


class Candidate:
    """A plugin that can be loaded: `load()` imports and returns it, and may raise anything."""

    __slots__ = ("distribution", "load", "name", "version")

    def __init__(
        self, name: str, load: Callable[[], object], distribution: str | None = None, version: str | None = None
    ) -> None:
        self.name = name
        self.load = load
        self.distribution = distribution
        self.version = version


def import_object(name: str) -> object:
    """The module "package.module", or the object "package.module:attribute"."""
    module, _, attribute = name.partition(":")
    found: object = importlib.import_module(module)
    for part in attribute.split(".") if attribute else ():
        found = getattr(found, part)
    return found


def entry_points() -> tuple[Candidate, ...]:
    """The installed plugins, sorted by name and distribution."""
    return _scan(tuple(sys.path))


def forget() -> None:
    """Drop the cached scan, for a process that has just installed a plugin."""
    _scan.cache_clear()


@functools.lru_cache(maxsize=4)
def _scan(path: tuple[str, ...]) -> tuple[Candidate, ...]:
    if not _maybe_any(path):
        return ()
    from importlib import metadata

    found = [_candidate(point) for point in metadata.entry_points(group=GROUP)]
    found.sort(key=lambda candidate: (candidate.name, candidate.distribution or ""))
    return tuple(found)


def _candidate(point: EntryPoint) -> Candidate:
    name: str | None = None
    version: str | None = None
    dist = point.dist
    if dist is not None:
        try:
            name = dist.name
            version = dist.version
        except Exception:  # metadata that can't be read must not hide the plugin
            pass
    return Candidate(point.name, point.load, name, version)


def _maybe_any(path: tuple[str, ...]) -> bool:
    """False only if importlib.metadata would surely find nothing for our group."""
    for finder in sys.meta_path:
        if hasattr(finder, "find_distributions") and finder is not importlib.machinery.PathFinder:
            return True
    return any(_directory_has_section(entry or os.curdir) for entry in path)


def _directory_has_section(directory: str) -> bool:
    try:
        names = os.listdir(directory)
    except NotADirectoryError:
        return True  # a zip file
    except OSError:
        return False
    for name in names:
        if name.endswith(".egg"):
            return True  # old, rare, and of two shapes: let importlib.metadata look
        if name.endswith((".dist-info", ".egg-info")):
            try:
                with open(os.path.join(directory, name, "entry_points.txt"), "rb") as file:
                    if _SECTION in file.read():
                        return True
            except OSError:
                continue  # it has none, or importlib.metadata can't read it either
    return False

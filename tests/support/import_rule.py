"""Who may import whom inside pysock: the rule of the rooms, as a function from source text to violations.

    shim, lab, testing, tools -> syscalls -> vfs -> families, drivers, sched -> core -> wire -> uapi

A module imports from rooms below its own, and from its own room.  Two families, or two drivers, never import
each other, but for inet6, which stands on inet's transports; neither do families, drivers and sched: they meet in
core's tables.  The four rooms at the top may
use each other.  `plugin` stands aside: core/kernel.py alone imports it, and it imports uapi, and core's names
for annotations.  The faces, pysock/__init__.py and pysock/__main__.py, import anything; only programs over
the public API (lab, testing, tools) may import the face back.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

LAYERS = (
    ("uapi",),
    ("wire",),
    ("core",),
    ("families", "drivers", "sched"),
    ("vfs",),
    ("syscalls",),
    ("shim", "lab", "testing", "tools"),
)
RANK = {room: rank for rank, rooms in enumerate(LAYERS) for room in rooms}
TOP = LAYERS[-1]
MEETING_IN_CORE = LAYERS[3]
DIVIDED = ("families", "drivers")  # rooms whose sub-rooms must not see each other
STANDS_ON = {("families", "inet6"): "inet"}  # one TCP and one UDP for both: net/ipv6 uses net/ipv4's, never back
FACES = ("pysock", "pysock.__main__")
FREE = ("pysock._version",)  # knows nothing, so anybody may ask it


class Import(NamedTuple):
    target: str  # dotted, absolute: pysock.core.sock.Sock
    line: int
    typing_only: bool


def module_name(path: Path, root: Path) -> tuple[str, bool]:
    """The dotted name of a file below `root` (the folder that holds pysock/), and whether it is a package."""
    parts = path.relative_to(root).with_suffix("").parts
    if parts[-1] == "__init__":
        return ".".join(parts[:-1]), True
    return ".".join(parts), False


def imports(source: str, module: str, is_package: bool) -> Iterator[Import]:
    """Every import of pysock in the text, wherever it stands: in functions and under TYPE_CHECKING too."""
    tree = ast.parse(source)
    typing_lines = {
        child
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and _is_type_checking(node.test)
        for statement in node.body
        for child in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, module, is_package)
            targets = [base if alias.name == "*" else f"{base}.{alias.name}" for alias in node.names]
        else:
            continue
        for target in targets:
            if target.split(".")[0] == "pysock":
                yield Import(target, node.lineno, node in typing_lines)


def violations(source: str, module: str, is_package: bool = False) -> list[str]:
    """What is wrong with a module's imports, one sentence each; an empty list if nothing is."""
    found = []
    for item in imports(source, module, is_package):
        reason = _verdict(module, item)
        if reason:
            found.append(f"{module}:{item.line} imports {item.target}: {reason}")
    return found


def _verdict(module: str, item: Import) -> str | None:
    if module in FACES or module in FREE or _inside(item.target, FREE):
        return None
    here, there = _room(module), _room(item.target)
    if here not in RANK and here != "plugin":
        return f"{module} is in no room that the design names"
    if there == "plugin" or here == "plugin":
        return _plugin_verdict(module, here, there, item)
    if there not in RANK:
        return None if here in TOP[1:] else "the public face is above every room"
    if here == there:
        mine, theirs = _sub_room(module), _sub_room(item.target)
        same = here not in DIVIDED or mine in (theirs, None, "plugin") or STANDS_ON.get((here, mine)) == theirs
        return None if same else f"two {here} meet only in core"
    if RANK[there] > RANK[here]:
        return f"{there} is above {here}"
    if RANK[there] == RANK[here] and here in MEETING_IN_CORE:
        return f"{here} and {there} meet only in core"
    return None


def _plugin_verdict(module: str, here: str, there: str, item: Import) -> str | None:
    if here == there or (here == "plugin" and there == "uapi"):
        return None
    if here == "plugin":
        return None if item.typing_only and there == "core" else "plugin imports uapi alone"
    return None if module == "pysock.core.kernel" else "core/kernel.py alone imports plugin"


def _is_type_checking(test: ast.expr) -> bool:
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )


def _absolute(node: ast.ImportFrom, module: str, is_package: bool) -> str:
    if not node.level:
        return node.module or ""
    up = node.level - is_package
    base = module.split(".")[: len(module.split(".")) - up]
    return ".".join([*base, node.module] if node.module else base)


def _inside(target: str, modules: tuple[str, ...]) -> bool:
    return any(target == name or target.startswith(name + ".") for name in modules)


def _room(dotted: str) -> str:
    parts = dotted.split(".")
    return parts[1] if len(parts) > 1 else ""


def _sub_room(dotted: str) -> str | None:
    """inet of pysock.families.inet.tcp; None for the room's own __init__, which is nobody's neighbour."""
    parts = dotted.split(".")
    return parts[2] if len(parts) > 2 else None

"""How names change hands: what modules have imported by name is replaced in their namespaces, and put back later.

``from socket import create_connection`` needs nothing (the function looks at its own module), but ``from os import
read`` or ``import select`` left a reference of its own in the module that said so. All loaded modules are searched for
such references once, and remembered; later patches look only at modules that are new or have changed their size.

Undoing restores each reference that was replaced, and searches the modules that were imported meanwhile for ours.
"""

from __future__ import annotations

import sys
from types import ModuleType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

#: Never touched: our own rooms hold what they need, and these tools talk to the outside.
HANDS_OFF = (
    "_pydev_bundle",
    "_pydevd_bundle",
    "_pytest",
    "_socket",
    "debugpy",
    "execnet",
    "pydevd",
    "pysock",
    "pytest",
    "select",
    "xdist",
)

#: These wait where pysock cannot see it, so their deadlines must be of real time.
KEEP_REAL_TIME = ("concurrent", "multiprocessing", "queue", "subprocess", "threading")

#: What is worth finding in a module: the ids of all originals that were ever looked for, and of their stand-ins. (All
#: of them live as long as the process, so an id means one thing.)
_interesting: set[int] = set()

#: Module name -> (its namespace, the namespace's size when it was searched, the names that held something interesting).
_known: dict[str, tuple[dict[str, Any], int, tuple[str, ...]]] = {}

_ABSENT = object()


class Rebinding:
    """One set of references that were replaced. ``pairs`` are (original, ours)."""

    __slots__ = ("_late", "_modules", "_pairs", "_replaced", "_skip")

    def __init__(self, pairs: Iterable[tuple[Any, Any]], skip: tuple[str, ...] = ()) -> None:
        self._pairs = list(pairs)
        self._late: list[tuple[Any, Any]] = []
        self._skip = HANDS_OFF + skip
        self._replaced: list[tuple[Any, str, Any, Any]] = []
        self._modules: frozenset[str] = frozenset()

    def apply(self) -> None:
        """Replace every original in every module."""
        table = {id(original): ours for original, ours in self._pairs}
        _learn(self._pairs)
        self._modules = frozenset(sys.modules)
        for namespace, names in self._namespaces(self._modules):
            for name in names:
                value = namespace.get(name)
                ours = table.get(id(value))
                if ours is not None:
                    self._replaced.append((namespace, name, value, ours))
                    namespace[name] = ours

    def attribute(self, owner: Any, name: str, ours: Any) -> None:
        """Replace an attribute of a class or module too, or add it."""
        self._replaced.append((owner, name, vars(owner).get(name, _ABSENT), ours))
        setattr(owner, name, ours)

    def also(self, pairs: Iterable[tuple[Any, Any]]) -> None:
        """Undo these pairs too, of which nothing was there to be replaced, wherever they are."""
        self._late += pairs

    def undo(self) -> None:
        """Put every original back, unless somebody else has replaced ours meanwhile; clean modules that were imported
        since.
        """
        for owner, name, original, ours in reversed(self._replaced):
            if isinstance(owner, dict):
                if owner.get(name) is ours:
                    owner[name] = original
            elif vars(owner).get(name) is ours:
                if original is _ABSENT:
                    delattr(owner, name)
                else:
                    setattr(owner, name, original)
        self._replaced.clear()
        late = {id(ours): original for original, ours in self._late}
        since = {id(ours): original for original, ours in [*self._pairs, *self._late]}
        for module_name, module in list(sys.modules.items()):
            table = late if module_name in self._modules else since
            if not table or not self._is_searched(module_name, module):
                continue
            namespace = vars(module)
            for name, value in list(namespace.items()):
                original = table.get(id(value))
                if original is not None:
                    namespace[name] = original

    def _namespaces(self, names: Iterable[str]) -> list[tuple[dict[str, Any], tuple[str, ...]]]:
        found = []
        for module_name in names:
            module = sys.modules.get(module_name)
            if not self._is_searched(module_name, module):
                continue
            namespace = vars(module)
            entry = _known.get(module_name)
            if entry is None or entry[0] is not namespace or entry[1] != len(namespace):
                held = tuple([name for name, value in list(namespace.items()) if id(value) in _interesting])
                entry = _known[module_name] = (namespace, len(namespace), held)
            if entry[2]:
                found.append((namespace, entry[2]))
        return found

    def _is_searched(self, name: str, module: object) -> bool:
        if not isinstance(module, ModuleType):
            return False  # lazy importers and the like: looking at them may import
        return name.split(".", 1)[0] not in self._skip


def _learn(pairs: Iterable[tuple[Any, Any]]) -> None:
    """Both sides matter: a module may be searched for one set of pairs while another one is in place."""
    wanted = {id(thing) for pair in pairs for thing in pair}
    if not _interesting.issuperset(wanted):
        _interesting.update(wanted)
        _known.clear()

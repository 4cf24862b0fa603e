"""Methods of the operating system's `_socket.socket` that a class of somebody else has closed over.

trio makes its socket methods by a function that is given `socket.socket.recv` and the like, so what they call is in a
cell of theirs, where `rebind.py` does not look: cells are searched in the few classes that are known to do this.
"""

from __future__ import annotations

import sys

from pysock.shim import real
from pysock.shim.sockobj import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CellType
    from typing import Any

#: (module, class), looked at only when the module is loaded.
CLASSES = (("trio._socket", "_SocketType"),)


class Closures:
    """The cells of known classes, with our methods in them from `apply` to `undo`."""

    __slots__ = ("_to_original", "_to_ours")

    def __init__(self) -> None:
        ours = vars(socket)
        pairs = [(method, ours[name]) for name, method in vars(real.SOCKET.socket).items() if name in ours]
        self._to_ours: dict[int, Any] = {id(original): mine for original, mine in pairs}
        self._to_original: dict[int, Any] = {id(mine): original for original, mine in pairs}

    def apply(self) -> None:
        """Let the classes call our methods."""
        _swap(self._to_ours)

    def undo(self) -> None:
        """Let them call the originals, also those that were imported meanwhile."""
        _swap(self._to_original)


def _swap(table: dict[int, Any]) -> None:
    for cell in _cells():
        other = table.get(id(cell.cell_contents))
        if other is not None:
            cell.cell_contents = other


def _cells() -> Iterator[CellType]:
    for module_name, class_name in CLASSES:
        owner = getattr(sys.modules.get(module_name), class_name, None)
        if owner is None:
            continue
        for function in list(vars(owner).values()):
            for cell in getattr(function, "__closure__", None) or ():
                try:
                    cell.cell_contents  # noqa: B018  # an empty cell says so by raising
                except ValueError:
                    continue
                yield cell

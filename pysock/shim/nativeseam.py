"""Sockets of the operating system that a program has from before the patch: they go on as ever.

The methods of the original class `socket.socket` find ours when they look for ``_socket`` or ``socket`` in their
module. Those that do get copies that see the module as it was.
"""

from __future__ import annotations

import sys
from types import FunctionType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CellType
    from typing import Any

    from pysock.shim.rebind import Rebinding

#: The methods that make sockets.
_METHODS = ("__init__", "accept")


class NativeSeam:
    """``original`` is the class; made while its module is as it was."""

    def __init__(self, original: type) -> None:
        self._original = original
        namespace = dict(vars(sys.modules[original.__module__]))
        methods = [vars(original)[name] for name in _METHODS]
        self._methods = [copy_of(method, namespace, method.__closure__) for method in methods]

    def install(self, names: Rebinding) -> None:
        """Put the copies in place; ``names`` takes them back."""
        for method in self._methods:
            names.attribute(self._original, method.__name__, method)


def copy_of(function: FunctionType, namespace: dict[str, Any], closure: tuple[CellType, ...] | None) -> FunctionType:
    """``function`` again, looking for its global names in ``namespace``."""
    copy = FunctionType(function.__code__, namespace, function.__name__, function.__defaults__, closure)
    copy.__kwdefaults__ = function.__kwdefaults__
    copy.__qualname__ = function.__qualname__
    copy.__doc__ = function.__doc__
    copy.__annotations__ = function.__annotations__
    vars(copy).update(vars(function))
    return copy

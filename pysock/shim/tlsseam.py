"""The module `ssl` under patch: connections on our sockets are `TlsSocket`s, and `ssl.SSLSocket` derives from ours.

`ssl` is never imported for this. Where it was imported before the patch, `ssl.SSLSocket` derives from the operating
system's socket class; it gets a twin, made of the same functions, that derives from ours and stands in its place.
Where it is imported under patch it is the other way round, and the twin takes over when the patch is undone. While a
patch is active both are at hand, and a socket of the operating system is wrapped by the one that fits it.
"""

from __future__ import annotations

import sys
from functools import update_wrapper
from types import CellType, FunctionType

from pysock.shim import sockobj
from pysock.shim.nativeseam import copy_of
from pysock.shim.real import real_socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

    from pysock.shim.rebind import Rebinding

_OF_THE_ORIGINAL_ALONE = ("__dict__", "__weakref__")


class TlsSeam:
    """``real`` and ``ours`` are the two classes called `socket.socket`; one and the same in a process that has only
    ours.
    """

    def __init__(self, real: type, ours: type) -> None:
        self._real = real
        self._ours = ours
        self._twins: dict[type, type] = {}

    def pairs(self) -> list[tuple[Any, Any]]:
        """``(original, ours)`` of `ssl.SSLSocket`, if it is there."""
        ssl = _complete_ssl()
        if ssl is None or self._real is self._ours:
            return []
        original = self.fitting(ssl.SSLSocket, self._real)
        return [(original, self.fitting(original, self._ours))]

    def install(self, names: Rebinding) -> None:
        """Change `ssl`, now or when it comes; ``names`` remembers what to undo."""

        ours: Any = self._ours

        def derived(cls: type, /, **options: Any) -> None:
            super(ours, cls).__init_subclass__(**options)  # type: ignore[misc]  # mypy does not follow
            if cls.__module__ == "ssl" and "_wrap_socket" not in vars(sys.modules["ssl"].SSLContext):
                self._change(sys.modules["ssl"].SSLContext, cls, names)

        ssl = _complete_ssl()
        if ssl is not None:
            self._change(ssl.SSLContext, ssl.SSLSocket, names)
            names.attribute(ssl.SSLContext, "sslsocket_class", self.fitting(ssl.SSLContext.sslsocket_class, self._ours))
        names.attribute(ours, "__init_subclass__", classmethod(derived))

    def _change(self, context: type, connection: type, names: Rebinding) -> None:
        from pysock.shim.tls import wrap_socket

        names.attribute(context, "_wrap_socket", wrap_socket)
        if self._real is self._ours:
            return
        for cls in (self.fitting(connection, self._real), self.fitting(connection, self._ours)):
            if "_create" in vars(cls):  # not so where somebody else has put a class of theirs in its place
                names.attribute(cls, "_create", self._creator(vars(cls)["_create"].__func__))

    def uninstall(self, names: Rebinding) -> None:
        """Have ``names`` undo what was not there to be replaced when they were applied: an `ssl` imported since."""
        ssl = _complete_ssl()
        if ssl is not None and self._real is not self._ours:
            names.also(self.pairs())
            ssl.SSLContext.sslsocket_class = self.fitting(ssl.SSLContext.sslsocket_class, self._real)

    def fitting(self, cls: type, root: type) -> type:
        """``cls``, or its twin that derives from ``root``."""
        other = self._ours if root is self._real else self._real
        if issubclass(cls, root) or not issubclass(cls, other):
            return cls
        if cls is other:
            return root
        if cls not in self._twins:
            made = _twin(cls, tuple([self.fitting(base, root) for base in cls.__bases__]))
            self._twins[cls] = made
            self._twins[made] = cls
        return self._twins[cls]

    def _creator(self, create: FunctionType) -> classmethod[Any, Any, Any]:
        """SSLSocket._create, for the class that fits the socket.

        The original says ``super(SSLSocket, self)``, and means the class that its module shows: so where that is the
        other one, it gets to see a module that shows this one.
        """

        def _create(cls: type, sock: Any, *args: Any, **kwargs: Any) -> Any:
            if isinstance(sock, sockobj.socket):
                cls = self.fitting(cls, self._ours)
            elif isinstance(sock, real_socket):
                cls = self.fitting(cls, self._real)
            function, namespace = create, create.__globals__
            root = self._ours if issubclass(cls, self._ours) else self._real
            shown = namespace["SSLSocket"]
            if (fitting := self.fitting(shown, root)) is not shown:
                function = copy_of(create, {**namespace, "SSLSocket": fitting}, create.__closure__)
            return function(cls, sock, *args, **kwargs)

        return classmethod(update_wrapper(_create, create))


def _complete_ssl() -> ModuleType | None:
    """`ssl`, when it has been imported to its end."""
    module = sys.modules.get("ssl")
    return module if getattr(getattr(module, "SSLContext", None), "sslsocket_class", None) is not None else None


def _twin(cls: type, bases: tuple[type, ...]) -> type:
    """``cls`` again, on other bases."""
    cell = CellType()  # what super() finds as __class__
    slots = vars(cls).get("__slots__", ())
    dropped = (*_OF_THE_ORIGINAL_ALONE, *([slots] if isinstance(slots, str) else slots))
    namespace = {name: _moved(value, cls, cell) for name, value in vars(cls).items() if name not in dropped}
    made = type(cls)(cls.__name__, bases, namespace)
    cell.cell_contents = made
    return made


def _moved(value: Any, cls: type, cell: CellType) -> Any:
    """``value`` of a class's namespace, its functions changed to find another class as theirs."""
    if isinstance(value, FunctionType):
        cells = value.__closure__ or ()
        closure = tuple([cell if _holds(old, cls) else old for old in cells])
        return value if closure == cells else copy_of(value, value.__globals__, closure)
    if isinstance(value, classmethod | staticmethod):
        return type(value)(_moved(value.__func__, cls, cell))
    if isinstance(value, property):
        fget, fset, fdel = (_moved(part, cls, cell) for part in (value.fget, value.fset, value.fdel))
        return property(fget, fset, fdel, value.__doc__)
    return value


def _holds(cell: CellType, cls: type) -> bool:
    try:
        return cell.cell_contents is cls
    except ValueError:
        return False  # empty

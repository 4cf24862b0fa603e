"""pysock: a Linux-shaped network stack inside one Python process, behind the `socket` API.

    import pysock as socket         the whole public face of the standard library's `socket`, over pysock
    pysock.patch()                  the same for code that imports socket, select or asyncio itself
    python -m pysock run PROGRAM    the same for a program that knows nothing about it
    def test_it(pysock): ...        the same for a test (the pytest plugin)

    pysock.Kernel.boot()            one simulated kernel;  pysock.Net  one network namespace;  pysock.Task  one process
    pysock.Network()                hosts, links, switches and routers for a test, and what can go wrong with them

Importing this package does nothing else: the face is put together when somebody first asks for one of its names, and a
kernel is booted by the first socket.
"""

from __future__ import annotations

import sys
from types import ModuleType

from pysock._version import __version__ as __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from socket import *  # noqa: F403

    from pysock.core.kernel import Kernel as Kernel
    from pysock.core.net import Net as Net
    from pysock.lab.host import Host as Host
    from pysock.lab.link import Link as Link
    from pysock.lab.network import Network as Network
    from pysock.shim.mirror import Mirror as Mirror
    from pysock.shim.mirror import mirror as mirror
    from pysock.shim.patching import Patch as Patch
    from pysock.shim.patching import patch as patch
    from pysock.vfs.task import Task as Task

#: Our own names, and where they live. Everything else is the standard library's `socket`.
_OURS = {
    "Host": "pysock.lab.host",
    "Kernel": "pysock.core.kernel",
    "Link": "pysock.lab.link",
    "Mirror": "pysock.shim.mirror",
    "Net": "pysock.core.net",
    "Network": "pysock.lab.network",
    "Patch": "pysock.shim.patching",
    "Task": "pysock.vfs.task",
    "mirror": "pysock.shim.mirror",
    "patch": "pysock.shim.patching",
}

#: Subpackages: an attribute when imported, and no reason to put the face together.
_ROOMS = frozenset(
    (
        "core",
        "drivers",
        "families",
        "lab",
        "plugin",
        "sched",
        "shim",
        "syscalls",
        "testing",
        "tools",
        "uapi",
        "vfs",
        "wire",
    )
)


class _Face(ModuleType):
    """The class of this module: what a program sets here (a mock, a socket class of its own) the functions of the face
    see.
    """

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, value)
        face = self.__dict__.get("_face")
        if face is not None and name in face.__dict__:
            setattr(face, name, value)


sys.modules[__name__].__class__ = _Face


def __getattr__(name: str) -> object:
    if name in _OURS:
        from importlib import import_module

        value: object = getattr(import_module(_OURS[name]), name)
        globals()[name] = value
        return value
    if name == "_face" or name in _ROOMS or (name.startswith("__") and name != "__all__"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    _show_face()
    try:
        return globals()[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None


def _show_face() -> None:
    """Put all names of the standard library's `socket`, loaded over pysock, into this module."""
    from pysock.shim.loader import stdlib_socket

    face = stdlib_socket()
    here = globals()
    here.update((name, value) for name, value in vars(face).items() if not name.startswith("__") and name not in here)
    here["__all__"] = [*vars(face)["__all__"], *sorted(_OURS), "__version__"]
    here["_face"] = face


def __dir__() -> list[str]:
    if "_face" not in globals():
        _show_face()
    return sorted({*globals(), *_OURS})

"""The stdlib's socket.py a second time, over our `_socket`.

The file is the interpreter's own, unmodified, taken from its cached bytecode; only what it finds in `sys.modules` while
it is executed differs. Where the first copy is already imported, the two share their enums, so that `socket.AF_INET` is
one object.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from importlib.machinery import PathFinder
from types import ModuleType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_ENUMS = ("AddressFamily", "SocketKind", "MsgFlag", "AddressInfo")
_STDLIB = os.path.dirname(os.__file__)

_loaded: ModuleType | None = None


def stdlib_socket() -> ModuleType:
    """Our copy of the module `socket`; loaded at the first call."""
    global _loaded
    if _loaded is None:
        _loaded = _load()
    return _loaded


def _load() -> ModuleType:
    from pysock.shim import csocket, osseam

    spec = PathFinder.find_spec("socket", [_STDLIB])
    if spec is None or spec.loader is None:
        raise ImportError("pysock needs the standard library's socket.py, and cannot find it", name="socket")
    module = ModuleType("socket")
    module.__spec__ = spec
    module.__loader__ = spec.loader
    module.__file__ = spec.origin
    vars(module)["__cached__"] = spec.cached
    module.__package__ = ""
    # Its enums are made from the namespace of sys.modules[__name__].
    with standing_in({"_socket": csocket, "socket": module}):
        spec.loader.exec_module(module)
    # Without a patch, the real os knows nothing of our numbers.
    vars(module).update(os=osseam.os_overlay(), selectors=osseam.selectors_overlay())
    original = sys.modules.get("socket")
    if original is not None:
        share_enums(original, module)
    return module


@contextmanager
def standing_in(modules: dict[str, ModuleType]) -> Iterator[None]:
    """Have `sys.modules` show ``modules`` for a while."""
    before = {name: sys.modules.get(name) for name in modules}
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


def share_enums(original: ModuleType, copy: ModuleType) -> None:
    """Give ``copy`` the enum classes and constants of ``original``."""
    enums = tuple(getattr(original, name) for name in _ENUMS)
    for name, value in vars(original).items():
        if value in enums or isinstance(value, enums):
            setattr(copy, name, value)

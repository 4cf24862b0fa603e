"""pysock.patch(): unmodified programs get our sockets, and everything is as before when it is undone.

What a patch does, once for all patches that are active:

* `sys.modules` shows our `_socket` and `select`; the module `socket` stays the same object, with our classes and
  functions in it;
* names that other modules imported from these, from `os`, `fcntl`, `signal` and `_thread` change hands (`rebind.py`),
  and so do the class attributes of `selectors` that hold a poller, and the methods that trio closed over
  (`closures.py`);
* Python signal handlers are guarded (`signalseam.py`);
* `ssl` runs on our sockets (`tlsseam.py`), and asyncio resolves names without threads (`asyncseam.py`), whether they
  are there already or are imported later;
* with a virtual clock, the functions of `time` change hands too.

Each patch has a task of its own, which is the process-wide default task while it is the innermost one. Its fds are real
placeholder descriptors, so numbers never collide with the operating system's.

What cannot be undone is a class that somebody derives from `socket.socket` in a module that is imported while a patch
is active, `ssl.SSLSocket` excepted.
"""

from __future__ import annotations

import os
import sys
import threading

from pysock.core.kernel import Kernel
from pysock.shim import asyncseam, cselect, csocket, forkseam, ioseam, osseam, real, signalseam, threadseam, timeseam
from pysock.shim.builtin import Builtin
from pysock.shim.closures import Closures
from pysock.shim.epollobj import epoll
from pysock.shim.foreign import Foreign
from pysock.shim.loader import stdlib_socket
from pysock.shim.nativeseam import NativeSeam
from pysock.shim.rebind import KEEP_REAL_TIME, Rebinding
from pysock.shim.tlsseam import TlsSeam
from pysock.vfs.fdnum import PlaceholderFds
from pysock.vfs.task import Task, set_default_task

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import ModuleType, TracebackType
    from typing import Any

    from pysock.core.clock import Clock
    from pysock.core.net import Net


class Patch:
    """An active patch: ``kernel``, ``net`` and ``task`` are what programs run on now. `patch` makes it, `undo` ends it.

    As a context manager, it undoes itself at the end.
    """

    __slots__ = ("active", "task")

    def __init__(self, task: Task) -> None:
        self.task = task
        self.active = False

    @property
    def kernel(self) -> Kernel:
        """The kernel; after a fork, the child has one of its own."""
        return self.task.kernel

    @property
    def net(self) -> Net:
        """The network namespace."""
        return self.task.net

    @property
    def clock(self) -> Clock:
        """The kernel's clock."""
        return self.kernel.clock

    @property
    def seed(self) -> int:
        """The seed of everything that the kernel leaves to chance."""
        return self.kernel.seed

    def undo(self) -> None:
        """Take the patch back; patches may be undone in any order, and twice. Sockets that are still open go on working
        on their own kernel.
        """
        with _changing:
            if self.active:
                self.active = False
                _installed.remove(self)

    def __enter__(self) -> Patch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.undo()

    def __repr__(self) -> str:
        return f"<pysock.Patch {'active' if self.active else 'undone'} {self.kernel!r}>"


def patch(
    kernel: Kernel | None = None,
    *,
    net: Net | None = None,
    clock: str | Clock = "real",
    seed: int | None = None,
    plugins: Iterable[str] = (),
) -> Patch:
    """Make socket, select, selectors, asyncio and all that stands on them use pysock, from now on until `Patch.undo`.

    Use it as ``with pysock.patch():``, or keep the result and call its ``undo()``. Without ``kernel`` a new one is
    booted; ``clock`` ("real" or "virtual"), ``seed`` and ``plugins`` are for that one, see `Kernel.boot`. ``net`` is a
    namespace of ``kernel``, its first by default.
    """
    if kernel is not None and (clock != "real" or seed is not None or plugins):
        raise TypeError("patch(kernel) takes the kernel as it is: give clock, seed and plugins to Kernel.boot()")
    if net is not None and kernel is None:
        kernel = net.kernel
    _import_originals()
    if kernel is None:
        kernel = Kernel.boot(clock=clock, seed=seed, plugins=plugins)
    return _start(kernel, net)


def patch_for_task(task: Task) -> Patch:
    """`patch` with a task that exists, which becomes the default one: for networks of hosts."""
    _import_originals()
    return _activate(task)


def patch_for_good(*, clock: str, seed: int | None, plugins: Iterable[str] = ()) -> Patch:
    """Patch a process that has just begun, for the rest of its life (``python -m pysock run``).

    Where nobody has imported `socket` yet, our copy becomes the module; so even its internals are ours for mocks to
    find.
    """
    for name, module in (("_socket", csocket), ("select", cselect)):
        sys.modules[name] = module
    copy = sys.modules.setdefault("socket", stdlib_socket())
    # What it imports is patched itself now, and mocks of os.sendfile must reach it.
    vars(copy).update(os=os, selectors=sys.modules["selectors"])
    return _start(Kernel.boot(clock=clock, seed=seed, plugins=plugins), None)


def _start(kernel: Kernel, net: Net | None) -> Patch:
    task = Task.for_kernel(kernel, net=net, numbers=PlaceholderFds())
    task.make_foreign = Foreign
    return _activate(task)


def _activate(task: Task) -> Patch:
    forkseam.register()
    active = Patch(task)
    with _changing:
        _installed.add(active)
        active.active = True
    return active


def _import_originals() -> None:
    """What must see the real sockets when it is imported."""
    import selectors  # noqa: F401
    import socket  # noqa: F401


class _Installed:
    """What is in place for all active patches of this process, the outermost first."""

    def __init__(self) -> None:
        self._patches: list[Patch] = []
        self._names: Rebinding | None = None
        self._time: Rebinding | None = None
        self._modules: dict[str, ModuleType] = {}
        self._default: Task | None = None
        self._functions: list[tuple[Any, Any]] = []
        self._tls: TlsSeam | None = None
        self._closures: Closures | None = None
        self._native: NativeSeam | None = None
        self._time_functions: list[tuple[Any, Any]] = []

    def add(self, active: Patch) -> None:
        first = not self._patches
        self._patches.append(active)
        before = set_default_task(active.task)
        if first:
            self._default = before
            self._install()
        self._install_time()

    def remove(self, active: Patch) -> None:
        self._patches.remove(active)
        self._install_time()
        if self._patches:
            set_default_task(self._patches[-1].task)
            return
        self._uninstall()
        set_default_task(self._default)
        self._default = None

    def _install(self) -> None:
        self._modules = {name: sys.modules[name] for name in ("_socket", "select")}
        sys.modules.update(_socket=csocket, select=cselect)
        original, ours = sys.modules["socket"].socket, stdlib_socket().socket
        if self._tls is None:
            self._tls = TlsSeam(original, ours)
            self._native = None if original is ours else NativeSeam(original)
        names = self._names = Rebinding([*self._pairs(), *self._tls.pairs()])
        names.apply()
        self._tls.install(names)
        if self._native is not None:
            self._native.install(names)
        selectors = sys.modules["selectors"]
        names.attribute(selectors.SelectSelector, "_select", cselect.select)
        names.attribute(selectors.PollSelector, "_selector_cls", cselect.poll)
        names.attribute(selectors.EpollSelector, "_selector_cls", epoll)
        if self._closures is None:
            self._closures = Closures()
        self._closures.apply()
        asyncseam.install(names)
        signalseam.guard_installed()

    def _uninstall(self) -> None:
        signalseam.unguard_installed()
        asyncseam.uninstall()
        if self._closures is not None:
            self._closures.undo()
        if self._names is not None and self._tls is not None:
            self._tls.uninstall(self._names)
            self._names.undo()
            self._names = None
        for name, module in self._modules.items():
            if sys.modules.get(name) in (csocket, cselect):
                sys.modules[name] = module

    def _install_time(self) -> None:
        """Virtual time as long as some patch wants it."""
        wanted = any(active.clock.virtual for active in self._patches)
        if wanted and self._time is None:
            if not self._time_functions:
                self._time_functions = _stand_ins(timeseam.replacements())
            self._time = Rebinding(self._time_functions, KEEP_REAL_TIME)
            self._time.apply()
        elif not wanted and self._time is not None:
            self._time.undo()
            self._time = None

    def _pairs(self) -> list[tuple[Any, Any]]:
        """``(original, ours)`` of all that changes hands whatever the clock; the same objects every time."""
        if not self._functions:
            pairs: list[tuple[Any, Any]] = [(real.SOCKET, csocket), (real.SELECT, cselect)]
            for original_module, our_module in ((real.SOCKET, csocket), (real.SELECT, cselect)):
                for name in our_module.__all__:
                    original, ours = getattr(original_module, name), getattr(our_module, name)
                    if original is not ours and callable(original):
                        pairs.append((original, ours))
            original_socket, copy = sys.modules["socket"], stdlib_socket()
            if original_socket is not copy:
                pairs += [(getattr(original_socket, name), getattr(copy, name)) for name in ("socket", "SocketIO")]
            for seam in (osseam, ioseam, signalseam, threadseam):
                pairs += _stand_ins(seam.replacements())
            self._functions = pairs
        return self._functions


def _stand_ins(pairs: list[tuple[Any, Callable[..., Any]]]) -> list[tuple[Any, Any]]:
    return [(original, Builtin(original, ours)) for original, ours in pairs]


_installed = _Installed()
#: One thread at a time patches or undoes.
_changing = threading.RLock()

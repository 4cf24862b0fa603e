"""Task: whose fds, in which namespace, with which rights. Every system call gets one as its first argument.

Which Task a thread or an asyncio task works for is a context variable, `current`; where nobody set it, the
process-wide default counts, if there is one. A new asyncio task copies its maker's context by itself; a new
thread does not, so whoever starts threads for a Task runs them in a copy of the context.
"""

from __future__ import annotations

import os
from contextvars import ContextVar
from weakref import WeakSet

from pysock.vfs.fdtable import FdTable
from pysock.vfs.sockfs import SockFs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pysock.core.capability import Credentials
    from pysock.core.clock import Clock
    from pysock.core.kernel import Kernel
    from pysock.core.net import Net
    from pysock.vfs.epoll import ForeignPoller
    from pysock.vfs.fdnum import FdNumbers
    from pysock.vfs.file import File


class Task:
    """A process, as far as sockets see one (task_struct, nsproxy, files_struct).

    ``fds`` is ``files.files``: the dict that the hot paths look numbers up in. ``net`` and ``creds`` may be
    replaced (setns, setuid); sockets keep what they were made with. ``make_foreign`` makes the poller of an
    epoll that is asked to watch a descriptor of the operating system; without it, such a number is EBADF.
    """

    __slots__ = ("__weakref__", "creds", "fds", "files", "kernel", "make_foreign", "net", "pid", "sockfs")

    def __init__(self, kernel: Kernel, net: Net, creds: Credentials, files: FdTable, pid: int) -> None:
        self.kernel = kernel
        self.net = net
        self.creds = creds
        self.files = files
        self.fds: dict[int, File] = files.files
        self.pid = pid
        self.sockfs = SockFs.of(kernel)
        self.make_foreign: Callable[[], ForeignPoller] | None = None
        all_tasks.add(self)

    @classmethod
    def for_kernel(
        cls,
        kernel: Kernel,
        *,
        net: Net | None = None,
        creds: Credentials | None = None,
        numbers: FdNumbers | None = None,
        pid: int | None = None,
    ) -> Task:
        """A new task of ``kernel`` with no open files: in the first namespace, as root and with virtual fd
        numbers, unless told otherwise. ``pid`` defaults to the process's own.
        """
        return cls(
            kernel,
            kernel.init_net if net is None else net,
            kernel.creds if creds is None else creds,
            FdTable(numbers),
            os.getpid() if pid is None else pid,
        )

    @classmethod
    def boot(
        cls,
        *,
        clock: str | Clock = "real",
        seed: int | None = None,
        plugins: Iterable[str] = (),
        numbers: FdNumbers | None = None,
    ) -> Task:
        """Boot a kernel, and return its first task. The arguments are those of `Kernel.boot`."""
        from pysock.core.kernel import Kernel  # with pluggy behind it: not before somebody needs a kernel

        return cls.for_kernel(Kernel.boot(clock=clock, seed=seed, plugins=plugins), numbers=numbers)

    def exit(self) -> None:
        """Close every fd (do_exit, as far as sockets see it)."""
        kernel = self.kernel
        kernel.enter()
        try:
            self.files.close_all()
        finally:
            kernel.leave()

    def __repr__(self) -> str:
        return f"<Task pid={self.pid} net={self.net.name!r} fds={len(self.fds)}>"


#: Every task of this process, for a fork to find.
all_tasks: WeakSet[Task] = WeakSet()

#: The task that this context works for, None for the default one. Set it with ``current.set``, put it back
#: with ``current.reset``.
current: ContextVar[Task | None] = ContextVar("pysock.current", default=None)

_default: Task | None = None


def set_default_task(task: Task | None) -> Task | None:
    """Make ``task`` the process-wide default; return what it was."""
    global _default
    before = _default
    _default = task
    return before


def current_task() -> Task:
    """The task of this context, else the default one. RuntimeError when there is neither."""
    task = current.get()
    if task is None:
        task = _default
        if task is None:
            raise RuntimeError(
                "no pysock task here: boot one with Task.boot() and pass it to set_default_task(),"
                " or use pysock.patch()"
            )
    return task

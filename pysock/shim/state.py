"""Which task a call of the shim is made for.

`vfs.task` knows the task of a context and the process-wide default. Here the default gets its first value: a program
that only says `import pysock as socket` boots a kernel with its first socket, in real time and with virtual fd numbers.
"""

from __future__ import annotations

import threading

from pysock.shim import forkseam
from pysock.shim.foreign import Foreign
from pysock.vfs import task as vfs_task

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.net import Net
    from pysock.vfs.task import Task

_booting = threading.Lock()


def current() -> Task:
    """The task of this context, else the process-wide default one, which is booted if there is none yet."""
    try:
        return vfs_task.current_task()
    except RuntimeError:
        return _boot_default()


#: By thread: whose listening socket accepted a connection whose socket object is about to be made.
_accepting: dict[int, Task] = {}


def accepted_by(task: Task) -> None:
    """A socket of ``task`` has accepted a connection: `owner` says so if it isn't the current task."""
    try:
        if vfs_task.current_task() is task:
            return
    except RuntimeError:
        pass  # there is no current task
    _accepting[threading.get_ident()] = task


def owner(fd: int | None) -> Task:
    """The task for a new socket object: where ``fd`` was accepted just now, the listener's, which may be another host's
    than the one that this context works for; else the current one.
    """
    if _accepting and fd is not None:
        task = _accepting.pop(threading.get_ident(), None)
        if task is not None and fd in task.fds:
            return task
    return current()


def current_net() -> Net:
    """The network namespace of the current task."""
    return current().net


def _boot_default() -> Task:
    with _booting:
        try:
            return vfs_task.current_task()
        except RuntimeError:
            forkseam.register()
            task = vfs_task.Task.boot()
            task.make_foreign = Foreign
            vfs_task.set_default_task(task)
            return task

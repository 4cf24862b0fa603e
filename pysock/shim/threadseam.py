"""Threads that start under patch work for the task that started them, and take part in its virtual time from their
first moment.
"""

from __future__ import annotations

from pysock.shim import real
from pysock.vfs import task as vfs_task

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pysock.core.kernel import Kernel
    from pysock.vfs.task import Task


class _Inheriting:
    """A thread's function, run as the task of the thread that started it."""

    __slots__ = ("counted", "function", "task")

    def __init__(self, function: Callable[..., Any], task: Task) -> None:
        self.function = function
        self.task = task
        # A parent that goes to sleep before the child has run must not move the clock past it.
        self.counted = task.kernel.clock.virtual
        if self.counted:
            _count(task.kernel, 1)

    def never_started(self) -> None:
        if self.counted:
            _count(self.task.kernel, -1)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        vfs_task.current.set(self.task)
        if self.counted:
            _take_part(self.task.kernel)
        return self.function(*args, **kwargs)


def inheriting(function: Callable[..., Any], task: Task) -> Callable[..., Any]:
    """``function`` for a thread that is about to be started for ``task``, patched or not: the thread takes part in
    virtual time from now on, so it must be started.
    """
    return _Inheriting(function, task)


def _count(kernel: Kernel, by: int) -> None:
    kernel.acquire()
    try:
        kernel.sleeper()  # who starts threads takes part, too
        kernel.participants += by
    finally:
        kernel.leave()


def _take_part(kernel: Kernel) -> None:
    """The thread's own membership takes the place of the one that its parent held for it."""
    kernel.acquire()
    try:
        kernel.sleeper()
        kernel.participants -= 1
    finally:
        kernel.leave()


def _starter(start: Callable[..., Any]) -> Callable[..., Any]:
    def start_inheriting(function: Any, *args: Any, **kwargs: Any) -> Any:
        if not callable(function):
            return start(function, *args, **kwargs)  # it knows what to say
        child = _Inheriting(function, vfs_task.current_task())
        try:
            return start(child, *args, **kwargs)
        except BaseException:
            child.never_started()
            raise

    return start_inheriting


def replacements() -> list[tuple[Any, Callable[..., Any]]]:
    """``(original, ours)`` of everything here."""
    originals = [real.start_new_thread, real.start_joinable_thread]
    return [(original, _starter(original)) for original in originals if original is not None]

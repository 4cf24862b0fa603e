"""RunningProgram: a function that runs on a host in a thread of its own."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from pysock.core.clock import NEVER
from pysock.core.wait import WaitQueue
from pysock.lab.units import nanoseconds
from pysock.shim.threadseam import inheriting

if TYPE_CHECKING:
    from collections.abc import Callable

    from pysock.vfs.task import Task

T = TypeVar("T")
_DONE = 1


class RunningProgram(Generic[T]):
    """Runs from its making on. `result` waits for it, in the time of its kernel; nobody else need to."""

    __slots__ = ("_done", "_error", "_function", "_kernel", "_result", "_waiting", "name", "thread")

    def __init__(self, task: Task, name: str, function: Callable[[], T]) -> None:
        self._kernel = task.kernel
        self._function = function
        self._waiting = WaitQueue()
        self._done = False
        self._result: T | None = None
        self._error: BaseException | None = None
        self.name = name
        self.thread = threading.Thread(target=inheriting(self._run, task), name=name, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self._result = self._function()
        except BaseException as exc:
            self._error = exc
        finally:
            kernel = self._kernel
            kernel.enter()
            self._done = True
            self._waiting.wake_all(_DONE)
            kernel.leave()

    @property
    def running(self) -> bool:
        return not self._done

    def result(self, timeout: str | float | None = None) -> T:
        """What the function returned, or raised, once it has. TimeoutError after ``timeout`` of simulated time."""
        kernel = self._kernel
        deadline = kernel.enter() + (NEVER if timeout is None else nanoseconds(timeout, "timeout"))
        try:
            sleeper = kernel.sleeper()
            while not self._done:
                if not sleeper.wait_on(self._waiting, min(deadline, NEVER)) and not self._done:
                    raise TimeoutError(f"{self.name} is still running after {timeout}")
        finally:
            kernel.leave()
        self.thread.join()
        if self._error is not None:
            raise self._error
        return cast(T, self._result)

    def __repr__(self) -> str:
        return f"<RunningProgram {self.name} {'done' if self._done else 'running'}>"

"""Notifier chains: how one part of the kernel tells others, who asked, that something happened.
kernel/notifier.c.

A callback is `callback(event, data) -> int | None`. It answers NOTIFY_DONE (not for me; None is the same),
NOTIFY_OK (fine), NOTIFY_BAD (I object) or `notifier_from_errno(e)`; an answer with NOTIFY_STOP_MASK ends
the walk. Callbacks run in descending priority, equal ones in order of registration. The list is a tuple
that each change replaces, so a callback may register and unregister during a walk: the walk goes on over
the list it started with.

Linux has four kinds; what sets them apart in Python is who locks and who may block:

| kind     | call_chain runs under      | may block | register and unregister                            |
|----------|----------------------------|-----------|----------------------------------------------------|
| atomic   | the kernel lock            | no        | anywhere (their lock is held for a moment only)    |
| raw      | what its owner says        | it says   | under the owner's lock, as the call                |
| blocking | its own lock, never kernel | yes       | not under the kernel lock; wait for a running walk |
| srcu     | no lock at all             | yes       | not under the kernel lock; unregister waits until  |
|          |                            |           | nobody is inside the callback                      |

After `unregister` of a blocking or srcu chain returns, the callback is not running and will not run; a
callback that unregisters itself is not waited for. Device events are a raw chain under the kernel lock, as
under rtnl in Linux.

A callback that raises is contained: reported once under its name, and taken as NOTIFY_DONE.
"""

from __future__ import annotations

import errno
import threading
from typing import TYPE_CHECKING, Protocol

from pysock.core.errors import err

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final, TypeAlias

    from pysock.core.contain import ErrorReporter

    # Any: each chain says in its own documentation what it hands over (a NetDevice, an address, ...).
    Callback: TypeAlias = Callable[[int, Any], int | None]


class LockLike(Protocol):
    """What a blocking chain needs of its lock, which must be reentrant; threading.RLock fits."""

    def acquire(self) -> bool: ...
    def release(self) -> None: ...


class ConditionLike(Protocol):
    """What an srcu chain needs to wait; threading.Condition fits."""

    def acquire(self) -> bool: ...
    def release(self) -> None: ...
    def wait(self) -> bool: ...
    def notify_all(self) -> None: ...


NOTIFY_DONE: Final = 0x0000
NOTIFY_OK: Final = 0x0001
NOTIFY_STOP_MASK: Final = 0x8000
NOTIFY_BAD: Final = NOTIFY_STOP_MASK | 0x0002
NOTIFY_STOP: Final = NOTIFY_STOP_MASK | NOTIFY_OK


def notifier_from_errno(number: int) -> int:
    """The answer of a callback that objects with errno `number` (positive), or NOTIFY_OK for 0."""
    return NOTIFY_STOP_MASK | (NOTIFY_OK + number) if number else NOTIFY_OK


def notifier_to_errno(answer: int) -> int:
    """The errno (positive) in an answer of `call_chain`, 0 if nobody objected. Plain NOTIFY_BAD reads as
    EPERM.
    """
    answer &= ~NOTIFY_STOP_MASK
    return answer - NOTIFY_OK if answer > NOTIFY_OK else 0


class NotifierBlock:
    """One registration. `running` has the ident of each thread inside the callback (srcu chains only)."""

    __slots__ = ("callback", "gone", "name", "priority", "running")

    def __init__(self, callback: Callback, priority: int, name: str) -> None:
        self.callback = callback
        self.priority = priority
        self.name = name
        self.gone = False
        self.running: list[int] = []


def _name_of(callback: Callback) -> str:
    module = getattr(callback, "__module__", None)
    name = getattr(callback, "__qualname__", None) or type(callback).__qualname__
    return f"{module}.{name}" if module else str(name)


class RawNotifierChain:
    """The chain itself, without any locking: whoever registers or calls holds the lock that the chain's
    owner names.

    `name` appears in error reports ("netdev_chain"); without a `reporter`, what a callback raises is
    swallowed.
    """

    __slots__ = ("_blocks", "_reporter", "name")

    def __init__(self, name: str, reporter: ErrorReporter | None = None) -> None:
        self.name = name
        self._reporter = reporter
        self._blocks: tuple[NotifierBlock, ...] = ()

    def register(self, callback: Callback, priority: int = 0, name: str | None = None) -> None:
        """Add `callback`; `name` is how reports call it (its module and qualified name if not given).
        EEXIST if it is on the chain already.
        """
        self._insert(callback, priority, name)

    def unregister(self, callback: Callback) -> None:
        """Take `callback` off. ENOENT if it is not on the chain."""
        self._remove(callback)

    def call_chain(self, event: int, data: object) -> int:
        """Tell everyone; the last answer (NOTIFY_DONE when nobody listens). Never raises."""
        return self._walk(self._blocks, event, data)[0]

    def call_chain_robust(self, event: int, undo: int, data: object) -> int:
        """Tell everyone, and when one stops the walk, tell those called before it `undo`, in the same
        order; the answer that stopped it, or the last one. notifier_call_chain_robust().
        """
        return self._robust(event, undo, data)

    def __len__(self) -> int:
        return len(self._blocks)

    def callbacks(self) -> list[str]:
        """The names on the chain, in calling order."""
        return [block.name for block in self._blocks]

    def _insert(self, callback: Callback, priority: int, name: str | None) -> None:
        blocks = self._blocks
        if any(block.callback == callback for block in blocks):
            raise err(errno.EEXIST)
        at = 0
        while at < len(blocks) and blocks[at].priority >= priority:
            at += 1
        block = NotifierBlock(callback, priority, name or _name_of(callback))
        self._blocks = (*blocks[:at], block, *blocks[at:])

    def _remove(self, callback: Callback) -> NotifierBlock:
        for at, block in enumerate(self._blocks):
            if block.callback == callback:
                self._blocks = self._blocks[:at] + self._blocks[at + 1 :]
                return block
        raise err(errno.ENOENT)

    def _robust(self, event: int, undo: int, data: object) -> int:
        blocks = self._blocks
        answer, called = self._walk(blocks, event, data)
        if answer & NOTIFY_STOP_MASK:
            self._walk(blocks[: called - 1], undo, data)  # not the one that objected
        return answer

    def _walk(self, blocks: tuple[NotifierBlock, ...], event: int, data: object) -> tuple[int, int]:
        """The last answer and how many were called."""
        answer = NOTIFY_DONE
        called = 0
        for block in blocks:
            answer = self._call(block, event, data)
            called += 1
            if answer & NOTIFY_STOP_MASK:
                break
        return answer, called

    def _call(self, block: NotifierBlock, event: int, data: object) -> int:
        try:
            answer = block.callback(event, data)
            return NOTIFY_DONE if answer is None else int(answer)
        except Exception as exc:
            if self._reporter is not None:
                self._reporter.report(block.name, self.name, exc)
            return NOTIFY_DONE


class AtomicNotifierChain(RawNotifierChain):
    """Called under the kernel lock: callbacks must neither block nor wait. Registering is safe from
    anywhere.
    """

    __slots__ = ("_lock",)

    def __init__(self, name: str, reporter: ErrorReporter | None = None) -> None:
        super().__init__(name, reporter)
        self._lock = threading.Lock()  # never held while a callback runs

    def register(self, callback: Callback, priority: int = 0, name: str | None = None) -> None:
        with self._lock:
            self._insert(callback, priority, name)

    def unregister(self, callback: Callback) -> None:
        """Take `callback` off. ENOENT if it is not on. A walk under way in another thread may still call
        it: whoever must be sure holds the kernel lock.
        """
        with self._lock:
            self._remove(callback)


class _SleepingChain(RawNotifierChain):
    """Common to the kinds whose callbacks may block: refuses to be used under the kernel lock."""

    __slots__ = ("_locked",)

    def __init__(self, name: str, reporter: ErrorReporter | None, locked: Callable[[], bool] | None) -> None:
        super().__init__(name, reporter)
        self._locked = locked

    def _might_sleep(self) -> None:
        if self._locked is not None and self._locked():
            raise RuntimeError(
                f"{self.name}: this chain may block and was used under the kernel lock; "
                "release the lock first, or make it an AtomicNotifierChain"
            )


class BlockingNotifierChain(_SleepingChain):
    """Callbacks may block; the chain's own lock is held meanwhile. A callback may use the chain again (the
    lock is reentrant, which Linux's is not).

    `locked()` says whether this thread holds the kernel lock: using the chain then is a RuntimeError.
    `lock` is a reentrant lock; under a virtual clock it must be one that waits through `WaitQueue`, so that
    the clock sees the waiting.
    """

    __slots__ = ("_lock",)

    def __init__(
        self,
        name: str,
        reporter: ErrorReporter | None = None,
        locked: Callable[[], bool] | None = None,
        lock: LockLike | None = None,
    ) -> None:
        super().__init__(name, reporter, locked)
        self._lock: LockLike = threading.RLock() if lock is None else lock

    def register(self, callback: Callback, priority: int = 0, name: str | None = None) -> None:
        self._might_sleep()
        self._lock.acquire()
        try:
            self._insert(callback, priority, name)
        finally:
            self._lock.release()

    def unregister(self, callback: Callback) -> None:
        self._might_sleep()
        self._lock.acquire()
        try:
            self._remove(callback)
        finally:
            self._lock.release()

    def call_chain(self, event: int, data: object) -> int:
        self._might_sleep()
        self._lock.acquire()
        try:
            return self._walk(self._blocks, event, data)[0]
        finally:
            self._lock.release()

    def call_chain_robust(self, event: int, undo: int, data: object) -> int:
        self._might_sleep()
        self._lock.acquire()
        try:
            return self._robust(event, undo, data)
        finally:
            self._lock.release()


class SrcuNotifierChain(_SleepingChain):
    """Callbacks may block, and several threads may walk at once: a walk takes no lock. `unregister` waits
    until no other thread is inside the callback.

    `condition` as `lock` of BlockingNotifierChain: hand in one over `WaitQueue` where a virtual clock must
    see the waiting.
    """

    __slots__ = ("_condition",)

    def __init__(
        self,
        name: str,
        reporter: ErrorReporter | None = None,
        locked: Callable[[], bool] | None = None,
        condition: ConditionLike | None = None,
    ) -> None:
        super().__init__(name, reporter, locked)
        self._condition: ConditionLike = threading.Condition() if condition is None else condition

    def register(self, callback: Callback, priority: int = 0, name: str | None = None) -> None:
        self._might_sleep()
        self._condition.acquire()
        try:
            self._insert(callback, priority, name)
        finally:
            self._condition.release()

    def unregister(self, callback: Callback) -> None:
        self._might_sleep()
        me = threading.get_ident()
        self._condition.acquire()
        try:
            block = self._remove(callback)
            block.gone = True  # before looking at `running`: see _call
            while any(ident != me for ident in tuple(block.running)):
                self._condition.wait()
        finally:
            self._condition.release()

    def call_chain(self, event: int, data: object) -> int:
        self._might_sleep()
        return self._walk(self._blocks, event, data)[0]

    def call_chain_robust(self, event: int, undo: int, data: object) -> int:
        self._might_sleep()
        return self._robust(event, undo, data)

    def _call(self, block: NotifierBlock, event: int, data: object) -> int:
        # We enter `running` and then look at `gone`; unregister sets `gone` and then looks at `running`. So
        # either we see that we are too late, or it sees us and waits. list.append and list.remove are
        # single steps to other threads.
        me = threading.get_ident()
        block.running.append(me)
        try:
            return NOTIFY_DONE if block.gone else super()._call(block, event, data)
        finally:
            block.running.remove(me)
            if block.gone:
                self._condition.acquire()
                self._condition.notify_all()
                self._condition.release()

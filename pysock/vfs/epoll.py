"""Epoll: the instance, and those who wait on it (epoll(7), fs/eventpoll.c). `epoll_ctl.py` has the rest of
the interface.

How it works

* Watching costs nothing: a file that wakes its queue calls the `EpItem` entered there, which appends itself
  to ``ready``.
* `send_events` walks the ready list once, looks at each file, and returns what holds. A level-triggered item
  goes back to the end of the list and is looked at again next time, until its file is not ready; an
  edge-triggered one waits for its next wake-up; a one-shot one keeps its private bits only, until
  EPOLL_CTL_MOD.
* Waiters are exclusive: one wake-up, one thread. Who leaves items behind wakes the next one.

Real descriptors

An epoll may watch descriptors of the operating system beside ours. They live in ``foreign``, a
`ForeignPoller` (a real select.epoll in a thin coat): `foreign_ctl` adds and removes them, `send_events`
appends what it reports, and a thread that sleeps here also sleeps on ``foreign.fileno()`` (the ``real_fds``
of `Sleeper.wait_on`). While it watches nothing it costs one test. Nested: an outer epoll is not woken by the
foreign descriptors of an inner one.
"""

from __future__ import annotations

import errno

from pysock.core.errors import err
from pysock.core.wait import WaitQueue
from pysock.uapi.poll import (
    EP_PRIVATE_BITS,
    EPOLL_CTL_ADD,
    EPOLL_CTL_DEL,
    EPOLL_CTL_MOD,
    EPOLLET,
    EPOLLHUP,
    EPOLLIN,
    EPOLLONESHOT,
    EPOLLRDNORM,
)
from pysock.vfs.file import File

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, Protocol

    from pysock.core.kernel import Kernel
    from pysock.core.sock import PollTable
    from pysock.vfs.epitem import EpItem
    from pysock.vfs.inode import Inode
else:
    Protocol = object  # importing typing costs 5 ms

_STICKY: Final = EPOLLET | EPOLLONESHOT


class ForeignPoller(Protocol):
    """A poller of real descriptors. Errors are those of epoll_ctl(2); nothing in it may block."""

    def fileno(self) -> int:
        """A real descriptor that is readable while `poll` has something to report."""

    def register(self, fd: int, events: int) -> None: ...

    def modify(self, fd: int, events: int) -> None: ...

    def unregister(self, fd: int) -> None: ...

    def poll(self) -> list[tuple[int, int]]:
        """``(fd, events)`` of what is ready now."""

    def close(self) -> None: ...


class Epoll(File):
    """An epoll instance. ``items`` maps (fd, file) to what is watched: the same fd may name a new file
    meanwhile.
    """

    __slots__ = ("foreign", "foreign_count", "items", "kernel", "poll_wait", "ready", "wq")

    def __init__(self, kernel: Kernel, inode: Inode) -> None:
        super().__init__(inode)
        self.kernel = kernel
        self.items: dict[tuple[int, File], EpItem] = {}
        self.ready: list[EpItem] = []
        self.wq = WaitQueue()  # threads in `wait`
        self.poll_wait = WaitQueue()  # pollers and other epolls that watch this one
        self.foreign: ForeignPoller | None = None
        self.foreign_count = 0

    def wait(self, maxevents: int, deadline: int) -> list[tuple[int, int]]:
        """Up to ``maxevents`` pairs (data, events), as soon as there is one (ep_poll).

        ``deadline`` is monotonic ns: 0 does not wait, NEVER waits for ever; [] when it has passed. Closing the
        epoll meanwhile does not end the wait; EBADF when the task ends.
        """
        found = self.send_events(maxevents)
        if found or not deadline:
            return found
        sleeper = self.kernel.sleeper()
        self.pin()
        try:
            while True:
                real_fds = (self.foreign.fileno(),) if self.foreign_count and self.foreign is not None else ()
                in_time = sleeper.wait_on(self.wq, deadline, True, real_fds)
                found = self.send_events(maxevents)
                if found or not in_time:
                    return found
                if not self.f_count:
                    raise err(errno.EBADF)
        finally:
            self.unpin()

    def send_events(self, maxevents: int) -> list[tuple[int, int]]:
        """What holds now, without waiting (ep_send_events)."""
        ready = self.ready
        if len(ready) == 1 and not ready[0].events & _STICKY:
            # The usual case, one level-triggered file: it stays where it is, or leaves.
            item = ready[0]
            mask = item.look(item.target, None) & item.events
            if mask:
                found = [(item.data, mask)]
                if self.wq.entries:
                    self.wq.wake(EPOLLIN)
            else:
                found = []
                item.ready = False
                ready.clear()
        else:
            found = self._scan(ready, maxevents) if ready else []
        if self.foreign_count and len(found) < maxevents and self.foreign is not None:
            found += self.foreign.poll()[: maxevents - len(found)]
        return found

    def _scan(self, ready: list[EpItem], maxevents: int) -> list[tuple[int, int]]:
        found: list[tuple[int, int]] = []
        again = self.ready = []  # wake-ups go here while we look
        done = 0
        try:
            for item in ready:
                done += 1
                item.ready = False
                events = item.events
                mask = item.look(item.target, None) & events
                if not mask:
                    continue
                found.append((item.data, mask))
                if not events & _STICKY:
                    again.append(item)
                    item.ready = True
                elif events & EPOLLONESHOT:
                    item.events = events & EP_PRIVATE_BITS
                if len(found) == maxevents:
                    break
        except BaseException:  # a signal handler raised: what was found is lost, so look at all of it again
            for item in ready[:done]:
                if item not in again and item.events & ~EP_PRIVATE_BITS:
                    again.append(item)
                    item.ready = True
            raise
        finally:
            if done < len(ready):
                again[:0] = ready[done:]
        if again and self.wq.entries:
            self.wq.wake(EPOLLIN)
        return found

    def foreign_ctl(self, op: int, fd: int, events: int) -> None:
        """epoll_ctl(2) for a descriptor of the operating system. EBADF without a `ForeignPoller`."""
        foreign = self.foreign
        if foreign is None:
            raise err(errno.EBADF)
        if op == EPOLL_CTL_ADD:
            foreign.register(fd, events)
            self.foreign_count += 1
            self.wq.wake(EPOLLIN)  # whoever sleeps must sleep on it too
        elif op == EPOLL_CTL_MOD:
            foreign.modify(fd, events)
        elif op == EPOLL_CTL_DEL:
            foreign.unregister(fd)
            self.foreign_count -= 1
        else:
            raise err(errno.EINVAL)

    # -- an epoll is a file too ----------------------------------------------------------------------------

    def poll(self, table: PollTable | None) -> int:
        """Readable while some item is (ep_eventpoll_poll). Items that turn out not to be leave the ready
        list.
        """
        if table is not None:
            table.wait(self.poll_wait)
        ready = self.ready
        while ready:
            item = ready[0]
            if item.look(item.target, None) & item.events:
                return EPOLLIN | EPOLLRDNORM
            item.ready = False
            del ready[0]
        if self.foreign_count and self.foreign is not None and self.foreign.poll():
            return EPOLLIN | EPOLLRDNORM
        return 0

    def release(self) -> None:
        for item in list(self.items.values()):
            item.detach()
        if self.foreign is not None:
            self.foreign.close()
            self.foreign = None
            self.foreign_count = 0
        self.wq.wake_all(EPOLLHUP)
        self.poll_wait.wake_all(EPOLLHUP)

"""EpItem: one file that an epoll instance watches (struct epitem and its eppoll_entry in one).

The item is its own wait-queue entry: the file's wake-ups call it directly, and all it does is to put itself
on the ready list and to ring for a waiter. Whether the file really is ready is looked at once, by
`Epoll.send_events`, when somebody waits.
"""

from __future__ import annotations

from pysock.core.sock import PollTable
from pysock.core.wait import WaitEntry
from pysock.uapi.poll import EPOLLERR, EPOLLEXCLUSIVE, EPOLLHUP, EPOLLIN, EPOLLOUT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final

    from pysock.core.wait import WaitQueue
    from pysock.vfs.epoll import Epoll
    from pysock.vfs.file import File

_INOUT: Final = EPOLLIN | EPOLLOUT


class EpItem(WaitEntry):
    """``events`` are the EPOLL* bits asked for, EPOLLERR and EPOLLHUP always among them; once a one-shot item
    has fired, only its private bits are left. ``ready`` says whether it is on the ready list. ``data`` is
    epoll_data.

    ``look(target, None)`` polls the file. For a socket it is the family's own function: it spares a call per
    event.
    """

    __slots__ = ("data", "ep", "events", "fd", "file", "look", "queues", "ready", "target")

    def __init__(self, ep: Epoll, fd: int, file: File, events: int, data: int) -> None:
        super().__init__(self._callback, bool(events & EPOLLEXCLUSIVE))
        self.ep = ep
        self.fd = fd
        self.file = file
        self.events = events | EPOLLERR | EPOLLHUP
        self.data = data
        self.ready = False
        self.queues: list[WaitQueue] = []
        # Any: a Socket for its family's poll, a File for the file's own; the pair is made only here.
        self.look: Callable[[Any, PollTable | None], int]
        self.target: Any
        sock = file.socket
        if sock is not None:
            self.look = sock.ops.poll
            self.target = sock
        else:
            self.look = type(file).poll
            self.target = file

    def _callback(self, key: int) -> bool:
        """ep_poll_callback(): the file says that the bits ``key`` became true (0: it doesn't say which).

        The result counts for EPOLLEXCLUSIVE only: True when this epoll has a waiter that will deal with it.
        """
        events = self.events
        if key and not key & events:
            return False  # also a one-shot item that has fired
        ep = self.ep
        if not self.ready:
            ep.ready.append(self)
            self.ready = True
        taken = False
        queue = ep.wq
        if queue.entries:
            inout = key & _INOUT
            taken = inout != _INOUT and (not inout or bool(inout & events))
            queue.wake(EPOLLIN)
        if ep.poll_wait.entries:
            ep.poll_wait.wake_all(EPOLLIN)
        return taken

    def attach(self) -> int:
        """Enter the file's wait queues, and return what holds of ``events`` now."""
        file = self.file
        if file.f_ep is None:
            file.f_ep = []
        file.f_ep.append(self)
        return self.look(self.target, _EpTable(self)) & self.events

    def detach(self) -> None:
        """Stop watching: EPOLL_CTL_DEL, the file was closed, or the epoll was."""
        for queue in self.queues:
            queue.remove(self)
        self.queues.clear()
        ep = self.ep
        ep.items.pop((self.fd, self.file), None)
        if self.ready:
            self.ready = False
            ep.ready.remove(self)
        watchers = self.file.f_ep
        if watchers is not None:
            watchers.remove(self)
            if not watchers:
                self.file.f_ep = None
        self.func = _gone  # breaks the cycle item -> bound method -> item


class _EpTable(PollTable):
    """What `EpItem.attach` passes down: each queue that the file offers gets the item
    (ep_ptable_queue_proc).
    """

    __slots__ = ("item",)

    def __init__(self, item: EpItem) -> None:
        self.item = item

    def wait(self, queue: WaitQueue) -> None:
        queue.add(self.item)
        self.item.queues.append(queue)


def _gone(key: int) -> bool:
    return False

"""poll(2) and select(2) over files, and the poll table of a thread that sleeps.

The first look registers nowhere: a program that polls usually finds something, or does not want to wait. Only
a thread that has to sleep enters the files' wait queues, looks again, and sleeps until one of them says that
a bit it waits for became true.

Wherever files are polled, descriptors of the operating system may be watched too, through a `ForeignPoller`
that the caller has filled: see epoll.py.
"""

from __future__ import annotations

import errno
from functools import partial

from pysock.core.errors import err
from pysock.core.sock import PollTable
from pysock.core.wait import WaitEntry
from pysock.uapi.poll import (
    EPOLLERR,
    EPOLLHUP,
    EPOLLIN,
    EPOLLOUT,
    EPOLLPRI,
    EPOLLRDBAND,
    EPOLLRDNORM,
    EPOLLWRBAND,
    EPOLLWRNORM,
    POLLNVAL,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Final

    from pysock.core.kernel import Kernel
    from pysock.core.wait import Sleeper, WaitQueue
    from pysock.vfs.epoll import ForeignPoller
    from pysock.vfs.file import File

# What select's three sets mean (POLLIN_SET and so on of fs/select.c).
SELECT_IN: Final = EPOLLRDNORM | EPOLLRDBAND | EPOLLIN | EPOLLHUP | EPOLLERR
SELECT_OUT: Final = EPOLLWRBAND | EPOLLWRNORM | EPOLLOUT | EPOLLERR
SELECT_EX: Final = EPOLLPRI


class PollWaiter(PollTable):
    """A thread's poll table (struct poll_wqueues). ``entry`` is what `wait` puts into a queue; `watch` makes
    it.
    """

    __slots__ = ("_entered", "entry", "sleeper")

    def __init__(self, sleeper: Sleeper) -> None:
        self.sleeper = sleeper
        self.entry: WaitEntry = sleeper.entry
        self._entered: list[tuple[WaitQueue, WaitEntry]] = []

    def watch(self, mask: int) -> None:
        """The queues that follow wake this thread for a bit of ``mask`` only."""
        self.entry = WaitEntry(partial(_pollwake, self.sleeper, mask))

    def wait(self, queue: WaitQueue) -> None:
        queue.add(self.entry)
        self._entered.append((queue, self.entry))

    def free(self) -> None:
        """Leave every queue (poll_freewait)."""
        for queue, entry in self._entered:
            queue.remove(entry)
        self._entered.clear()


def _pollwake(sleeper: Sleeper, mask: int, key: int) -> bool:
    return sleeper.entry.func(key) if not key or key & mask else False


def poll_files(
    kernel: Kernel, watched: Sequence[tuple[File, int]], deadline: int, foreign: ForeignPoller | None = None
) -> list[int]:
    """Wait until one of the files has one of its bits; return the bits of each (do_poll, do_select).

    ``watched`` holds (file, EPOLL* bits), taken literally: poll's callers add EPOLLERR and EPOLLHUP. A file
    whose last fd was closed meanwhile has POLLNVAL, at the next look: closing wakes nobody, as on Linux.
    ``deadline`` is monotonic ns: 0 does not wait, NEVER waits for ever. All zero when it has passed, or when
    only ``foreign`` has something to report.
    """
    found, ready = _look(watched)
    if ready or not deadline or (foreign is not None and foreign.poll()):
        return found
    sleeper = kernel.sleeper()
    table = PollWaiter(sleeper)
    real_fds = () if foreign is None else (foreign.fileno(),)
    for file, _ in watched:
        file.pin()  # as the entries of a poll table do in Linux (__pollwait)
    try:
        for file, mask in watched:
            table.watch(mask)
            file.poll(table)
        while True:
            found, ready = _look(watched)
            if ready:
                return found
            in_time = sleeper.wait_on(None, deadline, False, real_fds)
            if not in_time or (foreign is not None and foreign.poll()):
                return _look(watched)[0]
    finally:
        table.free()
        for file, _ in watched:
            file.unpin()


def _look(watched: Sequence[tuple[File, int]]) -> tuple[list[int], bool]:
    found = []
    ready = False
    for file, mask in watched:
        # The fd is looked up at each look (do_pollfd): calls that sleep keep the file open, and not its fd.
        bits = file.poll(None) & mask if file.f_count > file.f_waiters else POLLNVAL
        found.append(bits)
        if bits:
            ready = True
    return found, ready


def do_poll(
    kernel: Kernel,
    files: Mapping[int, File],
    ufds: Sequence[tuple[int, int]],
    deadline: int,
    foreign: ForeignPoller | None = None,
) -> list[tuple[int, int]]:
    """poll(2): ``ufds`` are (fd, POLL* bits); returns (fd, bits) of those that have some, in the same order.

    An fd that is not open has POLLNVAL, a negative one is passed over.
    """
    watched: list[tuple[File, int]] = []
    places: list[int] = []
    bits = [0] * len(ufds)
    invalid = False
    for place, (fd, events) in enumerate(ufds):
        file = files.get(fd)
        if file is not None:
            watched.append((file, events | EPOLLERR | EPOLLHUP))
            places.append(place)
        elif fd >= 0:
            bits[place] = POLLNVAL
            invalid = True
    found = poll_files(kernel, watched, 0 if invalid else deadline, foreign)
    for place, mask in zip(places, found, strict=True):
        bits[place] = mask
    return [(ufd[0], mask) for ufd, mask in zip(ufds, bits, strict=True) if mask]


def do_select(
    kernel: Kernel,
    files: Mapping[int, File],
    rlist: Iterable[int],
    wlist: Iterable[int],
    xlist: Iterable[int],
    deadline: int,
    foreign: ForeignPoller | None = None,
) -> tuple[list[int], list[int], list[int]]:
    """select(2): the fds of each list that are ready, in the order of the list. EBADF for one that is not
    open; one that is closed meanwhile is ready for everything.
    """
    lists = ((list(rlist), SELECT_IN), (list(wlist), SELECT_OUT), (list(xlist), SELECT_EX))
    masks: dict[int, int] = {}
    for fds, bits in lists:
        for fd in fds:
            masks[fd] = masks.get(fd, 0) | bits
    watched: list[tuple[File, int]] = []
    for fd, mask in masks.items():
        file = files.get(fd)
        if file is None:
            raise err(errno.EBADF)
        watched.append((file, mask))
    found = poll_files(kernel, watched, deadline, foreign)
    by_fd = dict(zip(masks, found, strict=True))
    readable, writable, exceptional = ([fd for fd in fds if by_fd[fd] & (bits | POLLNVAL)] for fds, bits in lists)
    return readable, writable, exceptional

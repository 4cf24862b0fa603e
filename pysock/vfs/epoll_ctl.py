"""epoll_ctl(2): what an epoll watches, and which requests it refuses."""

from __future__ import annotations

import errno

from pysock.core.errors import err
from pysock.uapi.poll import (
    EPOLL_CTL_ADD,
    EPOLL_CTL_DEL,
    EPOLL_CTL_MOD,
    EPOLLERR,
    EPOLLET,
    EPOLLEXCLUSIVE,
    EPOLLHUP,
    EPOLLIN,
    EPOLLOUT,
    EPOLLWAKEUP,
)
from pysock.vfs.epitem import EpItem
from pysock.vfs.epoll import Epoll

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from pysock.vfs.file import File

#: How many epolls may be stacked on one (EP_MAX_NESTS).
EP_MAX_NESTS: Final = 4

#: What may be asked for together with EPOLLEXCLUSIVE.
_EXCLUSIVE_OK: Final = (
    EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLHUP | EPOLLWAKEUP | EPOLLET | EPOLLEXCLUSIVE
)


def do_epoll_ctl(epfile: File, op: int, fd: int, file: File, events: int, data: int) -> None:
    """Add, change or remove ``file``, known to the caller as ``fd``. ``events`` are EPOLL* bits, ``data``
    comes back from waiting.

    EPERM: the file cannot be polled. EINVAL: not an epoll, an epoll in itself, an unknown ``op``, a wrong use
    of EPOLLEXCLUSIVE. EEXIST, ENOENT: it is there, or not. ELOOP: epolls in a ring, or stacked more than five
    high.
    """
    if not file.can_poll:
        raise err(errno.EPERM)
    if file is epfile or not isinstance(epfile, Epoll):
        raise err(errno.EINVAL)
    if events & EPOLLEXCLUSIVE and op != EPOLL_CTL_DEL:
        if op == EPOLL_CTL_MOD or isinstance(file, Epoll) or events & ~_EXCLUSIVE_OK:
            raise err(errno.EINVAL)
    if op == EPOLL_CTL_ADD and isinstance(file, Epoll):
        _check_loop(epfile, file)
    item = epfile.items.get((fd, file))
    if op == EPOLL_CTL_ADD:
        if item is not None:
            raise err(errno.EEXIST)
        _insert(epfile, fd, file, events, data)
        return
    if op not in (EPOLL_CTL_DEL, EPOLL_CTL_MOD):
        raise err(errno.EINVAL)
    if item is None:
        raise err(errno.ENOENT)
    if op == EPOLL_CTL_DEL:
        item.detach()
    elif item.events & EPOLLEXCLUSIVE:
        raise err(errno.EINVAL)
    else:
        _modify(item, events, data)


def _insert(ep: Epoll, fd: int, file: File, events: int, data: int) -> None:
    item = EpItem(ep, fd, file, events, data)
    if item.attach():
        _make_ready(item)
    ep.items[fd, file] = item


def _modify(item: EpItem, events: int, data: int) -> None:
    item.events = events | EPOLLERR | EPOLLHUP
    item.data = data
    if item.look(item.target, None) & item.events:
        _make_ready(item)


def _make_ready(item: EpItem) -> None:
    ep = item.ep
    if not item.ready:
        ep.ready.append(item)
        item.ready = True
    if ep.wq.entries:
        ep.wq.wake(EPOLLIN)
    if ep.poll_wait.entries:
        ep.poll_wait.wake_all(EPOLLIN)


def _check_loop(ep: Epoll, target: Epoll) -> None:
    """ep_loop_check(): would ``ep`` watch itself through ``target``, or the stack become too high?"""
    if _height(target, ep, 0) + 1 + _depth_above(ep, 0) > EP_MAX_NESTS:
        raise err(errno.ELOOP)


def _height(ep: Epoll, avoid: Epoll, level: int) -> int:
    """How many epolls are stacked below ``ep``; more than allowed if ``avoid`` is among them."""
    if ep is avoid or level > EP_MAX_NESTS:
        return EP_MAX_NESTS + 1
    height = 0
    for item in ep.items.values():
        if isinstance(item.file, Epoll):
            height = max(height, _height(item.file, avoid, level + 1) + 1)
    return height


def _depth_above(ep: Epoll, level: int) -> int:
    """How many epolls are stacked above ``ep``."""
    if level > EP_MAX_NESTS:
        return level
    depth = 0
    for item in ep.f_ep or ():
        depth = max(depth, _depth_above(item.ep, level + 1) + 1)
    return depth

"""SCM_RIGHTS with the operating system's descriptors: programs pass pipes and files over our sockets too.

A descriptor that is not ours travels as a `ForeignFile`, which holds a duplicate of it. It enters the sender's fd table
for as long as the send takes; the receiver's new fd is changed for a duplicate of the real one at once, so that no
program ever meets it.
"""

from __future__ import annotations

from struct import pack, unpack

from pysock.shim.real import os_close, os_dup, os_set_inheritable
from pysock.syscalls.file import sys_close
from pysock.uapi.socket import SCM_RIGHTS, SOL_SOCKET
from pysock.vfs.file import File

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.vfs.task import Task

    Control = list[tuple[int, int, bytes]]


class ForeignFile(File):
    """A descriptor of the operating system, under way."""

    __slots__ = ("real_fd",)

    can_poll = False

    def __init__(self, task: Task, fd: int) -> None:
        super().__init__(task.sockfs.anon_inode())
        self.real_fd = os_dup(fd)

    def release(self) -> None:
        os_close(self.real_fd)


def carries_rights(control: Control) -> bool:
    """Whether there is an SCM_RIGHTS message in ``control``."""
    return any(level == SOL_SOCKET and kind == SCM_RIGHTS for level, kind, _ in control)


def lend(task: Task, control: Control) -> tuple[Control, list[int]]:
    """``control`` with fds of ours only, and those among them that `take_back` has to close after the send. EBADF."""
    lent: list[int] = []
    result: Control = []
    try:
        for level, kind, data in control:
            if level == SOL_SOCKET and kind == SCM_RIGHTS:
                data = b"".join(pack("=i", _ours(task, fd, lent)) for fd in _fds(data))
            result.append((level, kind, data))
    except BaseException:
        take_back(task, lent)
        raise
    return result, lent


def take_back(task: Task, lent: list[int]) -> None:
    """Close the fds that `lend` made."""
    for fd in lent:
        sys_close(task, fd)


def _ours(task: Task, fd: int, lent: list[int]) -> int:
    if fd in task.fds:
        return fd
    file = ForeignFile(task, fd)
    kernel = task.kernel
    kernel.acquire()
    try:
        number = task.files.install(file, True)
    finally:
        kernel.leave()
    lent.append(number)
    return number


def unpack_rights(task: Task, control: Control) -> Control:
    """``control`` as received, with a real descriptor in the place of each `ForeignFile`."""
    result: Control = []
    for level, kind, data in control:
        if level == SOL_SOCKET and kind == SCM_RIGHTS:
            data = b"".join(pack("=i", _real(task, fd)) for fd in _fds(data))
        result.append((level, kind, data))
    return result


def _real(task: Task, fd: int) -> int:
    file = task.fds.get(fd)
    if not isinstance(file, ForeignFile):
        return fd
    real_fd = os_dup(file.real_fd)
    if fd not in task.files.cloexec:
        os_set_inheritable(real_fd, True)
    sys_close(task, fd)
    return real_fd


def _fds(data: bytes) -> tuple[int, ...]:
    count = len(data) // 4
    return unpack(f"={count}i", data[: 4 * count])

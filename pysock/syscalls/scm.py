"""SCM_RIGHTS at the border: fds of one task become open files under way, and fds of another (net/core/scm.c).

Under way they are in `MsgHdr.files`, with a reference each: sendmsg of the family takes the list away if it
keeps them, its recvmsg appends what has arrived. See unix(7), cmsg(3).
"""

from __future__ import annotations

import errno
from struct import pack, unpack

from pysock.core.errors import err
from pysock.uapi.cmsg import cmsg_space, fit_control, rights_room
from pysock.uapi.socket import MSG_CMSG_CLOEXEC, MSG_CTRUNC, SCM_MAX_FD, SCM_RIGHTS, SOL_SOCKET

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pysock.core.sock import MsgHdr
    from pysock.vfs.file import File
    from pysock.vfs.task import Task


def take_rights(task: Task, msg: MsgHdr) -> None:
    """Look up the fds of all SCM_RIGHTS messages (scm_fp_copy). EBADF for one that is not open, EINVAL for
    too many.

    The messages leave ``msg.control``: families see files, never fds.
    """
    files: list[File] = []
    control = []
    for level, kind, data in msg.control:
        if level != SOL_SOCKET or kind != SCM_RIGHTS:
            control.append((level, kind, data))
            continue
        count = len(data) // 4
        files += [task.files.get(fd) for fd in unpack(f"={count}i", data[: 4 * count])]
    if len(files) > SCM_MAX_FD:
        raise err(errno.EINVAL)
    for file in files:
        file.get()
    msg.control = control
    msg.files = files


def put_files(msg: MsgHdr) -> None:
    """Give the references back that are still in ``msg``."""
    files = msg.files
    if files:
        msg.files = ()
        for file in files:
            file.put()


def give_rights(task: Task, msg: MsgHdr, flags: int) -> None:
    """Cut the control messages to the room that the program offers, then install the files that fit behind
    them (put_cmsg, scm_detach_fds). MSG_CTRUNC when something is lost; files without room are put.
    """
    room = msg.controllen
    control, lost = fit_control(msg.control, room)
    if msg.files:
        for _, _, data in control:
            room -= cmsg_space(len(data))
        fds = _install(task, msg.files[: rights_room(room)], bool(flags & MSG_CMSG_CLOEXEC))
        if fds:
            control.append((SOL_SOCKET, SCM_RIGHTS, pack(f"={len(fds)}i", *fds)))
        if len(fds) < len(msg.files):
            lost = MSG_CTRUNC
        put_files(msg)
    msg.control = control
    msg.flags |= lost


def _install(task: Task, files: Sequence[File], cloexec: bool) -> list[int]:
    fds: list[int] = []
    for file in files:
        try:
            fds.append(task.files.install(file, cloexec))
        except OSError:
            break  # EMFILE: as on Linux, the others are lost, and MSG_CTRUNC says so
    return fds

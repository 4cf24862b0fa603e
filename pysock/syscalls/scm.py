"""SCM_RIGHTS at the border: fds of one task become open files under way, and fds of another (net/core/scm.c).

Under way they are in `MsgHdr.files`, with a reference each: sendmsg of the family takes the list away if it
keeps them, its recvmsg appends what has arrived. See unix(7), cmsg(3).
"""

from __future__ import annotations

import errno
import os
from struct import pack, unpack

from pysock.core.errors import err
from pysock.uapi.cmsg import cmsg_len, cmsg_space, fit_control, rights_room
from pysock.uapi.socket import (
    MSG_CMSG_CLOEXEC,
    MSG_CTRUNC,
    SCM_INQ,
    SCM_MAX_FD,
    SCM_PIDFD,
    SCM_RIGHTS,
    SOL_SOCKET,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pysock.core.sock import MsgHdr
    from pysock.vfs.file import File
    from pysock.vfs.task import Task

# Taken before anybody patches it.
_pidfd_open = os.pidfd_open

_AFTER_RIGHTS = (SCM_PIDFD, SCM_INQ)


def take_rights(task: Task, msg: MsgHdr) -> None:
    """Look up the fds of all SCM_RIGHTS messages (scm_fp_copy). EBADF for one that is not open, EINVAL for
    too many; ENOBUFS for more control messages than net.core.optmem_max has room for.

    The messages leave ``msg.control``: families see files, never fds.
    """
    if sum(cmsg_space(len(data)) for _, _, data in msg.control) > task.net.sock_limits.optmem_max:
        raise err(errno.ENOBUFS)
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
    """Cut the control messages to the room that the program offers, and install the files that fit among them
    (put_cmsg, scm_detach_fds). MSG_CTRUNC when something is lost; files without room are put.

    They come in Linux's order: credentials and what else the family says, descriptors, SCM_PIDFD, SCM_INQ.
    """
    room = msg.controllen
    late = [message for message in msg.control if message[0] == SOL_SOCKET and message[1] in _AFTER_RIGHTS]
    control, lost = fit_control([message for message in msg.control if message not in late], room)
    for _, _, data in control:
        room -= cmsg_space(len(data))
    if msg.files:
        fds = _install(task, msg.files[: rights_room(room)], bool(flags & MSG_CMSG_CLOEXEC))
        if fds:
            control.append((SOL_SOCKET, SCM_RIGHTS, pack(f"={len(fds)}i", *fds)))
            room -= cmsg_space(4 * len(fds))
        if len(fds) < len(msg.files):
            lost = MSG_CTRUNC
        put_files(msg)
    for level, kind, data in late:
        if room < cmsg_len(len(data)):
            lost = MSG_CTRUNC
            continue
        if kind == SCM_PIDFD:
            pid = int.from_bytes(data, "little")
            if not pid:
                continue  # sent before anybody asked
            data = pack("=i", _open_pidfd(pid))
        control.append((level, kind, data))
        room -= cmsg_space(len(data))
    msg.control = control
    msg.flags |= lost


def _open_pidfd(pid: int) -> int:
    """A real descriptor for a process, or the negative errno: a process that only pysock knows is ESRCH."""
    try:
        return _pidfd_open(pid)
    except OSError as exc:
        return -(exc.errno or errno.ESRCH)


def _install(task: Task, files: Sequence[File], cloexec: bool) -> list[int]:
    fds: list[int] = []
    for file in files:
        try:
            fds.append(task.files.install(file, cloexec))
        except OSError:
            break  # EMFILE: as on Linux, the others are lost, and MSG_CTRUNC says so
    return fds

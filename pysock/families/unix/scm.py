"""Message: bytes under way between two AF_UNIX sockets, and what travels beside them (SCM_*). unix(7), cmsg(3).

Open files. `MsgHdr.files` carries them, in order, between the syscall layer and here, each with a reference. They
are opaque but for ``get()`` and ``put()``, which take and give up a reference. sendmsg empties `MsgHdr.files` when
it takes the files over; what it leaves there when it raises is still the caller's. recvmsg adds files, and a
reference each, to the receiver's `MsgHdr.files`; with MSG_PEEK these are references of its own. Files that nobody
receives (recv() without room for control messages, a socket closed with a full inbox) are put here. While they are
under way, `garbage.Flight` knows.

Credentials. A message carries the sender's (pid, uid, gid) if either side has SO_PASSCRED set, or the ones that
the sender stated in an SCM_CREDENTIALS message and may state. They travel as the bytes of struct ucred.
SCM_PIDFD leaves here with the sender's pid: the syscall layer, which has the fds, opens it.
"""

from __future__ import annotations

import errno
from struct import Struct

from pysock.core.capability import CAP_SETGID, CAP_SETUID, CAP_SYS_ADMIN
from pysock.core.errors import err
from pysock.core.sock import SOCK_PASSCRED
from pysock.core.sockopt_set import SOCK_PASSPIDFD
from pysock.uapi.socket import MSG_CTRUNC, MSG_PEEK, SCM_CREDENTIALS, SCM_MAX_FD, SCM_PIDFD, SCM_RIGHTS, SOL_SOCKET

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final, Protocol

    from pysock.core.capability import Credentials
    from pysock.core.sock import MsgHdr
    from pysock.families.unix.unix_sock import UnixSock

    class OpenFile(Protocol):
        """All that a family may know of an open file."""

        def get(self) -> object: ...

        def put(self) -> None: ...


#: Flags of a socket that wants to know who sends (unix_may_passcred).
SOCK_PASS: Final = SOCK_PASSCRED | SOCK_PASSPIDFD

#: struct ucred: pid, uid, gid.
UCRED: Final = Struct("=iII")

#: What a receiver with SO_PASSCRED sees of a message sent before either side had it: pid 0, the overflow ids.
UCRED_UNSET: Final = UCRED.pack(0, 65534, 65534)

#: SO_PEERCRED of a socket without a peer: pid 0, uid and gid -1.
UCRED_NOBODY: Final = UCRED.pack(0, 0xFFFFFFFF, 0xFFFFFFFF)


class Message:
    """One sent message. ``data`` is the sender's own bytes object.

    ``consumed`` bytes of it have been read (of a stream; of an empty datagram: 1 once peeked at). ``charge`` is what it
    costs ``sender`` in `wmem_alloc`, in bytes. ``files`` and ``creds`` (a struct ucred) are empty for nearly all.
    """

    __slots__ = ("charge", "consumed", "creds", "data", "files", "sender")

    def __init__(
        self, data: bytes, charge: int, sender: UnixSock, files: Sequence[OpenFile] = (), creds: bytes = b""
    ) -> None:
        self.data = data
        self.charge = charge
        self.sender = sender
        self.files = files
        self.creds = creds
        self.consumed = 0


class StampedMessage(Message):
    """One whose receiver has SO_TIMESTAMP set: ``tstamp`` is when it was sent, ns of wall-clock time."""

    __slots__ = ("tstamp",)

    def __init__(
        self, data: bytes, charge: int, sender: UnixSock, files: Sequence[OpenFile] = (), creds: bytes = b""
    ) -> None:
        super().__init__(data, charge, sender, files, creds)
        self.tstamp = sender.kernel.clock.time_ns()


def ucred(creds: Credentials | None) -> bytes:
    """struct ucred of ``creds``."""
    return UCRED_NOBODY if creds is None else UCRED.pack(creds.pid, creds.uid, creds.gid)


def send_scm(sk: UnixSock, msg: MsgHdr) -> tuple[Sequence[OpenFile], bytes]:
    """The files and stated credentials of a message to send (scm_send). EINVAL, EPERM, ETOOMANYREFS."""
    creds = b""
    for level, kind, data in msg.control:
        if level != SOL_SOCKET:
            continue
        if kind == SCM_CREDENTIALS:
            creds = _stated(sk.creds, data)
        elif kind != SCM_RIGHTS:  # those are in msg.files already
            raise err(errno.EINVAL)
    if len(msg.files) > SCM_MAX_FD:
        raise err(errno.EINVAL)
    if msg.files:
        sk.unix.flight.check(sk)
    return msg.files, creds


def _stated(own: Credentials, data: bytes) -> bytes:
    """Check the credentials that a sender states (scm_check_creds)."""
    if len(data) != UCRED.size:
        raise err(errno.EINVAL)
    pid, uid, gid = UCRED.unpack(data)
    if uid == 0xFFFFFFFF or gid == 0xFFFFFFFF:
        raise err(errno.EINVAL)
    if (
        (pid != own.pid and not own.capable(CAP_SYS_ADMIN))
        or (uid != own.uid and not own.capable(CAP_SETUID))
        or (gid != own.gid and not own.capable(CAP_SETGID))
    ):
        raise err(errno.EPERM)
    return data


def recv_scm(sk: UnixSock, msg: MsgHdr | None, files: Sequence[OpenFile], creds: bytes, flags: int) -> None:
    """Hand over what came with the bytes (scm_recv_unix); MSG_CTRUNC when the receiver offers no room at all.

    Room for some of it is the syscall layer's to share out: it alone knows the descriptors.
    """
    wanted = sk.flags & SOCK_PASS
    if msg is not None and msg.controllen:
        if wanted:
            creds = creds or UCRED_UNSET
            if wanted & SOCK_PASSCRED:
                msg.add_control(SOL_SOCKET, SCM_CREDENTIALS, creds)
            if wanted & SOCK_PASSPIDFD:
                msg.add_control(SOL_SOCKET, SCM_PIDFD, creds[:4])
        if flags & MSG_PEEK:
            for file in files:
                file.get()
        msg.files = (*msg.files, *files)
        return
    if msg is not None and (wanted or files):
        msg.flags |= MSG_CTRUNC
    if files and not flags & MSG_PEEK:
        discard(sk, files)


def attach(message: Message) -> None:
    """``message`` has files and is in an inbox now."""
    message.sender.unix.flight.took_off(message.files, message.sender.creds.uid)


def detach(message: Message) -> Sequence[OpenFile]:
    """Take the files out of ``message``: their references are the caller's."""
    files = message.files
    message.files = ()
    message.sender.unix.flight.landed(files, message.sender.creds.uid)
    return files


def discard(sk: UnixSock, files: Sequence[OpenFile]) -> None:
    """Put files that nobody will receive, on the way out of the kernel: they may be sockets with such files
    in their own inbox, to any depth.
    """

    def put_all() -> None:
        for file in files:
            file.put()

    sk.kernel.defer(put_all)

"""Reading a stream: how messages are joined, and where a read must end.

A read joins messages until the caller's buffer is full or the inbox is empty, but

* it ends with the message whose files it delivers, so that files stay beside the bytes they were sent with;
* under SO_PASSCRED and SO_PASSPIDFD it does not join messages of different senders;
* it ends before the urgent byte (`UnixSock.oob`). A read that starts there skips the byte, which is lost then, unless
  SO_OOBINLINE makes it an ordinary one. An urgent byte that was read with MSG_OOB leaves its empty Message in the
  inbox: the mark, for SIOCATMARK.

SO_PEEK_OFF lets MSG_PEEK start behind what it has shown before; any other read moves that offset back.

Linux: unix_stream_read_generic(), unix_stream_recv_urg(), manage_oob().
"""

from __future__ import annotations

import errno

from pysock.core.errors import err
from pysock.core.sock import RCV_SHUTDOWN, SOCK_DEAD, SOCK_OOBINLINE
from pysock.core.sockopt_set import SOCK_INQ, SOCK_PEEK_OFF, SOCK_UNIX_CAREFUL, peek_forward
from pysock.families.unix.scm import SOCK_PASS, UCRED_UNSET, detach, discard, recv_scm
from pysock.families.unix.unix_sock import TCP_ESTABLISHED, settle
from pysock.uapi.socket import MSG_OOB, MSG_PEEK, MSG_WAITALL, SCM_INQ, SOL_SOCKET

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

    from pysock.core.sock import MsgHdr
    from pysock.families.unix.scm import Message, OpenFile
    from pysock.families.unix.unix_sock import UnixSock

#: An urgent byte has been here once: empty messages may be in the inbox.
SOCK_CAREFUL: Final = SOCK_UNIX_CAREFUL


def set_inq(sk: UnixSock, value: bytes) -> None:
    """SO_INQ: have recvmsg report how many bytes are left (SCM_INQ). EINVAL for anything but 0 and 1."""
    if len(value) != 4 or value not in (bytes(4), b"\1\0\0\0"):
        raise err(errno.EINVAL)
    if value[0]:
        sk.flags |= SOCK_INQ
    else:
        sk.flags &= ~SOCK_INQ


def bytes_queued(sk: UnixSock) -> int:
    """What there is to read (unix_inq_len)."""
    return sum(max(_left(message), 0) for message in sk.inbox or ())


def at_mark(sk: UnixSock) -> bool:
    """SIOCATMARK: is the next byte to read the urgent one, or was it here?"""
    inbox = sk.inbox
    if not inbox:
        return False
    first = inbox[0]
    if first is sk.oob:
        return True
    if len(first.data) > first.consumed:
        return False
    return sk.oob is None or (len(inbox) > 1 and inbox[1] is sk.oob)


def receive(sk: UnixSock, size: int, flags: int, msg: MsgHdr | None) -> bytes:
    """The careful way of `UnixStreamOps.recvmsg`."""
    if sk.state != TCP_ESTABLISHED:
        raise err(errno.EINVAL)
    if flags & MSG_OOB:
        return _receive_urgent(sk, flags, msg)
    target = size if flags & MSG_WAITALL else min(sk.rcvlowat, size)
    if target < 1:
        target = 1
    read = Read(sk, size, flags, msg)
    deadline = -1
    while not read.take():
        if read.copied >= target:
            break
        if sk.err or sk.shutdown & RCV_SHUTDOWN:
            number = sk.take_error()
            if number and not read.copied:
                raise err(number)
            break
        if deadline < 0:
            deadline = sk.rcv_deadline(flags)
        if not deadline:
            if not read.copied:
                raise err(errno.EAGAIN)
            break
        deadline = sk.pause(deadline)
        if sk.flags & SOCK_DEAD and not read.copied:
            raise err(errno.EBADF)
    return read.finish()


def _receive_urgent(sk: UnixSock, flags: int, msg: MsgHdr | None) -> bytes:
    """MSG_OOB: the urgent byte. EINVAL when there is none, or it is in line."""
    oob = sk.oob
    if oob is None or sk.flags & SOCK_OOBINLINE:
        raise err(errno.EINVAL)
    if not flags & MSG_PEEK:
        assert sk.inbox is not None
        sk.oob = None
        at = sk.inbox.index(oob)
        if at and _left(sk.inbox[at - 1]) == 0:  # one mark is enough
            settle(sk.inbox[at - 1])
            del sk.inbox[at - 1]
        oob.consumed = 1
    if msg is not None:
        msg.flags |= MSG_OOB
    return oob.data


def _left(message: Message) -> int:
    return len(message.data) - message.consumed


class Read:
    """One read that joins messages: what it has so far, and when it must stop."""

    __slots__ = ("copied", "creds", "files", "flags", "msg", "parts", "peek", "room", "sk")

    def __init__(self, sk: UnixSock, size: int, flags: int, msg: MsgHdr | None) -> None:
        self.sk = sk
        self.room = size
        self.flags = flags
        self.peek = bool(flags & MSG_PEEK)
        self.msg = msg
        self.parts: list[bytes] = []
        self.copied = 0
        self.files: Sequence[OpenFile] = ()
        self.creds = b""

    def take(self) -> bool:
        """Take what the inbox has. True when that is all that this read may return."""
        sk = self.sk
        skip = 0
        if self.peek and sk.flags & SOCK_PEEK_OFF:
            assert sk.ext is not None
            skip = max(sk.ext.peek_off, 0)
        at = 0
        while sk.inbox and at < len(sk.inbox):
            if sk.flags & SOCK_CAREFUL:
                at = self._beyond_mark(at)
                if at < 0:
                    return self.copied > 0
            message = sk.inbox[at]
            left = _left(message)
            if skip and skip >= left:
                skip -= left
                at += 1
                continue
            if sk.flags & SOCK_PASS and not self._same_sender(message):
                return True
            if self._copy(message, message.consumed + skip):
                return True
            if self.peek:
                at += 1
                skip = 0
        return self.peek and self.copied > 0

    def _beyond_mark(self, at: int) -> int:
        """The place of the message to read when the one at ``at`` may be the urgent byte, or a mark; -1 when there is
        none, or the read must end here (manage_oob).
        """
        sk = self.sk
        inbox = sk.inbox
        assert inbox is not None
        message = inbox[at]
        left = _left(message)
        if left and message is not sk.oob:
            return at
        if not left:
            if self.copied and (sk.oob is None or message is sk.oob):
                return -1
            if self.peek:
                at += 1
            else:
                del inbox[at]
                settle(message)
            if at >= len(inbox):
                return -1
            message = inbox[at]
        if message is not sk.oob:
            return at
        if self.copied:
            return -1
        inline = sk.flags & SOCK_OOBINLINE
        if self.peek:
            return at if inline else at + 1 if at + 1 < len(inbox) else -1
        sk.oob = None
        if not inline:
            del inbox[at]
            settle(message)
            if message.files:
                discard(sk, detach(message))
        return at if at < len(inbox) else -1

    def _same_sender(self, message: Message) -> bool:
        creds = message.creds or UCRED_UNSET
        if not self.creds:
            self.creds = creds
        return creds == self.creds

    def _copy(self, message: Message, start: int) -> bool:
        """Take of one message what fits, from ``start`` on. True when nothing of the next one may follow."""
        sk, msg = self.sk, self.msg
        if msg is not None and msg.name is None:
            msg.name = message.sender.name or None
        data = message.data
        end = min(len(data), start + self.room)
        self.parts.append(data if end - start == len(data) else data[start:end])
        self.copied += end - start
        self.room -= end - start
        if sk.flags & SOCK_PEEK_OFF:
            peek_forward(sk, end - start if self.peek else start - end)
        if self.peek:
            self.files = message.files
            return bool(self.files) or not self.room
        message.consumed = end
        if message.files:
            self.files = detach(message)
        if end == len(data):
            assert sk.inbox is not None
            del sk.inbox[0]
            settle(message)
        return bool(self.files) or not self.room

    def finish(self) -> bytes:
        """Hand over what came beside the bytes, and the bytes."""
        sk, msg = self.sk, self.msg
        if self.files or sk.flags & SOCK_PASS:
            recv_scm(sk, msg, self.files, self.creds, self.flags)
        if sk.flags & SOCK_INQ and msg is not None and msg.controllen:
            msg.add_control(SOL_SOCKET, SCM_INQ, bytes_queued(sk).to_bytes(4, "little"))
        parts = self.parts
        return parts[0] if len(parts) == 1 else b"".join(parts)

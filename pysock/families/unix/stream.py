"""SOCK_STREAM: bytes. Every send is one Message, large ones are several; receives cut and join them.

A receive joins messages until the caller's buffer is full or the inbox is empty, but

* it ends with the message whose files it delivers, so that files stay beside the bytes they were sent with;
* under SO_PASSCRED it does not join messages of different senders.

The common case, one message that fits the caller's buffer, returns the very object that was sent.

Linux: unix_stream_sendmsg(), unix_stream_read_generic().
"""

from __future__ import annotations

import errno

from pysock.core.errors import err
from pysock.core.sock import RCV_SHUTDOWN, SEND_SHUTDOWN, SOCK_DEAD, SOCK_PASSCRED
from pysock.families.unix.connection import UnixConnectionOps
from pysock.families.unix.scm import UCRED_UNSET, Message, discard, recv_scm, send_scm, ucred
from pysock.families.unix.unix_sock import TCP_ESTABLISHED, message_charge, settle
from pysock.uapi.socket import MSG_OOB, MSG_PEEK, MSG_WAITALL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pysock.core.sock import MsgHdr, Socket
    from pysock.families.unix.scm import OpenFile
    from pysock.families.unix.unix_sock import UnixSock


class UnixStreamOps(UnixConnectionOps):
    """unix_stream_ops."""

    __slots__ = ()

    def sendmsg(self, sock: Socket, data: bytes, flags: int, msg: MsgHdr | None = None) -> int:
        """Send ``data``; how many bytes of it were taken, which is all unless it would block or fails midway.

        ENOTCONN; EISCONN or EOPNOTSUPP when a name is given; EPIPE once either side has shut down; EAGAIN.
        """
        sk: UnixSock = sock.sk  # type: ignore[assignment]  # create() made it; this is the hot path
        if flags & MSG_OOB:
            raise err(errno.EOPNOTSUPP)
        files: Sequence[OpenFile] = ()
        creds = b""
        if msg is not None:
            if msg.name is not None:
                raise err(errno.EISCONN if sk.state == TCP_ESTABLISHED else errno.EOPNOTSUPP)
            files, creds = send_scm(sk, msg)
        peer = sk.peer
        if peer is None:
            raise err(errno.ENOTCONN)
        if sk.shutdown & SEND_SHUTDOWN or peer.shutdown & RCV_SHUTDOWN:
            raise err(errno.EPIPE)
        if (sk.flags | peer.flags) & SOCK_PASSCRED:
            creds = creds or ucred(sk.creds)
        size = len(data)
        if sk.wmem_alloc < sk.sndbuf and size <= (sk.sndbuf >> 1) - 64 and not sk.err and size:
            # The common case: it goes as it is, in one piece.
            peer.post(Message(data, message_charge(size), sk, files, creds))
            if files and msg is not None:
                msg.files = ()
            return size
        return self._send_pieces(sk, peer, data, flags, msg, creds)

    def _send_pieces(
        self, sk: UnixSock, peer: UnixSock, data: bytes, flags: int, msg: MsgHdr | None, creds: bytes
    ) -> int:
        """Send in pieces of at most half the buffer; files go with the first one, and nowhere without bytes."""
        size = len(data)
        piece_size = max((sk.sndbuf >> 1) - 64, 1)
        sent = 0
        deadline = sk.snd_deadline(flags)
        try:
            while sent < size:
                sk.wait_for_buffer(deadline)
                if peer.flags & SOCK_DEAD or peer.shutdown & RCV_SHUTDOWN:
                    raise err(errno.EPIPE)
                piece = data[sent : sent + piece_size]
                files: Sequence[OpenFile] = ()
                if msg is not None:
                    files, msg.files = msg.files, ()
                peer.post(Message(piece, message_charge(len(piece)), sk, files, creds))
                sent += len(piece)
        except OSError:
            if not sent:
                raise
        if not size and msg is not None:
            discard(sk, msg.files)
            msg.files = ()
        return sent

    def recvmsg(self, sock: Socket, size: int, flags: int, msg: MsgHdr | None = None) -> bytes:
        """Receive 1 to ``size`` bytes (MSG_WAITALL: all of them), b"" at the end.

        EINVAL unless connected; EAGAIN; ECONNRESET when the other side closed without reading all it was sent.
        """
        sk: UnixSock = sock.sk  # type: ignore[assignment]  # create() made it; this is the hot path
        if not (flags & (MSG_PEEK | MSG_OOB) or sk.flags & SOCK_PASSCRED) and msg is None:
            inbox = sk.inbox
            if inbox:
                message = inbox[0]
                data = message.data
                length = len(data)
                if (
                    not (message.consumed or message.files)
                    and length <= size
                    and (length == size or (len(inbox) == 1 and length >= sk.rcvlowat and not flags & MSG_WAITALL))
                ):
                    # The common case: one whole message, nothing beside it, nothing to join.
                    del inbox[0]
                    settle(message)
                    return data
        return self._receive(sk, size, flags, msg)

    def _receive(self, sk: UnixSock, size: int, flags: int, msg: MsgHdr | None) -> bytes:
        if sk.state != TCP_ESTABLISHED:
            raise err(errno.EINVAL)
        if flags & MSG_OOB:
            raise err(errno.EOPNOTSUPP)
        target = size if flags & MSG_WAITALL else min(sk.rcvlowat, size)
        if target < 1:
            target = 1
        gather = Gather(sk, size, flags, msg)
        deadline = -1
        while not gather.take():
            if gather.copied >= target:
                break
            if sk.err or sk.shutdown & RCV_SHUTDOWN:
                number = sk.take_error()
                if number and not gather.copied:
                    raise err(number)
                break
            if deadline < 0:
                deadline = sk.rcv_deadline(flags)
            if not deadline:
                if not gather.copied:
                    raise err(errno.EAGAIN)
                break
            deadline = sk.pause(deadline)
            if sk.flags & SOCK_DEAD and not gather.copied:
                raise err(errno.EBADF)
        return gather.finish()


class Gather:
    """One receive that joins messages: what it has so far, and when it must stop."""

    __slots__ = ("copied", "creds", "files", "flags", "msg", "parts", "room", "sk")

    def __init__(self, sk: UnixSock, size: int, flags: int, msg: MsgHdr | None) -> None:
        self.sk = sk
        self.room = size
        self.flags = flags
        self.msg = msg
        self.parts: list[bytes] = []
        self.copied = 0
        self.files: Sequence[OpenFile] = ()
        self.creds = b""

    def take(self) -> bool:
        """Take what the inbox has. True when that is all that this receive may return."""
        inbox = self.sk.inbox
        if not inbox:
            return False
        passcred = self.sk.flags & SOCK_PASSCRED
        if self.flags & MSG_PEEK:
            for message in inbox:
                if (passcred and not self._same_sender(message)) or self._copy(message):
                    break
            return True
        while inbox:
            message = inbox[0]
            if passcred and not self._same_sender(message):
                return True
            stop = self._copy(message)
            if message.consumed == len(message.data):
                del inbox[0]
                settle(message)
            if stop:
                return True
        return False

    def _same_sender(self, message: Message) -> bool:
        creds = message.creds or UCRED_UNSET
        if not self.creds:
            self.creds = creds
        return creds == self.creds

    def _copy(self, message: Message) -> bool:
        """Take of one message what fits. True when nothing of the next one may follow."""
        msg = self.msg
        if msg is not None and msg.name is None:
            msg.name = message.sender.name or None
        data, start = message.data, message.consumed
        end = min(len(data), start + self.room)
        self.parts.append(data if end - start == len(data) else data[start:end])
        self.copied += end - start
        self.room -= end - start
        if message.files:
            self.files = message.files
        if not self.flags & MSG_PEEK:
            message.consumed = end
            message.files = ()
        return bool(self.files) or not self.room

    def finish(self) -> bytes:
        """Hand over what came beside the bytes, and the bytes."""
        if self.files or self.sk.flags & SOCK_PASSCRED:
            recv_scm(self.sk, self.msg, self.files, self.creds, self.flags)
        parts = self.parts
        return parts[0] if len(parts) == 1 else b"".join(parts)

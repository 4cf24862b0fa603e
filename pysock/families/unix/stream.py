"""SOCK_STREAM: bytes. Every send is one Message, large ones are several; receives cut and join them (stream_read.py).

The common case, one message that fits the caller's buffer, returns the very object that was sent.

MSG_OOB sends the last byte of its data as a Message of its own, and `UnixSock.oob` of the receiver points at it until
it is read. There is one urgent byte at a time: what an older one was stays in line as an ordinary byte.

Linux: unix_stream_sendmsg(), queue_oob(), unix_stream_recvmsg().
"""

from __future__ import annotations

import errno

from pysock.core.errors import err
from pysock.core.sock import RCV_SHUTDOWN, SEND_SHUTDOWN, SOCK_DEAD, SOCK_PASSCRED
from pysock.core.sockopt_set import SOCK_NO_RIGHTS, SOCK_PASSPIDFD, SOCK_PEEK_OFF
from pysock.families.unix.connection import UnixConnectionOps
from pysock.families.unix.scm import SOCK_PASS, Message, attach, discard, send_scm, ucred
from pysock.families.unix.stream_read import SOCK_CAREFUL, receive, set_inq
from pysock.families.unix.unix_sock import TCP_ESTABLISHED, UnixSock, message_charge, settle, sk_of
from pysock.uapi.poll import EPOLLPRI
from pysock.uapi.socket import MSG_OOB, MSG_PEEK, MSG_WAITALL, SO_INQ, SOL_SOCKET

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

    from pysock.core.sock import MsgHdr, PollTable, Socket
    from pysock.families.unix.scm import OpenFile

#: A receiver with one of these wants more than bytes.
_NOT_PLAIN: Final = SOCK_PASSCRED | SOCK_PASSPIDFD | SOCK_PEEK_OFF | SOCK_CAREFUL


class UnixStreamOps(UnixConnectionOps):
    """unix_stream_ops."""

    __slots__ = ()

    def poll(self, sock: Socket, table: PollTable | None) -> int:
        mask = UnixConnectionOps.poll(self, sock, table)
        return mask if sock.sk.oob is None else mask | EPOLLPRI  # type: ignore[attr-defined]  # create() made it

    def setsockopt(self, sock: Socket, level: int, optname: int, value: bytes) -> None:
        """SO_INQ, which is the family's own; EOPNOTSUPP at other levels (unix_setsockopt)."""
        if level != SOL_SOCKET or optname != SO_INQ:
            raise err(errno.EOPNOTSUPP)
        set_inq(sk_of(sock), value)

    def sendmsg(self, sock: Socket, data: bytes, flags: int, msg: MsgHdr | None = None) -> int:
        """Send ``data``; how many bytes of it were taken, which is all unless it would block or fails midway.

        ENOTCONN; EISCONN or EOPNOTSUPP when a name is given; EPIPE once either side has shut down; EAGAIN;
        EOPNOTSUPP for MSG_OOB without a byte; EPERM for files that the receiver refuses (SO_PASSRIGHTS).
        """
        sk: UnixSock = sock.sk  # type: ignore[assignment]  # create() made it; this is the hot path
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
        if (sk.flags | peer.flags) & SOCK_PASS:
            creds = creds or ucred(sk.creds)
        size = len(data)
        if (
            sk.wmem_alloc < sk.sndbuf
            and size <= (sk.sndbuf >> 1) - 64
            and not (sk.err or flags & MSG_OOB or files)
            and size
        ):
            # The common case: it goes as it is, in one piece.
            peer.post(Message(data, message_charge(size), sk, (), creds))
            return size
        return self._send_pieces(sk, peer, data, flags, msg, creds)

    def _send_pieces(
        self, sk: UnixSock, peer: UnixSock, data: bytes, flags: int, msg: MsgHdr | None, creds: bytes
    ) -> int:
        """Send in pieces of at most half the buffer; files go with the first one, and nowhere without bytes. The urgent
        byte is a piece of its own, the last one.
        """
        size = len(data)
        urgent = size - 1 if flags & MSG_OOB else size
        if urgent < 0:
            raise err(errno.EOPNOTSUPP)
        piece_size = max((sk.sndbuf >> 1) - 64, 1)
        sent = 0
        deadline = sk.snd_deadline(flags)
        try:
            while sent < size:
                sk.wait_for_buffer(deadline)
                if peer.flags & SOCK_DEAD or peer.shutdown & RCV_SHUTDOWN:
                    raise err(errno.EPIPE)
                files: Sequence[OpenFile] = () if msg is None else msg.files
                if files and peer.flags & SOCK_NO_RIGHTS:
                    raise err(errno.EPERM)
                piece = data[sent : min(sent + piece_size, urgent)] if sent < urgent else data[urgent:]
                message = Message(piece, message_charge(len(piece)), sk, files, creds)
                if files and msg is not None:
                    attach(message)
                    msg.files = ()
                if sent == urgent:
                    peer.oob = message
                    peer.flags |= SOCK_CAREFUL
                peer.post(message)
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

        EINVAL unless connected, and for MSG_OOB without an urgent byte; EAGAIN; ECONNRESET when the other side closed
        without reading all it was sent.
        """
        sk: UnixSock = sock.sk  # type: ignore[assignment]  # create() made it; this is the hot path
        if not (flags & (MSG_PEEK | MSG_OOB) or sk.flags & _NOT_PLAIN) and msg is None:
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
        return receive(sk, size, flags, msg)

"""SOCK_SEQPACKET: messages over a connection. Connects like a stream, sends and receives like a datagram socket."""

from __future__ import annotations

import errno

from pysock.core.errors import err
from pysock.families.unix.connection import UnixConnectionOps
from pysock.families.unix.dgram import message_poll, receive_message, send_message
from pysock.families.unix.unix_sock import TCP_ESTABLISHED, sk_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.sock import MsgHdr, PollTable, Socket


class UnixSeqpacketOps(UnixConnectionOps):
    """unix_seqpacket_ops."""

    __slots__ = ()

    def poll(self, sock: Socket, table: PollTable | None) -> int:
        return message_poll(sk_of(sock), table)

    def sendmsg(self, sock: Socket, data: bytes, flags: int, msg: MsgHdr | None = None) -> int:
        """Send one message, whole or not at all; a name is ignored. ENOTCONN, EMSGSIZE, EPIPE, EAGAIN."""
        sk = sk_of(sock)
        sk.raise_error()
        if sk.state != TCP_ESTABLISHED:
            raise err(errno.ENOTCONN)
        if msg is not None:
            msg.name = None
        return send_message(sk, data, flags, msg)

    def recvmsg(self, sock: Socket, size: int, flags: int, msg: MsgHdr | None = None) -> bytes:
        """Receive one message as a datagram socket does; b"" at the end. ENOTCONN, EAGAIN, ECONNRESET."""
        sk = sk_of(sock)
        if sk.state != TCP_ESTABLISHED:
            raise err(errno.ENOTCONN)
        return receive_message(sk, size, flags, msg)

"""SOCK_DGRAM: messages with their boundaries kept, reliable and in order.

A connected socket takes messages from its peer alone, and its inbox is bounded by what the sender's buffer allows.
A socket that is not connected takes them from everybody, and holds `max_dgram_qlen` + 1; senders wait for room.

`send_message`, `receive_message` and `message_poll` serve SOCK_SEQPACKET, too.

Linux: unix_dgram_sendmsg(), unix_dgram_recvmsg(), unix_dgram_poll(), unix_dgram_connect().
"""

from __future__ import annotations

import errno

from pysock.core.errors import err
from pysock.core.skbuff import SkBuff
from pysock.core.sock import (
    RCV_SHUTDOWN,
    SEND_SHUTDOWN,
    SHUTDOWN_MASK,
    SOCK_DEAD,
    SOCK_TIMESTAMP,
    WAKE_WRITABLE,
)
from pysock.core.sock_cmsg import receive_timestamp
from pysock.core.sockopt_set import SOCK_NO_RIGHTS, SOCK_PEEK_OFF, peek_forward
from pysock.families.unix.address import parse_target
from pysock.families.unix.ops import POLL_READABLE, POLL_WRITABLE, UnixOps
from pysock.families.unix.scm import SOCK_PASS, Message, StampedMessage, attach, detach, recv_scm, send_scm, ucred
from pysock.families.unix.unix_sock import (
    TCP_CLOSE,
    TCP_ESTABLISHED,
    TCP_LISTEN,
    UnixSock,
    message_charge,
    settle,
    sk_of,
)
from pysock.uapi.poll import EPOLLERR, EPOLLHUP, EPOLLRDHUP
from pysock.uapi.socket import MSG_OOB, MSG_PEEK, MSG_TRUNC, SOCK_SEQPACKET

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

    from pysock.core.sock import Address, MsgHdr, PollTable, Socket
    from pysock.families.unix.scm import OpenFile


#: A socket with one of these wants more than bytes, or to see them in another way.
_EXTRAS: Final = SOCK_PASS | SOCK_TIMESTAMP | SOCK_PEEK_OFF


class UnixDgramOps(UnixOps):
    """unix_dgram_ops."""

    __slots__ = ()

    def connect(self, sock: Socket, addr: Address, flags: int) -> None:
        """Choose whom to talk to; None (AF_UNSPEC) is nobody. Changing it drops what has not been read.

        EINVAL, ENOENT, EACCES, EPROTOTYPE, ECONNREFUSED as for streams; EPERM when the other one is connected
        to somebody else.
        """
        sk = sk_of(sock)
        other: UnixSock | None = None
        if addr is not None:
            name = parse_target(addr)
            if sk.flags & SOCK_PASS:
                sk.unix.autobind(sk)
            other = sk.unix.find(name, sk.type)
            if not may_send(sk, other):
                raise err(errno.EPERM)
            other.state = TCP_ESTABLISHED
        sk.state = TCP_CLOSE if other is None else TCP_ESTABLISHED
        old, sk.peer = sk.peer, other
        if old is not None:
            _stop_watching(sk)
            if old is not other:
                _disconnected(sk, old)
                if old.peer is None:
                    old.state = TCP_CLOSE

    def poll(self, sock: Socket, table: PollTable | None) -> int:
        return message_poll(sk_of(sock), table)

    def sendmsg(self, sock: Socket, data: bytes, flags: int, msg: MsgHdr | None = None) -> int:
        """Send one message, whole or not at all; its size. ENOTCONN without a peer or a name; EMSGSIZE;
        ECONNREFUSED, also when a peer is gone; EPERM when the other one is connected elsewhere; EPIPE; EAGAIN.
        """
        return send_message(sock.sk, data, flags, msg)  # type: ignore[arg-type]  # create() made it

    def recvmsg(self, sock: Socket, size: int, flags: int, msg: MsgHdr | None = None) -> bytes:
        """Receive one message, cut to ``size`` bytes (then MSG_TRUNC is set in ``msg``); EAGAIN.

        With MSG_TRUNC in ``flags`` the whole message is returned: the caller copies ``size`` bytes of it and
        reports its length, as recv(2) does.
        """
        return receive_message(sock.sk, size, flags, msg)  # type: ignore[arg-type]  # create() made it


def may_send(sk: UnixSock, other: UnixSock) -> bool:
    """Whether ``other`` takes messages of ``sk``: it is connected to nobody else (unix_may_send)."""
    peer = other.peer
    return peer is None or peer is sk


def send_message(sk: UnixSock, data: bytes, flags: int, msg: MsgHdr | None) -> int:
    """unix_dgram_sendmsg(). A name in ``msg`` is None when there is none."""
    if flags & MSG_OOB:
        raise err(errno.EOPNOTSUPP)
    files: Sequence[OpenFile] = ()
    creds = b""
    name = b""
    if msg is not None:
        files, creds = send_scm(sk, msg)
        if msg.name is not None:
            name = parse_target(msg.name)
    if not name and sk.peer is None:
        raise err(errno.ENOTCONN)
    if sk.flags & SOCK_PASS:
        sk.unix.autobind(sk)
    size = len(data)
    if size > sk.sndbuf - 32:
        raise err(errno.EMSGSIZE)
    if sk.wmem_alloc >= sk.sndbuf or sk.shutdown & SEND_SHUTDOWN or sk.err:
        sk.wait_for_buffer(sk.snd_deadline(flags))
    other = sk.unix.find(name, sk.type) if name else sk.peer
    if other is None or other.peer is not sk or (other.flags & SOCK_DEAD) or (other.shutdown & RCV_SHUTDOWN):
        # Not a pair of connected sockets in good health: look closer, perhaps wait.
        other = _receiver(sk, other, name, flags)
    if other.filter is not None:
        passed = other.filter(SkBuff(data, 0, size))
        if not passed:
            return size  # dropped, and nobody is told
        data = data[:passed]
    if files or creds or (sk.flags | other.flags) & _EXTRAS:
        other.post(_with_extras(sk, other, data, msg, creds))
    else:
        other.post(Message(data, message_charge(size), sk))
    return size


def _with_extras(sk: UnixSock, other: UnixSock, data: bytes, msg: MsgHdr | None, creds: bytes) -> Message:
    """A message that carries more than bytes, or may have to."""
    files: Sequence[OpenFile] = () if msg is None else msg.files
    if files and other.flags & SOCK_NO_RIGHTS:
        raise err(errno.EPERM)
    if (sk.flags | other.flags) & SOCK_PASS:
        creds = creds or ucred(sk.creds)
    kind = StampedMessage if other.flags & SOCK_TIMESTAMP else Message
    message = kind(data, message_charge(len(data)), sk, files, creds)
    if files and msg is not None:
        attach(message)
        msg.files = ()
    return message


def _receiver(sk: UnixSock, other: UnixSock | None, name: bytes, flags: int) -> UnixSock:
    """Whom a message of ``sk`` goes to, once that one is found to be alive, willing and not full."""
    deadline = -1
    while True:
        if other is None:  # disconnected while we waited for buffer
            raise err(errno.ENOTCONN)
        if other.flags & SOCK_DEAD:
            if sk.type == SOCK_SEQPACKET:
                raise err(errno.EPIPE)
            if sk.peer is other:
                sk.peer = None
                sk.state = TCP_CLOSE
                _stop_watching(sk)
                _disconnected(sk, other)
            raise err(errno.ECONNREFUSED)
        if not may_send(sk, other):
            raise err(errno.EPERM)
        if other.shutdown & RCV_SHUTDOWN:
            raise err(errno.EPIPE)
        if other is sk or other.peer is sk or not other.inbox_full():
            return other
        if deadline < 0:
            deadline = sk.snd_deadline(flags)
        if not deadline:
            if sk.peer is other:
                sk.watch_room(other)  # so that a poll for EPOLLOUT that began earlier hears of it
            raise err(errno.EAGAIN)
        deadline = sk.wait_for_room(other, deadline)
        other = sk.unix.find(name, sk.type) if name else sk.peer


def receive_message(sk: UnixSock, size: int, flags: int, msg: MsgHdr | None) -> bytes:
    """unix_dgram_recvmsg()."""
    if flags & MSG_OOB:
        raise err(errno.EOPNOTSUPP)
    if sk.err:
        sk.raise_error()
    inbox = sk.inbox
    if not inbox:
        if not _wait_for_message(sk, flags, 0):
            return b""
        inbox = sk.inbox
        assert inbox
    message = inbox[0]
    if message.files or sk.flags & _EXTRAS:
        if sk.flags & SOCK_PEEK_OFF:
            return _receive_at_offset(sk, size, flags, msg)
        if not flags & MSG_PEEK:
            _take(sk, message)
        return _hand_over(sk, message, message.data, size, flags, msg)
    if not flags & MSG_PEEK:
        del inbox[0]
        settle(message)
        if sk.peer_wait is not None:
            sk.room_made()
    data = message.data
    if msg is not None:
        msg.name = message.sender.name or None
        if len(data) > size:
            msg.flags |= MSG_TRUNC
    return data if len(data) <= size or flags & MSG_TRUNC else data[:size]


def _take(sk: UnixSock, message: Message) -> None:
    """``message`` is the first one, and read."""
    assert sk.inbox is not None
    del sk.inbox[0]
    settle(message)
    sk.room_made()


def _hand_over(sk: UnixSock, message: Message, data: bytes, size: int, flags: int, msg: MsgHdr | None) -> bytes:
    """What a receive returns of ``message``, whose ``data`` may be a part: with all that came beside it."""
    if msg is not None:
        msg.name = message.sender.name or None
        if len(data) > size:
            msg.flags |= MSG_TRUNC
        if sk.flags & SOCK_TIMESTAMP and msg.controllen:
            receive_timestamp(sk, message.tstamp if isinstance(message, StampedMessage) else 0, msg)
    files = message.files
    if files and not flags & MSG_PEEK:
        detach(message)
    if files or sk.flags & SOCK_PASS:
        recv_scm(sk, msg, files, message.creds, flags)
    return data if len(data) <= size or flags & MSG_TRUNC else data[:size]


def _receive_at_offset(sk: UnixSock, size: int, flags: int, msg: MsgHdr | None) -> bytes:
    """A receive under SO_PEEK_OFF: MSG_PEEK looks behind what it has shown before, anything else moves the offset
    back (__skb_try_recv_from_queue).
    """
    if not flags & MSG_PEEK:
        assert sk.inbox
        message = sk.inbox[0]
        _take(sk, message)
        peek_forward(sk, -len(message.data))
        return _hand_over(sk, message, message.data, size, flags, msg)
    while True:
        assert sk.ext is not None
        assert sk.inbox is not None
        offset = max(sk.ext.peek_off, 0)
        for message in sk.inbox:
            length = len(message.data)
            if offset >= length and (offset or message.consumed):
                offset -= length
                continue
            if not length:
                message.consumed = 1
            data = message.data[offset:] if offset else message.data
            peek_forward(sk, min(len(data), size))
            return _hand_over(sk, message, data, size, flags, msg)
        if not _wait_for_message(sk, flags, len(sk.inbox)):
            return b""


def _wait_for_message(sk: UnixSock, flags: int, seen: int) -> bool:
    """Sleep until there are more than ``seen`` messages. False at the end of file, which only a record connection has
    when it would not block (__skb_wait_for_more_packets).
    """
    deadline = sk.rcv_deadline(flags)
    while len(sk.inbox or ()) <= seen:
        over = sk.shutdown & RCV_SHUTDOWN
        if over and (deadline or sk.type == SOCK_SEQPACKET):
            return False
        if not deadline:
            raise err(errno.EAGAIN)
        deadline = sk.pause(deadline, exclusive=True)
        sk.check_alive()
        sk.raise_error()
    return True


def message_poll(sk: UnixSock, table: PollTable | None) -> int:
    """unix_dgram_poll()."""
    if table is not None:
        table.wait(sk.sleep_queue())
    mask = 0
    if sk.err or sk.error_queue:
        mask = EPOLLERR
    if sk.shutdown & RCV_SHUTDOWN:
        mask |= EPOLLRDHUP | POLL_READABLE
    if sk.shutdown == SHUTDOWN_MASK:
        mask |= EPOLLHUP
    if sk.inbox or sk.pending:
        mask |= POLL_READABLE
    if sk.type == SOCK_SEQPACKET and sk.state == TCP_CLOSE:
        mask |= EPOLLHUP
    if sk.state != TCP_LISTEN and sk.wmem_alloc << 2 <= sk.sndbuf:
        peer = sk.peer
        if peer is not None and peer.peer is not sk and peer.inbox_full():
            sk.watch_room(peer)
        else:
            mask |= POLL_WRITABLE
    return mask


def _stop_watching(sk: UnixSock) -> None:
    """The peer changes: whoever polls for room at the old one looks again."""
    if sk.watched is not None:
        sk.unwatch()
        if sk.wait_queue is not None:
            sk.wait_queue.wake(WAKE_WRITABLE)


def _disconnected(sk: UnixSock, old: UnixSock) -> None:
    """``sk`` turned away from ``old`` (unix_dgram_disconnected): what it was sent is lost; an ``old`` that talks
    to ``sk`` hears of it.
    """
    if sk.inbox:
        sk.purge_inbox()
        sk.room_made()
        if not old.flags & SOCK_DEAD and old.peer is sk:
            old.set_error(errno.ECONNRESET)

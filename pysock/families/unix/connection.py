"""Connections: connect, listen and accept of SOCK_STREAM and SOCK_SEQPACKET.

connect makes the whole connection at once: it creates the socket that accept will return, makes the two each
other's peers and puts the new one into the listener's ``pending`` queue. So both sides may send before anybody
accepts, and a connect never sees EINPROGRESS: a full backlog is EAGAIN, or a wait.
"""

from __future__ import annotations

import errno
from collections import deque

from pysock.core.errors import err
from pysock.core.sock import RCV_SHUTDOWN, SS_CONNECTED
from pysock.core.sockopt_set import SOCK_NO_RIGHTS, SOCK_PASSSEC
from pysock.families.unix.address import parse_target
from pysock.families.unix.ops import UnixOps
from pysock.families.unix.scm import SOCK_PASS
from pysock.families.unix.unix_sock import TCP_CLOSE, TCP_ESTABLISHED, TCP_LISTEN, UnixSock, sk_of
from pysock.uapi.fcntl import O_NONBLOCK
from pysock.uapi.socket import SOMAXCONN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from pysock.core.sock import Address, Socket


#: What a connection has from its listener (unix_accept: sk_scm_recv_flags).
_INHERITED: Final = SOCK_PASS | SOCK_PASSSEC | SOCK_NO_RIGHTS


class UnixConnectionOps(UnixOps):
    """The types with connections."""

    __slots__ = ()

    def listen(self, sock: Socket, backlog: int) -> None:
        """unix_listen(): ``backlog`` + 1 connections may wait. EINVAL without a name or when connected.

        The syscall layer bounds ``backlog`` by net.core.somaxconn; a negative one is taken as the largest.
        """
        sk = sk_of(sock)
        if not sk.name or sk.state not in (TCP_CLOSE, TCP_LISTEN):
            raise err(errno.EINVAL)
        sk.max_ack_backlog = backlog if backlog >= 0 else SOMAXCONN
        sk.state = TCP_LISTEN
        sk.peer_cred = sk.creds  # what those who connect see as theirs
        sk.room_made()

    def connect(self, sock: Socket, addr: Address, flags: int) -> None:
        """unix_stream_connect().

        EINVAL for no name at all and for a listener, EISCONN; ECONNREFUSED when nobody listens there, EPROTOTYPE
        when somebody of another type does, ENOENT, EACCES; EAGAIN when the backlog is full and stays so for
        SO_SNDTIMEO, at once with O_NONBLOCK.
        """
        sk = sk_of(sock)
        name = parse_target(addr)
        if sk.flags & SOCK_PASS:
            sk.unix.autobind(sk)
        deadline = -1
        while True:
            listener = sk.unix.find(name, sk.type)
            if listener.state != TCP_LISTEN or listener.shutdown & RCV_SHUTDOWN:
                raise err(errno.ECONNREFUSED)
            if not listener.backlog_full():
                break
            if deadline < 0:
                deadline = 0 if flags & O_NONBLOCK else sk.snd_deadline(0)
            if not deadline:
                raise err(errno.EAGAIN)
            deadline = sk.wait_for_room(listener, deadline)
        if sk.state != TCP_CLOSE:
            raise err(errno.EISCONN if sk.state == TCP_ESTABLISHED else errno.EINVAL)
        child = UnixSock(listener.net, sk.type, listener.creds)
        child.name = listener.name  # but not its key: lookups go on to find the listener
        child.flags |= listener.flags & _INHERITED
        child.peer_cred = sk.creds
        child.peer = sk
        child.state = TCP_ESTABLISHED
        sk.peer = child
        sk.peer_cred = listener.peer_cred
        sk.state = TCP_ESTABLISHED
        sock.state = SS_CONNECTED
        if listener.pending is None:
            listener.pending = deque()
        listener.pending.append(child)
        listener.data_ready()

    def accept(self, sock: Socket, newsock: Socket, flags: int) -> None:
        """unix_accept(): EINVAL unless listening, or once shut down; EAGAIN with O_NONBLOCK or SO_RCVTIMEO."""
        sk = sk_of(sock)
        if sk.state != TCP_LISTEN:
            raise err(errno.EINVAL)
        sk.raise_error()
        if not sk.pending:
            self._wait_for_connection(sk, flags)
        assert sk.pending is not None
        child = sk.pending.popleft()
        sk.room_made()
        newsock.sk = child
        newsock.ops = self
        newsock.state = SS_CONNECTED
        child.socket = newsock

    def _wait_for_connection(self, sk: UnixSock, flags: int) -> None:
        deadline = 0 if flags & O_NONBLOCK else sk.rcv_deadline(0)
        while not sk.pending:
            if not deadline:
                raise err(errno.EAGAIN)
            if sk.shutdown & RCV_SHUTDOWN:
                raise err(errno.EINVAL)
            deadline = sk.pause(deadline, exclusive=True)
            sk.check_alive()
            sk.raise_error()

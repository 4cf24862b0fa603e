"""What UDP, ping and raw sockets share (net/ipv4/datagram.c, net/core/datagram.c): connecting without a handshake, the
receive queue, waiting for it, shutting down.

A `DatagramSock` keeps the datagrams it was given in ``receive_queue`` with their data at what the program reads and
``network_header`` still set: addresses and control messages are read from there when somebody asks. Their truesize is
charged to ``rmem_alloc``; whoever takes one off the queue goes through `uncharge`.

What a socket remembers of the ways it sends (`flows`) is forgotten by `reset_flows` whenever something it was made from
changes.
"""

from __future__ import annotations

import errno
from collections import deque

from pysock.core.errors import err
from pysock.core.filter import sk_filter
from pysock.core.skb_data import skb_copy_bits
from pysock.core.skbuff import SKB_OVERHEAD, SkBuff, consume_skb, kfree_skb, skb_truesize
from pysock.core.sock import (
    RCV_SHUTDOWN,
    SOCK_BROADCAST,
    Address,
    MsgHdr,
    Proto,
)
from pysock.core.sock_cmsg import count_drop, mark_arrival
from pysock.core.sockopt_set import SOCK_PEEK_OFF, SOCK_RECV_EXTRAS, peek_forward
from pysock.families.inet import ip_error, route
from pysock.families.inet.addr import ANY, is_multicast, parse
from pysock.families.inet.fib import RTN_BROADCAST
from pysock.families.inet.inet_sock import InetSock
from pysock.uapi.ioctl import SIOCINQ, SIOCOUTQ
from pysock.uapi.socket import MSG_DONTWAIT, MSG_ERRQUEUE, MSG_OOB, MSG_PEEK, MSG_TRUNC
from pysock.uapi.tcp import TCP_CLOSE, TCP_ESTABLISHED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pysock.core.capability import Credentials
    from pysock.core.net import Net
    from pysock.families.inet.route import Rtable

    #: See udp_output.make_flow.
    Flow = tuple[Any, ...]


class DatagramSock(InetSock):
    """``flows`` maps an address tuple (None: the connected peer) to how datagrams get there. ``addr_locked`` and
    ``port_locked`` say that the program chose them (SOCK_BINDADDR_LOCK, SOCK_BINDPORT_LOCK), so a disconnect leaves
    them alone. ``mc_addr`` is IP_MULTICAST_IF's address.
    """

    __slots__ = ("addr_locked", "flows", "mc_addr", "port_locked")

    def __init__(self, net: Net, family: int, type: int, protocol: int, prot: Proto, creds: Credentials) -> None:
        InetSock.__init__(self, net, family, type, protocol, prot, creds)
        self.flows: dict[Address, Flow] = {}
        self.mc_addr = ANY
        self.addr_locked = self.port_locked = False

    def reset_flows(self) -> None:
        """An option, the name or the peer changed (sk_dst_reset)."""
        self.flows.clear()
        self.dst = None


class DatagramProto(Proto):
    """The API half that the three protocols have in common. They override what they do differently."""

    __slots__ = ()

    def name_of(self, sk: Any, skb: SkBuff) -> Address:
        """Where a queued datagram came from, as recvfrom tells it."""
        raise NotImplementedError

    def receive_control(self, sk: Any, skb: SkBuff, msg: MsgHdr) -> None:
        """Append the control messages that the socket asked for."""

    def connect(self, sk: Any, addr: Address) -> None:
        """Fix the peer (ip4_datagram_connect). ENETUNREACH and other errors of routing; EACCES for a broadcast address
        without SO_BROADCAST; EAGAIN when a port is needed and none is left.
        """
        daddr, dport = parse(addr)
        autobind(sk)
        sk.reset_flows()
        oif, saddr = sk.bound_dev_if, sk.saddr
        if is_multicast(daddr):
            oif = oif or sk.mc_index
            if saddr == ANY:
                saddr = sk.mc_addr
        try:
            rt = route.output_for(sk, daddr, saddr, oif, dport)
        except OSError as exc:
            if exc.errno == errno.ENETUNREACH:
                sk.inet.mibs.ip.OutNoRoutes += 1
            raise
        if rt.type == RTN_BROADCAST and not sk.flags & SOCK_BROADCAST:
            raise err(errno.EACCES)
        self.unhash(sk)
        self.set_peer(sk, rt, dport)
        self.hash(sk)

    @staticmethod
    def set_peer(sk: Any, rt: Rtable, dport: int) -> None:
        if sk.saddr == ANY:
            sk.saddr = rt.saddr
        if sk.rcv_saddr == ANY:
            sk.rcv_saddr = rt.saddr
        sk.daddr = rt.daddr
        sk.dport = dport
        sk.state = TCP_ESTABLISHED
        sk.ip_id = sk.inet.ids.getrandbits(16)
        sk.dst = rt

    def disconnect(self, sk: Any) -> None:
        """connect() to AF_UNSPEC: forget the peer, and the name unless the program chose it (__udp_disconnect)."""
        self.unhash(sk)
        sk.reset_flows()
        sk.state = TCP_CLOSE
        sk.daddr = ANY
        sk.dport = 0
        if not sk.addr_locked:
            sk.saddr = sk.rcv_saddr = ANY
        if sk.port_locked:
            self.hash(sk)
        else:
            sk.sport = 0

    def shutdown(self, sk: Any, how: int) -> None:
        """Sending fails with EPIPE, a blocking receive finds the end; what still arrives is queued all the same.
        ENOTCONN without a peer, and yet it counts (inet_shutdown).
        """
        sk.shutdown |= how
        sk.flows.clear()
        if sk.state == TCP_CLOSE:
            sk.state_change()
            raise err(errno.ENOTCONN)

    def close(self, sk: Any, deadline: int) -> None:
        """Gone at once: queued datagrams with it, whatever SO_LINGER says."""
        self.unhash(sk)
        sk.shutdown = 3
        sk.flows.clear()
        sk.dst = None
        purge(sk)
        ip_error.purge(sk)
        if sk.mc_list:
            from pysock.families.inet import igmp_sock

            igmp_sock.leave_all(sk)

    def ioctl(self, sk: Any, cmd: int, arg: bytes | int) -> bytes | int:
        """SIOCINQ: bytes in the first datagram; SIOCOUTQ: bytes of buffer on their way out. ENOTTY for others."""
        if cmd == SIOCINQ:
            value: int = sk.receive_queue[0].len if sk.receive_queue else 0
        elif cmd == SIOCOUTQ:
            value = sk.wmem_alloc
        else:
            raise err(errno.ENOTTY)
        return value if isinstance(arg, int) else value.to_bytes(4, "little")

    def recvmsg(self, sk: Any, size: int, flags: int, msg: MsgHdr | None = None) -> bytes:
        """Take the first datagram, or look at it with MSG_PEEK; what ``size`` cuts off is lost and MSG_TRUNC says so.

        With MSG_TRUNC in ``flags`` the whole datagram is returned, longer than ``size``: the caller copies what fits
        and reports the length. MSG_ERRQUEUE reads the error queue instead. EAGAIN; the pending error of the socket;
        EOPNOTSUPP for MSG_OOB.
        """
        if flags & MSG_ERRQUEUE:
            return ip_error.recv_error(sk, size, flags, msg)
        if flags & MSG_OOB:
            raise err(errno.EOPNOTSUPP)
        if sk.flags & SOCK_PEEK_OFF:
            return self.receive_at_offset(sk, size, flags, msg)
        skb = self.wait_for_datagram(sk, flags)
        if skb is None:
            return b""
        n = skb.len
        frags = skb.frags
        if skb.data_len == n and len(frags) == 1:
            whole = frags[0]
            data = whole if type(whole) is bytes else bytes(whole)
        else:
            data = skb_copy_bits(skb, 0, n)
        if msg is not None:
            msg.name = self.name_of(sk, skb)
            if sk.cmsg_flags or sk.flags & SOCK_RECV_EXTRAS:
                self.receive_control(sk, skb, msg)
            if n > size:
                msg.flags |= MSG_TRUNC
        if not flags & MSG_PEEK:
            self.consumed(sk, skb)
            uncharge(sk, skb)
        return data if n <= size or flags & MSG_TRUNC else data[:size]

    def receive_at_offset(self, sk: Any, size: int, flags: int, msg: MsgHdr | None) -> bytes:
        """A receive under SO_PEEK_OFF: MSG_PEEK looks behind what it has shown before, anything else moves that offset
        back by what the program got (__skb_try_recv_from_queue).
        """
        offset = max(sk.ext.peek_off, 0)
        peek = flags & MSG_PEEK
        seen = 0
        while True:
            skb = self.wait_for_datagram(sk, flags, seen)
            if skb is None:
                return b""
            if not peek:
                break
            for skb in tuple(sk.receive_queue)[seen:]:
                if offset < skb.len or not (offset or (skb.ext is not None and skb.ext.peeked)):
                    break
                offset -= skb.len
            else:
                seen = len(sk.receive_queue)
                continue
            break
        if not peek:
            offset = 0
        elif not skb.len:
            skb.need_ext().peeked = True
        data = skb_copy_bits(skb, offset, skb.len - offset)
        n = min(len(data), size)
        if msg is not None:
            msg.name = self.name_of(sk, skb)
            self.receive_control(sk, skb, msg)
            if size <= len(data) and size < skb.len:
                msg.flags |= MSG_TRUNC
        whole = skb_copy_bits(skb, 0, skb.len) if flags & MSG_TRUNC else data[:n]
        peek_forward(sk, len(whole) if peek else -len(whole))
        if not peek:
            self.consumed(sk, skb)
            uncharge(sk, skb)
        return whole

    def consumed(self, sk: Any, skb: SkBuff) -> None:
        """A program takes the datagram ``skb``, which is freed next: the place to count it."""

    def wait_for_datagram(self, sk: Any, flags: int, seen: int = 0) -> SkBuff | None:
        """The first datagram, off the queue unless MSG_PEEK (__skb_recv_datagram); None at the end after a shutdown.
        Waits until there are more than ``seen``.
        """
        deadline = None
        while True:
            if sk.err:
                raise err(sk.take_error())
            queue = sk.receive_queue
            if queue and len(queue) > seen:
                return queue[0] if flags & MSG_PEEK else queue.popleft()  # type: ignore[no-any-return]  # as in Proto
            if flags & MSG_DONTWAIT:
                raise err(errno.EAGAIN)
            if sk.shutdown & RCV_SHUTDOWN:
                return None
            if deadline is None:
                deadline = sk.rcv_deadline(flags)
            if not sk.wait(deadline, True) and len(sk.receive_queue or ()) <= seen:
                raise err(errno.EAGAIN)


def autobind(sk: DatagramSock) -> None:
    """Choose a port for a socket that needs one now (inet_autobind); EAGAIN when none is left."""
    if not sk.sport:
        try:
            sk.prot.get_port(sk, 0)
        except OSError as exc:
            raise err(errno.EAGAIN) from exc


def passes(sk: DatagramSock, skb: SkBuff, keep: int = 1) -> bool:
    """Ask the socket's filter, if any; it may cut the datagram, but not below ``keep`` bytes. False: dropped."""
    if sk.filter is None or sk_filter(sk, skb, keep):
        return True
    count_drop(sk)
    return False


def queue_rcv(sk: DatagramSock, skb: SkBuff) -> bool:
    """Queue a datagram for the program if its filter lets it through (sock_queue_rcv_skb); else False, and it is
    freed, as when the buffer is full.
    """
    return passes(sk, skb) and enqueue(sk, skb)


def enqueue(sk: DatagramSock, skb: SkBuff) -> bool:
    """`queue_rcv` of what the filter has seen (__sock_queue_rcv_skb)."""
    if sk.rmem_alloc > sk.rcvbuf:
        count_drop(sk)
        kfree_skb(skb, "SOCKET_RCVBUFF")
        return False
    sk.rmem_alloc += SKB_OVERHEAD + len(skb.head) + skb.data_len
    if sk.flags & SOCK_RECV_EXTRAS:
        mark_arrival(sk, skb)
    queue = sk.receive_queue
    if queue is None:
        queue = sk.receive_queue = deque()
    queue.append(skb)
    sk.data_ready()
    return True


def uncharge(sk: DatagramSock, skb: SkBuff) -> None:
    """Free a datagram that was taken off the queue, and give its room back."""
    sk.rmem_alloc -= SKB_OVERHEAD + len(skb.head) + skb.data_len
    consume_skb(skb)


def purge(sk: DatagramSock) -> None:
    """Free what nobody will read."""
    queue = sk.receive_queue
    sk.receive_queue = None
    for skb in queue or ():
        uncharge(sk, skb)


class _SendCharge:
    """What a datagram on its way out holds of its sender's buffer, and how it gives it back (sock_wfree)."""

    __slots__ = ("size", "sk")

    def __init__(self, sk: DatagramSock, size: int) -> None:
        self.sk = sk
        self.size = size

    def __call__(self, skb: SkBuff) -> None:
        self.sk.wmem_alloc -= self.size
        self.sk.write_space()


def charge_send(sk: DatagramSock, skb: SkBuff) -> None:
    """Charge ``skb`` to its sender until the device is done with it (skb_set_owner_w). Needless on loopback, where it
    is done before the sender's next step.
    """
    size = skb_truesize(skb)
    skb.sk = sk
    skb.destructor = _SendCharge(sk, size)
    sk.wmem_alloc += size


def wait_for_room(sk: DatagramSock, flags: int) -> None:
    """Sleep while what is under way fills the send buffer (sock_alloc_send_pskb). EAGAIN; the pending error."""
    deadline = None
    while sk.wmem_alloc >= sk.sndbuf:
        if flags & MSG_DONTWAIT:
            raise err(errno.EAGAIN)
        if deadline is None:
            deadline = sk.snd_deadline(flags)
        if not sk.wait(deadline):
            raise err(errno.EAGAIN)
        sk.raise_error()

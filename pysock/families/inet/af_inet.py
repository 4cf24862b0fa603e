"""The AF_INET family and its ProtoOps: what the socket API means for IPv4 (net/ipv4/af_inet.c).

Three ops tables, as in Linux: `InetStreamOps` for TCP, `InetDgramOps` for UDP and ping, `InetRawOps` for raw. The ops
decide what belongs to the API (states of the Socket, blocking, address checks); the transports decide the rest in
their Proto.
"""

from __future__ import annotations

import errno

from pysock.core.capability import CAP_NET_BIND_SERVICE
from pysock.core.clock import NEVER
from pysock.core.errors import err
from pysock.core.sock import (
    SS_CONNECTED,
    SS_CONNECTING,
    SS_DISCONNECTING,
    SS_UNCONNECTED,
    Address,
    MsgHdr,
    NetProtoFamily,
    PollTable,
    ProtoOps,
    Socket,
)
from pysock.families.inet import sockopt
from pysock.families.inet.addr import ANY, host_text, is_multicast, parse
from pysock.families.inet.fib import RTN_BROADCAST, RTN_LOCAL
from pysock.families.inet.inet_sock import InetSock
from pysock.families.inet.ioctl import inet_ioctl
from pysock.families.inet.net import InetNet
from pysock.uapi.fcntl import O_NONBLOCK
from pysock.uapi.socket import AF_INET, AF_UNSPEC, MSG_DONTWAIT, SHUT_RD, SHUT_RDWR, SOCK_RAW
from pysock.uapi.tcp import TCP_CLOSE, TCP_LISTEN, TCP_SYN_RECV, TCP_SYN_SENT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.capability import Credentials
    from pysock.core.net import Net
    from pysock.families.inet.protosw import ProtocolSwitch


def _inet(sock: Socket) -> InetSock:
    sk = sock.sk
    assert isinstance(sk, InetSock)
    return sk


class InetOps(ProtoOps):
    """What the three tables share."""

    __slots__ = ()
    family = AF_INET

    def release(self, sock: Socket) -> None:
        sk = sock.sk
        if sk is None:
            return
        linger = sk.linger
        # SO_LINGER with 0 resets; without it, closing does not wait (socket(7)).
        deadline = 0
        if linger is not None:
            deadline = -1 if linger == 0 else min(sk.kernel.clock_ns() + linger, NEVER)
        sk.prot.close(sk, deadline)

    def bind(self, sock: Socket, addr: Address) -> None:
        sk = _inet(sock)
        host, port = parse(addr)
        check_bind_address(sk, host)
        inet = sk.inet
        if port and port < inet.unprivileged_port_start and not sk.creds.capable(CAP_NET_BIND_SERVICE):
            raise err(errno.EACCES)
        if sk.state != TCP_CLOSE or sk.sport:
            raise err(errno.EINVAL)
        saved = sk.rcv_saddr, sk.saddr
        sk.rcv_saddr = sk.saddr = host
        if is_multicast(host) or host == b"\xff\xff\xff\xff":
            sk.saddr = ANY  # never a source address
        try:
            sk.prot.get_port(sk, port)
        except OSError:
            sk.rcv_saddr, sk.saddr = saved
            raise
        sk.user_bound = True
        sk.daddr = ANY
        sk.dport = 0
        sk.dst = None

    def getname(self, sock: Socket, peer: bool) -> Address:
        sk: InetSock = sock.sk  # type: ignore[assignment]  # create() made it
        if peer:
            if not sk.dport or sk.state in (TCP_CLOSE, TCP_SYN_SENT):
                raise err(errno.ENOTCONN)
            return host_text(sk.daddr), sk.dport
        return host_text(sk.rcv_saddr if sk.rcv_saddr != ANY else sk.saddr), sk.sport

    def shutdown(self, sock: Socket, how: int) -> None:
        if not SHUT_RD <= how <= SHUT_RDWR:
            raise err(errno.EINVAL)
        sk = sock.sk
        if sock.state == SS_CONNECTING:
            sock.state = SS_DISCONNECTING if sk.state in (TCP_SYN_SENT, TCP_SYN_RECV, TCP_CLOSE) else SS_CONNECTED
        sk.prot.shutdown(sk, how + 1)
        sk.state_change()

    def ioctl(self, sock: Socket, cmd: int, arg: bytes | int) -> bytes | int:
        return inet_ioctl(_inet(sock), cmd, arg)

    def poll(self, sock: Socket, table: PollTable | None) -> int:
        return sock.sk.prot.poll(sock.sk, table)

    def setsockopt(self, sock: Socket, level: int, optname: int, value: bytes) -> None:
        sockopt.setsockopt(_inet(sock), level, optname, value)

    def getsockopt(self, sock: Socket, level: int, optname: int, optlen: int) -> bytes:
        return sockopt.getsockopt(_inet(sock), level, optname, optlen)

    def sendmsg(self, sock: Socket, data: bytes, flags: int, msg: MsgHdr | None = None) -> int:
        """Hand the call to the transport (inet_sendmsg)."""
        return sock.sk.prot.sendmsg(sock.sk, data, flags, msg)

    def recvmsg(self, sock: Socket, size: int, flags: int, msg: MsgHdr | None = None) -> bytes:
        return sock.sk.prot.recvmsg(sock.sk, size, flags, msg)


class InetStreamOps(InetOps):
    """inet_stream_ops: connection-oriented."""

    __slots__ = ()

    def connect(self, sock: Socket, addr: Address, flags: int) -> None:
        """inet_stream_connect(): start the handshake, or look how it went; wait for it unless non-blocking."""
        sk: InetSock = sock.sk  # type: ignore[assignment]  # create() made it
        if isinstance(addr, tuple) and addr and addr[0] == AF_UNSPEC:
            sk.prot.disconnect(sk)
            sock.state = SS_UNCONNECTED
            return
        state = sock.state
        if state == SS_CONNECTED:
            raise err(errno.EISCONN)
        starting = state == SS_UNCONNECTED
        if starting:
            if sk.state != TCP_CLOSE:
                raise err(errno.EISCONN)
            sk.prot.connect(sk, addr)
            sock.state = SS_CONNECTING
        elif state != SS_CONNECTING:
            raise err(errno.EINVAL)
        if sk.state in (TCP_SYN_SENT, TCP_SYN_RECV):
            if flags & O_NONBLOCK:
                # The handshake needs packets, and packets move when we leave the kernel.
                raise err(errno.EINPROGRESS if starting else errno.EALREADY)
            deadline = sk.snd_deadline(0)
            while sk.state in (TCP_SYN_SENT, TCP_SYN_RECV) and not sk.err:
                if not sk.wait(deadline):
                    raise err(errno.EINPROGRESS)
        if sk.state == TCP_CLOSE:
            sock.state = SS_UNCONNECTED
            number = sk.take_error() or errno.ECONNABORTED
            sk.prot.disconnect(sk)
            raise err(number)
        sock.state = SS_CONNECTED

    def listen(self, sock: Socket, backlog: int) -> None:
        sk = _inet(sock)
        if sock.state != SS_UNCONNECTED or sk.state not in (TCP_CLOSE, TCP_LISTEN):
            raise err(errno.EINVAL)
        sk.prot.listen(sk, backlog)

    def accept(self, sock: Socket, newsock: Socket, flags: int) -> None:
        child = sock.sk.prot.accept(sock.sk, MSG_DONTWAIT if flags & O_NONBLOCK else 0)
        newsock.ops = self
        newsock.sk = child
        newsock.state = SS_CONNECTED
        child.socket = newsock


class InetDgramOps(InetOps):
    """inet_dgram_ops: UDP and ping sockets."""

    __slots__ = ()

    def connect(self, sock: Socket, addr: Address, flags: int) -> None:
        sk = _inet(sock)
        if isinstance(addr, tuple) and addr and addr[0] == AF_UNSPEC:
            sk.prot.disconnect(sk)
            return
        sk.prot.connect(sk, addr)


class InetRawOps(InetDgramOps):
    """inet_sockraw_ops."""

    __slots__ = ()

    def bind(self, sock: Socket, addr: Address) -> None:
        """raw_bind(): there are no ports, and a raw socket may be bound again until it is connected."""
        sk = _inet(sock)
        host, _ = parse(addr)
        if sk.state != TCP_CLOSE:
            raise err(errno.EINVAL)
        check_bind_address(sk, host)
        sk.rcv_saddr = host
        sk.saddr = ANY if is_multicast(host) or host == b"\xff\xff\xff\xff" else host
        sk.dst = None
        sk.prot.get_port(sk, 0)


STREAM_OPS = InetStreamOps()
DGRAM_OPS = InetDgramOps()
RAW_OPS = InetRawOps()


def check_bind_address(sk: InetSock, host: bytes) -> None:
    """EADDRNOTAVAIL unless ``host`` is ours, any, broadcast or multicast, or the socket may bind to anything."""
    if host == ANY or sk.freebind or sk.inet.nonlocal_bind:
        return
    if is_multicast(host) or host == b"\xff\xff\xff\xff":
        return
    entry = sk.inet.fib.lookup(host)
    if entry is None or entry.type not in (RTN_LOCAL, RTN_BROADCAST):
        raise err(errno.EADDRNOTAVAIL)


class InetFamily(NetProtoFamily):
    """net_proto_family of AF_INET; `switch` is its protocol switch, to which plugins may add rows."""

    __slots__ = ("switch",)

    def __init__(self, switch: ProtocolSwitch) -> None:
        NetProtoFamily.__init__(self, AF_INET, "inet")
        self.switch = switch

    def create(self, net: Net, creds: Credentials, sock: Socket, protocol: int) -> None:
        """inet_create(). ESOCKTNOSUPPORT, EPROTONOSUPPORT, EPERM without the row's capability, EINVAL for a bad
        number.
        """
        if not 0 <= protocol < 256 + 7:  # IPPROTO_MAX
            raise err(errno.EINVAL)
        entry, protocol = self.switch.lookup(sock.type, protocol)
        if entry.capability is not None and not creds.capable(entry.capability):
            raise err(errno.EPERM)
        sk = entry.sock_class(net, AF_INET, sock.type, protocol, entry.prot, creds)
        sock.ops = entry.ops
        sock.sk = sk
        sk.socket = sock
        if entry.reuse:
            sk.reuse = True
        if sock.type == SOCK_RAW:
            sk.sport = protocol
            sk.hdrincl = protocol == 255
            sk.prot.hash(sk)


def setup_net(net: Net, switch: ProtocolSwitch) -> InetNet:
    """Give ``net`` its IPv4: tables, sysctls and counters."""
    inet = InetNet(net, switch)
    net.set(inet)
    net.proc["net/snmp"] = inet.mibs.proc_snmp
    net.proc["net/netstat"] = inet.mibs.proc_netstat
    return inet



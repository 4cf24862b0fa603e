"""The AF_INET6 family and its ProtoOps: what the socket API means for IPv6 (net/ipv6/af_inet6.c).

Most of it is af_inet's: sockets of both families have the same states, and TCP, UDP and the rest exist once. What is
different are names: binding, getsockname and getpeername, and options.
"""

from __future__ import annotations

import errno

from pysock.core.capability import CAP_NET_BIND_SERVICE, CAP_NET_RAW
from pysock.core.errors import err
from pysock.core.sock import Address, NetProtoFamily, Socket
from pysock.families.inet.af_inet import (
    InetDgramOps,
    InetOps,
    InetRawOps,
    InetStreamOps,
    check_bind_address,
)
from pysock.families.inet.inet_sock import InetSock
from pysock.families.inet.ping import PingSock
from pysock.families.inet.protosw import ProtocolSwitch, ProtoswEntry
from pysock.families.inet.tcp.sock import TcpSock
from pysock.families.inet.udp import UdpSock
from pysock.families.inet6 import sockopt6
from pysock.families.inet6.addr import ANY6, is_multicast, is_v4mapped, needs_scope, parse, v4_of
from pysock.families.inet6.devconf import find_address
from pysock.families.inet6.inet6_sock import Pinfo6, pinfo, set_local, sockaddr
from pysock.families.inet6.net import Inet6Net
from pysock.families.inet6.ping6 import PINGV6_PROT
from pysock.families.inet6.raw6 import RAWV6_PROT, Raw6Sock
from pysock.families.inet6.tcp6 import TCPV6_PROT
from pysock.families.inet6.udp6 import UDPV6_PROT
from pysock.uapi.in_ import IPPROTO_ICMPV6, IPPROTO_IP, IPPROTO_RAW, IPPROTO_TCP, IPPROTO_UDP
from pysock.uapi.socket import AF_INET6, SOCK_DGRAM, SOCK_RAW, SOCK_STREAM
from pysock.uapi.tcp import TCP_CLOSE, TCP_SYN_SENT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.capability import Credentials
    from pysock.core.net import Net


def _inet(sock: Socket) -> InetSock:
    sk = sock.sk
    assert isinstance(sk, InetSock)
    return sk


class Inet6Ops(InetOps):
    """What the three tables share. It stands in front of af_inet's class of the same kind."""

    __slots__ = ()
    family = AF_INET6

    def bind(self, sock: Socket, addr: Address) -> None:
        """inet6_bind(). A v4-mapped address binds the IPv4 half; a real one makes the socket IPV6_V6ONLY."""
        sk = _inet(sock)
        host, port, _, scope_id = parse(addr)
        part = pinfo(sk)
        if is_multicast(host) and sk.type == SOCK_STREAM:
            raise err(errno.EINVAL)
        if port and port < sk.inet.unprivileged_port_start and not sk.creds.capable(CAP_NET_BIND_SERVICE):
            raise err(errno.EACCES)
        if sk.state != TCP_CLOSE or sk.sport:
            raise err(errno.EINVAL)
        if is_v4mapped(host):
            if part.only:
                raise err(errno.EINVAL)
            check_bind_address(sk, v4_of(host))
        else:
            check_address(sk, host, scope_id)
        saved = part.saddr, part.rcv_saddr, sk.saddr, sk.rcv_saddr, part.only
        set_local(sk, host)
        if is_multicast(host):
            part.saddr = ANY6
        if host != ANY6 and not is_v4mapped(host):
            part.only = True
        try:
            sk.prot.get_port(sk, port)
        except OSError:
            part.saddr, part.rcv_saddr, sk.saddr, sk.rcv_saddr, part.only = saved
            raise
        sk.user_bound = True
        sk.daddr = bytes(4)
        part.daddr = ANY6
        sk.dport = 0
        sk.dst = None

    def getname(self, sock: Socket, peer: bool) -> Address:
        """inet6_getname(). The flow info is the peer's, with IPV6_FLOWINFO_SEND."""
        sk = _inet(sock)
        part = pinfo(sk)
        if peer:
            if not sk.dport or sk.state in (TCP_CLOSE, TCP_SYN_SENT):
                raise err(errno.ENOTCONN)
            return sockaddr(part.daddr, sk.dport, sk.bound_dev_if, part.peer_flow & 0xFFFFF if part.send_flow else 0)
        return sockaddr(part.rcv_saddr if part.rcv_saddr != ANY6 else part.saddr, sk.sport, sk.bound_dev_if)

    def setsockopt(self, sock: Socket, level: int, optname: int, value: bytes) -> None:
        sockopt6.setsockopt(_inet(sock), level, optname, value)

    def getsockopt(self, sock: Socket, level: int, optname: int, optlen: int) -> bytes:
        return sockopt6.getsockopt(_inet(sock), level, optname, optlen)


class Inet6StreamOps(Inet6Ops, InetStreamOps):
    """inet6_stream_ops."""

    __slots__ = ()


class Inet6DgramOps(Inet6Ops, InetDgramOps):
    """inet6_dgram_ops: UDP and ping sockets."""

    __slots__ = ()


class Inet6RawOps(Inet6Ops, InetRawOps):
    """inet6_sockraw_ops."""

    __slots__ = ()

    def bind(self, sock: Socket, addr: Address) -> None:
        """rawv6_bind(): there are no ports, no v4-mapped addresses, and binding again is fine until it is connected."""
        sk = _inet(sock)
        host, _, _, scope_id = parse(addr)
        if is_v4mapped(host):
            raise err(errno.EADDRNOTAVAIL)
        if sk.state != TCP_CLOSE:
            raise err(errno.EINVAL)
        check_address(sk, host, scope_id)
        set_local(sk, host)
        if is_multicast(host):
            pinfo(sk).saddr = ANY6
        sk.dst = None
        sk.prot.get_port(sk, 0)


STREAM_OPS = Inet6StreamOps()
DGRAM_OPS = Inet6DgramOps()
RAW_OPS = Inet6RawOps()


def check_address(sk: InetSock, host: bytes, scope_id: int) -> None:
    """Whether the socket may be bound to ``host``: EINVAL for a link-local one without a device (the scope id binds the
    socket to it), ENODEV, EADDRNOTAVAIL unless it is ours, any or multicast, or the socket may bind to anything.
    """
    if host == ANY6:
        return
    part = pinfo(sk)
    if needs_scope(host):
        if scope_id:
            sk.bound_dev_if = scope_id
        if not sk.bound_dev_if:
            raise err(errno.EINVAL)
    dev = None
    if sk.bound_dev_if:
        dev = sk.net.dev_by_index.get(sk.bound_dev_if)
        if dev is None:
            raise err(errno.ENODEV)
    if is_multicast(host) or sk.freebind or part.inet6.nonlocal_bind:
        return
    if find_address(sk.net, host, dev) is None:
        raise err(errno.EADDRNOTAVAIL)


def make_switch() -> ProtocolSwitch:
    """inetsw6: the rows that every kernel starts with."""
    switch = ProtocolSwitch()
    for entry in (
        ProtoswEntry(SOCK_STREAM, IPPROTO_TCP, TCPV6_PROT, STREAM_OPS, TcpSock, permanent=True),
        ProtoswEntry(SOCK_DGRAM, IPPROTO_UDP, UDPV6_PROT, DGRAM_OPS, UdpSock, permanent=True),
        ProtoswEntry(SOCK_DGRAM, IPPROTO_ICMPV6, PINGV6_PROT, DGRAM_OPS, PingSock, reuse=True),
        ProtoswEntry(SOCK_RAW, IPPROTO_IP, RAWV6_PROT, RAW_OPS, Raw6Sock, reuse=True, capability=CAP_NET_RAW),
    ):
        switch.register(entry)
    return switch


class Inet6Family(NetProtoFamily):
    """net_proto_family of AF_INET6; `switch` is its protocol switch, to which plugins may add rows."""

    __slots__ = ("switch",)

    def __init__(self, switch: ProtocolSwitch) -> None:
        NetProtoFamily.__init__(self, AF_INET6, "inet6")
        self.switch = switch

    def create(self, net: Net, creds: Credentials, sock: Socket, protocol: int) -> None:
        """inet6_create(). ESOCKTNOSUPPORT, EPROTONOSUPPORT, EPERM without the row's capability, EINVAL for a bad
        number.
        """
        if not 0 <= protocol < 256 + 7:  # IPPROTO_MAX
            raise err(errno.EINVAL)
        entry, protocol = self.switch.lookup(sock.type, protocol)
        if entry.capability is not None and not creds.capable(entry.capability):
            raise err(errno.EPERM)
        sk = entry.sock_class(net, AF_INET6, sock.type, protocol, entry.prot, creds)
        sk.pinet6 = Pinfo6(net.get(Inet6Net))
        if isinstance(sk, TcpSock):
            sk.af = sk.tcp.ipv6
        sock.ops = entry.ops
        sock.sk = sk
        sk.socket = sock
        if entry.reuse:
            sk.reuse = True
        if sock.type == SOCK_RAW:
            sk.sport = protocol
            sk.hdrincl = protocol == IPPROTO_RAW
            sk.prot.hash(sk)

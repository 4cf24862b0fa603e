"""IPV6_ADDRFORM: an AF_INET6 socket that speaks IPv4 becomes an AF_INET one (ipv6_setsockopt, RFC 2133)."""

from __future__ import annotations

import errno

from pysock.core.errors import err
from pysock.families.inet.tcp.sock import TcpSock
from pysock.families.inet6 import mcast_sock
from pysock.families.inet6.inet6_sock import is_mapped, pinfo
from pysock.uapi.in_ import IPPROTO_TCP, IPPROTO_UDP, IPPROTO_UDPLITE
from pysock.uapi.socket import AF_INET, SOCK_RAW
from pysock.uapi.tcp import TCP_ESTABLISHED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.families.inet.inet_sock import InetSock


def addrform(sk: InetSock, family: int) -> None:
    """EINVAL for any family but AF_INET, ENOTCONN without a peer, EADDRNOTAVAIL when it or we are no v4-mapped address,
    EBUSY while something is corked, ENOPROTOOPT for anything but TCP, UDP and UDP-Lite.
    """
    if family != AF_INET:
        raise err(errno.EINVAL)
    if sk.type == SOCK_RAW or sk.protocol not in (IPPROTO_UDP, IPPROTO_UDPLITE, IPPROTO_TCP):
        raise err(errno.ENOPROTOOPT)
    if sk.state != TCP_ESTABLISHED:
        raise err(errno.ENOTCONN)
    if getattr(sk, "corked", None) is not None:
        raise err(errno.EBUSY)
    if pinfo(sk).only or not is_mapped(sk):
        raise err(errno.EADDRNOTAVAIL)
    switch = sk.inet.protosw
    entry, _ = switch.lookup(sk.type, sk.protocol)
    socket = sk.socket
    assert socket is not None  # the one who asks
    mcast_sock.leave_all(sk)
    sk.family = AF_INET
    sk.prot = entry.prot
    socket.ops = entry.ops
    if isinstance(sk, TcpSock):
        sk.pinet6 = None  # it stands among IPv4's connections already
        sk.af = sk.tcp.ipv4
        return
    entry.prot.unhash(sk)
    sk.pinet6 = None
    entry.prot.hash(sk)

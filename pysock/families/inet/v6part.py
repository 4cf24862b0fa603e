"""What IPv4's side knows of AF_INET6 sockets, which stand in its tables: their IPv6 addresses, and who excludes whom.

Ports belong to both families together. A v6 socket is an `InetSock` like any other, with a `V6Part` in ``pinet6``. Its
IPv4 addresses are what it is to IPv4: ANY while it is bound to ``::`` or not at all, the IPv4 address itself when it is
bound or connected to a v4-mapped one, and `NOWHERE`, which no packet carries, when it is bound or connected to a real
IPv6 address (Linux puts LOOPBACK4_IPV6 there).
"""

from __future__ import annotations

from pysock.families.inet.addr import ANY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from pysock.families.inet.inet_sock import InetSock

ANY6: Final = bytes(16)
LOOPBACK6: Final = bytes(15) + b"\1"
V4MAPPED: Final = bytes(10) + b"\xff\xff"
NOWHERE: Final = b"\x7f\0\0\6"


class V6Part:
    """The IPv6 addresses of a socket, 16 wire bytes each, as `InetSock` has IPv4's; inet6 adds its options in a
    subclass (struct ipv6_pinfo). ``only`` is IPV6_V6ONLY; a real IPv6 address implies it.
    ``min_hopcount`` is IPV6_MINHOPCOUNT.
    """

    __slots__ = ("daddr", "min_hopcount", "only", "rcv_saddr", "saddr")

    def __init__(self) -> None:
        self.saddr = self.rcv_saddr = self.daddr = ANY6
        self.only = False
        self.min_hopcount = 0


def takes_v4(sk: InetSock) -> bool:
    """Whether IPv4 packets can be for ``sk``."""
    part = sk.pinet6
    return part is None or not (part.only or sk.rcv_saddr == NOWHERE)


def takes_v6(sk: InetSock) -> bool:
    """Whether IPv6 packets can be for ``sk``: not when it is bound or connected to a v4-mapped address."""
    part = sk.pinet6
    return part is not None and part.rcv_saddr[:12] != V4MAPPED


def claims(sk: InetSock, addr: bytes) -> bool:
    """Whether packets to ``addr``, of 4 or 16 bytes, can be for ``sk``."""
    if len(addr) == 4:
        return takes_v4(sk) and sk.rcv_saddr in (ANY, addr)
    part = sk.pinet6
    return part is not None and part.rcv_saddr in (ANY6, addr)


def same_address(sk: InetSock, other: InetSock) -> bool:
    """Whether two sockets claim an address in common, wildcards counted (inet_rcv_saddr_equal)."""
    if takes_v4(sk) and takes_v4(other):
        mine, theirs = sk.rcv_saddr, other.rcv_saddr
        if mine == theirs or ANY in (mine, theirs):
            return True
    if not (takes_v6(sk) and takes_v6(other)):
        return False
    part, others = sk.pinet6, other.pinet6
    assert part is not None
    assert others is not None
    return part.rcv_saddr == others.rcv_saddr or ANY6 in (part.rcv_saddr, others.rcv_saddr)

"""IP_ROUTER_ALERT: raw sockets that get datagrams with that option which a router would send on (ip(7), RFC 2113;
ip_ra_control, ip_call_ra_chain).

A multicast routing daemon's socket is one of them, with something to be done when it goes.
"""

from __future__ import annotations

import errno

from pysock.core.errors import err
from pysock.core.skb_copy import skb_clone
from pysock.core.skbuff import SkBuff, consume_skb
from pysock.families.inet.datagram import DatagramSock, queue_rcv
from pysock.families.inet.ip_options import walk
from pysock.families.inet.ip_reasm import reasm_of
from pysock.uapi.in_ import IPPROTO_RAW
from pysock.uapi.socket import SOCK_RAW
from pysock.wire.ipv4 import OPT_RA

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from pysock.families.inet.inet_sock import InetSock
    from pysock.families.inet.net import InetNet

    #: A socket, and what to do when it leaves the chain
    Member = tuple[DatagramSock, Callable[[], None] | None]

_STATE: Final = "router_alert"


def _chain(inet: InetNet) -> list[Member]:
    chain = inet.state.setdefault(_STATE, [])
    assert isinstance(chain, list)
    return chain


def control(sk: InetSock, on: bool, leaving: Callable[[], None] | None = None) -> None:
    """Join the chain, or leave it and run what was given as ``leaving``. EINVAL for a socket that is not raw or only
    sends, EADDRINUSE when it is there already, ENOBUFS when it is not (as Linux has it).
    """
    if sk.type != SOCK_RAW or sk.protocol == IPPROTO_RAW or not isinstance(sk, DatagramSock):
        raise err(errno.EINVAL)
    chain = _chain(sk.inet)
    for member in chain:
        if member[0] is sk:
            if on:
                raise err(errno.EADDRINUSE)
            chain.remove(member)
            if member[1] is not None:
                member[1]()
            return
    if not on:
        raise err(errno.ENOBUFS)
    chain.append((sk, leaving))


def closed(sk: DatagramSock) -> None:
    """``sk`` goes away."""
    if any(member[0] is sk for member in sk.inet.state.get(_STATE, ())):  # type: ignore[attr-defined]  # a list
        control(sk, False)


def asked_for(sk: InetSock) -> bool:
    """Whether the program set IP_ROUTER_ALERT."""
    return any(member[0] is sk and member[1] is None for member in _chain(sk.inet))


def alerts(header: bytes) -> bool:
    """Whether a good IP header asks routers to look at the datagram."""
    return any(kind == OPT_RA and not any(header[at + 2 : at + 4]) for at, kind, _ in walk(header))


def take(inet: InetNet, skb: SkBuff, off: int, size: int) -> bool:
    """Give a datagram, whose header of ``size`` bytes is at ``off``, to those who look out for it; whether there were
    any, and it needs no further way: then the reference is taken.
    """
    chain = inet.state.get(_STATE)
    if not isinstance(chain, list) or not chain or not alerts(bytes(skb.head[off : off + size])):
        return False
    protocol = skb.head[off + 9]
    dev = skb.dev
    ifindex = dev.ifindex if dev is not None else 0
    takers = [sk for sk, _ in chain if sk.protocol == protocol and sk.bound_dev_if in (0, ifindex)]
    if not takers:
        return False
    if skb.head[off + 6] & 0x3F or skb.head[off + 7]:
        whole = reasm_of(inet).defrag(skb)
        if whole is None:
            return True
        skb = whole
    for sk in takers:
        queue_rcv(sk, skb_clone(skb))
    consume_skb(skb)
    return True

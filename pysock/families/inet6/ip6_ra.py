"""IPV6_ROUTER_ALERT: raw sockets that get packets with that hop-by-hop option which a router would send on (RFC 2711,
ipv6(7); ip6_ra_control, ip6_call_ra_chain).

Only sockets of IPPROTO_RAW take part, each for one value of the option, and see whole packets from the IPv6 header on.
Unlike Linux, whose chain is one for all namespaces unless IPV6_ROUTER_ALERT_ISOLATE is set, each namespace has its own.
"""

from __future__ import annotations

import errno

from pysock.core.errors import err
from pysock.core.skb_copy import skb_clone
from pysock.core.skbuff import SkBuff, consume_skb, skb_push
from pysock.families.inet.datagram import DatagramSock, queue_rcv
from pysock.families.inet6.inet6_sock import pinfo
from pysock.families.inet6.ip6_cb import cb_of
from pysock.uapi.in_ import IPPROTO_RAW
from pysock.uapi.socket import SOCK_RAW

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from pysock.families.inet.inet_sock import InetSock
    from pysock.families.inet6.net import Inet6Net

    #: A socket, and the value that it wants
    Member = tuple[DatagramSock, int]

_STATE: Final = "router_alert"


def _chain(inet6: Inet6Net) -> list[Member]:
    chain = inet6.state.setdefault(_STATE, [])
    assert isinstance(chain, list)
    return chain


def control(sk: InetSock, value: int) -> None:
    """Join the chain for alerts of ``value``, or leave it if that is negative. ENOPROTOOPT for a socket that is not raw
    of IPPROTO_RAW, EADDRINUSE when it is there already, ENOBUFS when it is not.
    """
    if sk.type != SOCK_RAW or sk.protocol != IPPROTO_RAW or not isinstance(sk, DatagramSock):
        raise err(errno.ENOPROTOOPT)
    part = pinfo(sk)
    chain = _chain(part.inet6)
    known = next((member for member in chain if member[0] is sk), None)
    if known is not None:
        if value >= 0:
            raise err(errno.EADDRINUSE)
        chain.remove(known)
    elif value < 0:
        raise err(errno.ENOBUFS)
    else:
        chain.append((sk, value))
    part.rtalert = value != 0  # as Linux has it: it says what was last written


def closed(sk: DatagramSock) -> None:
    """``sk`` goes away."""
    chain = pinfo(sk).inet6.state.get(_STATE)
    if isinstance(chain, list) and any(member[0] is sk for member in chain):
        control(sk, -1)


def take(inet6: Inet6Net, skb: SkBuff) -> bool:
    """Give a packet that is to be forwarded, its ``network_header`` set, to those who look out for its alert; whether
    there were any, and it needs no further way: then the reference is taken.
    """
    chain = inet6.state.get(_STATE)
    cb = cb_of(skb)
    if not isinstance(chain, list) or not chain or cb is None or not cb.router_alert:
        return False
    ifindex = skb.dev.ifindex if skb.dev is not None else 0
    takers = [sk for sk, value in chain if value == cb.alert and sk.bound_dev_if in (0, ifindex)]
    if not takers:
        return False
    skb_push(skb, skb.data - skb.network_header)
    for sk in takers:
        queue_rcv(sk, skb_clone(skb))
    consume_skb(skb)
    return True

"""Socket filters and TCP (tcp_filter), and how far away a peer may be (IP_MINTTL, IPV6_MINHOPCOUNT, RFC 5082): a
connection with either takes every segment the long way.

Header prediction asks for nothing but the class of the socket, so `changed` gives such a connection another one: it
costs the others nothing.
"""

from __future__ import annotations

from pysock.core.filter import sk_filter
from pysock.core.skbuff import kfree_skb
from pysock.core.sock_cmsg import count_drop
from pysock.core.sock_ext import ext_of
from pysock.families.inet.tcp.sock import TcpSock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.skbuff import SkBuff
    from pysock.families.inet.tcp.input import SegmentInfo


class FilteredTcpSock(TcpSock):
    """A `TcpSock` that header prediction leaves alone."""

    __slots__ = ()


def changed(sk: TcpSock) -> None:
    """A filter was attached or detached, or the least hop limit changed."""
    part = sk.pinet6
    plain = sk.filter is None and not sk.min_ttl and (part is None or not part.min_hopcount)
    sk.__class__ = TcpSock if plain else FilteredTcpSock  # the same layout


def inherit(parent: TcpSock, child: TcpSock) -> None:
    """A connection begins with its listener's rare options and filter (sk_clone)."""
    assert parent.ext is not None
    ext = child.ext = ext_of(parent).inherited()
    if ext.program is not None:
        child.filter = ext.program.run
        changed(child)


def passes(sk: TcpSock, skb: SkBuff, info: SegmentInfo) -> bool:
    """Ask the filter of ``sk``. It may cut the payload, never the header; what is cut off is retransmitted. A segment
    that came over too many routers is dropped without asking.
    """
    at = skb.network_header
    if skb.head[at] >> 4 == 4:
        near = skb.head[at + 8] >= sk.min_ttl
    else:
        near = sk.pinet6 is None or skb.head[at + 7] >= sk.pinet6.min_hopcount
    if not near:
        sk.inet.mibs.tcpext.TCPMinTTLDrop += 1
        kfree_skb(skb, "TCP_MINTTL")
        return False
    if sk.filter is None:
        return True
    if not sk_filter(sk, skb, info.header_len):
        count_drop(sk)
        return False
    info.n = skb.len - info.header_len
    return True

"""Socket filters and TCP (tcp_filter): a connection with a filter takes every segment the long way.

Header prediction asks for nothing but the class of the socket, so `changed` gives a connection with a filter another
one: it costs connections without a filter nothing.
"""

from __future__ import annotations

from pysock.core.filter import sk_filter
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
    """A filter was attached or detached."""
    sk.__class__ = TcpSock if sk.filter is None else FilteredTcpSock  # the same layout


def inherit(parent: TcpSock, child: TcpSock) -> None:
    """A connection begins with its listener's rare options and filter (sk_clone)."""
    assert parent.ext is not None
    ext = child.ext = ext_of(parent).inherited()
    if ext.program is not None:
        child.filter = ext.program.run
        changed(child)


def passes(sk: TcpSock, skb: SkBuff, info: SegmentInfo) -> bool:
    """Ask the filter of ``sk``. It may cut the payload, never the header; what is cut off is retransmitted."""
    if not sk_filter(sk, skb, info.header_len):
        count_drop(sk)
        return False
    info.n = skb.len - info.header_len
    return True

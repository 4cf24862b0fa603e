"""Selective acknowledgements, the receiver's half (RFC 2018, RFC 2883; tcp_sack_new_ofo_skb, tcp_dsack_set).

What stands in the out-of-order queue is told to the peer in blocks, the one that grew last first, so that a lost ACK
does no harm. A segment that came twice is told as well, once, in front of them (DSACK): from that the sender learns
that it sent something for nothing.
"""

from __future__ import annotations

from pysock.families.inet.tcp.sock import SEG_FIN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.families.inet.tcp.sock import TcpSock

    #: [left, right) in sequence numbers
    Block = tuple[int, int]

MAX_BLOCKS = 4
MAX_BLOCKS_TS = 3  # beside timestamps


def arrived(sk: TcpSock, seq: int) -> None:
    """The out-of-order queue took in bytes from ``seq`` on: their block comes first from now on (RFC 2018 4)."""
    low = high = -1
    for segment in sk.ofo or ():
        if segment.seq > high:
            if low <= seq < high:
                break
            low = segment.seq
        high = segment.end_seq + (1 if segment.flags & SEG_FIN else 0)
    old = [block for block in sk.sacks or () if (block[1] < low or block[0] > high) and block[1] > sk.rcv_nxt]
    sk.sacks = [(low, high), *old[: MAX_BLOCKS - 1]]


def blocks(sk: TcpSock, duplicate: Block | None = None) -> list[Block]:
    """What the next ACK tells: ``duplicate``, then the blocks, as many as there is room for."""
    told = [] if duplicate is None else [duplicate]
    if sk.ofo:
        told += [block for block in sk.sacks or () if block[1] > sk.rcv_nxt]
    return told[: MAX_BLOCKS_TS if sk.ts_ok else MAX_BLOCKS]

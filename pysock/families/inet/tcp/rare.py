"""What few TCP sockets have: the values of rare options at level IPPROTO_TCP. `TcpSock.rare` is None until one is set.

Some tune what does not exist here and are only remembered: TCP_FASTOPEN, TCP_FASTOPEN_NO_COOKIE and TCP_FASTOPEN_KEY
(a server does nothing by default: tcp_fastopen is 1), TCP_FASTOPEN_CONNECT (a client without a cookie connects as
always), TCP_TX_DELAY (it needs the fq queueing discipline),
TCP_DELACK_MAX_US (delayed ACKs wait 40 ms here, without asking).
"""

from __future__ import annotations

from pysock.core.clock import NSEC_PER_MSEC
from pysock.families.inet.tcp.sock import RTO_MAX, RTO_MIN
from pysock.families.inet.tcp.urgent import ReceiveExtra

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections import deque

    from pysock.core.skbuff import SkBuff
    from pysock.families.inet.tcp.pacing import Pacer
    from pysock.families.inet.tcp.sock import TcpSock
    from pysock.families.inet.tx_timestamp import TxStamp

DELACK_MAX = 200 * NSEC_PER_MSEC  # TCP_DELACK_MAX


class RareOptions:
    """``rto_min``, ``rto_max`` and ``delack_max`` are ns, ``tx_delay`` us, ``notsent_lowat`` bytes (0: the sysctl's).
    ``saved_syn`` is what the listener kept of the peer's SYN, b"" when nothing or read.
    """

    __slots__ = (
        "delack_max",
        "fastopen_connect",
        "fastopen_key",
        "fastopen_no_cookie",
        "fastopen_qlen",
        "marks",
        "notsent_lowat",
        "pacer",
        "rto_max",
        "rto_min",
        "save_syn",
        "saved_syn",
        "thin_lto",
        "tx_delay",
    )

    def __init__(self) -> None:
        self.rto_min = RTO_MIN
        self.rto_max = RTO_MAX
        self.delack_max = DELACK_MAX
        self.notsent_lowat = 0
        self.save_syn = self.thin_lto = self.tx_delay = 0
        self.fastopen_qlen = self.fastopen_connect = self.fastopen_no_cookie = 0
        self.fastopen_key = b""
        self.saved_syn = b""
        self.pacer: Pacer | None = None  # pacing.py's
        self.marks: deque[tuple[int, TxStamp]] | None = None  # stamps.py's

    def inherited(self) -> RareOptions:
        """What a connection takes over from its listener (sk_clone)."""
        child = RareOptions()
        for name in self.__slots__:
            setattr(child, name, getattr(self, name))
        child.fastopen_qlen = child.save_syn = 0
        child.saved_syn = b""
        child.pacer = child.marks = None
        return child


def saved_syn(rare: RareOptions, skb: SkBuff, header_len: int) -> bytes:
    """What TCP_SAVE_SYN asks to keep of a SYN: its headers from IP's on (1), or from the device's on (2)."""
    start = skb.mac_header if rare.save_syn == 2 and skb.mac_header >= 0 else skb.network_header
    return bytes(skb.head[start : skb.data + header_len])


def inherit_rare(parent: TcpSock, child: TcpSock, saved: bytes) -> None:
    """A connection begins with its listener's options (sk_clone), and what was kept of the peer's SYN."""
    if parent.rare is not None:
        child.rare = parent.rare.inherited()
        child.rare.saved_syn = saved
    if parent.rcv_extra is not None:
        child.rcv_extra = ReceiveExtra()
        child.rcv_extra.inq = parent.rcv_extra.inq


def notsent_room(sk: TcpSock, wake: int) -> bool:
    """Whether TCP_NOTSENT_LOWAT lets more unsent bytes in; with ``wake`` 1 half of them must be gone
    (tcp_stream_memory_free).
    """
    rare = sk.rare
    return rare is None or not rare.notsent_lowat or sk.unsent_bytes << wake < rare.notsent_lowat & 0xFFFFFFFF


#: What a socket without any has. Never written to.
DEFAULTS = RareOptions()


def rare_of(sk: TcpSock) -> RareOptions:
    """The socket's, made now if it had none."""
    rare = sk.rare
    if rare is None:
        rare = sk.rare = RareOptions()
    return rare


def secs_to_retrans(seconds: int, timeout: int, rto_max: int) -> int:
    """How many retransmissions, the first after ``timeout`` s, fill ``seconds``: at most 255 (secs_to_retrans)."""
    if seconds <= 0:
        return 0
    count = 1
    period = timeout
    while seconds > period and count < 255:
        count += 1
        timeout = min(timeout << 1, rto_max)
        period += timeout
    return count


def retrans_to_secs(count: int, timeout: int, rto_max: int) -> int:
    """The opposite (retrans_to_secs)."""
    period = timeout if count else 0
    for _ in range(count - 1):
        timeout = min(timeout << 1, rto_max)
        period += timeout
    return period

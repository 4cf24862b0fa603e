"""TcpSock: the state of one TCP connection or listener (struct tcp_sock), and the segment it keeps for
retransmission.
"""

from __future__ import annotations

from collections import deque

from pysock.core.clock import NEVER, NSEC_PER_MSEC, NSEC_PER_SEC
from pysock.core.sock import Proto
from pysock.core.timer import Timer
from pysock.families.inet.inet_sock import InetSock
from pysock.families.inet.tcp.net import BindBucket, TcpNet
from pysock.families.inet.tcp.states import CURR_ESTAB
from pysock.uapi.tcp import TCP_CLOSE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.capability import Credentials
    from pysock.core.net import Net
    from pysock.families.inet.tcp.af import TcpAf
    from pysock.families.inet.tcp.cong import CongestionControl
    from pysock.families.inet.tcp.listen import Listener
    from pysock.families.inet.tcp.rare import RareOptions
    from pysock.families.inet.tcp.scoreboard import Scoreboard
    from pysock.families.inet.tcp.urgent import ReceiveExtra

RTO_INITIAL = NSEC_PER_SEC  # RFC 6298 2.1
RTO_FALLBACK = 3 * NSEC_PER_SEC  # RFC 6298 5.7
RTO_MIN = 200 * NSEC_PER_MSEC  # Linux: TCP_RTO_MIN
RTO_MAX = 120 * NSEC_PER_SEC
ATO_MIN = 40 * NSEC_PER_MSEC  # delayed ACK: TCP_ATO_MIN
QUICKACKS = 16  # how many ACKs a new connection sends at once (TCP_MAX_QUICKACKS)
INIT_CWND = 10  # RFC 6928
NO_SSTHRESH = 0x7FFFFFFF
MSS_DEFAULT = 536  # RFC 9293 3.7.1

# TcpSock.ca_state (enum tcp_ca_state)
CA_OPEN = 0
CA_DISORDER = 1
CA_RECOVERY = 3
CA_LOSS = 4

# TcpSock.nonagle
NAGLE_OFF = 1
NAGLE_CORK = 2

# Segment.flags beside the header's SYN and FIN bits
SEG_SYN = 0x02
SEG_FIN = 0x01


class Segment:
    """What is in flight: sequence numbers [seq, end_seq), payload by reference, and how its transmissions went."""

    __slots__ = ("end_seq", "flags", "frags", "lost", "resent", "retrans", "sacked", "segs", "sent_at", "seq")

    def __init__(
        self, seq: int, end_seq: int, frags: tuple[bytes | memoryview, ...], flags: int, segs: int, now: int
    ) -> None:
        self.seq = seq
        self.end_seq = end_seq
        self.frags = frags
        self.flags = flags
        self.segs = segs
        self.sent_at = now
        #: lost, resent, sacked: counted in lost_out, retrans_out, sack_out; retrans: sent more than once, ever (Karn)
        self.lost = self.resent = self.retrans = self.sacked = False


class TcpSock(InetSock):
    """Times are ns on the kernel's monotonic clock (NEVER: not armed), sizes bytes, cwnd and ssthresh segments.

    ``af`` is how its packets go over IPv4 or IPv6. ``rto_at`` serves retransmission, zero-window probes and SYN
    retries; ``reo_at`` RACK's reordering
    window; ``delack_at`` the delayed ACK; ``keepalive_at`` the keepalive. One coarse `Timer` covers them all.
    """

    __slots__ = (
        "af",
        "backoff",
        "board",
        "bucket",
        "bytes_retrans",
        "ca_state",
        "cong",
        "cong_state",
        "copied_off",
        "cwnd",
        "cwnd_cnt",
        "defer_accept",
        "delack_at",
        "dupacks",
        "ehash_key",
        "fin_queued",
        "keepalive_at",
        "keepidle",
        "keepintvl",
        "keepcnt",
        "last_rcv",
        "last_sent",
        "linger2",
        "listener",
        "lost_out",
        "lrcvtime",
        "max_window",
        "min_rtt",
        "mss",
        "nonagle",
        "nospace",
        "ofo",
        "packets_out",
        "pingpong",
        "ports",
        "oow_ack_at",
        "probes_out",
        "probes_stamp",
        "pseudo",
        "quick",
        "rcv_adv",
        "rcv_extra",
        "rcv_mss",
        "rare",
        "rcv_nxt",
        "rcv_start",
        "rcv_wscale",
        "rcv_wup",
        "rcvq_seq",
        "rcvq_space",
        "rcvq_time",
        "recover",
        "reo_at",
        "retransmits",
        "retrans_out",
        "retrans_stamp",
        "rto",
        "rto_at",
        "rtx_queue",
        "rtt_at",
        "rttvar",
        "rx_bytes",
        "rx_queue",
        "sack_ok",
        "sack_out",
        "sacks",
        "size_goal",
        "snd_nxt",
        "snd_sml",
        "snd_start",
        "snd_una",
        "snd_up",
        "snd_wl1",
        "snd_wnd",
        "snd_wscale",
        "srtt",
        "ssthresh",
        "syn_retries",
        "tcp",
        "timer",
        "total_retrans",
        "ts_offset",
        "ts_ok",
        "ts_recent",
        "unsent",
        "unsent_bytes",
        "user_mss",
        "user_timeout",
        "win_full",
        "win_space",
        "window_clamp",
    )

    def __init__(self, net: Net, family: int, type: int, protocol: int, prot: Proto, creds: Credentials) -> None:
        InetSock.__init__(self, net, family, type, protocol, prot, creds)
        tcp: TcpNet = net.get(TcpNet)
        self.tcp = tcp
        self.af: TcpAf = tcp.ipv4
        self.cong: CongestionControl = tcp.cong
        self.cong_state: object | None = None  # what it keeps of this connection
        self.bucket: BindBucket | None = None
        self.listener: Listener | None = None
        self.ehash_key = b""
        self.ports = b""
        self.pseudo = 0
        self.timer: Timer | None = None
        self.rto_at = self.reo_at = self.delack_at = self.keepalive_at = NEVER
        # Sending.
        self.snd_una = self.snd_nxt = self.snd_sml = self.snd_wl1 = self.snd_wnd = self.max_window = 0
        self.snd_up = self.snd_start = self.rcv_start = self.total_retrans = self.bytes_retrans = 0
        self.snd_wscale = self.unsent_bytes = self.packets_out = self.nonagle = 0
        self.unsent: deque[bytes | memoryview] | None = None
        self.rtx_queue: deque[Segment] | None = None
        self.fin_queued = self.nospace = False
        self.mss = self.size_goal = MSS_DEFAULT
        self.user_mss = 0
        # Congestion and loss.
        self.cwnd = INIT_CWND
        self.ssthresh = NO_SSTHRESH
        self.ca_state = CA_OPEN
        self.cwnd_cnt = self.dupacks = self.sack_out = self.lost_out = self.retrans_out = self.recover = 0
        self.retransmits = self.backoff = self.probes_out = self.retrans_stamp = self.probes_stamp = 0
        self.board: Scoreboard | None = None
        self.oow_ack_at = 0  # when a segment that did not fit was last answered
        # Round-trip time.
        self.rto = RTO_INITIAL
        self.srtt = self.rttvar = self.rtt_at = self.min_rtt = 0
        # Receiving.
        self.rcv_nxt = self.rcv_wup = self.rcv_adv = self.rcv_wscale = self.rx_bytes = self.copied_off = 0
        self.rx_queue: deque[bytes | memoryview] | None = None
        self.ofo: list[Segment] | None = None
        self.sacks: list[tuple[int, int]] | None = None
        self.rcv_extra: ReceiveExtra | None = None
        self.rcv_mss = MSS_DEFAULT
        self.quick = QUICKACKS
        self.pingpong = False
        self.lrcvtime = self.last_rcv = self.last_sent = 0
        self.rcvq_seq = self.rcvq_space = self.rcvq_time = 0
        self.ts_ok = self.sack_ok = False
        self.ts_recent = self.ts_offset = 0
        self.window_clamp = 0
        self.rcvbuf = tcp.rmem[1]
        self.sndbuf = tcp.wmem[1]
        self.win_space = self.win_full = 0
        # Options.
        self.keepidle = self.keepintvl = self.keepcnt = self.linger2 = self.user_timeout = self.syn_retries = 0
        self.defer_accept = 0
        self.rare: RareOptions | None = None
        self.set_rcvbuf_window()

    def progress(self) -> int:
        return self.snd_una

    def rcvbuf_changed(self) -> None:
        self.set_rcvbuf_window()

    def set_rcvbuf_window(self) -> None:
        """Recompute what the receive buffer can offer: half of it is payload (tcp_win_from_space)."""
        space = self.rcvbuf >> 1
        if self.window_clamp and space > self.window_clamp:
            space = self.window_clamp
        self.win_space = space
        self.win_full = min(space >> self.rcv_wscale, 0xFFFF)

    def set_state(self, state: int) -> None:
        """tcp_set_state(): with the gauges that depend on it."""
        old = self.state
        if old == state:
            return
        if old in CURR_ESTAB:
            if state not in CURR_ESTAB:
                mib = self.inet.mibs.tcp
                mib.CurrEstab -= 1
                if state == TCP_CLOSE:
                    mib.EstabResets += 1
        elif state in CURR_ESTAB:
            self.inet.mibs.tcp.CurrEstab += 1
        if state == TCP_CLOSE:
            self.prot.unhash(self)
        self.state = state

    def arm(self, deadline: int) -> None:
        """Make sure the coarse timer looks at this socket no later than ``deadline``."""
        timer = self.timer
        if timer is None:
            timer = self.timer = Timer(self._on_timer)
        if deadline < timer.expires:
            self.kernel.timers.mod_timer(timer, deadline)

    def _on_timer(self) -> None:
        self.tcp.on_timer(self)

    def stop_timers(self) -> None:
        """Forget every deadline, and let the heap forget this socket (tcp_clear_xmit_timers)."""
        self.rto_at = self.reo_at = self.delack_at = self.keepalive_at = NEVER
        timer = self.timer
        if timer is not None:
            self.kernel.timers.del_timer(timer)
            timer.function = nothing
            self.timer = None

    @property
    def write_seq(self) -> int:
        """The sequence number that the next byte of the program will get."""
        return self.snd_nxt + self.unsent_bytes

    @property
    def dead(self) -> bool:
        """Closed by the program: nobody will read or write any more (SOCK_DEAD)."""
        return self.socket is None


def nothing() -> None:
    """What a dead socket's heap entry runs, if it comes up at all."""

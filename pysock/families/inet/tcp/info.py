"""struct tcp_info: what TCP_INFO tells of a connection (tcp_get_info).

Left at 0 because nobody counts them for a single socket here: segments in and out, the delivery rate, and how long the
connection was busy or limited by something. There is no ECN.
"""

from __future__ import annotations

from pysock.core.clock import NSEC_PER_MSEC, NSEC_PER_USEC
from pysock.core.sock_ext import NO_PACING_LIMIT
from pysock.families.inet.tcp.sock import ATO_MIN, TcpSock
from pysock.uapi import tcp as u

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

_U32: Final = 0xFFFFFFFF


def tcp_info(sk: TcpSock) -> bytes:
    """The whole struct; the caller cuts it."""
    from pysock.families.inet.tcp.pacing import rate_of

    now = sk.kernel.clock_ns()

    def idle(since: int) -> int:
        return min((now - since) // NSEC_PER_MSEC, _U32) if since else 0

    values = dict.fromkeys(u.TCP_INFO_FIELDS, 0)
    values.update(
        state=sk.state,
        app_limited=1,
        rto=sk.rto // NSEC_PER_USEC,
        max_pacing_rate=NO_PACING_LIMIT if sk.ext is None else sk.ext.pacing_rate,
        pacing_rate=rate_of(sk),
        snd_cwnd=sk.cwnd,
        reordering=3,
    )
    listener = sk.listener
    if sk.state == u.TCP_LISTEN and listener is not None:
        values.update(unacked=len(listener.accept_queue), sacked=listener.backlog)
        return u.TCP_INFO_STRUCT.pack(*values.values())
    bytes_acked = max(sk.snd_una - sk.snd_start, 0) if sk.snd_start else 0
    sent = max(sk.snd_nxt - sk.snd_start, 0) if sk.snd_start else 0
    received = sk.rcv_nxt - sk.rcv_start if sk.rcv_start else 0
    values.update(
        ca_state=sk.ca_state,
        retransmits=min(sk.retransmits, 255),
        probes=min(sk.probes_out, 255),
        backoff=min(sk.backoff, 255),
        options=_options(sk),
        wscale=sk.snd_wscale | sk.rcv_wscale << 4,
        ato=ATO_MIN // NSEC_PER_USEC,
        snd_mss=sk.mss,
        rcv_mss=sk.rcv_mss,
        unacked=sk.packets_out,
        sacked=sk.sack_out,
        lost=sk.lost_out,
        retrans=sk.retrans_out,
        last_data_sent=idle(sk.last_sent),
        last_data_recv=idle(sk.lrcvtime),
        last_ack_recv=idle(sk.last_rcv),
        pmtu=sk.dst.mtu if sk.dst is not None else 0,
        rcv_ssthresh=sk.win_space,
        rtt=(sk.srtt >> 3) // NSEC_PER_USEC,
        rttvar=(sk.rttvar >> 2) // NSEC_PER_USEC,
        snd_ssthresh=min(sk.ssthresh, 0x7FFFFFFF),
        advmss=sk.mss + (12 if sk.ts_ok else 0),
        rcv_space=sk.rcvq_space,
        total_retrans=sk.total_retrans,
        bytes_acked=bytes_acked,
        bytes_received=received,
        bytes_sent=sent + sk.bytes_retrans,
        bytes_retrans=sk.bytes_retrans,
        notsent_bytes=sk.unsent_bytes,
        min_rtt=sk.min_rtt // NSEC_PER_USEC,
        snd_wnd=sk.snd_wnd,
        rcv_wnd=_window(sk),
    )
    return u.TCP_INFO_STRUCT.pack(*values.values())


def _options(sk: TcpSock) -> int:
    stamps = u.TCPI_OPT_TIMESTAMPS if sk.ts_ok else 0
    sack = u.TCPI_OPT_SACK if sk.sack_ok else 0
    return stamps | sack | (u.TCPI_OPT_WSCALE if sk.snd_wscale or sk.rcv_wscale else 0)


def _window(sk: TcpSock) -> int:
    return max(sk.rcv_adv - sk.rcv_nxt, 0)

"""TCP's timers (RFC 6298, RFC 1122 4.2.3.6; net/ipv4/tcp_timer.c).

One coarse timer a socket: `on_timer` looks which of the socket's deadlines have passed, does their work, and arms the
timer for the earliest one left.
"""

from __future__ import annotations

import errno

from pysock.core.clock import NEVER, NSEC_PER_MSEC
from pysock.core.sock import SOCK_KEEPOPEN
from pysock.families.inet.tcp import rack, recovery, rtt
from pysock.families.inet.tcp.connect import resend_syn
from pysock.families.inet.tcp.end import abort
from pysock.families.inet.tcp.keepalive import idle_time, keepalive_time
from pysock.families.inet.tcp.output import retransmit, send_ack, send_probe, send_reset, take_unsent, xmit_data
from pysock.families.inet.tcp.sock import RTO_INITIAL, RTO_MAX, RTO_MIN, SEG_SYN, TcpSock
from pysock.uapi.tcp import TCP_CLOSE, TCP_ESTABLISHED, TCP_LISTEN, TCP_SYN_RECV, TCP_SYN_SENT

THIN = 4  # a stream with fewer segments in flight is thin (tcp_stream_is_thin)
THIN_RETRIES = 6  # TCP_THIN_LINEAR_RETRIES


def on_timer(sk: TcpSock) -> None:
    """The coarse timer came up."""
    now = sk.kernel.now
    if sk.delack_at <= now:
        sk.delack_at = NEVER
        _delayed_ack(sk)
    if sk.reo_at <= now:
        sk.reo_at = NEVER
        rack.reordering_timer(sk)
    if sk.rto_at <= now:
        sk.rto_at = NEVER
        _retransmit_timer(sk)
    if sk.keepalive_at <= now:
        sk.keepalive_at = NEVER
        _keepalive_timer(sk)
    upcoming = min(sk.delack_at, sk.rto_at, sk.reo_at, sk.keepalive_at)
    if upcoming != NEVER and sk.state != TCP_CLOSE:
        sk.arm(upcoming)


def _delayed_ack(sk: TcpSock) -> None:
    """tcp_delack_timer_handler(): nobody answered in time, so the ACK goes alone."""
    if sk.state in (TCP_CLOSE, TCP_LISTEN):
        return
    if sk.pingpong:
        sk.pingpong = False  # the program does not answer quickly after all
    sk.inet.mibs.tcpext.DelayedACKs += 1
    send_ack(sk)


def _retransmit_timer(sk: TcpSock) -> None:
    """tcp_retransmit_timer(): nothing was acknowledged for an RTO; or, with nothing in flight, the probe timer."""
    if sk.state in (TCP_CLOSE, TCP_LISTEN):
        return
    if not sk.packets_out:
        _probe_timer(sk)
        return
    queue = sk.rtx_queue
    if not queue or _gave_up(sk):
        return
    ext = sk.inet.mibs.tcpext
    ext.TCPTimeouts += 1
    if queue[0].flags & SEG_SYN:
        ext.TCPSynRetrans += 1
        sk.inet.mibs.tcp.RetransSegs += 1
        queue[0].retrans = True
        resend_syn(sk)
    else:
        sk.reo_at = NEVER
        recovery.enter_loss(sk)
        recovery.cut(sk, 0, 1)
        retransmit(sk, queue[0])
    sk.retransmits += 1
    rare = sk.rare
    if rare is None:
        sk.backoff += 1
        sk.rto = min(sk.rto << 1, RTO_MAX)
    elif rare.thin_lto and sk.state == TCP_ESTABLISHED and sk.packets_out < THIN and sk.retransmits <= THIN_RETRIES:
        rtt.set_rto(sk)  # no back-off yet (TCP_THIN_LINEAR_TIMEOUTS)
    else:
        sk.backoff += 1
        sk.rto = min(sk.rto << 1, rare.rto_max)
    wait = sk.rto
    if sk.user_timeout:
        # tcp_clamp_rto_to_user_timeout(): come back at the instant at which it is over
        wait = max(min(wait, sk.retrans_stamp + sk.user_timeout - sk.kernel.now), NSEC_PER_MSEC)
    sk.rto_at = sk.kernel.now + wait


def model_timeout(retries: int, base: int = RTO_MIN) -> int:
    """How long ``retries`` retransmissions take, the first after ``base`` ns, doubling up to RTO_MAX
    (tcp_model_timeout).
    """
    doublings = (RTO_MAX // base).bit_length() - 1
    if retries <= doublings:
        return ((2 << retries) - 1) * base
    return ((2 << doublings) - 1) * base + (retries - doublings) * RTO_MAX


def _gave_up(sk: TcpSock) -> bool:
    """tcp_write_timeout(): too many retries for a SYN; for the rest, as long as tcp_retries2 (tcp_orphan_retries when
    nobody holds the socket) retries would take in the best case, or TCP_USER_TIMEOUT. Counted from the first
    retransmission.
    """
    tcp = sk.tcp
    if sk.state in (TCP_SYN_SENT, TCP_SYN_RECV):
        limit = sk.syn_retries or tcp.syn_retries
        expired = sk.retransmits >= limit
        base = RTO_INITIAL
    else:
        limit = tcp.orphan_retries if sk.dead else tcp.retries2
        expired = False
        base = RTO_MIN
    if not expired and sk.retransmits:
        expired = sk.kernel.now - sk.retrans_stamp >= (sk.user_timeout or model_timeout(limit, base))
    if expired:
        write_error(sk)
    return expired


def write_error(sk: TcpSock) -> None:
    """tcp_write_err(): the connection is given up with the soft error, or ETIMEDOUT."""
    sk.inet.mibs.tcpext.TCPAbortOnTimeout += 1
    abort(sk, sk.err_soft or errno.ETIMEDOUT)


def _probe_timer(sk: TcpSock) -> None:
    """tcp_probe_timer(): the window is closed or too small, or the cork has held a partial segment for long enough."""
    if not sk.unsent_bytes:
        return
    now = sk.kernel.now
    window = sk.snd_una + sk.snd_wnd - sk.snd_nxt
    if window > 0:
        # The override timeout of RFC 9293 3.8.6.2.1: whatever fits goes (tcp_write_wakeup).
        n = min(sk.unsent_bytes, window, sk.mss)
        xmit_data(sk, take_unsent(sk, n), n)
        return
    if not sk.probes_stamp:
        sk.probes_stamp = now
    limit = sk.tcp.orphan_retries if sk.dead else sk.tcp.retries2
    if sk.probes_out >= limit or (sk.user_timeout and now - sk.probes_stamp >= sk.user_timeout):
        write_error(sk)
        return
    sk.inet.mibs.tcpext.TCPWinProbe += 1
    send_probe(sk)
    sk.probes_out += 1
    sk.backoff += 1
    wait = min(max(sk.rto, RTO_MIN) << min(sk.backoff, 16), RTO_MAX)
    if sk.user_timeout:
        wait = max(min(wait, sk.probes_stamp + sk.user_timeout - now), NSEC_PER_MSEC)
    sk.rto_at = now + wait


def _keepalive_timer(sk: TcpSock) -> None:
    """tcp_keepalive_timer(). With TCP_USER_TIMEOUT that decides how long to go on, else the number of probes."""
    now = sk.kernel.now
    if not sk.flags & SOCK_KEEPOPEN or sk.state in (TCP_CLOSE, TCP_LISTEN, TCP_SYN_SENT):
        return
    if sk.packets_out or sk.unsent_bytes:
        sk.keepalive_at = now + keepalive_time(sk)  # retransmission will tell
        return
    idle = idle_time(sk)
    if idle < keepalive_time(sk):
        sk.keepalive_at = now + keepalive_time(sk) - idle
        return
    if sk.user_timeout:
        expired = idle >= sk.user_timeout and sk.probes_out > 0
    else:
        expired = sk.probes_out >= (sk.keepcnt or sk.tcp.keepalive_probes)
    if expired:
        send_reset(sk)
        write_error(sk)
        return
    sk.inet.mibs.tcpext.TCPKeepAlive += 1
    send_probe(sk)
    sk.probes_out += 1
    sk.keepalive_at = now + (sk.keepintvl or sk.tcp.keepalive_intvl)

"""TCP's timers (RFC 6298, RFC 1122 4.2.3.6; net/ipv4/tcp_timer.c).

One coarse timer a socket: `on_timer` looks which of the socket's deadlines have passed, does their work, and arms the timer for
the earliest one left.
"""

from __future__ import annotations

import errno

from pysock.core.clock import NEVER
from pysock.core.sock import SOCK_KEEPOPEN
from pysock.families.inet.tcp import recovery
from pysock.families.inet.tcp.output import retransmit, send_ack, send_probe, send_reset, write_xmit
from pysock.families.inet.tcp.sock import NAGLE_CORK, RTO_MAX, RTO_MIN, TcpSock
from pysock.uapi.tcp import TCP_CLOSE, TCP_FIN_WAIT2, TCP_LISTEN, TCP_SYN_SENT


def on_timer(sk: TcpSock) -> None:
    """The coarse timer came up."""
    now = sk.kernel.now
    if sk.delack_at <= now:
        sk.delack_at = NEVER
        _delayed_ack(sk)
    if sk.rto_at <= now:
        sk.rto_at = NEVER
        _retransmit_timer(sk)
    if sk.keepalive_at <= now:
        sk.keepalive_at = NEVER
        _keepalive_timer(sk)
    upcoming = min(sk.delack_at, sk.rto_at, sk.keepalive_at)
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
    if sk.state in (TCP_CLOSE, TCP_LISTEN):
        return
    if not sk.packets_out:
        _probe_timer(sk)
        return
    queue = sk.rtx_queue
    if not queue:
        return
    tcp = sk.tcp
    if sk.state == TCP_SYN_SENT:
        limit = sk.syn_retries or tcp.syn_retries
    elif sk.dead:
        limit = tcp.orphan_retries
    else:
        limit = tcp.retries2
    if _gave_up(sk, limit):
        return
    ext = sk.inet.mibs.tcpext
    ext.TCPTimeouts += 1
    if sk.state == TCP_SYN_SENT:
        from pysock.families.inet.tcp.connect import send_syn

        sk.inet.mibs.tcp.RetransSegs += 1
        queue[0].retrans = True
        send_syn(sk)
    else:
        recovery.enter_loss(sk)
        retransmit(sk, queue[0])
    sk.retransmits += 1
    sk.backoff += 1
    sk.rto = min(sk.rto << 1, RTO_MAX)
    sk.rto_at = sk.kernel.now + sk.rto


def _gave_up(sk: TcpSock, limit: int) -> bool:
    """tcp_write_timeout(): enough retries, or longer than TCP_USER_TIMEOUT."""
    waited = sk.kernel.now - sk.retrans_stamp if sk.retrans_stamp else 0
    if sk.retransmits < limit and not (sk.user_timeout and waited >= sk.user_timeout):
        return False
    write_error(sk)
    return True


def write_error(sk: TcpSock) -> None:
    """tcp_write_err(): the connection is given up with the soft error, or ETIMEDOUT."""
    sk.inet.mibs.tcpext.TCPAbortOnTimeout += 1
    abort(sk, sk.err_soft or errno.ETIMEDOUT)


def abort(sk: TcpSock, number: int) -> None:
    """End the connection with errno ``number`` for whoever uses it (tcp_done_with_error)."""
    from pysock.families.inet.tcp.proto import done

    sk.err = number
    done(sk)
    sk.error_report()


def _probe_timer(sk: TcpSock) -> None:
    """tcp_probe_timer(): the window is closed, or the cork has held a partial segment for long enough."""
    if not sk.unsent_bytes:
        return
    if sk.snd_wnd and sk.nonagle & NAGLE_CORK and sk.snd_una + sk.snd_wnd > sk.snd_nxt:
        write_xmit(sk, push=True)
        return
    limit = sk.tcp.orphan_retries if sk.dead else sk.tcp.retries2
    if sk.probes_out > limit:
        write_error(sk)
        return
    if sk.snd_una + sk.snd_wnd > sk.snd_nxt:
        write_xmit(sk, push=True)
        if sk.packets_out:
            return
    sk.inet.mibs.tcpext.TCPWinProbe += 1
    send_probe(sk)
    sk.probes_out += 1
    sk.backoff += 1
    wait = max(sk.srtt >> 3, RTO_MIN) << min(sk.backoff, 16)
    sk.rto_at = sk.kernel.now + min(wait, RTO_MAX)


def keepalive_time(sk: TcpSock) -> int:
    return sk.keepidle or sk.tcp.keepalive_time


def start_keepalive(sk: TcpSock) -> None:
    """Arm the keepalive timer of a connection that has SO_KEEPALIVE."""
    sk.last_rcv = sk.kernel.now
    sk.probes_out = 0
    sk.keepalive_at = sk.kernel.now + keepalive_time(sk)
    sk.arm(sk.keepalive_at)


def _keepalive_timer(sk: TcpSock) -> None:
    """tcp_keepalive_timer(): also ends FIN-WAIT-2 of a socket that nobody holds."""
    now = sk.kernel.now
    if sk.state == TCP_FIN_WAIT2 and sk.dead:
        from pysock.families.inet.tcp.proto import done

        done(sk)
        return
    if not sk.flags & SOCK_KEEPOPEN or sk.state in (TCP_CLOSE, TCP_LISTEN, TCP_SYN_SENT):
        return
    if sk.packets_out or sk.unsent_bytes:
        sk.keepalive_at = now + keepalive_time(sk)  # retransmission will tell
        return
    idle = now - max(sk.last_rcv, sk.lrcvtime)
    if idle < keepalive_time(sk):
        sk.keepalive_at = now + keepalive_time(sk) - idle
        return
    if sk.probes_out >= (sk.keepcnt or sk.tcp.keepalive_probes) or (
        sk.user_timeout and sk.probes_out and idle >= sk.user_timeout
    ):
        send_reset(sk)
        write_error(sk)
        return
    sk.inet.mibs.tcpext.TCPKeepAlive += 1
    send_probe(sk)
    sk.probes_out += 1
    sk.keepalive_at = now + (sk.keepintvl or sk.tcp.keepalive_intvl)

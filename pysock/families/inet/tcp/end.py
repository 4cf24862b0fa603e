"""How a connection ends: `done` releases what it holds; resets, aborts and TIME-WAIT lead there (tcp_done,
tcp_reset).
"""

from __future__ import annotations

import errno

from pysock.core.clock import NEVER
from pysock.core.sock import SHUTDOWN_MASK
from pysock.families.inet.tcp import ports
from pysock.families.inet.tcp.output import send_reset
from pysock.families.inet.tcp.sock import TcpSock
from pysock.families.inet.tcp.timewait import TIMEWAIT_LEN, TimeWaitSock, fin_time
from pysock.uapi.tcp import TCP_CLOSE, TCP_CLOSE_WAIT, TCP_FIN_WAIT2, TCP_SYN_RECV, TCP_SYN_SENT, TCP_TIME_WAIT


def done(sk: TcpSock) -> None:
    """tcp_done(): the connection is over; release what it holds. The program may still read the error."""
    if sk.state in (TCP_SYN_SENT, TCP_SYN_RECV):
        sk.inet.mibs.tcp.AttemptFails += 1
    sk.set_state(TCP_CLOSE)
    sk.stop_timers()
    sk.shutdown = SHUTDOWN_MASK
    if sk.socket is None:
        ports.leave(sk)
    else:
        if not sk.user_bound:
            ports.leave(sk)
        sk.state_change()
    sk.rtx_queue = None
    sk.unsent = None
    sk.unsent_bytes = sk.packets_out = 0


def abort_child(sk: TcpSock) -> None:
    """A connection that nobody accepted before the listener closed (inet_child_forget)."""
    if sk.state != TCP_CLOSE:  # the peer may have reset it meanwhile
        send_reset(sk)
    done(sk)


def abort(sk: TcpSock, number: int) -> None:
    """End the connection with errno ``number`` for whoever uses it (tcp_done_with_error)."""
    sk.err = number
    done(sk)
    sk.error_report()


def reset(sk: TcpSock) -> None:
    """A valid RST arrived (tcp_reset)."""
    state = sk.state
    if state == TCP_SYN_SENT:
        sk.err = errno.ECONNREFUSED
    elif state == TCP_CLOSE_WAIT:
        sk.err = errno.EPIPE
    elif state != TCP_CLOSE:
        sk.err = errno.ECONNRESET
    drop_unsent(sk)
    done(sk)
    sk.error_report()


def drop_unsent(sk: TcpSock) -> None:
    """Nothing queued will leave any more (tcp_write_queue_purge)."""
    sk.unsent = None
    sk.unsent_bytes = 0
    sk.rtx_queue = None
    sk.packets_out = sk.lost_out = sk.sack_out = sk.retrans_out = 0
    sk.fin_queued = False
    sk.snd_una = sk.snd_nxt
    sk.rto_at = NEVER


def enter_time_wait(sk: TcpSock, state: int) -> None:
    """tcp_time_wait(): the connection's place is taken by a small socket; the big one is done."""
    tw = TimeWaitSock(sk, state)
    timeout = TIMEWAIT_LEN if state == TCP_TIME_WAIT else fin_time(sk)
    done(sk)
    sk.tcp.timewait.add(tw, timeout)


def fin_wait2_orphaned(sk: TcpSock) -> None:
    """close() in FIN-WAIT-2: a small TIME-WAIT socket waits for the peer's FIN in its place (__tcp_close)."""
    if sk.linger2 < 0:
        sk.inet.mibs.tcpext.TCPAbortOnLinger += 1
        send_reset(sk)
        done(sk)
        return
    enter_time_wait(sk, TCP_FIN_WAIT2)

"""tcp_prot: TCP behind the socket API; opening, closing, polling. Sending and receiving are in `send` and `recv`."""

from __future__ import annotations

import errno

from pysock.core.clock import NEVER
from pysock.core.errors import err
from pysock.core.sock import (
    RCV_SHUTDOWN,
    SEND_SHUTDOWN,
    SHUTDOWN_MASK,
    SOCK_DONE,
    SOCK_KEEPOPEN,
    PollTable,
    Proto,
)
from pysock.core.sockopt_set import SOCK_TX_TSTAMP
from pysock.families.inet import ip_error, reuseport
from pysock.families.inet.tcp import connect, filtered, ipv4, listen, peek, pmtu, ports, recv, send, sockopt, urgent
from pysock.families.inet.tcp.ack import is_writeable
from pysock.families.inet.tcp.end import done, drop_unsent, fin_wait2_orphaned
from pysock.families.inet.tcp.keepalive import start_keepalive
from pysock.families.inet.tcp.output import close_write, send_reset
from pysock.families.inet.tcp.sock import INIT_CWND, NO_SSTHRESH, RTO_INITIAL, TcpSock
from pysock.families.inet.tcp.states import CLOSE_TRANSITIONS
from pysock.families.inet.v6part import same_address
from pysock.uapi.ioctl import SIOCATMARK, SIOCINQ, SIOCOUTQ
from pysock.uapi.poll import EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP, EPOLLRDNORM, EPOLLWRNORM
from pysock.uapi.tcp import (
    TCP_CLOSE,
    TCP_CLOSE_WAIT,
    TCP_CLOSING,
    TCP_ESTABLISHED,
    TCP_FIN_WAIT1,
    TCP_FIN_WAIT2,
    TCP_LAST_ACK,
    TCP_LISTEN,
    TCP_SYN_RECV,
    TCP_SYN_SENT,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.filter import BpfProgram
    from pysock.core.skbuff import SkBuff

SIOCOUTQNSD = 0x894B


class TcpProt(Proto):
    """struct proto tcp_prot."""

    __slots__ = ()
    name = "TCP"

    # The functions themselves: one call less each time.
    sendmsg = staticmethod(send.sendmsg)
    recvmsg = staticmethod(recv.recvmsg)
    connect = staticmethod(connect.connect)
    hash = staticmethod(ipv4.hash)
    unhash = staticmethod(ipv4.unhash)
    get_port = staticmethod(ports.get_port)
    recv_error = staticmethod(ip_error.recv_error)
    filter_changed = staticmethod(filtered.changed)
    peek_offset = staticmethod(peek.offset_of)
    setsockopt = staticmethod(sockopt.setsockopt)
    getsockopt = staticmethod(sockopt.getsockopt)

    def departs(self, sk: TcpSock, skb: SkBuff, paced: bool) -> None:
        if paced:
            from pysock.families.inet.tcp import pacing

            pacing.departs(sk, skb)
        if sk.flags & SOCK_TX_TSTAMP:
            from pysock.families.inet.tcp import stamps

            stamps.departs(sk, skb)

    def first_key(self, sk: TcpSock, written: bool) -> int:
        """Which byte SOF_TIMESTAMPING_OPT_ID counts from."""
        from pysock.families.inet.tcp import stamps

        return stamps.first_key(sk, written)

    def reuseport_changed(self, sk: TcpSock, program: BpfProgram | None) -> None:
        """A program chooses among the listeners of a SO_REUSEPORT group."""
        reuseport.share(_group(sk), program)

    def disconnect(self, sk: TcpSock) -> None:
        """tcp_disconnect(): back to a fresh socket that keeps its options and what it was bound to."""
        state = sk.state
        if state == TCP_LISTEN:
            sk.set_state(TCP_CLOSE)
            listen.stop(sk)
        elif state not in (TCP_CLOSE, TCP_SYN_SENT):
            send_reset(sk)
            sk.err = errno.ECONNRESET
        drop_unsent(sk)
        if sk.state != TCP_CLOSE:
            sk.set_state(TCP_CLOSE)
        sk.stop_timers()
        sk.prot.unhash(sk)
        if not sk.user_bound:
            ports.leave(sk)
            sk.sport = 0
        sk.af.forget_names(sk)
        sk.dport = 0
        sk.ehash_key = b""
        sk.dst = None
        sk.shutdown = sk.rx_bytes = sk.copied_off = sk.retransmits = sk.backoff = 0
        sk.rx_queue = None
        sk.ofo = None
        urgent.forget(sk)
        sk.flags &= ~SOCK_DONE
        sk.err_soft = sk.srtt = sk.rttvar = sk.ca_state = sk.snd_wnd = sk.max_window = 0
        sk.rcv_nxt = sk.rcv_wup = sk.rcv_adv = sk.rcv_wscale = sk.snd_wscale = sk.ts_recent = 0
        sk.sack_out = sk.lost_out = sk.retrans_out = sk.dupacks = sk.cwnd_cnt = 0
        sk.probes_out = sk.probes_stamp = sk.retrans_stamp = sk.snd_sml = sk.snd_up = 0
        sk.ts_ok = sk.sack_ok = sk.nospace = False
        sk.board = sk.sacks = sk.cong_state = None
        sk.min_rtt = 0
        sk.rto = RTO_INITIAL
        sk.cwnd = INIT_CWND
        sk.ssthresh = NO_SSTHRESH
        sk.set_rcvbuf_window()

    def headers_changed(self, sk: TcpSock) -> None:
        """IP options leave less room in a segment (icsk_sync_mss)."""
        sk.dst = None
        if sk.state not in (TCP_CLOSE, TCP_LISTEN, TCP_SYN_SENT):
            pmtu.sync_mss(sk)

    def listen(self, sk: TcpSock, backlog: int) -> None:
        """inet_csk_listen_start(). EADDRINUSE when the port is taken meanwhile."""
        backlog = min(max(backlog, 0) if backlog >= 0 else sk.tcp.somaxconn, sk.tcp.somaxconn)
        if sk.listener is not None:
            sk.listener.backlog = backlog
            return
        if not sk.sport:
            ports.get_port(sk, 0)
        elif sk.bucket is not None and any(
            o is not sk
            and o.state == TCP_LISTEN
            and not (sk.reuseport and o.reuseport)
            and same_address(sk, o)
            for o in sk.bucket.owners
        ):
            raise err(errno.EADDRINUSE)
        sk.set_rcvbuf_window()
        sk.listener = listen.Listener(sk.kernel, backlog)
        sk.set_state(TCP_LISTEN)
        ipv4.hash(sk)
        if sk.reuseport:
            reuseport.join(sk, _group(sk))

    def accept(self, sk: TcpSock, flags: int) -> TcpSock:
        """inet_csk_accept(): EINVAL when not listening; waits by SO_RCVTIMEO."""
        deadline = -1
        while True:
            listener = sk.listener
            if listener is None:
                raise err(errno.EINVAL)
            if listener.accept_queue:
                return listener.accept_queue.popleft()
            if deadline < 0:
                deadline = sk.rcv_deadline(flags)
            if not deadline or not sk.wait(deadline, exclusive=True):
                raise err(errno.EAGAIN)

    def shutdown(self, sk: TcpSock, how: int) -> None:
        """tcp_shutdown(): ENOTCONN without a connection; SEND_SHUTDOWN sends a FIN."""
        if sk.state == TCP_CLOSE:
            raise err(errno.ENOTCONN)
        if sk.state == TCP_LISTEN:
            if how & RCV_SHUTDOWN:
                self.disconnect(sk)
            return
        if sk.state == TCP_SYN_SENT:
            self.disconnect(sk)
            return
        sk.shutdown |= how
        if how & SEND_SHUTDOWN and sk.state in (TCP_ESTABLISHED, TCP_SYN_RECV, TCP_CLOSE_WAIT):
            new, fin = CLOSE_TRANSITIONS[sk.state]
            sk.set_state(new)
            if fin:
                close_write(sk)

    def close(self, sk: TcpSock, deadline: int) -> None:
        """tcp_close(). ``deadline`` -1: reset (SO_LINGER 0); 0: do not wait; else linger until then."""
        sk.shutdown = SHUTDOWN_MASK
        state = sk.state
        if state == TCP_LISTEN:
            sk.set_state(TCP_CLOSE)
            listen.stop(sk)
            _orphan(sk)
            done(sk)
            return
        mibs = sk.inet.mibs
        unread = sk.rx_bytes
        sk.rx_queue = None
        sk.rx_bytes = 0
        if state == TCP_CLOSE:
            pass
        elif unread and state != TCP_SYN_SENT:
            # RFC 2525 2.17: the peer has to know that data was lost.
            mibs.tcpext.TCPAbortOnClose += 1
            sk.set_state(TCP_CLOSE)
            send_reset(sk)
        elif deadline == -1 and state != TCP_SYN_SENT:
            mibs.tcpext.TCPAbortOnData += 1
            sk.set_state(TCP_CLOSE)
            send_reset(sk)
        else:
            new, fin = CLOSE_TRANSITIONS[state]
            sk.set_state(new)
            if fin:
                close_write(sk)
            if deadline > 0:
                self._linger(sk, deadline)
        _orphan(sk)
        if sk.state == TCP_CLOSE:
            done(sk)
        elif sk.state == TCP_FIN_WAIT2:
            fin_wait2_orphaned(sk)

    def _linger(self, sk: TcpSock, deadline: int) -> None:
        """sk_stream_wait_close(): until our FIN is acknowledged."""
        while sk.state in (TCP_FIN_WAIT1, TCP_CLOSING, TCP_LAST_ACK):
            if not sk.wait(deadline):
                return

    def set_keepalive(self, sk: TcpSock, on: bool) -> None:
        """SO_KEEPALIVE changed (tcp_set_keepalive)."""
        if sk.state in (TCP_CLOSE, TCP_LISTEN):
            return
        if on and not sk.flags & SOCK_KEEPOPEN:
            start_keepalive(sk)
        elif not on:
            sk.keepalive_at = NEVER

    def poll(self, sk: TcpSock, table: PollTable | None) -> int:
        """tcp_poll()."""
        if table is not None:
            table.wait(sk.sleep_queue())
        state = sk.state
        if state == TCP_LISTEN:
            listener = sk.listener
            return EPOLLIN | EPOLLRDNORM if listener is not None and listener.accept_queue else 0
        mask = 0
        shutdown = sk.shutdown
        if shutdown == SHUTDOWN_MASK or state == TCP_CLOSE:
            mask |= EPOLLHUP
        if shutdown & RCV_SHUTDOWN:
            mask |= EPOLLIN | EPOLLRDNORM | EPOLLRDHUP
        if state not in (TCP_SYN_SENT, TCP_SYN_RECV):
            here = sk.rx_bytes
            if sk.rcv_extra is not None:
                hole, pri = urgent.poll(sk)
                here -= hole
                mask |= pri
            if here > 0 and (here >= sk.rcvlowat or shutdown & RCV_SHUTDOWN):
                mask |= EPOLLIN | EPOLLRDNORM
            if shutdown & SEND_SHUTDOWN or is_writeable(sk):
                mask |= EPOLLOUT | EPOLLWRNORM
            else:
                sk.nospace = True
        if sk.err or sk.error_queue:
            mask |= EPOLLERR
        return mask

    def ioctl(self, sk: TcpSock, cmd: int, arg: bytes | int) -> bytes | int:
        if cmd == SIOCINQ:
            if sk.state == TCP_LISTEN:
                raise err(errno.EINVAL)
            return urgent.inq(sk).to_bytes(4, "little")
        if cmd in (SIOCOUTQ, SIOCOUTQNSD):
            if sk.state == TCP_LISTEN:
                raise err(errno.EINVAL)
            if sk.state in (TCP_SYN_SENT, TCP_SYN_RECV):
                return bytes(4)
            waiting = sk.unsent_bytes + (sk.snd_nxt - sk.snd_una if cmd == SIOCOUTQ else 0)
            return waiting.to_bytes(4, "little")
        if cmd == SIOCATMARK:
            return (urgent.mark(sk) == 0).to_bytes(4, "little")
        raise err(errno.ENOTTY)


def _group(sk: TcpSock) -> list[TcpSock]:
    """The listeners that share the port of ``sk`` by SO_REUSEPORT, the oldest one first."""
    return [other for other in sk.tcp.listeners.get(sk.sport, ()) if reuseport.same_group(sk, other)]


def _orphan(sk: TcpSock) -> None:
    """Nobody holds the socket any more; waiters of other threads look again and find it closed."""
    sk.socket = None
    if sk.wait_queue is not None:
        sk.state_change()
        sk.wait_queue = None


TCP_PROT = TcpProt()

"""The passive opener: listeners, half-open requests, the accept queue (tcp_conn_request, inet_connection_sock.c).

A SYN makes a small `RequestSock` and a SYN-ACK; the ACK that completes the handshake makes the `TcpSock` and queues
it for accept(). A full accept queue drops SYNs, and leaves a completing ACK unanswered so that the peer's
retransmission tries again (or resets it, with tcp_abort_on_overflow). listen(backlog) allows backlog + 1 waiting
connections, as in Linux.
"""

from __future__ import annotations

from collections import deque
from operator import attrgetter

from pysock.core.skbuff import SkBuff, kfree_skb
from pysock.core.timer import Timer
from pysock.families.inet import route
from pysock.families.inet.addr import ANY
from pysock.families.inet.ip_output import send_datagram
from pysock.families.inet.tcp import connect, rtt
from pysock.families.inet.tcp.end import abort_child
from pysock.families.inet.tcp.options import (
    M32,
    choose_wscale,
    pseudo_sum,
    syn_options,
    syn_segment,
    timestamp_now,
)
from pysock.families.inet.tcp.reset import send_bare, send_reset_for
from pysock.families.inet.tcp.sock import RTO_INITIAL, RTO_MAX, TcpSock, nothing
from pysock.uapi.tcp import TCP_LISTEN, TCP_SYN_RECV
from pysock.wire.ipv4 import DF
from pysock.wire.tcp import ACK, RST, SYN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.families.inet.tcp.input import SegmentInfo
    from pysock.families.inet.tcp.net import TcpNet
    from pysock.wire.tcp_options import TcpOptions

class Listener:
    """What a socket in LISTEN keeps: who waits to be accepted, and who is half open."""

    __slots__ = ("accept_queue", "backlog", "requests")

    def __init__(self, backlog: int) -> None:
        self.backlog = backlog
        self.accept_queue: deque[TcpSock] = deque()
        self.requests: set[RequestSock] = set()

    def full(self) -> bool:
        """sk_acceptq_is_full()."""
        return len(self.accept_queue) > self.backlog


class RequestSock:
    """A half-open connection (struct tcp_request_sock)."""

    __slots__ = (
        "daddr",
        "isn",
        "key",
        "listener",
        "options",
        "rcv_isn",
        "retries",
        "rto",
        "saddr",
        "sent_at",
        "timer",
        "ts_offset",
        "window",
        "wscale",
    )

    def __init__(self, listener: TcpSock, key: bytes, info: SegmentInfo) -> None:
        tcp = listener.tcp
        self.listener = listener
        self.key = key
        self.daddr = key[:4]
        self.saddr = key[4:8]
        self.options: TcpOptions = info.options()
        self.rcv_isn = info.seq
        self.isn = tcp.isn.getrandbits(32)
        self.ts_offset = tcp.isn.getrandbits(32)
        self.window = info.raw_window
        self.wscale = choose_wscale(tcp, listener.rcvbuf) if self.options.wscale is not None else -1
        self.sent_at = tcp.kernel.now
        self.retries = 0
        self.rto = RTO_INITIAL
        self.timer = Timer(self._resend)

    def send_synack(self) -> None:
        sk = self.listener
        tcp = sk.tcp
        inet = sk.inet
        try:
            rt = route.output(inet, self.daddr, self.saddr, sk.bound_dev_if)
        except OSError:
            inet.mibs.ip.OutNoRoutes += 1
            return
        mss = min(rt.mtu, 0xFFFF) - 40
        if sk.user_mss:
            mss = min(mss, sk.user_mss)
        stamps = self.options.timestamps
        ts_val = timestamp_now(tcp.kernel.now, self.ts_offset) if tcp.timestamps and stamps else None
        options = syn_options(mss, self.wscale, ts_val, stamps[0] if stamps else 0)
        ports = self.key[10:12] + self.key[8:10]
        skb = syn_segment(
            ports,
            self.isn,
            self.rcv_isn + 1,
            SYN | ACK,
            min(sk.win_space, 0xFFFF),
            pseudo_sum(self.saddr, self.daddr, 20),
            options,
        )
        inet.mibs.tcp.OutSegs += 1
        ttl = sk.ttl if sk.ttl >= 0 else None
        send_datagram(inet, rt, 6, skb, tos=sk.tos, ttl=ttl, frag=DF, ident=0)

    def send_ack(self) -> None:
        """Answer a segment outside the window (tcp_v4_reqsk_send_ack)."""
        tcp = self.listener.tcp
        stamps = None
        if tcp.timestamps and self.options.timestamps:
            stamps = (timestamp_now(tcp.kernel.now, self.ts_offset), self.options.timestamps[0])
        window = min(self.listener.win_space, 0xFFFF) >> max(self.wscale, 0)
        send_bare(tcp, self.key, self.isn + 1, self.rcv_isn + 1, ACK, window, stamps)

    def _resend(self) -> None:
        """reqsk_timer_handler()."""
        sk = self.listener
        if self.retries >= (sk.syn_retries or sk.tcp.synack_retries) or sk.state != TCP_LISTEN:
            self.drop()
            return
        self.retries += 1
        self.rto = min(self.rto << 1, RTO_MAX)
        sk.inet.mibs.tcp.RetransSegs += 1
        sk.inet.mibs.tcpext.TCPSynRetrans += 1
        self.send_synack()
        sk.kernel.timers.mod_timer(self.timer, sk.kernel.now + self.rto)

    def drop(self) -> None:
        """Forget the request."""
        sk = self.listener
        timers = sk.kernel.timers
        timers.del_timer(self.timer)
        self.timer.function = nothing  # its place in the heap shall not keep the request alive
        if sk.tcp.ehash.get(self.key) is self:
            del sk.tcp.ehash[self.key]
        if sk.listener is not None:
            sk.listener.requests.discard(self)


def lookup_listener(tcp: TcpNet, daddr: bytes, port: int, skb: SkBuff) -> TcpSock | None:
    """The best listener for a SYN (inet_lhash2_lookup): a bound address beats any; equal ones share by SO_REUSEPORT."""
    listeners = tcp.listeners.get(port)
    if not listeners:
        return None
    best: list[TcpSock] = []
    best_score = 0
    ifindex = skb.dev.ifindex if skb.dev is not None else 0
    for sk in listeners:
        score = 1
        if sk.rcv_saddr != ANY:
            if sk.rcv_saddr != daddr:
                continue
            score += 2
        if sk.bound_dev_if:
            if sk.bound_dev_if != ifindex:
                continue
            score += 4
        if score > best_score:
            best_score = score
            best = [sk]
        elif score == best_score:
            best.append(sk)
    if not best:
        return None
    if len(best) == 1 or not best[0].reuseport:
        return best[0]
    start = skb.network_header + 12
    flow = int.from_bytes(bytes(skb.head[start : start + 4]) + bytes(skb.head[skb.data : skb.data + 2]), "big")
    return best[flow * 2654435761 % 4294967296 % len(best)]


def segment(sk: TcpSock, skb: SkBuff, info: SegmentInfo, key: bytes) -> None:
    """A segment for a listener that belongs to no connection (RFC 9293 3.10.7.2)."""
    flags = info.flags
    if flags & RST:
        kfree_skb(skb, "TCP_RESET")
        return
    if flags & ACK:
        send_reset_for(sk.tcp, skb, info, key)
        kfree_skb(skb, "TCP_FLAGS")
        return
    if not flags & SYN or flags & 1:
        kfree_skb(skb, "TCP_FLAGS")
        return
    listener = sk.listener
    assert listener is not None
    ext = sk.inet.mibs.tcpext
    if listener.full():
        ext.ListenOverflows += 1
        ext.ListenDrops += 1
        kfree_skb(skb, "TCP_LISTEN_OVERFLOW")
        return
    if len(listener.requests) >= sk.tcp.max_syn_backlog:
        ext.TCPReqQFullDrop += 1
        ext.ListenDrops += 1
        kfree_skb(skb, "TCP_LISTEN_OVERFLOW")
        return
    request = RequestSock(sk, key, info)
    listener.requests.add(request)
    sk.tcp.ehash[key] = request
    request.send_synack()
    sk.kernel.timers.mod_timer(request.timer, sk.kernel.now + request.rto)


def request_segment(request: RequestSock, skb: SkBuff, info: SegmentInfo) -> TcpSock | None:
    """A segment for a half-open connection (tcp_check_req). The new connection, if the segment has more for it."""
    sk = request.listener
    flags = info.flags
    listener = sk.listener
    if flags & SYN and not flags & ACK and info.seq == request.rcv_isn:
        request.send_synack()  # the peer did not hear our SYN-ACK
        kfree_skb(skb, "NOT_SPECIFIED")
        return None
    if flags & ACK and info.ack != (request.isn + 1) & M32:
        send_reset_for(sk.tcp, skb, info, request.key)
        kfree_skb(skb, "TCP_INVALID_ACK_SEQUENCE")
        return None
    expected = (request.rcv_isn + 1) & M32
    distance = (info.seq - expected) & M32
    stamps = request.options.timestamps
    old_ts = stamps is not None and info.ts_val is not None and (info.ts_val - stamps[0]) & 0x80000000
    if distance > min(sk.win_space, 0xFFFF) or old_ts:
        if old_ts:
            sk.inet.mibs.tcpext.PAWSEstab += 1
        if not flags & RST:
            request.send_ack()
        kfree_skb(skb, "TCP_INVALID_SEQUENCE")
        return None
    if flags & (RST | SYN):
        sk.inet.mibs.tcp.AttemptFails += 1
        sk.inet.mibs.tcpext.EmbryonicRsts += 1
        send_reset_for(sk.tcp, skb, info, request.key)
        request.drop()
        kfree_skb(skb, "TCP_RESET")
        return None
    if not flags & ACK:
        kfree_skb(skb, "TCP_FLAGS")
        return None
    if listener is None or listener.full():
        ext = sk.inet.mibs.tcpext
        ext.ListenOverflows += 1
        ext.ListenDrops += 1
        if sk.tcp.abort_on_overflow:
            send_reset_for(sk.tcp, skb, info, request.key)
            request.drop()
        kfree_skb(skb, "TCP_LISTEN_OVERFLOW")
        return None
    child = create_child(request, info)
    request.drop()
    child.tcp.ehash[child.ehash_key] = child
    listener.accept_queue.append(child)
    sk.data_ready()
    return child if info.n or flags & 1 else None


def create_child(request: RequestSock, info: SegmentInfo) -> TcpSock:
    """tcp_v4_syn_recv_sock(): the connection's own socket, with what it inherits from the listener."""
    parent = request.listener
    key = request.key
    sk = TcpSock(parent.net, parent.family, parent.type, parent.protocol, parent.prot, parent.creds)
    sk.saddr = sk.rcv_saddr = request.saddr
    sk.daddr = request.daddr
    sk.sport = parent.sport
    sk.dport = int.from_bytes(key[8:10], "big")
    sk.ehash_key = key
    (
        sk.flags,
        sk.reuse,
        sk.reuseport,
        sk.bound_dev_if,
        sk.priority,
        sk.mark,
        sk.linger,
        sk.rcvlowat,
        sk.rcvtimeo,
        sk.sndtimeo,
        sk.rcvbuf,
        sk.sndbuf,
        sk.tos,
        sk.ttl,
        sk.nonagle,
        sk.keepidle,
        sk.keepintvl,
        sk.keepcnt,
        sk.linger2,
        sk.user_timeout,
        sk.user_mss,
        sk.cong,
        sk.pmtudisc,
        sk.recverr,
        sk.min_ttl,
        sk.syn_retries,
        sk.window_clamp,
    ) = _INHERITED(parent)
    sk.bucket = parent.bucket
    if sk.bucket is not None:
        sk.bucket.owners[sk] = None
    tcp = parent.tcp
    now = tcp.kernel.now
    sk.ts_offset = request.ts_offset
    connect.setup_route(sk)
    sk.snd_una = sk.snd_nxt = request.isn + 1
    sk.rcv_nxt = sk.rcv_wup = sk.rcv_adv = request.rcv_isn + 1
    sk.rcv_adv += min(parent.win_space, 0xFFFF)
    sk.state = TCP_SYN_RECV
    connect.negotiate(sk, request.options, tcp.timestamps, request.wscale)
    if sk.ts_ok and info.ts_val is not None:
        sk.ts_recent = info.ts_val
    sk.snd_wl1 = info.seq
    sk.snd_wnd = sk.max_window = info.raw_window << sk.snd_wscale
    if not request.retries:
        rtt.update(sk, now - request.sent_at)  # tcp_synack_rtt_meas()
    tcp.inet.mibs.tcp.PassiveOpens += 1
    connect.established(sk)
    return sk


#: Options that a child takes over from its listener, read in one go.
_INHERITED = attrgetter(
    "flags",
    "reuse",
    "reuseport",
    "bound_dev_if",
    "priority",
    "mark",
    "linger",
    "rcvlowat",
    "rcvtimeo",
    "sndtimeo",
    "rcvbuf",
    "sndbuf",
    "tos",
    "ttl",
    "nonagle",
    "keepidle",
    "keepintvl",
    "keepcnt",
    "linger2",
    "user_timeout",
    "user_mss",
    "cong",
    "pmtudisc",
    "recverr",
    "min_ttl",
    "syn_retries",
    "window_clamp",
)


def stop(sk: TcpSock) -> None:
    """inet_csk_listen_stop(): half-open requests are forgotten, connections nobody accepted are reset."""
    listener = sk.listener
    if listener is None:
        return
    for request in list(listener.requests):
        request.drop()
    sk.listener = None
    for child in listener.accept_queue:
        abort_child(child)
    listener.accept_queue.clear()



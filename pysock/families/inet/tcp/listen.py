"""The passive opener: listeners, half-open requests, the accept queue (tcp_conn_request, inet_connection_sock.c).

A SYN makes a small `RequestSock` and a SYN-ACK; the ACK that completes the handshake makes the `TcpSock` and queues
it for accept(). A full accept queue drops SYNs, and leaves a completing ACK unanswered so that the peer's
retransmission tries again (or resets it, with tcp_abort_on_overflow). listen(backlog) allows backlog + 1 waiting
connections, as in Linux.
"""

from __future__ import annotations

from collections import deque
from operator import attrgetter

from pysock.core.clock import NEVER
from pysock.core.skbuff import SkBuff, kfree_skb
from pysock.families.inet import reuseport
from pysock.families.inet.tcp import connect, filtered, metrics, rtt
from pysock.families.inet.tcp.af import addresses, af_of
from pysock.families.inet.tcp.end import abort_child
from pysock.families.inet.tcp.options import (
    M32,
    choose_wscale,
    pseudo_sum,
    syn_options,
    syn_segment,
    timestamp_now,
)
from pysock.families.inet.tcp.rare import inherit_rare, saved_syn
from pysock.families.inet.tcp.requests import RequestQueue
from pysock.families.inet.tcp.reset import send_bare, send_reset_for
from pysock.families.inet.tcp.sock import RTO_INITIAL, RTO_MAX, TcpSock
from pysock.uapi.tcp import TCP_SYN_RECV
from pysock.wire.tcp import ACK, FIN, RST, SYN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.kernel import Kernel
    from pysock.families.inet.route import Rtable
    from pysock.families.inet.tcp.input import SegmentInfo
    from pysock.families.inet.tcp.net import TcpNet
    from pysock.wire.tcp_options import TcpOptions


class Listener:
    """What a socket in LISTEN keeps: who waits to be accepted, and who is half open."""

    __slots__ = ("accept_queue", "backlog", "requests")

    def __init__(self, kernel: Kernel, backlog: int) -> None:
        self.backlog = backlog
        self.accept_queue: deque[TcpSock] = deque()
        self.requests = RequestQueue(kernel)

    def full(self) -> bool:
        """sk_acceptq_is_full()."""
        return len(self.accept_queue) > self.backlog


class RequestSock:
    """A half-open connection (struct tcp_request_sock). ``rto`` is ns, ``expires`` when it is over (monotonic ns).
    ``oif`` is the device that it belongs to, 0: any. ``acked``: the peer answered, and TCP_DEFER_ACCEPT waits for data.
    ``rcv_wnd`` is what our SYN-ACK offers, ``saved_syn`` is for TCP_SAVED_SYN, ``ip_options`` answer those of the SYN.
    """

    __slots__ = (
        "acked",
        "af",
        "daddr",
        "dport",
        "expires",
        "ip_options",
        "isn",
        "key",
        "listener",
        "oif",
        "options",
        "rcv_isn",
        "rcv_wnd",
        "retries",
        "rto",
        "saddr",
        "saved_syn",
        "sent_at",
        "ts_offset",
        "window",
        "wscale",
    )

    def __init__(self, listener: TcpSock, key: bytes, skb: SkBuff, info: SegmentInfo, options: TcpOptions) -> None:
        tcp = listener.tcp
        self.listener = listener
        self.key = key
        self.af = af = af_of(tcp, key)
        self.daddr, self.saddr = addresses(key)
        self.dport = int.from_bytes(key[-4:-2], "big")
        self.oif = listener.bound_dev_if or af.scope(key, skb)
        self.options = options
        self.ip_options = af.options_back(skb)
        self.rcv_isn = info.seq
        self.rcv_wnd = 0
        self.isn = tcp.isn.getrandbits(32)
        self.ts_offset = tcp.isn.getrandbits(32)
        self.window = info.raw_window
        clamp = listener.window_clamp
        self.wscale = choose_wscale(tcp, listener.rcvbuf, clamp) if self.options.wscale is not None else -1
        self.sent_at = tcp.kernel.now
        self.retries = 0
        self.rto = RTO_INITIAL
        self.expires = NEVER
        self.acked = False
        rare = listener.rare
        self.saved_syn = saved_syn(rare, skb, info.header_len) if rare is not None and rare.save_syn else b""

    def route(self) -> Rtable | None:
        """The way to the peer; None when there is none any more (inet_csk_route_req)."""
        return self.af.route(self.daddr, self.saddr, self.oif, self.listener, self.dport)

    def send_synack(self) -> None:
        rt = self.route()
        if rt is None:
            return
        sk = self.listener
        tcp = sk.tcp
        mss = metrics.offered_mss(self.af, rt)
        if sk.user_mss:
            mss = min(mss, sk.user_mss)
        stamps = self.options.timestamps
        ts_val = timestamp_now(tcp.kernel.now, self.ts_offset) if tcp.timestamps and stamps else None
        sack = self.options.sack_permitted and tcp.sack
        options = syn_options(mss, self.wscale, ts_val, stamps[0] if stamps else 0, sack)
        self.rcv_wnd = metrics.syn_window(sk.win_space, rt, mss)
        key = self.key
        skb = syn_segment(
            key[-2:] + key[-4:-2],
            self.isn,
            self.rcv_isn + 1,
            SYN | ACK,
            self.rcv_wnd,
            pseudo_sum(self.saddr, self.daddr, 20),
            options,
        )
        sk.inet.mibs.tcp.OutSegs += 1
        self.af.send(rt, skb, sk, self.ip_options)

    def send_ack(self) -> None:
        """Answer a segment outside the window (tcp_v4_reqsk_send_ack)."""
        tcp = self.listener.tcp
        stamps = None
        if tcp.timestamps and self.options.timestamps:
            stamps = (timestamp_now(tcp.kernel.now, self.ts_offset), self.options.timestamps[0])
        window = self.rcv_wnd >> max(self.wscale, 0)
        send_bare(tcp, self.key, self.isn + 1, self.rcv_isn + 1, ACK, window, stamps, self.oif)

    def expired(self) -> None:
        """The SYN-ACK was not acknowledged in time: send it again, or give up."""
        sk = self.listener
        listener = sk.listener
        # With TCP_DEFER_ACCEPT a peer that answered is left alone, and asked once more in the end (syn_ack_recalc).
        deferred = self.acked and self.retries < sk.defer_accept
        if listener is None or (self.retries >= (sk.syn_retries or sk.tcp.synack_retries) and not deferred):
            self.drop()
            return
        self.retries += 1
        self.rto = min(self.rto << 1, RTO_MAX)
        if not deferred or self.retries == sk.defer_accept:
            sk.inet.mibs.tcp.RetransSegs += 1
            sk.inet.mibs.tcpext.TCPSynRetrans += 1
            self.send_synack()
        listener.requests.add(self)

    def drop(self) -> None:
        """Forget the request."""
        sk = self.listener
        if sk.tcp.ehash.get(self.key) is self:
            del sk.tcp.ehash[self.key]
        if sk.listener is not None:
            sk.listener.requests.remove(self)


def lookup_listener(tcp: TcpNet, key: bytes, skb: SkBuff) -> TcpSock | None:
    """The best listener for a SYN of the flow ``key`` (inet_lhash2_lookup, inet6_lhash2_lookup): a bound address beats
    any, IPv4's own a dual-stack one; equal ones share by SO_REUSEPORT.
    """
    listeners = tcp.listeners.get(key[-2] << 8 | key[-1])
    if not listeners:
        return None
    best: list[TcpSock] = []
    best_score = 0
    daddr = addresses(key)[1]
    v4 = len(daddr) == 4
    ifindex = af_of(tcp, key).incoming_index(skb)
    for sk in listeners:
        part = sk.pinet6
        if part is None:
            if not v4:
                continue
            local = sk.rcv_saddr
            score = 2
        else:
            if v4 and part.only:
                continue
            local = sk.rcv_saddr if v4 else part.rcv_saddr
            score = 1
        if any(local):
            if local != daddr:
                continue
            score += 4
        if sk.bound_dev_if:
            if sk.bound_dev_if != ifindex:
                continue
            score += 8
        if score > best_score:
            best_score = score
            best = [sk]
        elif score == best_score:
            best.append(sk)
    if not best:
        return None
    if len(best) == 1 or not best[0].reuseport:
        return best[0]
    flow = int.from_bytes(key[: len(daddr)] + key[-4:-2], "big")
    chosen = best[flow * 2654435761 % 4294967296 % len(best)]
    return reuseport.choose(best, chosen, skb, skb.head[skb.data + 12] >> 4 << 2)


def segment(sk: TcpSock, skb: SkBuff, info: SegmentInfo, key: bytes) -> None:
    """A segment for a listener that belongs to no connection (RFC 9293 3.10.7.2)."""
    if sk.__class__ is filtered.FilteredTcpSock and not filtered.passes(sk, skb, info):
        return
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
    if listener.requests.count >= sk.tcp.max_syn_backlog:
        ext.TCPReqQFullDrop += 1
        ext.ListenDrops += 1
        kfree_skb(skb, "TCP_LISTEN_OVERFLOW")
        return
    assert info.options is not None
    request = RequestSock(sk, key, skb, info, info.options)
    sk.tcp.ehash[key] = request
    request.send_synack()
    listener.requests.add(request)


def request_segment(request: RequestSock, skb: SkBuff, info: SegmentInfo) -> TcpSock | None:
    """A segment for a half-open connection (tcp_check_req). The new connection, if the segment has more for it."""
    sk = request.listener
    if sk.__class__ is filtered.FilteredTcpSock and not filtered.passes(sk, skb, info):
        return None
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
    if request.retries < sk.defer_accept and not info.n and not flags & FIN and not distance:
        request.acked = True
        sk.inet.mibs.tcpext.TCPDeferAcceptDrop += 1
        kfree_skb(skb, "NOT_SPECIFIED")
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
    rt = request.route()
    if rt is None:
        kfree_skb(skb, "IP_OUTNOROUTES")
        return None
    child = create_child(request, info, rt)
    listener.requests.remove(request)
    sk.tcp.ehash[request.key] = child  # in its place
    listener.accept_queue.append(child)
    if sk.wait_queue is not None:
        sk.data_ready()
    return child if info.n or flags & 1 else None


def create_child(request: RequestSock, info: SegmentInfo, rt: Rtable) -> TcpSock:
    """The connection's own socket, with what it inherits from the listener (tcp_v4_syn_recv_sock,
    tcp_v6_syn_recv_sock).
    """
    parent = request.listener
    key = request.key
    sk = TcpSock(parent.net, parent.family, parent.type, parent.protocol, parent.prot, parent.creds)
    if parent.ext is not None:
        filtered.inherit(parent, sk)
    parent.af.adopt(parent, sk, request.saddr, request.daddr)
    sk.sport = parent.sport
    sk.dport = request.dport
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
    sk.bound_dev_if = request.oif
    sk.ip_options = request.ip_options
    if parent.__class__ is filtered.FilteredTcpSock:
        filtered.changed(sk)
    if parent.rare is not None or parent.rcv_extra is not None:
        inherit_rare(parent, sk, request.saved_syn)
    sk.bucket = parent.bucket
    if sk.bucket is not None:
        sk.bucket.owners[sk] = None
    tcp = parent.tcp
    now = tcp.kernel.now
    sk.ts_offset = request.ts_offset
    connect.setup_route(sk, rt)
    sk.snd_una = sk.snd_nxt = request.isn + 1
    sk.rcv_nxt = sk.rcv_wup = request.rcv_isn + 1
    sk.rcv_adv = sk.rcv_nxt + request.rcv_wnd
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
    for request in listener.requests.close():
        request.drop()
    sk.listener = None
    for child in listener.accept_queue:
        abort_child(child)
    listener.accept_queue.clear()



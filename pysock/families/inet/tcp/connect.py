"""The active opener: from connect() to ESTABLISHED (tcp_v4_connect, tcp_rcv_synsent_state_process; RFC 9293
3.10.7.3).
"""

from __future__ import annotations

import errno

from pysock.core.clock import NEVER
from pysock.core.errors import err
from pysock.core.netdev_features import NETIF_F_TSO
from pysock.core.skbuff import SkBuff, kfree_skb
from pysock.core.sock import SOCK_KEEPOPEN, Address
from pysock.core.sockopt_set import SOCK_SNDBUF_LOCKED
from pysock.families.inet.tcp import metrics, ports
from pysock.families.inet.tcp.ack import new_ack
from pysock.families.inet.tcp.af import addresses, longest_payload
from pysock.families.inet.tcp.end import done, reset
from pysock.families.inet.tcp.keepalive import start_keepalive
from pysock.families.inet.tcp.options import (
    M32,
    choose_wscale,
    pseudo_sum,
    syn_options,
    syn_segment,
    timestamp_now,
)
from pysock.families.inet.tcp.output import GSO_MAX, queue_segment, schedule_ack, send_ack, write_xmit
from pysock.families.inet.tcp.reset import send_reset_for
from pysock.families.inet.tcp.sock import INIT_CWND, MSS_DEFAULT, QUICKACKS, RTO_FALLBACK, SEG_SYN, TcpSock
from pysock.uapi.tcp import TCP_ESTABLISHED, TCP_SYN_RECV, TCP_SYN_SENT
from pysock.wire.tcp import ACK, RST, SYN
from pysock.wire.tcp_options import MAX_WSCALE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.netdevice import NetDevice
    from pysock.families.inet.route import Rtable
    from pysock.families.inet.tcp.input import SegmentInfo
    from pysock.wire.tcp_options import TcpOptions

NETIF_TSO_MSS_FLOOR = 88  # smallest MSS we believe (tcp_min_snd_mss)
MAX_TCP_HEADER = 320  # room for the headers of a segment, link layer included


def connect(sk: TcpSock, addr: Address) -> None:
    """tcp_v4_connect(), tcp_v6_connect(): route, choose the local end, send the SYN."""
    inet = sk.inet
    saddr, daddr, dport, rt = sk.af.start(sk, addr)
    ports.assign_connect(sk, saddr, daddr, dport)  # sets addresses and ports, and hashes
    sk.set_state(TCP_SYN_SENT)
    now = sk.kernel.now
    tcp = sk.tcp
    sk.ts_offset = tcp.isn.getrandbits(32)
    if not inet.fib.plain:  # a rule may look at our port (ip_route_newports)
        try:
            rt = sk.af.rebuild_route(sk)
        except OSError:
            done(sk)
            raise
    setup_route(sk, rt)
    isn = tcp.isn.getrandbits(32)
    sk.retrans_stamp = now
    sk.snd_una = isn
    sk.snd_nxt = isn + 1
    sk.rcv_wscale = max(choose_wscale(tcp, sk.rcvbuf, sk.window_clamp), 0)
    inet.mibs.tcp.ActiveOpens += 1
    queue_segment(sk, isn, isn + 1, SEG_SYN)
    sk.last_sent = now
    result = send_syn(sk)
    if result < 0 and result not in (-errno.ENOBUFS, -errno.EPERM):  # a full queue, a netfilter hook: it is sent again
        done(sk)
        raise err(-result)


def setup_route(sk: TcpSock, rt: Rtable) -> None:
    """Compute what route and addresses decide: the constant parts of the headers."""
    sk.af.use_route(sk, rt)
    if rt.metrics:
        metrics.use_route(sk, rt.metrics)
    key = sk.ehash_key
    daddr, saddr = addresses(key)
    sk.pseudo = pseudo_sum(saddr, daddr, 20)
    sk.ports = key[-2:] + key[-4:-2]


def offered_wscale(sk: TcpSock) -> int:
    """The shift that our SYN offers; -1: none."""
    return sk.rcv_wscale if sk.tcp.window_scaling else -1


def advertised_mss(sk: TcpSock) -> int:
    """The MSS to offer: what the route says or its device takes, within what IP can say (tcp_advertise_mss)."""
    mss = metrics.offered_mss(sk.af, sk.dst)
    return min(mss, sk.user_mss) if sk.user_mss else mss


def send_syn(sk: TcpSock) -> int:
    """Send (again) the SYN of a connection that is being opened."""
    tcp = sk.tcp
    now = sk.kernel.now
    ts_val = timestamp_now(now, sk.ts_offset) if tcp.timestamps else None
    mss = advertised_mss(sk)
    options = syn_options(mss, offered_wscale(sk), ts_val, 0, tcp.sack)
    window = metrics.syn_window(sk.win_space, sk.dst, mss)
    skb = syn_segment(sk.ports, sk.snd_una, 0, SYN, window, sk.pseudo, options)
    return _send(sk, skb)


def send_synack(sk: TcpSock) -> int:
    """Send (again) the SYN-ACK of a simultaneous open."""
    ts_val = timestamp_now(sk.kernel.now, sk.ts_offset) if sk.ts_ok else None
    wscale = sk.rcv_wscale if sk.rcv_wscale else -1
    mss = advertised_mss(sk)
    options = syn_options(mss, wscale, ts_val, sk.ts_recent, sk.sack_ok)
    window = metrics.syn_window(sk.win_space, sk.dst, mss)
    sk.rcv_adv = max(sk.rcv_adv, sk.rcv_nxt + window)
    skb = syn_segment(sk.ports, sk.snd_una, sk.rcv_nxt, SYN | ACK, window, sk.pseudo, options)
    return _send(sk, skb)


def _send(sk: TcpSock, skb: SkBuff) -> int:
    sk.inet.mibs.tcp.OutSegs += 1
    return sk.af.xmit_segment(sk, bytes(skb.head), 0, (), skb.csum_offset, 0)


def resend_syn(sk: TcpSock) -> int:
    """Our SYN was not acknowledged in time."""
    return send_syn(sk) if sk.state == TCP_SYN_SENT else send_synack(sk)


def negotiate(sk: TcpSock, options: TcpOptions, ours_ts: bool, our_wscale: int) -> None:
    """Settle what both SYNs offered."""
    stamps = options.timestamps
    if ours_ts and stamps is not None:
        sk.ts_ok = True
        sk.ts_recent = stamps[0]
    else:
        sk.ts_ok = False
    if options.wscale is not None and our_wscale >= 0:
        sk.snd_wscale = min(options.wscale, MAX_WSCALE)
        sk.rcv_wscale = our_wscale
    else:
        sk.snd_wscale = sk.rcv_wscale = 0
    sk.sack_ok = options.sack_permitted and sk.tcp.sack
    set_mss(sk, options.mss or MSS_DEFAULT)
    sk.set_rcvbuf_window()


def set_mss(sk: TcpSock, peer_mss: int) -> None:
    """The payload of a full segment: the peer's MSS and the route's MTU, less the timestamps (tcp_sync_mss)."""
    rt = sk.dst
    mss = min(longest_payload(sk.af, rt) - len(sk.ip_options), max(peer_mss, NETIF_TSO_MSS_FLOOR))
    if sk.user_mss:
        mss = min(mss, sk.user_mss)
    if sk.ts_ok:
        mss -= 12
    sk.mss = mss
    sk.size_goal = _size_goal(rt.dev, mss) if rt is not None and rt.dev.features & NETIF_F_TSO else mss
    # tcp_sndbuf_expand(): room for twice the initial window of full segments.
    if not sk.flags & SOCK_SNDBUF_LOCKED:
        wanted = 2 * INIT_CWND * (mss + 576)
        sk.sndbuf = min(max(sk.sndbuf, wanted), sk.tcp.wmem[2])


def _size_goal(dev: NetDevice, mss: int) -> int:
    """The payload of a super-segment (tcp_xmit_size_goal): whole segments, unless the device takes all we ever send."""
    room = dev.gso_max_size - MAX_TCP_HEADER
    return max(GSO_MAX if room >= GSO_MAX else room // mss * mss, mss)


def established(sk: TcpSock) -> None:
    """Both ends agree (tcp_finish_connect, tcp_init_transfer)."""
    sk.set_state(TCP_ESTABLISHED)
    sk.rtx_queue = None  # an idle connection keeps no empty deque (760 bytes)
    sk.cong.init(sk)
    sk.quick = QUICKACKS
    sk.pingpong = False
    sk.last_rcv = sk.kernel.now
    if not sk.srtt:
        sk.rto = RTO_FALLBACK  # the handshake gave no sample: RFC 6298 5.7
    if sk.dst is not None and sk.dst.metrics:
        metrics.established(sk, sk.dst.metrics)
    sk.copied_off = 0
    sk.rcvq_seq = sk.rcv_start = sk.rcv_nxt
    sk.snd_start = sk.snd_una
    sk.rcvq_space = sk.win_space
    if sk.flags & SOCK_KEEPOPEN:
        start_keepalive(sk)


def syn_sent(sk: TcpSock, skb: SkBuff, info: SegmentInfo) -> bool:
    """A segment arrived in SYN-SENT. True: it opened the connection, and ``info``, without the SYN, carries data."""
    flags = info.flags
    if flags & ACK and (info.ack - sk.snd_una) & M32 != 1:
        if not flags & RST:
            send_reset_for(sk.tcp, skb, info, sk.ehash_key)
        kfree_skb(skb, "TCP_INVALID_ACK_SEQUENCE")
        return False
    if flags & RST:
        if flags & ACK:
            reset(sk)
        kfree_skb(skb, "TCP_RESET")
        return False
    if not flags & SYN:
        kfree_skb(skb, "TCP_FLAGS")
        return False
    options = info.options
    assert options is not None
    sk.rcv_nxt = sk.rcv_wup = sk.rcv_adv = info.seq + 1
    negotiate(sk, options, sk.tcp.timestamps, offered_wscale(sk))
    sk.snd_wl1 = info.seq
    sk.snd_wnd = sk.max_window = info.raw_window  # not scaled in a SYN
    if flags & ACK:
        new_ack(sk, sk.snd_una + 1)
        sk.rto_at = NEVER
        sk.cwnd = INIT_CWND
        established(sk)
        if sk.unsent_bytes or sk.defer_accept or sk.pingpong:
            schedule_ack(sk)  # the ACK rides on the data
            write_xmit(sk)
        else:
            send_ack(sk)
        if sk.wait_queue is not None:
            sk.state_change()
        info.flags &= ~SYN
        info.seq = (info.seq + 1) & M32
        return info.n > 0
    # Simultaneous open (RFC 9293 3.5): both sent a SYN.
    sk.set_state(TCP_SYN_RECV)
    send_synack(sk)
    return False


def syn_acked(sk: TcpSock, skb: SkBuff, info: SegmentInfo) -> bool:
    """A segment for a simultaneous open in SYN-RECEIVED: True when it acknowledges our SYN and completes it.

    RFC 9293 3.10.7.4, fifth check; the peer's SYN-ACK counts, its SYN is taken off (tcp_validate_incoming).
    """
    flags = info.flags
    if (info.ack - sk.snd_una) & M32 != 1:
        send_reset_for(sk.tcp, skb, info, sk.ehash_key)
        return False
    new_ack(sk, sk.snd_una + 1)
    sk.rto_at = NEVER
    sk.cwnd = INIT_CWND
    sk.snd_wl1 = info.seq
    sk.snd_wnd = sk.max_window = info.raw_window << (0 if flags & SYN else sk.snd_wscale)
    if flags & SYN:
        info.flags &= ~SYN
        info.seq = (info.seq + 1) & M32
    established(sk)
    sk.state_change()
    return True



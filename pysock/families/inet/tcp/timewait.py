"""TIME-WAIT (RFC 9293 3.6.1) and the orphan's FIN-WAIT-2, in a socket that keeps only what it must (tcp_minisocks.c).

Those in TIME-WAIT last 60 s: they stand in one queue in the order of their end, with one timer. An orphan's
FIN-WAIT-2 lasts tcp_fin_timeout or TCP_LINGER2; when that is not 60 s, it has a timer of its own.
"""

from __future__ import annotations

from collections import OrderedDict

from pysock.core.clock import NSEC_PER_SEC
from pysock.core.skbuff import SkBuff, kfree_skb
from pysock.core.timer import Timer
from pysock.families.inet.tcp.options import M32, timestamp_now
from pysock.families.inet.tcp.reset import send_bare, send_reset_for
from pysock.families.inet.tcp.sock import nothing
from pysock.uapi.tcp import TCP_FIN_WAIT2, TCP_TIME_WAIT
from pysock.wire.tcp import ACK, FIN, RST, SYN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from pysock.families.inet.tcp.input import SegmentInfo
    from pysock.families.inet.tcp.net import TcpNet
    from pysock.families.inet.tcp.sock import TcpSock

TIMEWAIT_LEN = 60 * NSEC_PER_SEC


class TimeWaitSock:
    """inet_timewait_sock: numbers are as in `TcpSock`; ``since`` is when it came here (ns)."""

    __slots__ = (
        "expires",
        "key",
        "oif",
        "rcv_nxt",
        "rcv_wnd",
        "reuse",
        "since",
        "snd_nxt",
        "sport",
        "state",
        "tcp",
        "timer",
        "ts_offset",
        "ts_ok",
        "ts_recent",
        "ts_stamp",
    )

    def __init__(self, sk: TcpSock, state: int) -> None:
        self.tcp = sk.tcp
        self.key = sk.ehash_key
        self.oif = sk.bound_dev_if
        self.sport = sk.sport
        self.state = state
        self.snd_nxt = sk.snd_nxt
        self.rcv_nxt = sk.rcv_nxt
        self.rcv_wnd = sk.win_full
        self.ts_ok = sk.ts_ok
        self.ts_recent = sk.ts_recent
        self.ts_offset = sk.ts_offset
        self.reuse = sk.reuse
        self.since = self.ts_stamp = sk.kernel.now
        self.expires = self.since
        self.timer: Timer | None = None

    def send_ack(self) -> None:
        """The last ACK again (tcp_v4_timewait_ack)."""
        stamps = None
        if self.ts_ok:
            stamps = (timestamp_now(self.tcp.kernel.now, self.ts_offset), self.ts_recent)
        send_bare(self.tcp, self.key, self.snd_nxt, self.rcv_nxt, ACK, self.rcv_wnd, stamps, self.oif)

    def segment(self, skb: SkBuff, info: SegmentInfo) -> bool:
        """A segment for the old connection (tcp_timewait_state_process). True: a SYN that may start a new one; it is
        the caller's then.
        """
        ts_val = info.ts_val if self.ts_ok else None
        flags = info.flags
        old_ts = ts_val is not None and (ts_val - self.ts_recent) & 0x80000000 != 0 and not flags & RST
        distance = (info.seq - self.rcv_nxt) & M32
        if distance >= 0x80000000:
            distance -= 1 << 32
        if self.state == TCP_FIN_WAIT2:
            self._fin_wait2(skb, info, distance, old_ts)
            return False
        length = info.n + bool(flags & SYN) + bool(flags & FIN)
        timewait = self.tcp.timewait
        if not old_ts and distance == 0 and (flags & RST or not length):
            if flags & RST:
                timewait.remove(self)  # RFC 1337's hazards are accepted, as Linux does by default
            else:
                timewait.restart(self, TIMEWAIT_LEN)
                if ts_val is not None:
                    self.ts_recent = ts_val
            kfree_skb(skb, "TCP_TIMEWAIT")
            return False
        newer = ts_val is not None and ts_val != self.ts_recent and not old_ts
        if flags & SYN and not flags & (RST | ACK) and not old_ts and (distance > 0 or newer):
            return True
        if old_ts:
            self.tcp.inet.mibs.tcpext.PAWSTimewait += 1
        if not flags & RST:
            if old_ts or flags & ACK:
                timewait.restart(self, TIMEWAIT_LEN)
            self.send_ack()
        kfree_skb(skb, "TCP_TIMEWAIT")
        return False

    def _fin_wait2(self, skb: SkBuff, info: SegmentInfo, distance: int, old_ts: bool) -> None:
        """The orphan waits for the peer's FIN; anything else that is new is a reset."""
        flags = info.flags
        length = info.n + bool(flags & SYN) + bool(flags & FIN)
        timewait = self.tcp.timewait
        if old_ts or distance + length < 0 or distance > max(self.rcv_wnd, 0):
            if not flags & RST:
                self.send_ack()
        elif flags & RST:
            timewait.remove(self)
        elif flags & SYN and distance >= 0:
            send_reset_for(self.tcp, skb, info, self.key)
            timewait.remove(self)
        elif not flags & ACK or distance + length <= 0 or not length:
            pass  # an old duplicate
        elif not flags & FIN or distance + length != 1:
            send_reset_for(self.tcp, skb, info, self.key)  # data that nobody will read
            timewait.remove(self)
        else:
            self.state = TCP_TIME_WAIT
            self.rcv_nxt += 1
            if info.ts_val is not None:
                self.ts_recent = info.ts_val
            timewait.restart(self, TIMEWAIT_LEN)
            self.send_ack()
        kfree_skb(skb, "TCP_TIMEWAIT")

    def expire(self) -> None:
        """The time is over (tw_timer_handler)."""
        self.tcp.inet.mibs.tcpext.TW += 1
        self.tcp.timewait.remove(self)


class TimeWaitQueue:
    """All TIME-WAIT sockets of a namespace, oldest first."""

    __slots__ = ("_by_port", "_queue", "_tcp", "_timer", "count")

    def __init__(self, tcp: TcpNet) -> None:
        self._tcp = tcp
        self._queue: OrderedDict[TimeWaitSock, None] = OrderedDict()
        self._by_port: dict[int, dict[TimeWaitSock, None]] = {}
        self._timer = Timer(self._expire)
        self.count = 0

    def on_port(self, port: int) -> Iterable[TimeWaitSock]:
        """Those whose local port is ``port``."""
        return self._by_port.get(port, ())

    def __len__(self) -> int:
        return self.count

    def add(self, tw: TimeWaitSock, timeout: int) -> bool:
        """Take ``tw`` in for ``timeout`` ns; False when there are tcp_max_tw_buckets of them already."""
        tcp = self._tcp
        if self.count >= tcp.max_tw_buckets:
            tcp.inet.mibs.tcpext.TCPTimeWaitOverflow += 1
            return False
        self.count += 1
        self._by_port.setdefault(tw.sport, {})[tw] = None
        tcp.ehash[tw.key] = tw
        self.restart(tw, timeout)
        return True

    def restart(self, tw: TimeWaitSock, timeout: int) -> None:
        """Let ``tw`` live ``timeout`` ns from now on (inet_twsk_reschedule)."""
        timers = self._tcp.kernel.timers
        tw.expires = self._tcp.kernel.now + timeout
        if timeout == TIMEWAIT_LEN:
            if tw.timer is not None:
                self._stop_own_timer(tw)
            self._queue[tw] = None
            self._queue.move_to_end(tw)
            if tw.expires < self._timer.expires:
                timers.mod_timer(self._timer, tw.expires)
            return
        self._queue.pop(tw, None)
        if tw.timer is None:
            tw.timer = Timer(tw.expire)
        timers.mod_timer(tw.timer, tw.expires)

    def _stop_own_timer(self, tw: TimeWaitSock) -> None:
        timer = tw.timer
        if timer is not None:
            self._tcp.kernel.timers.del_timer(timer)
            timer.function = nothing  # no cycle, and the heap keeps nothing alive
            tw.timer = None

    def remove(self, tw: TimeWaitSock) -> None:
        """The pair of ports is free again."""
        on_port = self._by_port.get(tw.sport)
        if on_port is None or tw not in on_port:
            return
        del on_port[tw]
        if not on_port:
            del self._by_port[tw.sport]
        self.count -= 1
        self._queue.pop(tw, None)
        self._stop_own_timer(tw)
        if self._tcp.ehash.get(tw.key) is tw:
            del self._tcp.ehash[tw.key]

    def _expire(self) -> None:
        tcp = self._tcp
        now = tcp.kernel.now
        while self._queue:
            tw = next(iter(self._queue))
            if tw.expires > now:
                tcp.kernel.timers.mod_timer(self._timer, tw.expires)
                return
            tw.expire()


def fin_time(sk: TcpSock) -> int:
    """How long an orphan may stay in FIN-WAIT-2, ns (tcp_fin_time)."""
    return max(sk.linger2 or sk.tcp.fin_timeout, (sk.rto << 2) - (sk.rto >> 1))

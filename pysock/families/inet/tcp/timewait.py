"""TIME-WAIT (RFC 9293 3.6.1) and the orphan's FIN-WAIT-2, in a socket that keeps only what it must (tcp_minisocks.c).

They all last 60 s, so they stand in one queue in the order of their end, with one timer.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from pysock.core.clock import NSEC_PER_SEC
from pysock.core.skbuff import SkBuff, kfree_skb
from pysock.core.timer import Timer
from pysock.families.inet.tcp.options import M32, timestamp_now
from pysock.families.inet.tcp.reset import send_bare, send_reset_for
from pysock.uapi.tcp import TCP_FIN_WAIT2, TCP_TIME_WAIT
from pysock.wire.tcp import ACK, FIN, RST, SYN

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
        "rcv_nxt",
        "rcv_wnd",
        "reuse",
        "since",
        "snd_nxt",
        "sport",
        "state",
        "tcp",
        "ts_offset",
        "ts_ok",
        "ts_recent",
        "ts_stamp",
    )

    def __init__(self, sk: TcpSock, state: int) -> None:
        self.tcp = sk.tcp
        self.key = sk.ehash_key
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

    def _ack(self) -> None:
        stamps = None
        if self.ts_ok:
            stamps = (timestamp_now(self.tcp.kernel.now, self.ts_offset), self.ts_recent)
        send_bare(self.tcp, self.key, self.snd_nxt, self.rcv_nxt, ACK, self.rcv_wnd, stamps)

    def segment(self, skb: SkBuff, info: SegmentInfo) -> bool:
        """A segment for the old connection (tcp_timewait_state_process). True: it is a SYN that may start a new one."""
        ts_val = info.ts_val
        newer_ts = self.ts_ok and ts_val is not None and (ts_val - self.ts_recent) & M32 < 0x80000000
        distance = (info.seq - self.rcv_nxt) & M32
        flags = info.flags
        if flags & RST:
            if distance == 0:
                self.tcp.timewait.remove(self)  # RFC 1337 hazards accepted, as Linux does by default
            kfree_skb(skb, "TCP_RESET")
            return False
        if flags & SYN and not flags & ACK:
            fresh = 0 < distance < 0x80000000 or (newer_ts and ts_val != self.ts_recent)
            if self.state == TCP_TIME_WAIT and fresh:
                self.tcp.timewait.remove(self)
                return True
            self._ack()
            kfree_skb(skb, "TCP_FLAGS")
            return False
        if self.state == TCP_FIN_WAIT2:
            end = info.n + bool(flags & FIN)
            if info.n and distance + info.n > 0 and distance < 0x80000000:
                # Data that nobody will read.
                send_reset_for(self.tcp, skb, info, self.key)
                self.tcp.timewait.remove(self)
                kfree_skb(skb, "TCP_CLOSE")
                return False
            if flags & FIN and distance == 0:
                self.rcv_nxt += end
                if ts_val is not None:
                    self.ts_recent = ts_val
                self.state = TCP_TIME_WAIT
                self.tcp.timewait.restart(self)
                self._ack()
            kfree_skb(skb, "NOT_SPECIFIED")
            return False
        if flags & FIN:
            self.tcp.timewait.restart(self)
        if info.n or flags & FIN or distance:
            self._ack()
        kfree_skb(skb, "NOT_SPECIFIED")
        return False


class TimeWaitQueue:
    """All TIME-WAIT sockets of a namespace, oldest first."""

    __slots__ = ("_by_port", "_queue", "_tcp", "_timer")

    def __init__(self, tcp: TcpNet) -> None:
        self._tcp = tcp
        self._queue: OrderedDict[TimeWaitSock, None] = OrderedDict()
        self._by_port: dict[int, dict[TimeWaitSock, None]] = {}
        self._timer = Timer(self._expire)

    def on_port(self, port: int) -> Iterable[TimeWaitSock]:
        """Those whose local port is ``port``."""
        return self._by_port.get(port, ())

    def __len__(self) -> int:
        return len(self._queue)

    def add(self, tw: TimeWaitSock) -> bool:
        """Take ``tw`` in; False when there are tcp_max_tw_buckets of them already."""
        tcp = self._tcp
        if len(self._queue) >= tcp.max_tw_buckets:
            tcp.inet.mibs.tcpext.TCPTimeWaitOverflow += 1
            return False
        tw.expires = tcp.kernel.now + TIMEWAIT_LEN
        self._queue[tw] = None
        self._by_port.setdefault(tw.sport, {})[tw] = None
        tcp.ehash[tw.key] = tw
        timer = self._timer
        if tw.expires < timer.expires:
            tcp.kernel.timers.mod_timer(timer, tw.expires)
        return True

    def restart(self, tw: TimeWaitSock) -> None:
        """Begin the 60 s anew."""
        tw.expires = self._tcp.kernel.now + TIMEWAIT_LEN
        if tw in self._queue:
            self._queue.move_to_end(tw)

    def remove(self, tw: TimeWaitSock) -> None:
        """The pair of ports is free again."""
        self._queue.pop(tw, None)
        on_port = self._by_port.get(tw.sport)
        if on_port is not None:
            on_port.pop(tw, None)
            if not on_port:
                del self._by_port[tw.sport]
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
            tcp.inet.mibs.tcpext.TW += 1
            self.remove(tw)


def enter_time_wait(sk: TcpSock, state: int) -> None:
    """tcp_time_wait(): the connection's place is taken by a small socket; the big one is done."""
    from pysock.families.inet.tcp.proto import done

    tw = TimeWaitSock(sk, state)
    done(sk)
    sk.tcp.timewait.add(tw)

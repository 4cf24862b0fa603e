"""Fragments in: putting datagrams together again (RFC 791 3.2, RFC 815; net/ipv4/ip_fragment.c, inet_fragment.c).

Fragments of one datagram share source, destination, protocol and identification, and wait in a `FragQueue` until all
of them are there, or 30 s are over (ipfrag_time): then the sender hears of it, if the first one came (RFC 792).

Rules, against those who send fragments to do harm:

* One that overlaps others ends the queue (RFC 5722 for IPv6; Linux does so for both): only an exact repetition is
  forgiven.
* One that contradicts the known end of the datagram ends the queue, as an empty one does.
* All queues of a namespace together hold at most ipfrag_high_thresh bytes; when they do, new fragments are dropped.
* A source whose other fragments went by ipfrag_max_dist times since a queue's last one starts that queue anew: the
  identification has probably wrapped.

`FragQueue` knows no IPv4 beyond its names and can serve IPv6: `insert` and `pieces`.
"""

from __future__ import annotations

from bisect import bisect_right

from pysock.core.clock import NSEC_PER_SEC
from pysock.core.skb_data import pskb_trim, skb_copy_bits
from pysock.core.skbuff import CHECKSUM_NONE, SkBuff, consume_skb, kfree_skb, skb_truesize
from pysock.core.timer import Timer
from pysock.families.inet import icmp
from pysock.wire.checksum import checksum
from pysock.wire.icmp import EXC_FRAGTIME
from pysock.wire.ipv4 import DF, MAX_LENGTH, MF, OFFSET_MASK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from pysock.families.inet.net import InetNet

# What FragQueue.insert answers
FRAG_OK: Final = 0
FRAG_DUP: Final = 1  # all of it is there already
FRAG_OVERLAP: Final = 2  # part of it is
FRAG_BAD: Final = 3  # it contradicts the others

#: What Linux charges for a struct ipq.
_QUEUE_SIZE: Final = 192
_PEER_LIMIT: Final = 1024
#: What becomes of the ECN marks of a datagram's fragments (RFC 3168 5.3): those seen, as bits 1 << mark, to the mark.
_CE: Final = 3
_NOT_ECT: Final = 0


class FragQueue:
    """The fragments of one datagram. ``size`` is the payload's length as far as it is known, ``meat`` how much of it is
    there, ``memory`` what the fragments cost.
    """

    __slots__ = ("_ends", "_skbs", "_starts", "first_in", "last_in", "meat", "memory", "size")

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._skbs: list[SkBuff] = []
        self.first_in = self.last_in = False
        self.size = self.meat = self.memory = 0

    def insert(self, skb: SkBuff, start: int, end: int, more: bool) -> int:
        """Add bytes ``start`` to ``end`` of the payload, which are ``skb``'s data: FRAG_OK, and the queue has the
        reference, or another FRAG_*.
        """
        if not more:
            if end < self.size or (self.last_in and end != self.size):
                return FRAG_BAD
            self.last_in = True
            self.size = end
        elif end > self.size:
            if self.last_in:
                return FRAG_BAD
            self.size = end
        if end <= start:
            return FRAG_BAD
        at = bisect_right(self._starts, start)
        starts, ends = self._starts, self._ends
        if (at and ends[at - 1] > start) or (at < len(starts) and starts[at] < end):
            return FRAG_DUP if self._covered(at - 1, start, end) else FRAG_OVERLAP
        starts.insert(at, start)
        ends.insert(at, end)
        self._skbs.insert(at, skb)
        self.meat += end - start
        self.memory += skb_truesize(skb)
        if start == 0:
            self.first_in = True
        return FRAG_OK

    def _covered(self, at: int, start: int, end: int) -> bool:
        """Whether the fragments from ``at`` on have all of ``start`` to ``end``."""
        if at < 0 or self._starts[at] > start:
            return False
        have = self._ends[at]
        while have < end:
            at += 1
            if at == len(self._starts) or self._starts[at] != have:
                return False
            have = self._ends[at]
        return True

    @property
    def complete(self) -> bool:
        """Whether nothing is missing."""
        return self.first_in and self.last_in and self.meat == self.size

    def first(self) -> SkBuff | None:
        """The fragment that starts the datagram, if it is there."""
        return self._skbs[0] if self.first_in else None

    def pieces(self) -> tuple[bytes | memoryview, ...]:
        """The payload, in order, by reference."""
        found: list[bytes | memoryview] = []
        for skb in self._skbs:
            if skb.data_len == skb.len and (skb.ext is None or not skb.ext.frag_list):
                found.extend(skb.frags)
            else:
                found.append(skb_copy_bits(skb, 0, skb.len))
        return tuple(found)

    def clear(self, reason: str | None = None) -> None:
        """Free the fragments: dropped for ``reason``, or (None) they did their job."""
        for skb in self._skbs:
            if reason is None:
                consume_skb(skb)
            else:
                kfree_skb(skb, reason)
        self._starts, self._ends, self._skbs = [], [], []
        self.first_in = self.last_in = False
        self.size = self.meat = self.memory = 0


class Ipq:
    """One datagram being put together (struct ipq)."""

    __slots__ = ("ecn", "frags", "key", "max_df_size", "max_size", "rid", "timer")

    def __init__(self, key: bytes, timer: Timer) -> None:
        self.key = key
        self.frags = FragQueue()
        self.timer = timer
        self.ecn = 0  # the marks seen, 1 << mark each
        self.rid = 0
        self.max_size = self.max_df_size = 0


class IpReasm:
    """A namespace's queues, by the bytes of source, destination, identification and protocol (struct fqdir)."""

    __slots__ = ("high_thresh", "inet", "max_dist", "memory", "peers", "queues", "timeout")

    def __init__(self, inet: InetNet) -> None:
        self.inet = inet
        self.queues: dict[bytes, Ipq] = {}
        self.memory = 0
        #: source -> how many of its fragments we have seen
        self.peers: dict[bytes, int] = {}
        self.high_thresh = 4 << 20
        self.timeout = 30
        self.max_dist = 64
        inet.net.sysctl.register_lazy("net.ipv4", self._register_sysctls)

    def _register_sysctls(self) -> None:
        sysctl = self.inet.net.sysctl
        sysctl.register_int("net.ipv4.ipfrag_high_thresh", self.high_thresh, 0, on_change=self._setter("high_thresh"))
        sysctl.register_int("net.ipv4.ipfrag_low_thresh", 3 << 20, 0)  # Linux keeps it and uses it no more, too
        sysctl.register_int("net.ipv4.ipfrag_time", self.timeout, 1, on_change=self._setter("timeout"))
        sysctl.register_int("net.ipv4.ipfrag_max_dist", self.max_dist, 0, on_change=self._setter("max_dist"))

    def _setter(self, name: str) -> Callable[[int], None]:
        return lambda value: setattr(self, name, value)

    def defrag(self, skb: SkBuff) -> SkBuff | None:
        """Take a fragment, its data at the IP header, which is whole and linear (ip_defrag): the datagram if it was the
        last one missing, its data at the IP header too, else None. Takes the reference.
        """
        mibs = self.inet.mibs.ip
        mibs.ReasmReqds += 1
        head = skb.head
        at = skb.data
        saddr = bytes(head[at + 12 : at + 16])
        key = bytes(head[at + 12 : at + 20]) + bytes(head[at + 4 : at + 6]) + bytes(head[at + 9 : at + 10])
        queue = self.queues.get(key)
        if queue is None:
            if not self.high_thresh or self.memory > self.high_thresh:
                mibs.ReasmFails += 1
                kfree_skb(skb, "FRAG_REASM_TIMEOUT")
                return None
            queue = self._new_queue(key)
        self._count_peer(queue, saddr)
        outcome = self._insert(queue, skb, head[at], head[at + 1], head[at + 6] << 8 | head[at + 7])
        if outcome == FRAG_DUP:
            kfree_skb(skb, "DUP_FRAG")
            return None
        if outcome:
            if outcome == FRAG_OVERLAP:
                self.inet.mibs.ipext.ReasmOverlaps += 1
            mibs.ReasmFails += 1
            self._kill(queue, "INVALID_PROTO")
            kfree_skb(skb, "INVALID_PROTO")
            return None
        return self._join(queue) if queue.frags.complete else None

    def _new_queue(self, key: bytes) -> Ipq:
        timer = Timer(lambda: self._expire(queue))
        queue = self.queues[key] = Ipq(key, timer)
        self.memory += _QUEUE_SIZE
        kernel = self.inet.kernel
        kernel.timers.mod_timer(timer, kernel.now + self.timeout * NSEC_PER_SEC)
        return queue

    def _count_peer(self, queue: Ipq, saddr: bytes) -> None:
        """ip_frag_too_far(), ip_frag_reinit()."""
        if not self.max_dist:
            return
        if len(self.peers) >= _PEER_LIMIT:
            self.peers.clear()
        rid = self.peers[saddr] = self.peers.get(saddr, 0) + 1
        if queue.frags.meat and rid - queue.rid > self.max_dist:
            self.inet.mibs.ip.ReasmFails += 1
            self.memory -= queue.frags.memory
            queue.frags.clear("FRAG_TOO_FAR")
            queue.ecn = queue.max_size = queue.max_df_size = 0
            kernel = self.inet.kernel
            kernel.timers.mod_timer(queue.timer, kernel.now + self.timeout * NSEC_PER_SEC)
        queue.rid = rid

    def _insert(self, queue: Ipq, skb: SkBuff, first: int, tos: int, word: int) -> int:
        """ip_frag_queue(): FRAG_*."""
        size = (first & 15) * 4
        start = (word & OFFSET_MASK) << 3
        n = skb.len - size
        if word & MF:
            n &= ~7
        frags = queue.frags
        before = frags.memory
        skb.data += size  # the IP header stays readable before it
        skb.len -= size
        if n < skb.len:
            pskb_trim(skb, n)
        outcome = frags.insert(skb, start, start + n, bool(word & MF))
        if outcome == FRAG_OK:
            self.memory += frags.memory - before
            queue.ecn |= 1 << (tos & 3)
            queue.max_size = max(queue.max_size, n + size)
            if word & DF:
                queue.max_df_size = max(queue.max_df_size, n + size)
        return outcome

    def _join(self, queue: Ipq) -> SkBuff | None:
        """ip_frag_reasm()."""
        mibs = self.inet.mibs.ip
        first = queue.frags.first()
        assert first is not None
        at = first.network_header
        header = bytearray(first.head[at : first.data])
        total = len(header) + queue.frags.size
        mark = join_ecn(queue.ecn)
        if total > MAX_LENGTH or mark is None:
            mibs.ReasmFails += 1
            self._kill(queue, "PKT_TOO_BIG")
            return None
        header[1] |= mark
        header[2:4] = total.to_bytes(2, "big")
        header[6:8] = (DF if queue.max_df_size == queue.max_size else 0).to_bytes(2, "big")
        header[10:12] = b"\0\0"
        header[10:12] = checksum(header).to_bytes(2, "big")
        whole = SkBuff(bytes(header), 0, total, queue.frags.size, queue.frags.pieces())
        whole.network_header = 0
        whole.dev = first.dev
        whole.protocol = first.protocol
        whole.dst = first.dst
        whole.ip_summed = CHECKSUM_NONE
        if first.ext is not None:
            whole.pkt_type, whole.tstamp, whole.mark = first.pkt_type, first.tstamp, first.mark
        mibs.ReasmOKs += 1
        self._kill(queue, None)
        return whole

    def _kill(self, queue: Ipq, reason: str | None) -> None:
        self.inet.kernel.timers.del_timer(queue.timer)
        self.memory -= queue.frags.memory + _QUEUE_SIZE
        queue.frags.clear(reason)
        self.queues.pop(queue.key, None)

    def _expire(self, queue: Ipq) -> None:
        """ip_expire(): the sender hears of it if there is something to quote."""
        mibs = self.inet.mibs.ip
        mibs.ReasmFails += 1
        mibs.ReasmTimeout += 1
        first = queue.frags.first()
        if first is not None and first.dev is not None and first.dev.running:
            icmp.send(self.inet, first, icmp.TIME_EXCEEDED, EXC_FRAGTIME, 0)
        self._kill(queue, "FRAG_REASM_TIMEOUT")


def join_ecn(seen: int) -> int | None:
    """The ECN mark of a datagram whose fragments had the marks ``seen`` (1 << mark each), None for a mixture that must
    be dropped (ip_frag_ecn_table, RFC 3168 5.3).
    """
    if seen & 1 << _CE:
        return None if seen & 1 << _NOT_ECT else _CE
    if seen & 1 << _NOT_ECT and seen != 1 << _NOT_ECT:
        return None
    return 0  # what the first fragment carries


def reasm_of(inet: InetNet) -> IpReasm:
    """The reassembly of a namespace."""
    state = inet.state["reasm"]
    assert isinstance(state, IpReasm)
    return state


def setup(inet: InetNet) -> None:
    """Give a namespace its reassembly."""
    inet.state["reasm"] = IpReasm(inet)

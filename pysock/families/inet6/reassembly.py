"""Fragments as they arrive, put together (RFC 8200 4.5, RFC 5722; net/ipv6/reassembly.c, inet_fragment.c).

A `FragQueue` collects the fragments of one packet, known by identification, addresses and, for link-local and group
addresses, device. An exact repetition is ignored; any other overlap kills the whole queue. After net.ipv6.ip6frag_time
(60 s) a queue is given up, and the sender told if its first fragment had come. All queues together hold no more than
net.ipv6.ip6frag_high_thresh bytes: above that new packets are not begun.
"""

from __future__ import annotations

from functools import partial

from pysock.core.clock import NSEC_PER_SEC
from pysock.core.skb_data import pskb_may_pull, skb_copy_bits
from pysock.core.skbuff import SKB_OVERHEAD, SkBuff, consume_skb, kfree_skb, skb_release_data
from pysock.core.timer import Timer
from pysock.families.inet6 import icmp6
from pysock.families.inet6.addr import needs_scope
from pysock.families.inet6.ip6_cb import Ip6Cb, need_cb
from pysock.uapi.in_ import IPPROTO_ICMPV6, IPPROTO_TCP, IPPROTO_UDP
from pysock.wire.icmpv6 import PARAMPROB, TIME_EXCEED
from pysock.wire.ipv6 import FRAGMENT, FRAGMENT_SIZE, skip_extensions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, TypeAlias

    from pysock.families.inet6.net import Inet6Net

    Key: TypeAlias = tuple[int, bytes, bytes, int]

_HDR_FIELD: Final = 0
_HDR_INCOMPLETE: Final = 3
_EXC_FRAGTIME: Final = 1
_HEADER: Final = 40
_MAX: Final = 0xFFFF
#: What the first fragment must have of a transport header that we know.
_LEAST: Final = {IPPROTO_TCP: 20, IPPROTO_UDP: 8, IPPROTO_ICMPV6: 8}


class FragQueue:
    """The fragments of one packet. ``pieces`` are (offset, end, bytes), in order; ``end`` is where the packet ends, as
    far as it is known, for certain if ``complete``. ``first`` is the packet that began at 0.
    """

    __slots__ = ("complete", "end", "first", "have", "max_size", "nhoff", "pieces", "timer", "vouched")

    def __init__(self) -> None:
        self.pieces: list[tuple[int, int, bytes]] = []
        self.end = self.have = self.max_size = self.nhoff = 0
        self.complete = False
        self.vouched = True
        self.first: SkBuff | None = None
        self.timer: Timer | None = None

    def insert(self, start: int, end: int, data: bytes) -> str:
        """"ok", "dup" for what is there already, "overlap"."""
        pieces = self.pieces
        at = len(pieces)
        while at and pieces[at - 1][0] >= end:
            at -= 1
        if at and pieces[at - 1][1] > start:
            other = pieces[at - 1]
            return "dup" if other[0] <= start and end <= other[1] else "overlap"
        pieces.insert(at, (start, end, data))
        self.have += end - start
        return "ok"


class FragNet:
    """All queues of one namespace; ``memory`` is what they hold, in bytes as sockets are charged."""

    __slots__ = ("high_thresh", "inet6", "memory", "queues", "timeout")

    def __init__(self, inet6: Inet6Net) -> None:
        self.inet6 = inet6
        self.queues: dict[Key, FragQueue] = {}
        self.memory = 0
        self.high_thresh = 4 << 20
        self.timeout = 60
        inet6.net.sysctl.register_lazy("net.ipv6", self._register_sysctls)

    def _register_sysctls(self) -> None:
        sysctl = self.inet6.net.sysctl
        sysctl.register_int("net.ipv6.ip6frag_high_thresh", self.high_thresh, 0, on_change=self._set_high)
        sysctl.register_int("net.ipv6.ip6frag_time", self.timeout, 0, on_change=self._set_timeout)

    def _set_high(self, value: int) -> None:
        self.high_thresh = value

    def _set_timeout(self, value: int) -> None:
        self.timeout = value


def setup(inet6: Inet6Net) -> None:
    """Give a namespace its queues."""
    inet6.state["frag"] = FragNet(inet6)


def frags_of(inet6: Inet6Net) -> FragNet:
    """The fragments that wait in a namespace."""
    state = inet6.state["frag"]
    assert isinstance(state, FragNet)
    return state


def rcv(inet6: Inet6Net, skb: SkBuff, nhoff: int) -> tuple[int, int] | None:
    """The handler of a fragment header (ipv6_frag_rcv): None while the packet is not complete; when it is, ``skb`` has
    become all of it and goes on.
    """
    mibs = inet6.mibs.ip6
    network = skb.network_header
    cb = need_cb(skb)
    if not cb.fragmented:
        mibs.ReasmReqds += 1
    if cb.fragmented or not any(skb.head[network + 4 : network + 6]) or not pskb_may_pull(skb, FRAGMENT_SIZE):
        _refuse(inet6, skb, _HDR_FIELD, skb.data - network)
        return None
    at = skb.data
    nexthdr, _, word, ident = FRAGMENT.unpack_from(skb.head, at)
    if not word & 0xFFF9:  # all of the packet is in this one (RFC 6946)
        skb.data = skb.transport_header = at + FRAGMENT_SIZE
        skb.len -= FRAGMENT_SIZE
        cb.fragmented = True
        mibs.ReasmOKs += 1
        return nexthdr, at - network
    offset = word & 0xFFF8
    size = skb.len - FRAGMENT_SIZE
    if not offset and _truncated(skb, nexthdr, size):
        _refuse(inet6, skb, _HDR_INCOMPLETE, 0)
        return None
    if offset + size > _MAX:
        _refuse(inet6, skb, _HDR_FIELD, at + 2 - network)
        return None
    if word & 1 and size & 7:
        _refuse(inet6, skb, _HDR_FIELD, 4)
        return None
    key = _key(skb, ident)
    frags = frags_of(inet6)
    queue = frags.queues.get(key)
    if queue is None:
        if frags.memory > frags.high_thresh:
            mibs.ReasmFails += 1
            kfree_skb(skb, "FRAG_REASM_TIMEOUT")
            return None
        queue = frags.queues[key] = FragQueue()
        queue.timer = Timer(partial(_expire, inet6, key))
        inet6.kernel.timers.mod_timer(queue.timer, inet6.kernel.now + frags.timeout * NSEC_PER_SEC)
    return _queue(inet6, key, queue, skb, nhoff, offset, size, bool(word & 1))


def _key(skb: SkBuff, ident: int) -> Key:
    network = skb.network_header
    saddr = bytes(skb.head[network + 8 : network + 24])
    daddr = bytes(skb.head[network + 24 : network + 40])
    index = skb.dev.ifindex if skb.dev is not None and needs_scope(daddr) else 0
    return ident, saddr, daddr, index


def _refuse(inet6: Inet6Net, skb: SkBuff, code: int, pointer: int) -> None:
    inet6.mibs.ip6.InHdrErrors += 1
    icmp6.send(inet6, skb, PARAMPROB, code, pointer)
    kfree_skb(skb, "IP_INHDR")


def _truncated(skb: SkBuff, nexthdr: int, size: int) -> bool:
    """Does the first fragment lack part of the chain of headers (RFC 7112, ipv6frag_thdr_truncated)?"""
    offset, protocol, fragment = skip_extensions(nexthdr, skb_copy_bits(skb, FRAGMENT_SIZE, size))
    return offset >= 0 and not fragment and size < offset + _LEAST.get(protocol, 1)


def _queue(
    inet6: Inet6Net, key: Key, queue: FragQueue, skb: SkBuff, nhoff: int, offset: int, size: int, more: bool
) -> tuple[int, int] | None:
    """ip6_frag_queue()."""
    end = offset + size
    wrong = size == 0 or (queue.complete and end > queue.end)
    if not more:
        wrong = wrong or end < queue.end or (queue.complete and end != queue.end)
    if wrong:
        _discard(inet6, key, queue)
        kfree_skb(skb, "FRAG_REASM_TIMEOUT")
        return None
    data = skb_copy_bits(skb, FRAGMENT_SIZE, size)
    fate = queue.insert(offset, end, data)
    if fate != "ok":
        if fate == "overlap":
            _discard(inet6, key, queue)
        kfree_skb(skb, "DUP_FRAG")
        return None
    if not more:
        queue.complete = True
    queue.end = max(queue.end, end)
    queue.max_size = max(queue.max_size, skb.data - skb.network_header + skb.len)
    queue.vouched = queue.vouched and skb.ip_summed == 1
    frags_of(inet6).memory += SKB_OVERHEAD + size
    if not offset:
        queue.first = skb
        queue.nhoff = nhoff
    if not queue.complete or queue.have != queue.end:
        if offset:
            consume_skb(skb)
        return None
    _forget(inet6, key, queue)
    return _reassemble(inet6, queue, skb)


def _reassemble(inet6: Inet6Net, queue: FragQueue, skb: SkBuff) -> tuple[int, int] | None:
    """Make ``skb``, the last fragment that came, the whole packet (ip6_frag_reasm)."""
    first = queue.first
    assert first is not None
    network = first.network_header
    header = bytearray(first.head[network : first.data])
    length = len(header) - _HEADER + queue.end
    if length > _MAX:
        inet6.mibs.ip6.ReasmFails += 1
        if first is not skb:
            consume_skb(first)
        kfree_skb(skb, "PKT_TOO_BIG")
        return None
    nexthdr = first.head[first.data]
    header[queue.nhoff] = nexthdr
    header[4:6] = length.to_bytes(2, "big")
    cb = need_cb(first)
    if first is not skb:
        consume_skb(first)
    rest = tuple(data for _, _, data in queue.pieces[1:])
    skb_release_data(skb)
    skb.head = bytes(header) + queue.pieces[0][2]
    skb.frags = rest
    skb.data = skb.transport_header = len(header)
    skb.network_header = 0
    skb.mac_header = -1
    skb.len = queue.end
    skb.data_len = queue.end - len(queue.pieces[0][2])
    skb.ip_summed = 1 if queue.vouched else 0
    whole = skb.cb = Ip6Cb()
    whole.hop, whole.dst0, whole.routing, whole.dst1 = cb.hop, cb.dst0, cb.routing, cb.dst1
    whole.router_alert, whole.alert = cb.router_alert, cb.alert
    whole.fragmented = True
    whole.frag_max_size = queue.max_size
    inet6.mibs.ip6.ReasmOKs += 1
    return nexthdr, queue.nhoff


# --- giving up ----------------------------------------------------------------------------------------------------


def _forget(inet6: Inet6Net, key: Key, queue: FragQueue) -> None:
    frags = frags_of(inet6)
    if frags.queues.get(key) is queue:
        del frags.queues[key]
    if queue.timer is not None:
        inet6.kernel.timers.del_timer(queue.timer)
        queue.timer = None
    frags.memory -= sum(SKB_OVERHEAD + end - start for start, end, _ in queue.pieces)


def _discard(inet6: Inet6Net, key: Key, queue: FragQueue) -> None:
    """The fragments contradict each other."""
    inet6.mibs.ip6.ReasmFails += 1
    _forget(inet6, key, queue)
    if queue.first is not None:
        kfree_skb(queue.first, "FRAG_REASM_TIMEOUT")


def _expire(inet6: Inet6Net, key: Key) -> None:
    """ip6frag_expire_frag_queue()."""
    queue = frags_of(inet6).queues.get(key)
    if queue is None:
        return
    inet6.mibs.ip6.ReasmTimeout += 1
    inet6.mibs.ip6.ReasmFails += 1
    _forget(inet6, key, queue)
    first = queue.first
    if first is not None:
        dev = first.dev
        if dev is not None and dev.net is inet6.net and inet6.net.dev_by_index.get(dev.ifindex) is dev:
            icmp6.send(inet6, first, TIME_EXCEED, _EXC_FRAGTIME, 0)
        kfree_skb(first, "FRAG_REASM_TIMEOUT")

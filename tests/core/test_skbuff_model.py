"""Any history of operations on packets and their clones agrees with plain bytes, and the reference counts add up."""

from __future__ import annotations

from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from pysock.core.skb_copy import (
    pskb_copy,
    pskb_expand_head,
    skb_clone,
    skb_copy,
    skb_copy_expand,
    skb_cow,
    skb_cow_head,
    skb_orphan_frags,
    skb_share_check,
    skb_unclone,
    skb_unshare,
)
from pysock.core.skb_data import (
    pskb_may_pull,
    pskb_pull,
    pskb_trim,
    skb_append_frag,
    skb_append_frag_list,
    skb_checksum,
    skb_copy_bits,
    skb_copy_into,
    skb_linearize,
    skb_store_bits,
)
from pysock.core.skb_debug import SkbChecker
from pysock.core.skbuff import (
    SharedInfo,
    SkBuff,
    alloc_skb,
    consume_skb,
    skb_cloned,
    skb_get,
    skb_header_cloned,
    skb_push_data,
    skb_put_data,
    skb_tailroom,
)
from pysock.wire.checksum import partial

DATA = st.binary(max_size=12)
ROOM = st.integers(0, 6)
CUT = st.integers(0, 40)


class Packet:
    """An skb, the bytes it must hold, and where its transport header must be, relative to data (None: not set)."""

    def __init__(self, skb: SkBuff, data: bytes, header: int | None = None) -> None:
        self.skb = skb
        self.data = data
        self.header = header


class SkbMachine(RuleBasedStateMachine):
    """The model of a packet is a bytes object; a write to one packet may never show in another."""

    packets: Bundle[Packet] = Bundle("packets")

    def __init__(self) -> None:
        super().__init__()
        self.checker = SkbChecker()
        self.live: list[Packet] = []

    def add(self, skb: SkBuff, data: bytes, header: int | None = None) -> Packet:
        self.checker.check(skb)
        packet = Packet(skb, data, header)
        self.live.append(packet)
        return packet

    # --- making and freeing

    @rule(target=packets, head=DATA, body=st.lists(DATA, max_size=3), room=ROOM)
    def immutable(self, head: bytes, body: list[bytes], room: int) -> Packet:
        paged = sum(map(len, body))
        skb = SkBuff(bytes(room) + head, room, len(head) + paged, paged, tuple(body))
        return self.add(skb, head + b"".join(body))

    @rule(target=packets, data=DATA, room=ROOM, tail=ROOM)
    def private(self, data: bytes, room: int, tail: int) -> Packet:
        skb = alloc_skb(room + len(data) + tail, room)
        skb_put_data(skb, data)
        return self.add(skb, data)

    @rule(packet=consumes(packets))
    def free(self, packet: Packet) -> None:
        self.live.remove(packet)
        consume_skb(packet.skb)

    # --- clones and copies

    @rule(target=packets, p=packets, how=st.sampled_from([skb_clone, skb_copy, pskb_copy]))
    def duplicate(self, p: Packet, how: object) -> Packet:
        assert callable(how)
        return self.add(how(p.skb), p.data, p.header)

    @rule(target=packets, p=packets, room=st.integers(0, 30), tail=ROOM)
    def copy_expand(self, p: Packet, room: int, tail: int) -> Packet:
        header = p.header if p.header is not None and p.header + room >= 0 else None
        return self.add(skb_copy_expand(p.skb, room, tail), p.data, header)

    @rule(target=packets, p=packets)
    def share_check(self, p: Packet) -> Packet:
        skb_get(p.skb)
        return self.add(skb_share_check(p.skb), p.data, p.header)

    @rule(target=packets, p=consumes(packets))
    def unshare(self, p: Packet) -> Packet:
        self.live.remove(p)
        skb = skb_unshare(p.skb)
        assert isinstance(skb.head, bytearray)
        assert not skb_cloned(skb)
        return self.add(skb, p.data, p.header)

    # --- moving data, tail

    @rule(p=packets, n=ROOM)
    def set_header(self, p: Packet, n: int) -> None:
        n = min(n, p.skb.len - p.skb.data_len)
        p.skb.transport_header = p.skb.data + n
        p.header = n

    @rule(p=packets, hdr=DATA)
    def push(self, p: Packet, hdr: bytes) -> None:
        skb_push_data(p.skb, hdr)
        p.data = hdr + p.data
        if p.header is not None:
            p.header += len(hdr)

    @rule(p=packets, data=DATA)
    def put(self, p: Packet, data: bytes) -> None:
        fixed = isinstance(p.skb.head, bytearray) and not skb_cloned(p.skb)
        if p.skb.data_len == 0 and not (fixed and skb_tailroom(p.skb) < len(data)):
            skb_put_data(p.skb, data)
            p.data += data

    @rule(p=packets, n=CUT)
    def pull(self, p: Packet, n: int) -> None:
        done = pskb_pull(p.skb, n)
        assert done == (n <= len(p.data))
        if done:
            p.data = p.data[n:]
            if p.header is not None:
                p.header -= n

    @rule(p=packets, n=CUT)
    def may_pull(self, p: Packet, n: int) -> None:
        done = pskb_may_pull(p.skb, n)
        assert done == (n <= len(p.data))
        if done:
            assert p.skb.head[p.skb.data : p.skb.data + n] == p.data[:n]

    @rule(p=packets, n=CUT)
    def trim(self, p: Packet, n: int) -> None:
        pskb_trim(p.skb, n)
        p.data = p.data[:n]

    @rule(p=packets)
    def linearize(self, p: Packet) -> None:
        skb_linearize(p.skb)
        assert p.skb.frags == ()

    # --- paged part

    @rule(p=packets, data=DATA)
    def append_frag(self, p: Packet, data: bytes) -> None:
        skb_append_frag(p.skb, data)
        p.data += data

    @rule(p=packets, data=DATA)
    def append_lent_then_orphan(self, p: Packet, data: bytes) -> None:
        lent = bytearray(data)
        skb_append_frag(p.skb, lent)
        skb_orphan_frags(p.skb)
        lent[:] = bytes(len(lent))
        p.data += data

    @rule(p=packets, child=consumes(packets))
    def chain(self, p: Packet, child: Packet) -> None:
        if p is child:  # hypothesis may draw it for both; a packet can't hold itself
            self.free(child)
            return
        self.live.remove(child)
        skb_append_frag_list(p.skb, child.skb)
        p.data += child.data

    # --- writing

    @rule(p=packets, at=CUT, data=DATA)
    def store(self, p: Packet, at: int, data: bytes) -> None:
        at %= len(p.data) + 1
        data = data[: len(p.data) - at]
        skb_store_bits(p.skb, at, data)
        p.data = p.data[:at] + data + p.data[at + len(data) :]

    @rule(p=packets, how=st.sampled_from([skb_cow, skb_cow_head, skb_unclone, pskb_expand_head]), n=ROOM)
    def scribble(self, p: Packet, how: object, n: int) -> None:
        """Get the right to write the head by each legal way, then write to all of it."""
        skb = p.skb
        if how is skb_unclone:
            skb_unclone(skb)
        elif how is pskb_expand_head:
            pskb_expand_head(skb, n, n)
        else:
            (skb_cow if how is skb_cow else skb_cow_head)(skb, n)
            assert skb.data >= n
        assert isinstance(skb.head, bytearray)
        assert not skb_header_cloned(skb)
        skb.head[:] = bytes(byte ^ 0x55 for byte in skb.head)
        headlen = skb.len - skb.data_len
        p.data = bytes(byte ^ 0x55 for byte in p.data[:headlen]) + p.data[headlen:]

    # --- reading

    @rule(p=packets, at=CUT, n=CUT)
    def read(self, p: Packet, at: int, n: int) -> None:
        at = min(at, len(p.data))
        n = min(n, len(p.data) - at)
        expected = p.data[at : at + n]
        assert skb_copy_bits(p.skb, at, n) == expected
        out = bytearray(n)
        assert skb_copy_into(p.skb, at, memoryview(out)) == n
        assert out == expected
        assert skb_checksum(p.skb, at, n) == partial(expected)

    @invariant()
    def contents_and_counts(self) -> None:
        shares: Counter[int] = Counter()
        infos: dict[int, SharedInfo] = {}
        stack = [packet.skb for packet in self.live]
        structs: dict[int, SkBuff] = {}
        users: Counter[int] = Counter()
        while stack:
            skb = stack.pop()
            users[id(skb)] += 1
            if id(skb) not in structs:
                structs[id(skb)] = skb
                stack.extend(skb.frag_list)
        for packet in self.live:
            skb = packet.skb
            assert skb.len == len(packet.data)
            assert skb_copy_bits(skb, 0, skb.len) == packet.data
            where = None if skb.transport_header < 0 else skb.transport_header - skb.data
            assert where == packet.header
        for key, skb in structs.items():
            self.checker.verify(skb)
            assert skb.users == users[key]
            if skb.shinfo is not None:
                shares[id(skb.shinfo)] += 1
                infos[id(skb.shinfo)] = skb.shinfo
        for key, count in shares.items():
            assert infos[key].dataref == count

    def teardown(self) -> None:
        while self.live:
            consume_skb(self.live.pop().skb)
        assert self.checker.leaked() == []


TestSkbMachine = SkbMachine.TestCase
TestSkbMachine.settings = settings(max_examples=60, stateful_step_count=40)

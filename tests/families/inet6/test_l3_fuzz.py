"""Invariant: whatever arrives at netif_rx, nothing raises, and every packet for one host is counted exactly once."""

from __future__ import annotations

from hypothesis import given, settings, strategies
from support.inet6_hosts import Ether6, a6

from pysock.core.dev import netif_rx
from pysock.core.skbuff import SkBuff
from pysock.uapi.if_ether import ETH_P_IPV6
from pysock.wire import icmpv6, ipv6
from pysock.wire.checksum import finish, partial, pseudo_v6

TEXTS = ["2001:db8::1", "2001:db8::2", "fe80::ff:fe00:1", "fe80::99", "::1", "::", "ff02::1", "ff02::1:ff00:1",
         "ff05::77", "ff01::1", "2001:db9::1", "::ffff:10.0.0.1"]  # fmt: skip
ADDRESSES = [a6(text) for text in TEXTS]
ME, PEER = ADDRESSES[:2]

payloads = strategies.binary(max_size=60)
units = strategies.integers(0, 0xFFFFFFFF)
bytes_ = strategies.integers(0, 255)


@strategies.composite
def options(draw: strategies.DrawFn) -> bytes:
    kinds = strategies.sampled_from([1, 2, 3, 4, 5, 14, 99])
    found = draw(strategies.lists(strategies.tuples(kinds, payloads), max_size=3))
    return b"".join(icmpv6.build_option(kind, data) for kind, data in found)


@strategies.composite
def messages(draw: strategies.DrawFn, src: bytes, dst: bytes) -> bytes:
    """ICMPv6 of any type; those of discovery mostly well formed, errors quoting packets."""
    kind = draw(strategies.sampled_from([1, 2, 3, 4, 128, 129, 130, 131, 132, 133, 134, 135, 136, 137, 143, 200]))
    if kind < 128:
        body = draw(packets())[: draw(strategies.integers(0, 80))]
    elif kind in (135, 136):
        body = draw(strategies.sampled_from(ADDRESSES)) + draw(options())
    elif kind == 137:
        body = draw(strategies.sampled_from(ADDRESSES)) + draw(strategies.sampled_from(ADDRESSES)) + draw(options())
    elif kind == 134:
        body = bytes(8) + draw(options())
    elif kind in (130, 131, 132):
        body = draw(strategies.sampled_from(ADDRESSES)) + draw(strategies.sampled_from([b"", bytes(4), bytes(7)]))
    else:
        body = draw(payloads)
    message = icmpv6.HEADER.pack(kind, draw(strategies.sampled_from([0, 0, 0, 1, 4])), 0, draw(units)) + body
    check = finish(partial(message) + pseudo_v6(src, dst, 58, len(message)))
    return message[:2] + check.to_bytes(2, "big") + message[4:]


@strategies.composite
def packets(draw: strategies.DrawFn) -> bytes:
    """Something like a packet: any transport behind any chain of extension headers, to somebody or nobody."""
    src = draw(strategies.sampled_from([PEER, PEER, ADDRESSES[3], *ADDRESSES]))
    dst = draw(strategies.sampled_from([ME, ME, *ADDRESSES]))
    if draw(strategies.booleans()):
        protocol, rest = 58, draw(messages(src, dst))
    else:
        protocol, rest = draw(strategies.sampled_from([6, 17, 59, 200, draw(bytes_)])), draw(payloads)
    for _ in range(draw(strategies.integers(0, 3))):
        kind = draw(strategies.sampled_from([0, 43, 44, 60, 51]))
        if kind == 44:
            word = draw(strategies.sampled_from([0, 0, 1, 8, 9, 16, 0xFFF8, draw(strategies.integers(0, 0xFFFF))]))
            rest = ipv6.FRAGMENT.pack(protocol, 0, word, draw(strategies.integers(0, 2))) + rest
        elif kind == 43:
            rest = bytes((protocol, 0, draw(bytes_), draw(strategies.integers(0, 1)), 0, 0, 0, 0)) + rest
        else:
            numbers = strategies.sampled_from([5, 0xC2, 0x9E, 0xDE, 1])
            found = draw(strategies.lists(strategies.tuples(numbers, payloads), max_size=2))
            rest = ipv6.build_options(protocol, found) + rest
        protocol = kind
    return ipv6.build(src, dst, protocol, rest, hop_limit=draw(strategies.sampled_from([255, 255, 1, 64, 0])))


@strategies.composite
def arrivals(draw: strategies.DrawFn) -> SkBuff:
    """A received packet, perhaps damaged: linear or in pieces, in bytes or a bytearray, vouched for or not."""
    raw = bytearray(draw(strategies.one_of(strategies.binary(max_size=100), packets(), packets(), packets())))
    for _ in range(draw(strategies.sampled_from([0, 0, 1, 4])) if raw else 0):
        raw[draw(strategies.integers(0, len(raw) - 1))] = draw(bytes_)
    if draw(strategies.integers(0, 4)) == 0:
        del raw[draw(strategies.integers(0, len(raw))) :]
    cut = draw(strategies.sampled_from([len(raw), len(raw), 0, 40, 48]))
    head: bytes | bytearray = raw[:cut] if draw(strategies.booleans()) else bytes(raw[:cut])
    rest = bytes(raw[cut:])
    skb = SkBuff(head, 0, len(raw), len(rest), (rest,) if rest else ())
    skb.ip_summed = draw(strategies.sampled_from([0, 0, 1, 3]))
    skb.protocol = ETH_P_IPV6
    return skb


@settings(max_examples=200)
@given(strategies.lists(arrivals(), min_size=1, max_size=12), strategies.booleans(), strategies.booleans())
def test_nothing_raises_and_all_is_counted(found: list[SkBuff], router: bool, raw: bool) -> None:
    host = Ether6()
    host.add("2001:db8::1/64", flags=0x82)
    host.sysctl("net.ipv6.conf.w0.accept_ra", 1)
    host.sysctl("net.ipv6.conf.all.forwarding", int(router))
    host.listen()
    if raw:
        host.inet6.raw_deliver = lambda skb, protocol: protocol == 58
    before = host.inet6.mibs.snapshot()
    for skb in found:
        skb.dev = host.w0
        host.call(netif_rx, skb)
    after = host.inet6.mibs.snapshot()
    delta = {name: value - before.get(name, 0) for name, value in after.items()}
    assert delta["Ip6InReceives"] >= len(found)  # our own answers may come back over loopback
    if delta["Ip6InReceives"] == len(found):
        fates = ("InHdrErrors", "InTruncatedPkts", "InAddrErrors", "InNoRoutes", "InUnknownProtos", "InDelivers",
                 "InDiscards", "OutForwDatagrams")  # fmt: skip
        once = sum(delta[f"Ip6{name}"] for name in fates)
        waits = delta["Ip6ReasmReqds"] + delta["Ip6InMcastPkts"] + delta["Ip6InTooBigErrors"]
        assert once - waits <= len(found) <= once + waits
    host.lab.settle(70)
    duplicates = [line for line in host.log if "duplicate IPv6 address" in line]
    assert host.log == duplicates
    assert host.kernel.errors.total == 0
    for entry in host.inet6.nd.entries():
        assert len(entry.key) == 16

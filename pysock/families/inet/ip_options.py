"""IP options: checked when they arrive, filled in by each host on the way, set by programs (RFC 791 3.1, RFC 1122
3.2.1.8; net/ipv4/ip_options.c).

    received -> `receive`: bad ones are answered with a parameter problem; source routes are followed only where
                accept_source_route is set, for "all" and the device; record route and timestamp get our address
    forwarded -> `stamp` with the address that the datagram leaves with
    sent -> `insert` puts those of IP_OPTIONS into a finished header

Positions are counted from the start of the IP header, as the pointer of a parameter problem is.
"""

from __future__ import annotations

import errno
from struct import Struct

from pysock.core.errors import err
from pysock.core.skb_copy import skb_share_check
from pysock.core.skbuff import SkBuff, kfree_skb
from pysock.families.inet import icmp, route
from pysock.families.inet.devinet import in_device, select_addr
from pysock.families.inet.fib import RT_SCOPE_LINK, RTN_LOCAL, RTN_UNICAST
from pysock.uapi.if_packet import PACKET_HOST
from pysock.wire.checksum import checksum
from pysock.wire.icmp import DEST_UNREACH, PARAMETERPROB, SR_FAILED
from pysock.wire.ipv4 import OPT_CIPSO, OPT_END, OPT_LSRR, OPT_NOOP, OPT_RA, OPT_RR, OPT_SSRR, OPT_TIMESTAMP

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final

    from pysock.families.inet.net import InetNet

_HEADER: Final = 20
_U32: Final = Struct("!I")
_MSEC_PER_DAY: Final = 86_400_000
# Flags of a timestamp option: times alone, behind addresses, or behind addresses that the sender chose
_TS_TSONLY: Final = 0
_TS_TSANDADDR: Final = 1
_TS_PRESPEC: Final = 3
#: Options of which there may be one.
_SINGLE: Final = (OPT_RR, OPT_TIMESTAMP, OPT_LSRR, OPT_CIPSO)


def walk(header: bytes | bytearray) -> Iterator[tuple[int, int, int]]:
    """(position, kind, length) of each option of a header that `problem` finds good, padding left out."""
    at = _HEADER
    while at < len(header) and header[at] != OPT_END:
        if header[at] == OPT_NOOP:
            at += 1
            continue
        yield at, header[at], header[at + 1]
        at += header[at + 1]


def problem(header: bytes, privileged: bool = True) -> int:
    """Where the options of a header are wrong, 0 when they are not (ip_options_compile). Who is not ``privileged`` may
    send only those that we understand.
    """
    at = _HEADER
    seen: set[int] = set()
    while at < len(header) and header[at] != OPT_END:
        kind = header[at]
        if kind == OPT_NOOP:
            at += 1
            continue
        if at + 1 >= len(header) or not 2 <= header[at + 1] <= len(header) - at:
            return at
        length = header[at + 1]
        name = OPT_LSRR if kind == OPT_SSRR else kind  # there is one source route at most
        if name in seen and name in _SINGLE:
            return at
        seen.add(name)
        wrong = _wrong(header[at : at + length], privileged)
        if wrong >= 0:
            return at + wrong
        at += length
    return 0


def _wrong(option: bytes, privileged: bool) -> int:
    """Where one option is wrong, -1 when it is not."""
    kind, length = option[0], option[1]
    if kind in (OPT_RR, OPT_LSRR, OPT_SSRR):
        if length < 3:
            return 1
        pointer = option[2]
        return 2 if pointer < 4 or pointer <= length < pointer + 3 else -1
    if kind == OPT_TIMESTAMP:
        if length < 4:
            return 1
        pointer, flags = option[2], option[3] & 15
        if pointer < 5:
            return 2
        if pointer > length:
            return 3 if flags != _TS_PRESPEC and option[3] >> 4 == 15 else -1
        if flags not in (_TS_TSONLY, _TS_TSANDADDR, _TS_PRESPEC):
            return -1 if privileged else 3
        return 2 if pointer + (3 if flags == _TS_TSONLY else 7) > length else -1
    if kind == OPT_RA:
        return 1 if length < 4 else -1
    return -1 if privileged else 0


def stamp(inet: InetNet, header: bytearray, address: bytes, count: bool = True) -> bool:
    """Fill in what a good header's options ask of this host: ``address``, the time. ``count``: that there was no room
    for a time. Whether anything changed; the checksum is still to be made.
    """
    changed = False
    for at, kind, length in walk(header):
        pointer = header[at + 2] if length > 2 else 0
        where = at + pointer - 1
        if kind == OPT_RR and pointer <= length:
            header[where : where + 4] = address
            header[at + 2] += 4
            changed = True
        elif kind == OPT_TIMESTAMP:
            flags = header[at + 3] & 15
            if pointer > length:
                if count and flags != _TS_PRESPEC:
                    header[at + 3] += 0x10
                    changed = True
            elif flags == _TS_TSONLY:
                _put_time(inet, header, where)
                header[at + 2] += 4
                changed = True
            elif flags in (_TS_TSANDADDR, _TS_PRESPEC):
                if flags == _TS_TSANDADDR:
                    header[where : where + 4] = address
                elif not _is_ours(inet, bytes(header[where : where + 4])):
                    continue
                _put_time(inet, header, where + 4)
                header[at + 2] += 8
                changed = True
    return changed


def _put_time(inet: InetNet, header: bytearray, at: int) -> None:
    """Milliseconds since midnight, universal time."""
    now = inet.kernel.clock.realtime() // 1_000_000 % _MSEC_PER_DAY
    header[at : at + 4] = _U32.pack(now)


def _is_ours(inet: InetNet, address: bytes) -> bool:
    entry = inet.fib.lookup(address)
    return entry is not None and entry.type == RTN_LOCAL


# --- in ---------------------------------------------------------------------------------------------------------------


def receive(inet: InetNet, skb: SkBuff, off: int, size: int, kind: int) -> int:
    """A datagram with options has arrived (ip_rcv_options): its header of ``size`` bytes is at ``off``, ``kind`` says
    whose it is. What that is after a source route was followed; 0: it was dropped.
    """
    header = bytearray(skb.head[off : off + size])
    wrong = problem(bytes(header))
    if wrong:
        return _refuse(inet, skb, wrong)
    dev = skb.dev
    assert dev is not None
    for at, name, _ in walk(header):
        if name in (OPT_LSRR, OPT_SSRR):
            state = in_device(dev)
            if not (state.conf.accept_source_route and state.all.accept_source_route):
                return _refuse(inet, skb, 0)
            kind = _follow(inet, skb, header, at, kind)
            if kind <= 0:
                return 0
            store(skb, off, header)
            break
    if kind != RTN_UNICAST:
        address = bytes(header[16:20])
        if kind != RTN_LOCAL:
            address = select_addr(dev, bytes(header[12:16]), RT_SCOPE_LINK)
        if stamp(inet, header, address):
            store(skb, off, header)
    return kind


def _refuse(inet: InetNet, skb: SkBuff, wrong: int) -> int:
    """Drop it; tell the sender where it is ``wrong``, unless that is 0."""
    inet.mibs.ip.InHdrErrors += 1
    if wrong:
        icmp.send(inet, skb, PARAMETERPROB, 0, wrong << 24)
    kfree_skb(skb, "IP_INHDR")
    return 0


def _follow(inet: InetNet, skb: SkBuff, header: bytearray, at: int, kind: int) -> int:
    """ip_options_rcv_srr() and its part of ip_forward_options(): the next address of a source route is where it goes
    on, the address that we send from takes its place.
    """
    dev = skb.dev
    assert dev is not None
    strict = header[at] == OPT_SSRR
    if kind == RTN_UNICAST:  # loose, and we are between two of its hosts
        return _refuse(inet, skb, 16) if strict else kind
    if kind != RTN_LOCAL or skb.pkt_type != PACKET_HOST:
        return _refuse(inet, skb, 0)
    length = header[at + 1]
    while (pointer := header[at + 2]) <= length:
        where = at + pointer - 1
        hop = bytes(header[where : where + 4])
        kind = route.input_type(inet, bytes(header[12:16]), hop, dev)
        try:
            rt = route.output(inet, hop) if kind in (RTN_UNICAST, RTN_LOCAL) else None
        except OSError:
            rt = None
        if rt is None or (kind == RTN_UNICAST and not in_device(dev).conf.forwarding):
            return _refuse(inet, skb, 0)
        if strict and rt.gateway is not None:
            icmp.send(inet, skb, DEST_UNREACH, SR_FAILED, 0)
            return _refuse(inet, skb, 0)
        header[where : where + 4] = rt.saddr
        header[16:20] = hop
        header[at + 2] += 4
        if kind == RTN_UNICAST:
            return kind
    return RTN_LOCAL


def forwarded(inet: InetNet, skb: SkBuff, off: int, size: int, address: bytes) -> SkBuff | None:
    """Fill in the options of a datagram that leaves from ``address`` (ip_forward_options); it may be another skb."""
    header = bytearray(skb.head[off : off + size])
    if stamp(inet, header, address):
        skb = skb_share_check(skb)
        store(skb, off, header)
    return skb


def store(skb: SkBuff, off: int, header: bytearray) -> None:
    """Put a header that changed back, with its checksum."""
    finish(header)
    head = skb.head
    skb.head = b"".join((head[:off], header, head[off + len(header) :]))


def finish(header: bytearray) -> None:
    """Make the checksum of a header."""
    header[10:12] = b"\0\0"
    header[10:12] = checksum(header).to_bytes(2, "big")


# --- out --------------------------------------------------------------------------------------------------------------


def parse(value: bytes, privileged: bool) -> bytes:
    """What a program sets with IP_OPTIONS, padded. EINVAL for more than 40 bytes and bad ones; EOPNOTSUPP for a source
    route, which would change where datagrams go first.
    """
    if len(value) > 40:
        raise err(errno.EINVAL)
    value += bytes(-len(value) & 3)
    header = bytes(_HEADER) + value
    if problem(header, privileged):
        raise err(errno.EINVAL)
    if any(kind in (OPT_LSRR, OPT_SSRR) for _, kind, _ in walk(header)):
        raise err(errno.EOPNOTSUPP)
    return value if any(value) else b""


def with_options(inet: InetNet, header: bytes, options: bytes, address: bytes) -> bytes:
    """A finished header of 20 bytes with ``options``, filled in with ``address`` (ip_options_build)."""
    new = bytearray(header + options)
    new[0] = 0x40 | len(new) >> 2
    new[2:4] = (int.from_bytes(header[2:4], "big") + len(options)).to_bytes(2, "big")
    stamp(inet, new, address, count=False)
    finish(new)
    return bytes(new)


def insert(inet: InetNet, skb: SkBuff, options: bytes, address: bytes) -> None:
    """The same in a packet whose data is at its header."""
    at = skb.data
    header = with_options(inet, bytes(skb.head[at : at + _HEADER]), options, address)
    skb.head = b"".join((skb.head[:at], header, skb.head[at + _HEADER :]))
    skb.len += len(options)
    skb.transport_header = at + len(header)


def echo(received: bytes) -> bytes:
    """The options of an answer: record route and timestamp as they came (ip_options_echo)."""
    found = b"".join(received[at : at + n] for at, kind, n in walk(received) if kind in (OPT_RR, OPT_TIMESTAMP))
    return found + bytes(-len(found) & 3)

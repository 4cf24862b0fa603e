"""IP options: checked when they arrive, filled in by each host on the way, set by programs (RFC 791 3.1, RFC 1122
3.2.1.8; net/ipv4/ip_options.c).

    received, forwarded -> ip_options_rcv.py
    sent -> `insert` puts those of IP_OPTIONS into a finished header

Positions are counted from the start of the IP header, as the pointer of a parameter problem is.
"""

from __future__ import annotations

import errno
from struct import Struct

from pysock.core.errors import err
from pysock.families.inet.fib import RTN_LOCAL
from pysock.wire.checksum import checksum
from pysock.wire.ipv4 import OPT_CIPSO, OPT_END, OPT_LSRR, OPT_NOOP, OPT_RA, OPT_RR, OPT_SSRR, OPT_TIMESTAMP

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final

    from pysock.core.skbuff import SkBuff
    from pysock.families.inet.net import InetNet

_HEADER: Final = 20
_U32: Final = Struct("!I")
_MSEC_PER_DAY: Final = 86_400_000
# Flags of a timestamp option: times alone, behind addresses, or behind addresses that the sender chose
_TS_TSONLY: Final = 0
_TS_TSANDADDR: Final = 1
_TS_PRESPEC: Final = 3
#: Options of which there may be one.
_SINGLE: Final = (OPT_RR, OPT_TIMESTAMP, OPT_CIPSO)


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
        if kind in seen and kind in _SINGLE:
            return at
        wrong = _wrong(header[at : at + length], privileged)
        if wrong >= 0:
            return at + wrong
        if kind in (OPT_LSRR, OPT_SSRR) and (OPT_LSRR in seen or OPT_SSRR in seen):
            return at  # RFC 1812 5.2.4.1: one source route at most
        seen.add(kind)
        at += length
    return 0


def _wrong(option: bytes, privileged: bool) -> int:
    """Where one option is wrong, -1 when it is not."""
    kind, length = option[0], option[1]
    if kind in (OPT_RR, OPT_LSRR, OPT_SSRR):
        if length < 3:
            return 1
        pointer = option[2]
        return 2 if pointer < 4 or (kind == OPT_RR and pointer <= length < pointer + 3) else -1
    if kind == OPT_TIMESTAMP:
        if length < 4:
            return 1
        pointer, flags = option[2], option[3] & 15
        if pointer < 5:
            return 2
        if pointer > length:
            return 3 if flags != _TS_PRESPEC and option[3] >> 4 == 15 else -1
        if pointer + 3 > length:
            return 2
        if flags not in (_TS_TSONLY, _TS_TSANDADDR, _TS_PRESPEC):
            return -1 if privileged else 3
        return 2 if flags != _TS_TSONLY and pointer + 7 > length else -1
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


def tidy(header: bytearray) -> bool:
    """Make all behind the end mark end marks too; whether that changes anything."""
    at = _HEADER
    while at < len(header) and header[at] != OPT_END:
        at += 1 if header[at] == OPT_NOOP else header[at + 1]
    padded = any(header[at:])
    header[at:] = bytes(len(header) - at)
    return padded


def _put_time(inet: InetNet, header: bytearray, at: int) -> None:
    """Milliseconds since midnight, universal time."""
    now = inet.kernel.clock.time_ns() // 1_000_000 % _MSEC_PER_DAY
    header[at : at + 4] = _U32.pack(now)


def _is_ours(inet: InetNet, address: bytes) -> bool:
    entry = inet.fib.lookup(address)
    return entry is not None and entry.type == RTN_LOCAL


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


def with_options(inet: InetNet, header: bytes, options: bytes, address: bytes, n: int) -> bytes:
    """A header of 20 bytes with ``options``, filled in with ``address``, for ``n`` bytes that follow
    (ip_options_build).
    """
    new = bytearray(header + options)
    new[0] = 0x40 | len(new) >> 2
    new[2:4] = (len(new) + n).to_bytes(2, "big")
    stamp(inet, new, address, count=False)
    finish(new)
    return bytes(new)


def insert(inet: InetNet, skb: SkBuff, options: bytes, address: bytes) -> None:
    """The same in a packet whose data is at its header."""
    at = skb.data
    header = with_options(inet, bytes(skb.head[at : at + _HEADER]), options, address, skb.len - _HEADER)
    skb.head = b"".join((skb.head[:at], header, skb.head[at + _HEADER :]))
    skb.len += len(options)
    skb.transport_header = at + len(header)


def echo(received: bytes) -> bytes:
    """The options of an answer: record route and timestamp as they came (ip_options_echo)."""
    found = b"".join(received[at : at + n] for at, kind, n in walk(received) if kind in (OPT_RR, OPT_TIMESTAMP))
    return found + bytes(-len(found) & 3)

"""Checksums, which the chip leaves to its driver: finished in the DMA buffer, verified as frames come out of it.

The stack could do both, but not as cheaply: here a frame is one run of bytes. A TCP segment found good is handed up
with its headers in the linear part and its payload as a fragment, as drivers with header split do.
"""

from __future__ import annotations

from pysock.core.skbuff import CHECKSUM_UNNECESSARY, SkBuff
from pysock.uapi.in_ import IPPROTO_TCP, IPPROTO_UDP

_IPV4_PLAIN = b"\x08\0\x45"  # EtherType, and a header without options
_IPV6 = b"\x86\xdd"
_int = int.from_bytes


def finish(mem: bytearray, start: int, end: int, offset: int) -> None:
    """Complete the checksum of ``mem[start:end]`` whose field, ``offset`` bytes in, has the pseudo header's sum."""
    value = _int(mem[start:end], "big")
    if (end - start) & 1:
        value <<= 8
    check = 0xFFFF - value % 0xFFFF  # never 0, which UDP reads as "none"
    mem[start + offset] = check >> 8
    mem[start + offset + 1] = check & 0xFF


def build_skb(frame: bytes, size: int) -> SkBuff:
    """A packet of a received frame of ``size`` bytes, its checksum verified if it is plain TCP or UDP (and good)."""
    if frame[12:15] == _IPV4_PLAIN and size >= 42:
        length = (frame[16] << 8 | frame[17]) - 20
        protocol = frame[23]
        addresses, transport = 26, 34
        if frame[20] & 0x3F or frame[21]:  # a fragment
            return SkBuff(frame, 0, size)
    elif frame[12:14] == _IPV6 and size >= 62:
        length = frame[18] << 8 | frame[19]
        protocol = frame[20]
        addresses, transport = 22, 54
    else:
        return SkBuff(frame, 0, size)
    end = transport + length
    if end > size or length < 8 or protocol not in (IPPROTO_TCP, IPPROTO_UDP):
        return SkBuff(frame, 0, size)
    value = _int(frame[addresses:end], "big")
    if length & 1:
        value <<= 8
    unsummed = protocol == IPPROTO_UDP and frame[transport + 6 : transport + 8] == b"\0\0"
    if (value + protocol + length) % 0xFFFF or unsummed:
        return SkBuff(frame, 0, size)
    payload = size
    if protocol == IPPROTO_TCP and end == size and length >= 20:
        payload = transport + (frame[transport + 12] >> 4) * 4
    if transport < payload < size:
        skb = SkBuff(frame[:payload], 0, size, size - payload, (frame[payload:],))
    else:
        skb = SkBuff(frame, 0, size)
    skb.ip_summed = CHECKSUM_UNNECESSARY
    return skb

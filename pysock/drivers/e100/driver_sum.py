"""Checksums of received frames, which the chip leaves to its driver. (Those of frames to send: driver_tx.py.)

The stack could verify them, but not as cheaply: here a frame is one run of bytes.
"""

from __future__ import annotations

from struct import Struct

from pysock.uapi.if_ether import ETH_P_IP, ETH_P_IPV6
from pysock.uapi.in_ import IPPROTO_TCP, IPPROTO_UDP
from pysock.wire.checksum import remainder

_V4 = Struct("!12xHBxH2xHxB").unpack_from  # EtherType, version and IHL, total length, flags and offset, protocol
_SUMMED = (IPPROTO_TCP, IPPROTO_UDP)
_int = int.from_bytes


def verified(frame: bytes, size: int) -> int:
    """Where the payload of a received frame of ``size`` >= 60 bytes starts, if it is plain TCP (``size`` if plain UDP)
    and its checksum is good; 0 for everything else.
    """
    ethertype, version, length, fragment, protocol = _V4(frame)
    if ethertype == ETH_P_IP:
        if version != 0x45 or fragment & 0x3FFF:
            return 0
        addresses, transport = 26, 34
        length -= 20
    elif ethertype == ETH_P_IPV6:
        length = frame[18] << 8 | frame[19]
        protocol = frame[20]
        addresses, transport = 22, 54
    else:
        return 0
    end = transport + length
    if end > size or length < 8 or protocol not in _SUMMED:
        return 0
    value = _int(frame[addresses:end], "big")
    if length & 1:
        value <<= 8
    value += protocol + length
    if value % 0xFFFF if length < 500 else remainder(value):
        return 0
    if protocol == IPPROTO_UDP:
        return size if frame[transport + 6] or frame[transport + 7] else 0  # 0: it has none
    payload = transport + (frame[transport + 12] >> 4) * 4 if length >= 20 else size
    return payload if transport < payload < size == end else size

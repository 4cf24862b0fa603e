"""How the command unit gathers a frame from memory for the TRANSMIT command (SDM 6.4.2.5).

Simplified mode: the frame follows the block. Flexible mode (SF): what the byte count says follows the block, then come
the buffers of the TBD array. The transmit FIFO starts to send when it holds the threshold, and underruns if the rest
comes too late (`Faults.slow_bus`).
"""

from __future__ import annotations

from struct import unpack_from
from zlib import crc32

from pysock.core.dma import BusError
from pysock.core.wire import DAMAGE_CRC
from pysock.drivers.e100.regs import CB_NC, CB_SF, NO_TBD, TBD_EL, TBD_SIZE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.drivers.e100.hw_card import E100Card

_MIN_FRAME = 60
_PADDING = bytes(_MIN_FRAME)
#: What one frame may add up to before the chip gives up on it, and TBDs that it follows in an open-ended array.
_MAX_FRAME = 0x3FFF
_MAX_TBDS = 255


def fetch(card: E100Card, at: int, command: int, array: int, count: int, buffers: int) -> tuple[bytes, int]:
    """The frame of the block at ``at``, without FCS, and its damage. BusError or struct.error for memory that is not
    there.
    """
    dma = card.dma
    parts = [dma.read(at + 8 + 8, count)] if count else []
    if command & CB_SF and array != NO_TBD:
        total = count
        for _ in range(min(buffers, _MAX_TBDS)):
            address, size, flags = unpack_from("<IHH", dma.mem, array)
            total += size
            if total > _MAX_FRAME:
                raise BusError("frame of more than 16383 bytes")
            parts.append(dma.read(address, size))
            if flags & TBD_EL:
                break
            array += TBD_SIZE
    frame = b"".join(parts)
    if command & CB_NC:
        return frame[:-4], _check(frame)
    config = card.config
    if config.insert_source and len(frame) >= 12:
        frame = frame[:6] + card.address + frame[12:]
    if len(frame) < _MIN_FRAME and config.pad:
        frame += _PADDING[len(frame) :]
    return frame, 0


def underruns(card: E100Card, threshold: int, size: int) -> bool:
    """Whether the FIFO runs empty while a frame of ``size`` bytes is sent."""
    if min(threshold * 8, size) >= min(card.faults.slow_bus, size):
        return False
    card.stats.add("tx_underruns")
    return True


def _check(frame: bytes) -> int:
    """The damage of a frame that brings its own CRC."""
    good = len(frame) >= 4 and crc32(frame[:-4]).to_bytes(4, "little") == frame[-4:]
    return 0 if good else DAMAGE_CRC

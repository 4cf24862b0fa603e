"""The receive unit: decides which frames are for us, and fills the receive frame area (SDM 6.4.3).

    idle --RU_START--> ready --S--> suspended --RU_RESUME--> ready, at the next descriptor
                       ready --EL or no room--> no resources --RU_START--> ready

A frame that comes while the unit is not ready is lost: in rx_resource_errors unless it is idle.
"""

from __future__ import annotations

from struct import Struct, pack_into
from struct import error as StructError
from zlib import crc32

from pysock.core.dma import PAGE, BusError
from pysock.core.wire import DAMAGE_ALIGN, DAMAGE_CRC
from pysock.drivers.e100 import regs
from pysock.drivers.e100.hw_stats import RX_GOOD
from pysock.drivers.e100.regs import (
    ACK_FR,
    ACK_RNR,
    RFD_C,
    RFD_COUNT,
    RFD_EL,
    RFD_EOF,
    RFD_F,
    RFD_NOT_IA,
    RFD_OK,
    RFD_S,
    RFD_SIZE,
    RFD_TYPE,
    RU_IDLE,
    RU_NO_RESOURCES,
    RU_READY,
    RU_SUSPENDED,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.drivers.e100.hw_card import E100Card

PAUSE_ADDRESS = b"\x01\x80\xc2\0\0\x01"
_PAUSE = b"\x88\x08\0\x01"  # EtherType of MAC control, opcode PAUSE
_CONTROL = b"\x88\x08"
_BROADCAST = b"\xff" * 6
_MIN_FRAME = 60
_MAX_FRAME = 1514
_M32 = 0xFFFF_FFFF
_DESTINATION = slice(0, 6)
_load_rfd = Struct("<2xHI6xH").unpack_from  # of RFD: command, link, size
_store_word = Struct("<H").pack_into


class ReceiveUnit:
    """One card's. The multicast filter is a hash of 64 bits: it lets strangers in."""

    __slots__ = ("_at", "_card", "_hash", "base", "oversize", "state")

    def __init__(self, card: E100Card) -> None:
        self._card = card
        self.oversize = 0  # frames too long for the configuration, which no counter of the chip counts
        self.reset()

    def reset(self) -> None:
        self.state = RU_IDLE
        self.base = 0
        self._at = 0
        self._hash = 0

    def start(self, offset: int) -> None:
        if self.state != RU_READY:
            self._at = (self.base + offset) & _M32
            self.state = RU_READY

    def resume(self) -> None:
        if self.state == RU_SUSPENDED:
            self.state = RU_READY

    def abort(self) -> None:
        if self.state != RU_IDLE:
            self.state = RU_IDLE
            self._card.interrupt(ACK_RNR)

    def set_multicast(self, addresses: bytes) -> None:
        """Forget the old list and let these in, six bytes each."""
        self._hash = 0
        for at in range(0, len(addresses) - 5, 6):
            self._hash |= 1 << _bucket(addresses[at : at + 6])

    # -- frames --------------------------------------------------------------------------------------------

    def receive(self, frame: bytes, damage: int) -> None:
        """A frame from the wire."""
        card = self._card
        size = len(frame)
        status = RFD_OK if frame.startswith(card.address) else self._match(frame)
        if damage or not _MIN_FRAME <= size <= _MAX_FRAME:
            status = status and self._bad(frame, damage, status)
        if not status:
            return
        if self.state != RU_READY:
            if self.state != RU_IDLE:
                card.stats.add("rx_resource_errors")
            return
        faults = card.faults
        if faults.overruns:
            faults.overruns -= 1
            card.stats.add("rx_overrun_errors")
            return
        if card.config.crc_transfer:
            frame += crc32(frame).to_bytes(4, "little")
            size += 4
        if size >= 14 and frame[12] > 5:  # 0x600 and above: a type, not a length
            status |= RFD_TYPE
        mem = card.dma.mem
        at = self._at
        try:
            command, link, room = _load_rfd(mem, at)
            if at < PAGE:
                raise BusError("RFD")
            room &= RFD_COUNT
            start = at + RFD_SIZE
            if size > room:
                if not room:  # no buffer behind it: out of resources, with the frame lost
                    card.stats.add("rx_resource_errors")
                    self.state = RU_NO_RESOURCES
                    card.interrupt(ACK_RNR)
                    return
                frame, size = frame[:room], room
                status = status & ~RFD_OK | regs.RFD_NO_BUFFER
            end = start + size
            if end > len(mem):
                raise BusError("receive buffer")
        except (BusError, StructError):
            card.master_abort()
            self.state = RU_IDLE
            return
        mem[start:end] = frame
        if faults.garbage_count:
            faults.garbage_count -= 1
            size = RFD_COUNT
        if faults.corrupt_rfd:
            faults.corrupt_rfd -= 1
            link = 0xDEAD_BEE0
            pack_into("<I", mem, at + 4, link)
        _store_word(mem, at + 12, RFD_EOF | RFD_F | size)
        _store_word(mem, at, RFD_C | status)  # last: the descriptor is the driver's from here on
        if status & RFD_OK:
            card.stats.counts[RX_GOOD] += 1
        self._at = self.base + link & _M32 if self.base else link
        if not command & (RFD_EL | RFD_S):
            card.interrupt(ACK_FR)
            return
        self.state = RU_NO_RESOURCES if command & RFD_EL else RU_SUSPENDED
        card.pause_peer()
        card.interrupt(ACK_FR | ACK_RNR)

    def _match(self, frame: bytes) -> int:
        """The status bits of a frame that is not sent to our address; 0 when it is not for us at all."""
        card = self._card
        config = card.config
        destination = frame[_DESTINATION]
        if len(destination) < 6:
            return RFD_OK if config.promiscuous or config.save_bad or not config.discard_short else self._runt()
        if frame[12:14] == _CONTROL and (destination == PAUSE_ADDRESS):
            self._control(frame)
            if config.reject_pause:
                return 0
        if destination == _BROADCAST:
            wanted = not config.broadcast_off
        elif destination[0] & 1:
            wanted = config.multicast_all or self._hash >> _bucket(destination) & 1 != 0
        else:
            wanted = False
        if wanted:
            return RFD_OK | RFD_NOT_IA
        return RFD_OK | RFD_NOT_IA | regs.RFD_NO_MATCH if config.promiscuous else 0

    def _runt(self) -> int:
        self._card.stats.add("rx_short_frames")
        return 0

    def _bad(self, frame: bytes, damage: int, status: int) -> int:
        """Count what is wrong with the frame; its status if it is kept all the same, else 0."""
        card = self._card
        config = card.config
        if not damage and len(frame) > _MAX_FRAME:
            if config.long_ok:
                return status
            self.oversize += 1
            return 0
        keep = config.save_bad
        if damage & DAMAGE_CRC:
            card.stats.add("rx_crc_errors")
            status = status & ~RFD_OK | regs.RFD_CRC
        if damage & DAMAGE_ALIGN:
            card.stats.add("rx_alignment_errors")
            status = status & ~RFD_OK | regs.RFD_ALIGN
        if not damage:
            card.stats.add("rx_short_frames")
            status = status & ~RFD_OK | regs.RFD_SHORT
            keep = not config.discard_short
        return status if keep else 0

    def _control(self, frame: bytes) -> None:
        """A MAC control frame (IEEE 802.3 annex 31B)."""
        card = self._card
        if frame[12:16] != _PAUSE or len(frame) < 18:
            card.stats.add("rx_unsupported_control")
        elif card.config.rx_pause and card.phy.full:
            card.stats.add("rx_pause")
            bit = 10 if card.phy.fast else 100
            card.cu.pause(int.from_bytes(frame[16:18], "big") * 512 * bit)
            card.interrupt(regs.ACK_FCP)


def _bucket(address: bytes) -> int:
    """Which of the 64 bits of the hash stands for ``address``."""
    return crc32(address) >> 2 & 63

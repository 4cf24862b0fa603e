"""What the CONFIGURE command tells the chip: 22 bytes of settings (SDM 6.4.2.3), decoded once.

Only what has an effect in the model is kept; FIFO thresholds, DMA counts and the like are accepted and forgotten.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

_POWER_UP: Final = bytes.fromhex("16 08 00 00 00 00 32 03 01 00 2e 00 60 00 f2 48 00 40 f2 80 3f 05")


class Config:
    """The chip's settings; those of a reset at first."""

    __slots__ = (
        "broadcast_off", "crc_transfer", "discard_short", "extended_stats", "insert_source", "keep_overruns", "long_ok",
        "loopback", "multicast_all", "pad", "pause_off", "plain", "promiscuous", "raw", "reject_pause", "rx_pause",
        "save_bad", "underrun_retry",
    )  # fmt: skip

    def __init__(self) -> None:
        self.load(_POWER_UP)

    def load(self, block: bytes) -> None:
        """Take over the bytes that are there: the first says how many count (SDM: at least 8), the rest stay."""
        count = min(block[0] & 0x3F, len(block), len(_POWER_UP))
        raw = bytearray(_POWER_UP)
        raw[:count] = block[:count]
        self.raw = bytes(raw)
        self.extended_stats = not raw[6] & 0x20
        self.keep_overruns = not raw[6] & 0x40
        self.save_bad = raw[6] & 0x80 != 0
        self.discard_short = raw[7] & 0x01 != 0
        self.underrun_retry = raw[7] >> 1 & 3
        self.insert_source = not raw[10] & 0x08
        self.loopback = raw[10] >> 6 != 0
        self.promiscuous = raw[15] & 0x01 != 0
        self.broadcast_off = raw[15] & 0x02 != 0
        self.pad = raw[18] & 0x02 != 0
        self.crc_transfer = raw[18] & 0x04 != 0
        self.plain = self.pad and not self.insert_source  # what is sent is padded, else left alone
        self.long_ok = raw[18] & 0x08 != 0
        self.pause_off = raw[19] & 0x04 != 0  # never send pause frames
        self.rx_pause = raw[19] & 0x18 != 0  # honour those that come
        self.reject_pause = raw[19] & 0x20 != 0  # and keep them from the host
        self.multicast_all = raw[21] & 0x08 != 0

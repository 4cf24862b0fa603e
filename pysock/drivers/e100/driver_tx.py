"""The driver's ring of command blocks: transmissions and, between them, commands to the chip.

    to_clean --done or under way--> to_use --free--> to_clean

The blocks form a circle by their links and EL is never set. The last block queued has S: the command unit suspends
there. Queueing another one clears S on that one and resumes the unit. A block holds one frame, right behind it
("simplified mode": it has to be copied to DMA memory anyway), or the data of a command. e100.c: e100_exec_cb,
e100_xmit_prepare, e100_tx_clean.
"""

from __future__ import annotations

import errno
from struct import Struct

from pysock.core.errors import err
from pysock.core.skbuff import CHECKSUM_PARTIAL, consume_skb, kfree_skb
from pysock.drivers.e100 import regs
from pysock.drivers.e100.driver_access import exec_cmd
from pysock.drivers.e100.regs import (
    CB_I,
    CB_S,
    CUC_RESUME,
    CUC_START,
    NO_TBD,
    OP_NOP,
    OP_TRANSMIT,
    SCB_COMMAND,
    TCB_EOF,
    TCB_SIZE,
)
from pysock.wire.checksum import remainder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.dma import DmaMemory
    from pysock.core.netdevice import NetDevice
    from pysock.core.pci import PciBar
    from pysock.core.skbuff import SkBuff

_STRIDE = 1600
MAX_FRAME = 1536
#: Blocks that transmissions leave to commands.
RESERVE = 3
#: A CX interrupt every so many frames, so that a busy wire is cleaned up behind.
_CX_EVERY = 16
THRESHOLD_STEP = 8
THRESHOLD_MAX = 0xE0

_store_start = Struct("<HH").pack_into  # status, command
_store_block = Struct("<HHIIHBB").pack_into  # CB_HEADER and TCB
_store_check = Struct("!H").pack_into
_int = int.from_bytes
_SEND = OP_TRANSMIT | CB_S
_DONE = (regs.CB_C | regs.CB_OK) >> 8


class TxRing:
    """``avail`` blocks are free, ``done`` were reclaimed since the ring was made. ``threshold`` (8 bytes) is what the
    chip's FIFO holds before it starts to send.
    """

    __slots__ = (
        "_at", "_base", "_blocks", "_csr", "_dma", "_first", "_last", "_mem", "avail", "count", "done", "skbs",
        "threshold", "to_clean", "to_use", "underruns",
    )  # fmt: skip

    def __init__(self, csr: PciBar, dma: DmaMemory, count: int, threshold: int) -> None:
        """ENOMEM when the device's memory is used up."""
        self._csr = csr
        self._dma = dma
        self._mem = dma.mem
        self.count = self.avail = count
        self.threshold = threshold
        self._base = dma.alloc(count * _STRIDE)
        self._at = [self._base + n * _STRIDE for n in range(count)]
        #: Of each: where it and its frame are, number and place of the next, and the command to send what it holds.
        self._blocks = [
            (at, at + TCB_SIZE, (n + 1) % count, self._at[(n + 1) % count], _SEND if n % _CX_EVERY else _SEND | CB_I)
            for n, at in enumerate(self._at)
        ]
        self.skbs: list[SkBuff | None] = [None] * count
        self.to_use = self.to_clean = 0
        self.done = self.underruns = 0
        self._first = True  # the unit is idle: the first block starts it
        self._last = self._at[-1] + 3  # the byte with S of the last block queued
        for n, at in enumerate(self._at):
            regs.CB_HEADER.pack_into(self._mem, at, 0, OP_NOP, self._at[(n + 1) % count])

    def send(self, skb: SkBuff, dev: NetDevice) -> bool:
        """Queue a frame of at most MAX_FRAME bytes; a block is free. False when the chip does not listen any more.

        If the chip is through with it at once, and there was nothing else, its block is taken back.
        """
        n = self.to_use
        at, start, behind, link, command = self._blocks[n]
        mem = self._mem
        size = skb.len
        head = skb.head
        data = skb.data
        end = start + size - skb.data_len
        mem[start:end] = head if not data and len(head) == end - start else head[data : data + end - start]
        for frag in skb.frags:
            begin = end
            end += len(frag)
            mem[begin:end] = frag
        if skb.ip_summed == CHECKSUM_PARTIAL:
            begin = start - data + (skb.transport_header if skb.ext is None else skb.csum_start)
            field = begin + skb.csum_offset
            if start < begin and field + 2 <= end:
                value = _int(mem[begin:end], "big")
                if (end - begin) & 1:
                    value <<= 8
                # Never 0, which UDP reads as "none".
                _store_check(mem, field, 0xFFFF - (value % 0xFFFF if size < 500 else remainder(value)))
        _store_block(mem, at, 0, command, link, NO_TBD, TCB_EOF | size, self.threshold, 0)
        mem[self._last] &= 0xBF  # no S on the one before
        self._last = at + 3
        self.skbs[n] = skb
        self.to_use = behind
        self.avail = avail = self.avail - 1
        csr = self._csr
        if self._first or csr.read8(SCB_COMMAND):
            return self._kick(at)
        csr.write8(SCB_COMMAND, CUC_RESUME)
        if mem[at + 1] == _DONE and n == self.to_clean:
            self.skbs[n] = None
            self.to_clean = behind
            self.avail = avail + 1
            self.done += 1
            stats = dev.stats
            stats.tx_packets += 1
            stats.tx_bytes += size
            consume_skb(skb)  # last, since its owner may send at once
        return True

    def command(self, opcode: int, data: bytes) -> bool:
        """Queue a command to the chip. False when there is no room or it does not listen."""
        if not self.avail:
            return False
        n = self.to_use
        at = self._at[n]
        self._mem[at + 8 : at + 8 + len(data)] = data
        self.skbs[n] = None
        return self._queue(n, at, opcode | CB_S)

    def _queue(self, n: int, at: int, command: int) -> bool:
        _store_start(self._mem, at, 0, command)
        self._mem[self._last] &= 0xBF
        self._last = at + 3
        self.to_use = n + 1 if n + 1 < self.count else 0
        self.avail -= 1
        return self._kick(at)

    def _kick(self, at: int) -> bool:
        """There is a new block ``at``: tell the chip."""
        if not self._first:
            return exec_cmd(self._csr, CUC_RESUME)
        self._first = False
        return exec_cmd(self._csr, CUC_START, at)

    def finished(self) -> bool:
        """Whether the oldest block is done."""
        return self.avail < self.count and self._mem[self._at[self.to_clean] + 1] & 0x80 != 0

    def clean(self, dev: NetDevice) -> int:
        """Take back what is done; how many blocks that were."""
        mem = self._mem
        stats = dev.stats
        cleaned = 0
        underran = False
        while self.avail < self.count:
            n = self.to_clean
            at = self._at[n]
            status = mem[at + 1]
            if not status & 0x80:
                break
            skb = self.skbs[n]
            if skb is not None:
                self.skbs[n] = None
                underran = underran or status & 0x10 != 0
                if status & 0x20:
                    stats.tx_packets += 1
                    stats.tx_bytes += skb.len
            self.to_clean = n + 1 if n + 1 < self.count else 0
            self.avail += 1
            cleaned += 1
            if skb is not None:
                consume_skb(skb)  # last, since its owner may send at once
        self.done += cleaned
        if underran:
            self.underruns += 1
            self.threshold = min(self.threshold + THRESHOLD_STEP, THRESHOLD_MAX)
        return cleaned

    def free(self, dev: NetDevice) -> None:
        """The chip is stopped: drop what it has not sent, and give the memory back."""
        for n, skb in enumerate(self.skbs):
            if skb is not None:
                dev.stats.tx_dropped += 1
                self.skbs[n] = None
                kfree_skb(skb, "DEV_READY")
        self._dma.free(self._base)
        self.avail = 0


def check_ring(name: str, count: object, low: int, high: int) -> int:
    """A ring size that somebody asked for. EINVAL unless it is an int between the two."""
    if not isinstance(count, int) or not low <= count <= high:
        raise err(errno.EINVAL, f"e100: {name} must be {low} to {high}, not {count!r:.40}")
    return count

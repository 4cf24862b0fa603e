"""The driver's ring of command blocks: transmissions and, between them, commands to the chip.

    to_clean --done or under way--> to_use --free--> to_clean

The blocks form a circle by their links and EL is never set. The last block queued has S: the command unit suspends
there. Queueing another one clears S on that one and resumes the unit. A block holds one frame in a buffer of its own,
or the data of a command. e100.c: e100_exec_cb, e100_xmit_prepare, e100_tx_clean.
"""

from __future__ import annotations

import errno
from struct import Struct

from pysock.core.errors import err
from pysock.core.skbuff import CHECKSUM_PARTIAL, consume_skb, kfree_skb
from pysock.drivers.e100 import driver_sum, regs
from pysock.drivers.e100.driver_access import exec_cmd
from pysock.drivers.e100.regs import (
    CB_I,
    CB_S,
    CB_SF,
    CUC_RESUME,
    CUC_START,
    OP_NOP,
    OP_TRANSMIT,
    TBD,
    TCB,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.dma import DmaMemory
    from pysock.core.netdevice import NetDevice
    from pysock.core.pci import PciBar
    from pysock.core.skbuff import SkBuff

_TBD = 16  # of the one TBD in its block
_DATA = 64  # of the buffer
_STRIDE = 1600
MAX_FRAME = _STRIDE - _DATA
#: Blocks that transmissions leave to commands.
RESERVE = 3
#: A CX interrupt every so many frames, so that a busy wire is cleaned up behind.
_CX_EVERY = 16
THRESHOLD_STEP = 8
THRESHOLD_MAX = 0xE0

_store_start = Struct("<HH").pack_into  # status, command
_store_size = Struct("<H").pack_into


class TxRing:
    """``avail`` blocks are free, ``done`` were reclaimed since the ring was made. ``threshold`` (8 bytes) is what the
    chip's FIFO holds before it starts to send.
    """

    __slots__ = (
        "_at", "_base", "_csr", "_dma", "_first", "_last", "_mem", "avail", "count", "done", "skbs", "threshold",
        "to_clean", "to_use", "underruns",
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
        self.skbs: list[SkBuff | None] = [None] * count
        self.to_use = self.to_clean = 0
        self.done = self.underruns = 0
        self._first = True  # the unit is idle: the first block starts it
        self._last = self._at[-1]
        for n, at in enumerate(self._at):
            regs.CB_HEADER.pack_into(self._mem, at, 0, OP_NOP, self._at[(n + 1) % count])
            TBD.pack_into(self._mem, at + _TBD, at + _DATA, 0, regs.TBD_EL)
        self._write_tcbs()

    def _write_tcbs(self) -> None:
        for at in self._at:
            TCB.pack_into(self._mem, at + 8, at + _TBD, 0, self.threshold, 1)

    def send(self, skb: SkBuff) -> bool:
        """Queue a frame of at most MAX_FRAME bytes; a block is free. False when the chip does not listen any more."""
        n = self.to_use
        at = self._at[n]
        mem = self._mem
        size = skb.len
        data = skb.data
        head = skb.head
        start = at + _DATA
        headlen = size - skb.data_len
        end = start + headlen
        mem[start:end] = head if len(head) == headlen else head[data : data + headlen]
        for frag in skb.frags:
            start = end
            end += len(frag)
            mem[start:end] = frag
        if skb.ip_summed == CHECKSUM_PARTIAL:
            start = at + _DATA + skb.csum_start - data
            if start > at + _DATA and start + skb.csum_offset + 2 <= end:
                driver_sum.finish(mem, start, end, skb.csum_offset)
        _store_size(mem, at + _TBD + 4, size)
        self.skbs[n] = skb
        command = OP_TRANSMIT | CB_SF | CB_S
        return self._queue(n, at, command if n % _CX_EVERY else command | CB_I)

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
        mem = self._mem
        _store_start(mem, at, 0, command)
        self.to_use = n + 1 if n + 1 < self.count else 0
        self.avail -= 1
        mem[self._last + 3] &= 0xBF  # no S on the one before
        self._last = at
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
            else:
                # A command's data overwrote what a transmission finds prepared.
                TCB.pack_into(mem, at + 8, at + _TBD, 0, self.threshold, 1)
                TBD.pack_into(mem, at + _TBD, at + _DATA, 0, regs.TBD_EL)
            mem[at + 1] = 0
            self.to_clean = n + 1 if n + 1 < self.count else 0
            self.avail += 1
            cleaned += 1
            if skb is not None:
                consume_skb(skb)  # last, since its owner may send at once
        self.done += cleaned
        if underran:
            self.underruns += 1
            self.threshold = min(self.threshold + THRESHOLD_STEP, THRESHOLD_MAX)
            for n in range(self.count):
                mem[self._at[n] + 14] = self.threshold
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

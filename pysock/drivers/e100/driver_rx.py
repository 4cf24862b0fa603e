"""The driver's ring of receive frame descriptors, each with its buffer. e100.c: e100_rx_clean, e100_rx_indicate.

The descriptors form a circle by their links. The one behind which the next is not free yet has EL: the receive unit
stops there ("no resources") rather than overwrite what nobody has looked at. Passes hand frames up, and when there are
enough of them, or the unit has stopped, give their descriptors back: EL moves to the last of those, and the unit is
started again at the first if it had stopped.
"""

from __future__ import annotations

from struct import Struct

from pysock.core.eth import eth_type_trans
from pysock.core.netdev_features import NETIF_F_RXCSUM
from pysock.core.skbuff import CHECKSUM_NONE, CHECKSUM_UNNECESSARY, SkBuff, received_skb
from pysock.drivers.e100 import regs
from pysock.drivers.e100.driver_access import exec_cmd
from pysock.drivers.e100.driver_sum import verified
from pysock.drivers.e100.regs import RFD, RFD_COUNT, RFD_EL, RFD_SIZE, RUC_START

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pysock.core.dma import DmaMemory
    from pysock.core.netdevice import NetDevice
    from pysock.core.pci import PciBar

    Deliver = Callable[[SkBuff], object]

#: VLAN header and FCS may come with a full frame.
BUFFER = 1536
_STRIDE = RFD_SIZE + BUFFER + 48
_SHORTEST = 60
#: One in so many descriptors is waited for before they are given back.
_BATCH = 64
_load_count = Struct("<H").unpack_from
_EL = RFD_EL >> 8


class RxRing:
    """``owed`` descriptors are done but not given back; ``restarts`` counts how often the chip had run out of them.
    ``count`` is 0 when the ring is gone.
    """

    __slots__ = (
        "_at", "_base", "_batch", "_blocks", "_csr", "_dma", "_last", "_mem", "count", "owed", "restarts", "to_clean",
    )  # fmt: skip

    def __init__(self, csr: PciBar, dma: DmaMemory, count: int) -> None:
        """ENOMEM when the device's memory is used up."""
        self._csr = csr
        self._dma = dma
        self._mem = dma.mem
        self.count = count
        self._base = dma.alloc(count * _STRIDE)
        self._at = [self._base + n * _STRIDE for n in range(count)]
        #: Of each: where the byte of its status, its count and its frame are, and the number of the next.
        self._blocks = [(at + 1, at + 12, at + RFD_SIZE, (n + 1) % count) for n, at in enumerate(self._at)]
        self.to_clean = 0
        self.restarts = self.owed = 0
        self._batch = max(1, count // _BATCH)
        for n, at in enumerate(self._at):
            RFD.pack_into(self._mem, at, 0, 0, self._at[(n + 1) % count], regs.NO_TBD, 0, BUFFER)
        self._last = count - 1  # has EL
        self._mem[self._at[-1] + 3] = _EL

    def start(self) -> bool:
        """Let the chip receive. False when it does not listen."""
        return exec_cmd(self._csr, RUC_START, self._at[self.to_clean])

    def clean(self, budget: int, dev: NetDevice, deliver: Deliver, together: Deliver | None = None) -> int:
        """Hand at most ``budget`` frames to ``deliver``; how many descriptors were taken back.

        ``together``, in a poll, gets them instead when there is more than one; they are counted here then.
        """
        mem = self._mem
        blocks = self._blocks
        n = self.to_clean
        verify = dev.features & NETIF_F_RXCSUM
        address = dev.dev_addr
        work = total = bad = 0
        at, word, start, behind = blocks[n]
        status = mem[at]
        while status > 0x7F and work < budget:
            mem[at] = 0
            size = _load_count(mem, word)[0] & RFD_COUNT
            frame = mem[start : start + size]
            work += 1
            n = behind
            at, word, start, behind = blocks[n]
            if not _SHORTEST <= size <= BUFFER or not status & 0x20:
                bad += 1
                self._bad(dev, status)
                status = mem[at]
                continue
            total += size
            payload = verified(frame, size) if verify else 0
            if frame.startswith(address) and frame[12] > 5:
                # eth_type_trans() for the common case: to us, and no 802.3 length
                if 0 < payload < size:
                    tail = frame[payload:]
                    skb = received_skb(frame[:payload], size - payload, (tail,), dev, CHECKSUM_UNNECESSARY)
                else:
                    skb = received_skb(frame, 0, (), dev, CHECKSUM_UNNECESSARY if payload else CHECKSUM_NONE)
            else:
                skb = SkBuff(frame, 0, size)
                skb.ip_summed = CHECKSUM_UNNECESSARY if payload else CHECKSUM_NONE
                eth_type_trans(skb, dev)
            if together is not None and (work > 1 or mem[at] > 0x7F):
                deliver = together  # one frame alone has nothing to be glued to
            deliver(skb)
            if not self.count:
                break  # what was received took the device down
            status = mem[at]
        if together is not None:
            stats = dev.stats
            stats.rx_packets += work - bad
            stats.rx_bytes += total
        if work and self.count:
            self.to_clean = n
            self.owed = owed = self.owed + work
            if owed >= self._batch:
                self._give_back(owed)
        return work

    def _bad(self, dev: NetDevice, status: int) -> None:
        """A frame that the chip found fault with, or whose count makes no sense."""
        dev.stats.rx_errors += 1
        if status & 0x20:
            dev.stats.rx_length_errors += 1

    def _give_back(self, owed: int) -> None:
        """Give ``owed`` descriptors back, which follow the old end of the free ones. When that was filled the chip
        stopped there, and goes on behind it.
        """
        mem = self._mem
        ats = self._at
        before = self._last
        last = (self.to_clean or self.count) - 1
        stopped = mem[ats[before] + 1] > 0x7F or owed == self.count
        if before != last:
            mem[ats[last] + 3] = _EL
            mem[ats[before] + 3] = 0
            self._last = last
        self.owed = 0
        if stopped:
            self.restarts += 1
            exec_cmd(self._csr, RUC_START, ats[before + 1 if before + 1 < self.count else 0])

    def peek(self) -> bytes | None:
        """The frame in the next descriptor, left there; None if there is none."""
        at = self._at[self.to_clean]
        size = _load_count(self._mem, at + 12)[0] & RFD_COUNT
        return self._mem[at + RFD_SIZE : at + RFD_SIZE + size] if self.waiting() else None

    def waiting(self) -> bool:
        """Whether there is a frame that nobody has looked at."""
        return self._mem[self._at[self.to_clean] + 1] > 0x7F

    def free(self) -> None:
        """The chip is stopped: give the memory back."""
        self._dma.free(self._base)
        self.count = 0

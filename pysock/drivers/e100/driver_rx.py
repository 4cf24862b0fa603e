"""The driver's ring of receive frame descriptors, each with its buffer. e100.c: e100_rx_clean, e100_rx_indicate.

The descriptors form a circle by their links. The one behind which the next is not free yet has EL: the receive unit
stops there ("no resources") rather than overwrite what nobody has looked at. Each pass hands the frames up, gives their
descriptors back, moves EL to the last of those, and starts the unit again at the first if it had stopped.
"""

from __future__ import annotations

from struct import Struct

from pysock.core.eth import eth_type_trans
from pysock.core.netdev_features import NETIF_F_RXCSUM
from pysock.core.skbuff import SkBuff, kfree_skb
from pysock.drivers.e100 import regs
from pysock.drivers.e100.driver_access import exec_cmd
from pysock.drivers.e100.driver_sum import build_skb
from pysock.drivers.e100.regs import RFD, RFD_COUNT, RFD_EL, RFD_SIZE, RUC_START

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pysock.core.dma import DmaMemory
    from pysock.core.netdevice import NetDevice
    from pysock.core.pci import PciBar

#: VLAN header and FCS may come with a full frame.
BUFFER = 1536
_STRIDE = RFD_SIZE + BUFFER + 48
_load_count = Struct("<H").unpack_from
_EL = RFD_EL >> 8


class RxRing:
    """``restarts`` counts how often the chip had run out of descriptors. ``count`` is 0 when the ring is gone."""

    __slots__ = ("_at", "_base", "_csr", "_dma", "_last", "_mem", "count", "restarts", "to_clean")

    def __init__(self, csr: PciBar, dma: DmaMemory, count: int) -> None:
        """ENOMEM when the device's memory is used up."""
        self._csr = csr
        self._dma = dma
        self._mem = dma.mem
        self.count = count
        self._base = dma.alloc(count * _STRIDE)
        self._at = [self._base + n * _STRIDE for n in range(count)]
        self.to_clean = 0
        self.restarts = 0
        for n, at in enumerate(self._at):
            RFD.pack_into(self._mem, at, 0, 0, self._at[(n + 1) % count], regs.NO_TBD, 0, BUFFER)
        self._last = count - 1  # has EL
        self._mem[self._at[-1] + 3] = _EL

    def start(self) -> bool:
        """Let the chip receive. False when it does not listen."""
        return exec_cmd(self._csr, RUC_START, self._at[self.to_clean])

    def clean(self, budget: int, dev: NetDevice, deliver: Callable[[SkBuff], object]) -> int:
        """Hand at most ``budget`` frames to ``deliver``; how many descriptors were taken back."""
        mem = self._mem
        first = n = self.to_clean
        work = 0
        verify = dev.features & NETIF_F_RXCSUM
        while work < budget:
            at = self._at[n]
            if not mem[at + 1] & 0x80:
                break
            size = _load_count(mem, at + 12)[0] & RFD_COUNT
            good = mem[at + 1] & 0x20
            mem[at : at + 4] = b"\0\0\0\0"
            n = n + 1 if n + 1 < self.count else 0
            work += 1
            if size > BUFFER or not good:
                self._bad(dev, size > BUFFER)
                continue
            start = at + RFD_SIZE
            frame = bytes(mem[start : start + size])
            skb = build_skb(frame, size) if verify else SkBuff(frame, 0, size)
            if eth_type_trans(skb, dev):
                deliver(skb)
                if not self.count:
                    return work  # what was received took the device down
            else:
                kfree_skb(skb, "PKT_TOO_SMALL")
        if work:
            self.to_clean = n
            self._give_back((n or self.count) - 1, first, work)
        return work

    def _bad(self, dev: NetDevice, too_long: bool) -> None:
        """A frame that the chip found fault with, or whose count makes no sense."""
        dev.stats.rx_errors += 1
        if too_long:
            dev.stats.rx_length_errors += 1

    def _give_back(self, last: int, first: int, work: int) -> None:
        """``last`` is the new end of the free descriptors. ``first``, the first of the ``work`` given back, follows the
        old end. When that was filled the chip stopped there, and goes on behind it.
        """
        mem = self._mem
        stopped = work == self.count or mem[self._at[self._last] + 1] & 0x80
        mem[self._at[last] + 3] = _EL
        if self._last != last:
            mem[self._at[self._last] + 3] = 0
        self._last = last
        if stopped:
            self.restarts += 1
            exec_cmd(self._csr, RUC_START, self._at[first])

    def waiting(self, ahead: int = 0) -> bool:
        """Whether there is a frame that nobody has looked at, behind ``ahead`` others."""
        return self._mem[self._at[(self.to_clean + ahead) % self.count] + 1] & 0x80 != 0

    def free(self) -> None:
        """The chip is stopped: give the memory back."""
        self._dma.free(self._base)
        self.count = 0

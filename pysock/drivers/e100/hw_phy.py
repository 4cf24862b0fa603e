"""The PHY on the card, an Intel 82555, at MII address 1: registers, link, autonegotiation (IEEE 802.3 clauses 22, 28).

Negotiation takes no time. Its result is the best mode that both ends advertise; without it BMCR says speed and duplex.
"""

from __future__ import annotations

from pysock.core.wire import ABLE_10FULL, ABLE_10HALF, ABLE_100FULL, ABLE_100HALF, ABLE_ALL, ABLE_PAUSE, WirePort
from pysock.drivers.e100 import regs

PHY_ADDRESS = 1
_SELECTOR = 0x0001  # 802.3
_ABILITIES = 0x7808  # BMSR: 100/10 full and half, able to negotiate
#: Best first (clause 28B.3): the ability, whether it is 100 Mbit/s, whether it is full duplex.
_PRIORITY = ((ABLE_100FULL, 1, 1), (ABLE_100HALF, 1, 0), (ABLE_10FULL, 0, 1), (ABLE_10HALF, 0, 0))
_POWER_UP = regs.BMCR_ANENABLE | regs.BMCR_SPEED100


class Phy:
    """Between the MAC and the wire port ``port``. ``link``, ``fast`` and ``full`` are what the MAC sees; what it
    sends while ``looped`` comes back to it.
    """

    __slots__ = ("_anar", "_bmcr", "_link_latch", "fast", "full", "link", "looped", "partner", "pause", "port")

    def __init__(self, port: WirePort) -> None:
        self.port = port
        self.link = False
        self.fast = self.full = self.pause = False
        self.looped = False
        self.partner = 0
        self._bmcr = _POWER_UP
        self._anar = _SELECTOR | ABLE_ALL
        self._link_latch = False  # BMSR holds a link failure until it was read

    def reset(self) -> None:
        self._bmcr = _POWER_UP
        self._anar = _SELECTOR | ABLE_ALL
        self.update()

    def update(self) -> bool:
        """Look at the wire again; whether link, speed or duplex changed."""
        before = (self.link, self.fast, self.full, self.pause)
        self.looped = self._bmcr & regs.BMCR_LOOPBACK != 0
        deaf = self._bmcr & (regs.BMCR_PDOWN | regs.BMCR_ISOLATE)
        self.port.advertise(0 if deaf else self._offered())
        self.partner = self.port.partner()
        self.link = not deaf and self.port.link()
        self.fast = self.full = self.pause = False
        if self.link and self._bmcr & regs.BMCR_ANENABLE:
            common = self._anar & self.partner
            for ability, fast, full in _PRIORITY:
                if common & ability:
                    self.fast, self.full = bool(fast), bool(full)
                    self.pause = self.full and common & ABLE_PAUSE != 0
                    break
            else:
                self.link = False  # nothing in common
        elif self.link:
            self.fast = self._bmcr & regs.BMCR_SPEED100 != 0
            self.full = self._bmcr & regs.BMCR_FULLDPLX != 0
        if not self.link:
            self._link_latch = False
        return before != (self.link, self.fast, self.full, self.pause)

    def _offered(self) -> int:
        if self._bmcr & regs.BMCR_ANENABLE:
            return self._anar & ABLE_ALL
        if self._bmcr & regs.BMCR_SPEED100:
            return ABLE_100FULL if self._bmcr & regs.BMCR_FULLDPLX else ABLE_100HALF
        return ABLE_10FULL if self._bmcr & regs.BMCR_FULLDPLX else ABLE_10HALF

    def read(self, address: int, register: int) -> int:
        """An MDI read: 16 bits; all ones where nobody answers."""
        if address != PHY_ADDRESS:
            return 0xFFFF
        if register == regs.MII_BMCR:
            return self._bmcr
        if register == regs.MII_BMSR:
            linked, self._link_latch = self._link_latch, self.link
            return _ABILITIES | (regs.BMSR_LSTATUS if linked else 0) | (regs.BMSR_ANEGCOMPLETE if self._done() else 0)
        if register == regs.MII_PHYSID1:
            return regs.PHY_82555_ID >> 16
        if register == regs.MII_PHYSID2:
            return regs.PHY_82555_ID & 0xFFFF
        if register == regs.MII_ADVERTISE:
            return self._anar
        if register == regs.MII_LPA:
            return self.partner | _SELECTOR | 0x4000 if self._done() else 0
        if register == regs.MII_EXPANSION:
            return 0x0001 if self._done() else 0
        if register == regs.MII_82555_STATUS:
            return self.full | self.fast << 1
        return 0

    def write(self, address: int, register: int, value: int) -> bool:
        """An MDI write; whether the link changed by it."""
        if address != PHY_ADDRESS:
            return False
        if register == regs.MII_BMCR:
            if value & regs.BMCR_RESET:
                self._bmcr = _POWER_UP
                self._anar = _SELECTOR | ABLE_ALL
            else:
                self._bmcr = value & ~regs.BMCR_ANRESTART & 0xFFFF
        elif register == regs.MII_ADVERTISE:
            self._anar = value & 0xFFFF
        else:
            return False
        return self.update()

    def _done(self) -> bool:
        return self.link and self._bmcr & regs.BMCR_ANENABLE != 0

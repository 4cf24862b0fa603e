"""One device of a bond, and what the bond believes about its link (bond_miimon_inspect, bond_miimon_commit).

    UP --link lost--> FAIL --downdelay over--> DOWN --link found--> BACK --updelay over--> UP
    FAIL goes back to UP, and BACK to DOWN, when the link changes its mind. A delay of 0 passes at once.
"""

from __future__ import annotations

from pysock.core.netdev_upper import LowerFilter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from pysock.core.netdevice import NetDevice

LINK_UP: Final = 0
LINK_FAIL: Final = 1
LINK_DOWN: Final = 2
LINK_BACK: Final = 3
LINK_NAMES = ("up", "going down", "down", "going back")


class Slave:
    """``until`` is the instant (monotonic ns) at which FAIL or BACK is over; ``address`` and ``mtu`` are what the
    device had before and gets back.
    """

    __slots__ = ("address", "dev", "failures", "filter", "link", "mtu", "until")

    def __init__(self, dev: NetDevice) -> None:
        self.dev = dev
        self.address = dev.dev_addr
        self.mtu = dev.mtu
        self.link = LINK_UP
        self.until = 0
        self.failures = 0
        self.filter = LowerFilter(dev)

    @property
    def has_link(self) -> bool:
        """What MII would say: up, and there is carrier."""
        return self.dev.running and self.dev.carrier

    @property
    def usable(self) -> bool:
        """Whether packets may go this way (bond_slave_can_tx)."""
        return self.link in (LINK_UP, LINK_FAIL) and self.dev.running

    @property
    def waits(self) -> bool:
        return self.link in (LINK_FAIL, LINK_BACK)

    def inspect(self, now: int, updelay: int, downdelay: int) -> bool:
        """Look at the link at the instant ``now``; delays in ns. True when it came to be UP or DOWN."""
        before = self.link
        if self.has_link:
            if before == LINK_FAIL:
                self.link = LINK_UP
                return False
            if before == LINK_DOWN:
                self.link = LINK_BACK
                self.until = now + updelay
            if self.link == LINK_BACK and now >= self.until:
                self.link = LINK_UP
        else:
            if before == LINK_BACK:
                self.link = LINK_DOWN
                return False
            if before == LINK_UP:
                self.link = LINK_FAIL
                self.until = now + downdelay
            if self.link == LINK_FAIL and now >= self.until:
                self.link = LINK_DOWN
                self.failures += 1
        return self.link != before and not self.waits

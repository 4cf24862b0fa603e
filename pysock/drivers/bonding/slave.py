"""One device of a bond, and what the bond believes about its link (bond_miimon_inspect, bond_miimon_commit).

    UP --link lost--> FAIL --downdelay over--> DOWN --link found--> BACK --updelay over--> UP
    FAIL goes back to UP, and BACK to DOWN, when the link changes its mind. A delay of 0 passes at once.

That is with miimon; with the ARP monitor (arpmon.py) a slave is UP or DOWN, or BACK while it is tried.
"""

from __future__ import annotations

from pysock.core.netdev_upper import LowerFilter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from pysock.core.netdevice import NetDevice
    from pysock.drivers.bonding.ad import AdPort
    from pysock.drivers.bonding.options import BondParams

LINK_UP: Final = 0
LINK_FAIL: Final = 1
LINK_DOWN: Final = 2
LINK_BACK: Final = 3
LINK_NAMES = ("up", "going down", "down", "going back")
_NEVER = -(1 << 62)


class Slave:
    """``until`` is the instant (monotonic ns) at which FAIL or BACK is over; ``address`` and ``mtu`` are what the
    device had before and gets back. ``last_rx``, ``last_tx`` and ``last_link_up`` are instants, ``heard`` has the one
    at which each ARP target was heard; ``ad`` is its port in 802.3ad.
    """

    __slots__ = (
        "ad", "address", "dev", "failures", "filter", "heard", "last_link_up", "last_rx", "last_tx", "link", "mtu",
        "until",
    )  # fmt: skip

    def __init__(self, dev: NetDevice) -> None:
        self.dev = dev
        self.address = dev.dev_addr
        self.mtu = dev.mtu
        self.link = LINK_UP
        self.until = 0
        self.failures = 0
        self.filter = LowerFilter(dev)
        self.last_rx = self.last_tx = self.last_link_up = _NEVER
        self.heard: dict[bytes, int] = {}
        self.ad: AdPort | None = None

    @property
    def has_link(self) -> bool:
        """What MII would say: up, and there is carrier."""
        return self.dev.running and self.dev.carrier

    @property
    def linked(self) -> bool:
        """The bond believes in its link."""
        return self.link in (LINK_UP, LINK_FAIL) and self.dev.running

    @property
    def usable(self) -> bool:
        """Whether packets may go this way (bond_slave_can_tx)."""
        return self.link in (LINK_UP, LINK_FAIL) and self.dev.running and (self.ad is None or self.ad.enabled)

    @property
    def waits(self) -> bool:
        return self.link in (LINK_FAIL, LINK_BACK)

    def set_link(self, link: int, now: int) -> None:
        """It is found to be so at the instant ``now``."""
        self.link = link
        if link == LINK_UP:
            self.last_link_up = now

    def heard_from(self, params: BondParams) -> int:
        """slave_last_rx(): when something that counts was heard, of all targets if all have to answer."""
        if params.arp_all_targets and params.arp_validate and params.arp_ip_target:
            return min(self.heard.get(target, _NEVER) for target in params.arp_ip_target)
        return self.last_rx

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
                self.set_link(LINK_UP, now)
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

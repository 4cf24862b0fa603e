"""Datagrams that cannot be right where they came in: martians (RFC 1812 5.3.7; ip_handle_martian_source).

They are dropped and counted, and with net.ipv4.conf.DEV.log_martians (or "all") named in the kernel's log, at most
ten in five seconds (net_ratelimit).
"""

from __future__ import annotations

from pysock.core.clock import NSEC_PER_SEC
from pysock.families.inet.devinet import in_device
from pysock.wire.addr import inet_ntoa

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from pysock.core.netdevice import NetDevice
    from pysock.families.inet.net import InetNet

_BURST: Final = 10
_INTERVAL: Final = 5 * NSEC_PER_SEC


class Martians:
    """How many came: by their source (in_martian_src of /proc/net/stat/rt_cache), by their destination."""

    __slots__ = ("destinations", "since", "sources", "told")

    def __init__(self) -> None:
        self.sources = self.destinations = 0
        self.told = self.since = 0

    def may_tell(self, now: int) -> bool:
        """Whether one more may be logged."""
        if now >= self.since + _INTERVAL:
            self.since, self.told = now, 0
        self.told += 1
        return self.told <= _BURST


def martians_of(inet: InetNet) -> Martians:
    """Those of a namespace."""
    found = inet.state.get("martians")
    if not isinstance(found, Martians):
        found = inet.state["martians"] = Martians()
    return found


def martian(inet: InetNet, dev: NetDevice, saddr: bytes, daddr: bytes, source: bool = True) -> int:
    """Count one, wrong for its source or its destination. 0, as `route.input_type` says "drop it"."""
    seen = martians_of(inet)
    if source:
        seen.sources += 1
    else:
        seen.destinations += 1
    state = in_device(dev)
    if (state.conf.log_martians or state.all.log_martians) and seen.may_tell(inet.kernel.now):
        kind, where = ("source", "on dev") if source else ("destination", "dev")
        inet.kernel.errors.note(
            f"IPv4: martian {kind} {inet_ntoa(daddr)} from {inet_ntoa(saddr)}, {where} {dev.name}"
        )
    return 0

"""The tunables of the neighbour tables: one `NeighParms` a device and family, net.<family>.neigh.<device>.* as sysctls.

A device starts with a copy of the defaults; what is written to "default" later concerns the devices that come later,
as in Linux. The sysctls of a device are made when somebody looks at them (`SysctlTable.register_lazy`).
Source: NEIGH_VAR_* in include/net/neighbour.h, ip-sysctl.rst.
"""

from __future__ import annotations

from pysock.core.clock import NSEC_PER_MSEC, NSEC_PER_SEC

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from pysock.core.kernel import Kernel
    from pysock.core.sysctl import SysctlTable

_TICK: Final = NSEC_PER_SEC // 100  # USER_HZ: the unit of the old names
_INT_MAX: Final = (1 << 31) - 1
#: How often reachable_time is drawn anew.
_RANDOM_EVERY: Final = 300 * NSEC_PER_SEC
#: unres_qlen counts packets of this truesize.
_PACKET: Final = 2304 + 320

#: sysctl -> attribute, unit (ns; 1: a plain number)
_NAMES: Final[dict[str, tuple[str, int]]] = {
    "anycast_delay": ("anycast_delay", _TICK),
    "app_solicit": ("app_probes", 1),
    "base_reachable_time": ("base_reachable_time", NSEC_PER_SEC),
    "base_reachable_time_ms": ("base_reachable_time", NSEC_PER_MSEC),
    "delay_first_probe_time": ("delay_probe_time", NSEC_PER_SEC),
    "gc_stale_time": ("gc_stale_time", NSEC_PER_SEC),
    "interval_probe_time_ms": ("interval_probe_time", NSEC_PER_MSEC),
    "locktime": ("locktime", _TICK),
    "mcast_resolicit": ("mcast_reprobes", 1),
    "mcast_solicit": ("mcast_probes", 1),
    "proxy_delay": ("proxy_delay", _TICK),
    "proxy_qlen": ("proxy_qlen", 1),
    "retrans_time": ("retrans_time", _TICK),
    "retrans_time_ms": ("retrans_time", NSEC_PER_MSEC),
    "ucast_solicit": ("ucast_probes", 1),
    "unres_qlen": ("queue_len_bytes", _PACKET),
    "unres_qlen_bytes": ("queue_len_bytes", 1),
}


class NeighParms:
    """How neighbours of one device are looked after (struct neigh_parms). Times in ns.

    ``reachable_time`` is how long a confirmation lasts: drawn evenly from half to one and a half of
    ``base_reachable_time`` (RFC 4861 6.3.2), anew every 300 s and when the base changes.

    An instance holds only what was changed, the class the rest. Chance comes from the stream ``concern``.
    """

    base_reachable_time: int = 30 * NSEC_PER_SEC
    retrans_time: int = NSEC_PER_SEC
    delay_probe_time: int = 5 * NSEC_PER_SEC
    gc_stale_time: int = 60 * NSEC_PER_SEC
    interval_probe_time: int = 5 * NSEC_PER_SEC
    locktime: int = NSEC_PER_SEC
    anycast_delay: int = NSEC_PER_SEC
    proxy_delay: int = 4 * NSEC_PER_SEC // 5
    proxy_qlen: int = 64
    queue_len_bytes: int = 212992
    ucast_probes: int = 3
    mcast_probes: int = 3
    mcast_reprobes: int = 0
    app_probes: int = 0
    _drawn_at = 0
    _drawn_from = 0
    _reachable = 0

    def __init__(self, kernel: Kernel, concern: str) -> None:
        self._kernel = kernel
        self._concern = concern

    def copy(self) -> NeighParms:
        """The same values for another device, with a reachable_time of its own."""
        new = NeighParms(self._kernel, self._concern)
        vars(new).update((name, value) for name, value in vars(self).items() if name[0] != "_")
        return new

    @property
    def reachable_time(self) -> int:
        base = self.base_reachable_time
        now = self._kernel.now
        if base != self._drawn_from or now - self._drawn_at >= _RANDOM_EVERY:
            self._drawn_from = base
            self._drawn_at = now
            self._reachable = base // 2 + self._kernel.random(self._concern).randrange(base) if base else 0
        return self._reachable


def register_parms(table: SysctlTable, below: str, parms: NeighParms) -> None:
    """Make the sysctls of ``parms`` below ``below``, for instance "net.ipv4.neigh.eth0"."""
    for name, (attribute, unit) in _NAMES.items():
        value = min(getattr(parms, attribute) // unit, _INT_MAX)
        on_change = _setter(table, below, parms, name, attribute, unit)
        table.register_int(f"{below}.{name}", value, 0, on_change=on_change)


def _setter(
    table: SysctlTable, below: str, parms: NeighParms, name: str, attribute: str, unit: int
) -> Callable[[int], None]:
    def store(value: int) -> None:
        setattr(parms, attribute, value * unit)
        for other, (same, factor) in _NAMES.items():  # the second name for the same value shows it too
            if same == attribute and other != name:
                table.show(f"{below}.{other}", min(value * unit // factor, _INT_MAX))

    return store

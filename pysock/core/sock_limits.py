"""SockLimits: how large the buffers of sockets are, and may be made (socket(7); net/core/sysctl_net_core.c)."""

from __future__ import annotations

from functools import partial

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from pysock.core.sysctl import SysctlTable

#: What Linux has on x86-64, in bytes; buffers count the truesize of packets.
_DEFAULTS: Final = {"rmem_max": 212_992, "wmem_max": 212_992, "rmem_default": 212_992, "wmem_default": 212_992}
OPTMEM_MAX: Final = 131_072
SOCK_MIN_RCVBUF: Final = 2304
SOCK_MIN_SNDBUF: Final = 4608


class SockLimits:
    """The sysctls net.core.{rmem,wmem}_{default,max} and optmem_max of one namespace, in bytes."""

    __slots__ = ("optmem_max", "rmem_default", "rmem_max", "wmem_default", "wmem_max")

    def __init__(self, sysctl: SysctlTable) -> None:
        self.rmem_default = self.wmem_default = self.rmem_max = self.wmem_max = 0
        for name, value in _DEFAULTS.items():
            setattr(self, name, value)
            least = SOCK_MIN_RCVBUF if name[0] == "r" else SOCK_MIN_SNDBUF
            sysctl.register_int(f"net.core.{name}", value, least, on_change=partial(setattr, self, name))
        self.optmem_max = OPTMEM_MAX
        sysctl.register_int("net.core.optmem_max", OPTMEM_MAX, 0, on_change=partial(setattr, self, "optmem_max"))

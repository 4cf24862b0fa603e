"""SockLimits: how large the buffers of sockets are, and may be made (socket(7); net/core/sysctl_net_core.c)."""

from __future__ import annotations

from functools import partial

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from pysock.core.sysctl import SysctlTable

#: What Linux has on x86-64, in bytes; buffers count the truesize of packets.
_BUFFER: Final = 212_992
OPTMEM_MAX: Final = 131_072
SOCK_MIN_RCVBUF: Final = 2304
SOCK_MIN_SNDBUF: Final = 4608


class SockLimits:
    """The sysctls net.core.{rmem,wmem}_{default,max} and optmem_max of one namespace, in bytes."""

    __slots__ = ("_sysctl", "optmem_max", "rmem_default", "rmem_max", "wmem_default", "wmem_max")

    def __init__(self, sysctl: SysctlTable) -> None:
        self.rmem_default = self.wmem_default = self.rmem_max = self.wmem_max = _BUFFER
        self.optmem_max = OPTMEM_MAX
        self._sysctl = sysctl
        sysctl.register_lazy("net.core", self._register_sysctls)

    def _register_sysctls(self) -> None:
        for name, least in (
            ("rmem_default", SOCK_MIN_RCVBUF),
            ("rmem_max", SOCK_MIN_RCVBUF),
            ("wmem_default", SOCK_MIN_SNDBUF),
            ("wmem_max", SOCK_MIN_SNDBUF),
            ("optmem_max", 0),
        ):
            set_it = partial(setattr, self, name)
            self._sysctl.register_int(f"net.core.{name}", getattr(self, name), least, on_change=set_it)

"""The plugin: registers AF_UNIX, and gives each namespace its table of bound names once somebody needs it. The rest of
the package is imported then.
"""

from __future__ import annotations

from functools import partial

import pluggy

from pysock.core.registry import LazyFamily
from pysock.uapi.socket import AF_UNIX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pysock.core.net import Net
    from pysock.core.sock import NetProtoFamily

hookimpl = pluggy.HookimplMarker("pysock")


@hookimpl
def pysock_register_families(register: Callable[[NetProtoFamily], None]) -> None:
    register(LazyFamily(AF_UNIX, "unix", _family))


def _family() -> NetProtoFamily:
    from pysock.families.unix.af_unix import UnixFamily

    return UnixFamily()


@hookimpl
def pysock_net_init(net: Net) -> None:
    net.later("pysock.families.unix.unix_net.UnixNet", partial(_make, net), sysctl="net.unix", proc=("net/unix",))


def _make(net: Net) -> None:
    from pysock.families.unix.proc import proc_unix
    from pysock.families.unix.unix_net import UnixNet

    unix = UnixNet(net)
    net.set(unix)
    net.proc["net/unix"] = partial(proc_unix, unix)

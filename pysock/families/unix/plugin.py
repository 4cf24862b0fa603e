"""The plugin: registers AF_UNIX, and gives each namespace its table of bound names."""

from __future__ import annotations

from functools import partial

import pluggy

from pysock.families.unix.af_unix import UnixFamily
from pysock.families.unix.proc import proc_unix
from pysock.families.unix.unix_net import UnixNet

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pysock.core.net import Net
    from pysock.core.sock import NetProtoFamily

hookimpl = pluggy.HookimplMarker("pysock")


@hookimpl
def pysock_register_families(register: Callable[[NetProtoFamily], None]) -> None:
    register(UnixFamily())


@hookimpl
def pysock_net_init(net: Net) -> None:
    unix = UnixNet(net)
    net.set(unix)
    net.proc["net/unix"] = partial(proc_unix, unix)

"""The family as a plugin of a real kernel."""

from __future__ import annotations

from pysock.core.kernel import Kernel
from pysock.core.net import Net
from pysock.core.sock import NetProtoFamily
from pysock.families.unix import plugin
from pysock.families.unix.unix_net import UnixNet
from pysock.uapi.socket import AF_UNIX, SOCK_STREAM


def test_a_kernel_boots_with_it() -> None:
    kernel = Kernel.boot(entry_points=False, log=lambda text: None)
    net = kernel.init_net
    assert net.sysctl.read("net.unix.max_dgram_qlen") == "10\n"
    first = kernel.families.create(net, kernel.creds, AF_UNIX, SOCK_STREAM, 0)
    second = kernel.families.create(net, kernel.creds, AF_UNIX, SOCK_STREAM, 0)
    first.ops.socketpair(first, second)
    first.ops.sendmsg(first, b"hello", 0)
    assert second.ops.recvmsg(second, 9, 0) == b"hello"


def test_the_hooks() -> None:
    registered: list[NetProtoFamily] = []
    plugin.pysock_register_families(registered.append)
    assert [(family.family, family.name) for family in registered] == [(AF_UNIX, "unix")]
    kernel = Kernel.boot(entry_points=False, log=lambda text: None)
    net = Net(kernel, "bare")
    assert not net.has(UnixNet)
    plugin.pysock_net_init(net)
    assert net.get(UnixNet).net is net

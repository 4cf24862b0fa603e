"""IPv6 of a namespace is made when somebody needs it, and nobody can tell."""

from __future__ import annotations

import subprocess
import sys

import pytest
from support.patience import PATIENCE

from pysock.core.device import unregister_netdev
from pysock.core.kernel import Kernel
from pysock.core.net import Net
from pysock.core.skbuff import SkBuff
from pysock.families.inet6.af_inet6 import Inet6Family
from pysock.families.inet6.net import Inet6Net
from pysock.uapi.if_ether import ETH_P_IPV6
from pysock.uapi.socket import AF_INET6, SOCK_DGRAM

LOOPBACK = "00000000000000000000000000000001 01 80 10 80       lo\n"

_BOOT = """
import sys
from pysock.core.kernel import Kernel
kernel = Kernel.boot(entry_points=False)
for name in ("inet6", "unix"):
    assert not [m for m in sys.modules if m.startswith(f"pysock.families.{name}.") and not m.endswith(".plugin")], name
disciplines = [m for m in sys.modules if m.startswith("pysock.sched.")]
assert sorted(disciplines) == ["pysock.sched.noqueue", "pysock.sched.plugin"]
assert not [m for m in sys.modules if m.startswith(("pysock.drivers.e100", "pysock.drivers.tap", "cffi"))]
"""


@pytest.fixture
def kernel() -> Kernel:
    return Kernel.boot(clock="virtual", seed=1, entry_points=False)


def test_a_boot_imports_no_more_than_it_needs() -> None:
    subprocess.run([sys.executable, "-c", _BOOT], check=True, timeout=PATIENCE)


def test_nothing_is_made_before_it_is_needed(kernel: Kernel) -> None:
    net = kernel.init_net
    assert net.has(Inet6Net)
    assert net.made(Inet6Net) is None
    bare = Net(kernel, "bare")  # no family has set it up
    assert not bare.has(Inet6Net)
    with pytest.raises(KeyError):
        bare.get(Inet6Net)


def test_a_socket_needs_it(kernel: Kernel) -> None:
    sock = kernel.families.create(kernel.init_net, kernel.creds, AF_INET6, SOCK_DGRAM, 0)
    assert sock.sk is not None
    assert kernel.init_net.made(Inet6Net) is kernel.init_net.get(Inet6Net)
    assert isinstance(kernel.families.table[AF_INET6], Inet6Family)
    assert kernel.init_net.proc["net/if_inet6"]() == LOOPBACK


def test_a_file_of_proc_needs_it(kernel: Kernel) -> None:
    assert kernel.init_net.proc["net/if_inet6"]() == LOOPBACK
    assert kernel.init_net.proc["net/snmp6"]().startswith("Ip6InReceives")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("net.ipv6.conf.lo.disable_ipv6", 0),
        ("net.ipv6.conf.default.forwarding", 0),
        ("net.ipv6.bindv6only", False),
        ("net.ipv6.neigh.lo.ucast_solicit", 3),
        ("net.ipv6.icmp.ratelimit", 1000),
    ],
)
def test_a_sysctl_needs_it(kernel: Kernel, name: str, value: int) -> None:
    assert kernel.init_net.sysctl.get(name) == value
    assert kernel.init_net.made(Inet6Net) is not None


def test_a_list_of_sysctls_needs_it(kernel: Kernel) -> None:
    names = kernel.init_net.sysctl.names("net.ipv6")
    assert {"net.ipv6.conf.lo.forwarding", "net.ipv6.bindv6only", "net.ipv6.neigh.default.gc_thresh1"} <= set(names)
    assert set(names) <= set(kernel.init_net.sysctl.names())


def test_a_device_needs_it_and_is_treated_as_ever(kernel: Kernel) -> None:
    net = kernel.init_net
    kernel.enter()
    dev = kernel.dev_layer.create_device(net, "dummy", "d0")
    assert net.made(Inet6Net) is not None
    assert net.proc["net/if_inet6"]() == LOOPBACK
    assert len(net.sysctl.names("net.ipv6.neigh.d0")) == len(net.sysctl.names("net.ipv6.neigh.lo")) > 0
    unregister_netdev(dev)
    kernel.leave()
    assert net.sysctl.names("net.ipv6.conf.d0") == []
    assert kernel.errors.total == 0


def test_a_packet_needs_it(kernel: Kernel) -> None:
    net = kernel.init_net
    kernel.enter()
    skb = SkBuff(bytes(40), 0, 40)
    skb.protocol = ETH_P_IPV6
    skb.dev = net.loopback_dev
    kernel.softnet.netif_rx(skb)
    kernel.leave()
    inet6 = net.made(Inet6Net)
    assert inet6 is not None
    assert (inet6.mibs.ip6.InReceives, inet6.mibs.ip6.InHdrErrors) == (1, 1)
    assert skb.users == 0

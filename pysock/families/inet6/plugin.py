"""The plugin that brings AF_INET6: the family at boot, its tables in every namespace, ::1 on every loopback.

It stands on inet's tables, and stays away from a namespace that has none. Until a namespace has a device besides its
loopback, IPv6 there can be seen by nobody; so its tables are made, and the package is imported, when the first device
comes, or somebody asks: by a socket, a sysctl, a file of /proc, a packet.
"""

from __future__ import annotations

from functools import partial

import pluggy

from pysock.core.netdev_events import NETDEV_REGISTER, NETDEV_UP
from pysock.core.registry import LazyFamily
from pysock.families.inet.net import InetNet
from pysock.uapi.if_ import IFF_LOOPBACK, IFF_UP
from pysock.uapi.if_ether import ETH_P_IPV6
from pysock.uapi.socket import AF_INET6

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pysock.core.net import Net
    from pysock.core.netdevice import NetDevice
    from pysock.core.skbuff import SkBuff
    from pysock.core.sock import NetProtoFamily

hookimpl = pluggy.HookimplMarker("pysock")
_NAME = "pysock.families.inet6.net.Inet6Net"
_FILES = (
    "net/snmp6",
    "net/if_inet6",
    "net/ipv6_route",
    "net/igmp6",
    "net/ip6_mr_vif",
    "net/ip6_mr_cache",
    "net/stat/ndisc_cache",
)


@hookimpl
def pysock_register_families(register: Callable[[NetProtoFamily], None]) -> None:
    register(LazyFamily(AF_INET6, "inet6", _family))


def _family() -> NetProtoFamily:
    from pysock.families.inet6.setup import make_family

    return make_family()


@hookimpl
def pysock_net_init(net: Net) -> None:
    if not net.has(InetNet):
        return
    first = partial(_first_packet, net)
    net.later(_NAME, partial(_make, net, first), sysctl="net.ipv6", proc=_FILES)
    net.ptype_base[ETH_P_IPV6] = (*net.ptype_base.get(ETH_P_IPV6, ()), first)
    chain = net.kernel.dev_layer.netdev_chain
    if "inet6" not in chain.callbacks():  # one for all namespaces
        chain.register(_netdev_event, name="inet6")


def _netdev_event(event: int, dev: NetDevice) -> None:
    """addrconf_notify(), where IPv6 is at work; a device other than the loopback puts it to work."""
    if not dev.net.waits_for(_NAME):
        from pysock.families.inet6 import addrconf

        addrconf.netdev_event(event, dev)
    elif event == NETDEV_REGISTER and not dev.flags & IFF_LOOPBACK:
        dev.net.make(_NAME)


def _first_packet(net: Net, skb: SkBuff) -> None:
    """Stands for the handler of IPv6 packets until there is one."""
    others = net.ptype_base[ETH_P_IPV6]
    net.make(_NAME)
    for handler in net.ptype_base[ETH_P_IPV6]:
        if handler not in others:
            handler(skb)


def _make(net: Net, first: Callable[[SkBuff], None]) -> None:
    """Set the namespace up, and make good what happened to its devices so far."""
    from pysock.families.inet6 import addrconf
    from pysock.families.inet6.setup import setup_net

    net.ptype_base[ETH_P_IPV6] = tuple(handler for handler in net.ptype_base[ETH_P_IPV6] if handler is not first)
    setup_net(net)
    for dev in tuple(net.devices):
        addrconf.netdev_event(NETDEV_REGISTER, dev)
        if dev.flags & IFF_UP:
            addrconf.netdev_event(NETDEV_UP, dev)

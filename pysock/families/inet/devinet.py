"""IPv4 addresses of devices (devinet.c): adding one adds its local, connected and broadcast routes."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from pysock.core.errors import err
from pysock.core.netdev_events import NETDEV_DOWN, NETDEV_UNREGISTER, NETDEV_UP
from pysock.families.inet.fib import RT_SCOPE_HOST, RT_SCOPE_LINK, RTN_BROADCAST, RTN_LOCAL, RTN_UNICAST, FibEntry
from pysock.uapi.if_ import IFF_LOOPBACK

if TYPE_CHECKING:
    from pysock.core.device import NetDevice
    from pysock.families.inet.net import InetNet


class InIfaddr:
    """One address of a device (struct in_ifaddr): 4 wire bytes, prefix length, broadcast address or None, label."""

    __slots__ = ("address", "broadcast", "label", "plen", "routes")

    def __init__(self, address: bytes, plen: int, broadcast: bytes | None, label: str) -> None:
        self.address = address
        self.plen = plen
        self.broadcast = broadcast
        self.label = label
        self.routes: list[FibEntry] = []


class InDevice:
    """What inet keeps on a device (struct in_device); ``dev.proto_priv["inet"]``."""

    __slots__ = ("addresses", "dev")

    def __init__(self, dev: NetDevice) -> None:
        self.dev = dev
        self.addresses: list[InIfaddr] = []


def in_device(dev: NetDevice) -> InDevice:
    """The InDevice of ``dev``, made on first use (__in_dev_get_rtnl)."""
    state = dev.proto_priv.get("inet")
    if state is None:
        state = dev.proto_priv["inet"] = InDevice(dev)
    assert isinstance(state, InDevice)
    return state


def add_address(inet: InetNet, dev: NetDevice, address: bytes, plen: int) -> InIfaddr:
    """Give ``dev`` the address ``address``/``plen`` (inet_insert_ifa). EEXIST when it has it, EINVAL for a bad length."""
    if not 0 <= plen <= 32:
        raise err(errno.EINVAL)
    state = in_device(dev)
    if any(ifa.address == address for ifa in state.addresses):
        raise err(errno.EEXIST)
    value = int.from_bytes(address, "big")
    mask = (0xFFFFFFFF << (32 - plen)) & 0xFFFFFFFF
    network = (value & mask).to_bytes(4, "big")
    broadcast = None
    if plen < 31 and not dev.flags & IFF_LOOPBACK:
        broadcast = (value | (mask ^ 0xFFFFFFFF)).to_bytes(4, "big")
    ifa = InIfaddr(address, plen, broadcast, dev.name)
    ifa.routes.append(FibEntry(address, 32, RTN_LOCAL, dev, address, scope=RT_SCOPE_HOST))
    if dev.flags & IFF_LOOPBACK and plen < 32:
        ifa.routes.append(FibEntry(network, plen, RTN_LOCAL, dev, address, scope=RT_SCOPE_HOST))
    elif plen < 32:
        ifa.routes.append(FibEntry(network, plen, RTN_UNICAST, dev, address, scope=RT_SCOPE_LINK))
    if broadcast is not None:
        ifa.routes.append(FibEntry(broadcast, 32, RTN_BROADCAST, dev, address, scope=RT_SCOPE_LINK))
    added: list[FibEntry] = []
    try:
        for entry in ifa.routes:
            inet.fib.add(entry)
            added.append(entry)
    except OSError:
        for entry in added:
            inet.fib.remove(entry)
        raise
    state.addresses.append(ifa)
    return ifa


def del_address(inet: InetNet, dev: NetDevice, address: bytes) -> None:
    """Take ``address`` from ``dev`` with its routes (inet_del_ifa). EADDRNOTAVAIL when it is not there."""
    state = in_device(dev)
    for ifa in state.addresses:
        if ifa.address == address:
            state.addresses.remove(ifa)
            present = inet.fib.entries()
            for entry in ifa.routes:
                if entry in present:
                    inet.fib.remove(entry)
            return
    raise err(errno.EADDRNOTAVAIL)


def setup(inet: InetNet, loopback_address: bytes) -> None:
    """Follow the devices of this namespace (inetdev_event): a loopback that comes up gets ``loopback_address``/8, an address
    of a device that comes up gets its routes back, a device that goes down loses them, one that goes away its addresses too.
    """

    def netdev_event(event: int, dev: NetDevice) -> None:
        if dev.net is not inet.net:
            return
        if event == NETDEV_UP:
            _device_up(inet, dev, loopback_address)
        elif event == NETDEV_DOWN:
            inet.fib.remove_device(dev)
        elif event == NETDEV_UNREGISTER:
            inet.fib.remove_device(dev)
            dev.proto_priv.pop("inet", None)

    inet.kernel.dev_layer.netdev_chain.register(netdev_event, name="inet")


def _device_up(inet: InetNet, dev: NetDevice, loopback_address: bytes) -> None:
    state = in_device(dev)
    if dev.flags & IFF_LOOPBACK and not state.addresses:
        add_address(inet, dev, loopback_address, 8)
        return
    present = set(inet.fib.entries())
    for ifa in state.addresses:
        for entry in ifa.routes:
            if entry not in present:
                inet.fib.add(entry)

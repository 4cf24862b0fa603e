"""IPv4 addresses of devices (devinet.c): adding one adds its local, connected and broadcast routes."""

from __future__ import annotations

import errno

from pysock.core.errors import err
from pysock.core.netdev_events import (
    NETDEV_CHANGEADDR,
    NETDEV_CHANGEMTU,
    NETDEV_DOWN,
    NETDEV_UNREGISTER,
    NETDEV_UP,
)
from pysock.families.inet.fib import RT_SCOPE_HOST, RT_SCOPE_LINK, RTN_BROADCAST, RTN_LOCAL, RTN_UNICAST, FibEntry
from pysock.uapi.if_ import IFF_LOOPBACK, IFF_UP

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.netdevice import NetDevice
    from pysock.families.inet.net import InetNet

ALL_HOSTS = b"\xe0\0\0\1"


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
    """What inet keeps on a device (struct in_device); ``dev.proto_priv["inet"]``.

    ``groups`` maps the multicast groups that sockets joined on it to how many did.
    """

    __slots__ = ("addresses", "dev", "groups")

    def __init__(self, dev: NetDevice) -> None:
        self.dev = dev
        self.addresses: list[InIfaddr] = []
        self.groups: dict[bytes, int] = {}


def in_device(dev: NetDevice) -> InDevice:
    """The InDevice of ``dev``, made on first use (__in_dev_get_rtnl)."""
    state = dev.proto_priv.get("inet")
    if state is None:
        state = dev.proto_priv["inet"] = InDevice(dev)
    assert isinstance(state, InDevice)
    return state


def is_member(dev: NetDevice, group: bytes) -> bool:
    """Whether datagrams to ``group`` are for us on ``dev`` (ip_check_mc): 224.0.0.1 always is (RFC 1112 4)."""
    if group == ALL_HOSTS:
        return True
    state = dev.proto_priv.get("inet")
    return isinstance(state, InDevice) and group in state.groups


def add_address(inet: InetNet, dev: NetDevice, address: bytes, plen: int) -> InIfaddr:
    """Give ``dev`` the address ``address``/``plen`` (inet_insert_ifa). EEXIST when it has it, EINVAL: bad length."""
    if not 0 <= plen <= 32:
        raise err(errno.EINVAL)
    state = in_device(dev)
    if any(ifa.address == address for ifa in state.addresses):
        raise err(errno.EEXIST)
    value = int.from_bytes(address, "big")
    mask = (0xFFFFFFFF << (32 - plen)) & 0xFFFFFFFF
    network = (value & mask).to_bytes(4, "big")
    broadcast = (value | (mask ^ 0xFFFFFFFF)).to_bytes(4, "big") if plen < 31 else None
    ifa = InIfaddr(address, plen, None if dev.flags & IFF_LOOPBACK else broadcast, dev.name)
    ifa.routes.append(FibEntry(address, 32, RTN_LOCAL, dev, address, scope=RT_SCOPE_HOST))
    if dev.flags & IFF_LOOPBACK and plen < 32:
        ifa.routes.append(FibEntry(network, plen, RTN_LOCAL, dev, address, scope=RT_SCOPE_HOST))
    elif plen < 32:
        ifa.routes.append(FibEntry(network, plen, RTN_UNICAST, dev, address, scope=RT_SCOPE_LINK))
    if broadcast is not None:
        ifa.routes.append(FibEntry(broadcast, 32, RTN_BROADCAST, dev, address, scope=RT_SCOPE_LINK))
    _add_routes(inet, dev, ifa)
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


def _add_routes(inet: InetNet, dev: NetDevice, ifa: InIfaddr) -> None:
    """fib_add_ifaddr(): of a device that is down only the address itself is known. All or nothing."""
    present = inet.fib.entries()
    added: list[FibEntry] = []
    try:
        for entry in ifa.routes:
            if entry not in present and (entry.type == RTN_LOCAL or dev.flags & IFF_UP):
                inet.fib.add(entry)
                added.append(entry)
    except OSError:
        for entry in added:
            inet.fib.remove(entry)
        raise


def setup(inet: InetNet, loopback_address: bytes) -> None:
    """Follow the devices of this namespace (inetdev_event).

    A loopback device that comes up without an address gets ``loopback_address``/8. A device that goes down loses its
    routes but for its own addresses, which stay ours; a device that comes up again gets the connected ones back, not
    those that somebody added. One that goes away takes everything along.
    """

    def netdev_event(event: int, dev: NetDevice) -> None:
        if dev.net is not inet.net:
            return
        if event == NETDEV_UP:
            _device_up(inet, dev, loopback_address)
        elif event == NETDEV_DOWN:
            for entry in inet.fib.entries():
                if entry.dev is dev and entry.type != RTN_LOCAL:
                    inet.fib.remove(entry)
            inet.fib.flush()  # routes in use may rest on the device being up
        elif event == NETDEV_UNREGISTER:
            inet.fib.remove_device(dev)
            dev.proto_priv.pop("inet", None)
        elif event in (NETDEV_CHANGEMTU, NETDEV_CHANGEADDR):
            inet.fib.flush()  # routes in use hold both

    inet.kernel.dev_layer.netdev_chain.register(netdev_event, name="inet")


def _device_up(inet: InetNet, dev: NetDevice, loopback_address: bytes) -> None:
    state = in_device(dev)
    if dev.flags & IFF_LOOPBACK and not state.addresses:
        add_address(inet, dev, loopback_address, 8)
        return
    for ifa in state.addresses:
        _add_routes(inet, dev, ifa)
    inet.fib.flush()

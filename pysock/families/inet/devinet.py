"""IPv4 addresses of devices (devinet.c): adding one adds its local, connected and broadcast routes.

`inetaddr_chain` tells who wants to know of addresses: its callbacks get NETDEV_UP or NETDEV_DOWN and the `InIfaddr`.
"""

from __future__ import annotations

import errno

from pysock.core.errors import err
from pysock.core.netdev_events import (
    NETDEV_CHANGE,
    NETDEV_CHANGEADDR,
    NETDEV_CHANGEMTU,
    NETDEV_CHANGENAME,
    NETDEV_DOWN,
    NETDEV_FEAT_CHANGE,
    NETDEV_REGISTER,
    NETDEV_UNREGISTER,
    NETDEV_UP,
)
from pysock.core.notifier import RawNotifierChain
from pysock.families.inet.addr import ANY, LOOPBACK
from pysock.families.inet.devconf import DevConfs, IpDevConf, confs_of
from pysock.families.inet.fib import (
    RT_SCOPE_HOST,
    RT_SCOPE_LINK,
    RT_SCOPE_UNIVERSE,
    RTN_BROADCAST,
    RTN_LOCAL,
    RTN_UNICAST,
    FibEntry,
)
from pysock.families.inet.net import InetNet
from pysock.uapi.if_ import IFF_LOOPBACK, IFF_UP
from pysock.uapi.sockaddr import SOCKADDR_IN
from pysock.uapi.socket import AF_INET

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pysock.core.net import Net
    from pysock.core.netdevice import NetDevice
    from pysock.families.inet.igmp import Group

ALL_HOSTS = b"\xe0\0\0\1"


class InIfaddr:
    """One address of a device (struct in_ifaddr): 4 wire bytes, prefix length, broadcast address or None, label,
    RT_SCOPE_*. A ``secondary`` one is in the network of another and lives as long as that.
    """

    __slots__ = ("address", "broadcast", "dev", "label", "mask", "plen", "routes", "scope", "secondary")

    def __init__(self, dev: NetDevice, address: bytes, plen: int, broadcast: bytes | None, scope: int) -> None:
        self.dev = dev
        self.address = address
        self.plen = plen
        self.mask = (0xFFFFFFFF << (32 - plen)) & 0xFFFFFFFF
        self.broadcast = broadcast
        self.label = dev.name
        self.scope = scope
        self.secondary = False
        self.routes: list[FibEntry] = []

    def covers(self, address: bytes) -> bool:
        """Whether ``address`` is in the network of this one (inet_ifa_match)."""
        return not (int.from_bytes(address, "big") ^ int.from_bytes(self.address, "big")) & self.mask


class InDevice:
    """What inet keeps on a device (struct in_device); ``dev.proto_priv["inet"]``.

    ``groups`` are the multicast groups that sockets joined on it; ``conf`` are its settings, ``all``
    those of the whole namespace. ``unwanted`` counts multicasts to groups that nobody here is in: Linux drops them
    without a counter.
    """

    __slots__ = ("addresses", "all", "conf", "dev", "groups", "igmp", "unwanted")

    def __init__(self, dev: NetDevice, confs: DevConfs) -> None:
        self.dev = dev
        self.conf: IpDevConf = confs.of(dev)
        self.all: IpDevConf = confs.all
        self.addresses: list[InIfaddr] = []
        self.groups: dict[bytes, Group] = {}
        self.unwanted = 0
        self.igmp: object = None  # an igmp.Igmp, once there is something to say


def in_device(dev: NetDevice) -> InDevice:
    """The InDevice of ``dev``, made on first use (__in_dev_get_rtnl)."""
    state = dev.proto_priv.get("inet")
    if state is None:
        state = dev.proto_priv["inet"] = InDevice(dev, confs_of(dev.net.get(InetNet)))
    assert isinstance(state, InDevice)
    return state


def is_member(dev: NetDevice, address: bytes, source: bytes | None = None) -> bool:
    """Whether datagrams to the group ``address``, from ``source`` if that is given, are for us on ``dev``
    (ip_check_mc_rcu): 224.0.0.1 always is (RFC 1112 4).
    """
    if address == ALL_HOSTS:
        return True
    state = dev.proto_priv.get("inet")
    group = state.groups.get(address) if isinstance(state, InDevice) else None
    return group is not None and (source is None or group.wants(source))


def routes_multicasts(dev: NetDevice, address: bytes) -> bool:
    """Whether this host routes datagrams to the group ``address`` that come in on ``dev``, or leave by it."""
    state = dev.proto_priv.get("inet")
    return isinstance(state, InDevice) and state.conf.mc_forwarding > 0 and address[:3] != ALL_HOSTS[:3]


def add_address(
    inet: InetNet,
    dev: NetDevice,
    address: bytes,
    plen: int,
    *,
    broadcast: bytes | None = None,
    label: str | None = None,
) -> InIfaddr:
    """Give ``dev`` the address ``address``/``plen`` (inet_insert_ifa), with a ``broadcast`` address and a ``label`` of
    its own if they are not the usual ones. EEXIST when it has it, EINVAL: bad length.
    """
    if not 0 <= plen <= 32:
        raise err(errno.EINVAL)
    state = in_device(dev)
    if any(ifa.address == address for ifa in state.addresses):
        raise err(errno.EEXIST)
    value = int.from_bytes(address, "big")
    mask = (0xFFFFFFFF << (32 - plen)) & 0xFFFFFFFF
    network = (value & mask).to_bytes(4, "big")
    if broadcast is None and plen < 31:
        broadcast = (value | (mask ^ 0xFFFFFFFF)).to_bytes(4, "big")
    scope = RT_SCOPE_HOST if address[0] == 127 else RT_SCOPE_UNIVERSE
    ifa = InIfaddr(dev, address, plen, None if dev.flags & IFF_LOOPBACK else broadcast, scope)
    if label is not None:
        ifa.label = label
    ifa.secondary = any(other.plen == plen and other.covers(address) for other in state.addresses)
    ifa.routes.append(FibEntry(address, 32, RTN_LOCAL, dev, address, scope=RT_SCOPE_HOST))
    if ifa.secondary:
        pass  # the first address of the network has its routes
    elif dev.flags & IFF_LOOPBACK and plen < 32:
        ifa.routes.append(FibEntry(network, plen, RTN_LOCAL, dev, address, scope=RT_SCOPE_HOST))
    elif plen < 32:
        ifa.routes.append(FibEntry(network, plen, RTN_UNICAST, dev, address, scope=RT_SCOPE_LINK))
    if broadcast is not None and not ifa.secondary:
        ifa.routes.append(FibEntry(broadcast, 32, RTN_BROADCAST, dev, address, scope=RT_SCOPE_LINK))
    _add_routes(inet, dev, ifa)
    state.addresses.append(ifa)
    inetaddr_chain(inet).call_chain(NETDEV_UP, ifa)
    return ifa


def del_address(inet: InetNet, dev: NetDevice, address: bytes) -> None:
    """Take ``address`` from ``dev`` with its routes, and with it the secondary ones of its network (inet_del_ifa).
    EADDRNOTAVAIL when it is not there.
    """
    state = in_device(dev)
    found = next((ifa for ifa in state.addresses if ifa.address == address), None)
    if found is None:
        raise err(errno.EADDRNOTAVAIL)
    gone = [found]
    if not found.secondary:
        same = [ifa for ifa in state.addresses if ifa.plen == found.plen and found.covers(ifa.address)]
        gone += [ifa for ifa in same if ifa.secondary]
    for ifa in reversed(gone):
        state.addresses.remove(ifa)
        for entry in ifa.routes:
            if entry in inet.fib:
                inet.fib.remove(entry)
        inetaddr_chain(inet).call_chain(NETDEV_DOWN, ifa)


def _add_routes(inet: InetNet, dev: NetDevice, ifa: InIfaddr) -> None:
    """fib_add_ifaddr(): of a device that is down only the address itself is known. A route that somebody added before
    stays in its place.
    """
    for entry in ifa.routes:
        if entry not in inet.fib and (entry.type == RTN_LOCAL or dev.flags & IFF_UP):
            try:
                inet.fib.add(entry)
            except OSError as exc:
                if exc.errno != errno.EEXIST:
                    raise


# --- which of our addresses -------------------------------------------------------------------------------------------


def _addresses(net: Net) -> Iterator[InIfaddr]:
    for dev in net.devices:
        yield from in_device(dev).addresses


def select_addr(dev: NetDevice, dst: bytes, scope: int) -> bytes:
    """The source address for talking to ``dst`` over ``dev``, of ``scope`` at most (inet_select_addr): one in the
    network of ``dst``, else the device's first, else another device's; ANY when there is none.
    """
    first = ANY
    for ifa in in_device(dev).addresses:
        if ifa.scope <= scope:
            if dst == ANY or ifa.covers(dst):
                return ifa.address
            if first == ANY:
                first = ifa.address
    if first != ANY:
        return first
    for ifa in _addresses(dev.net):
        if ifa.scope != RT_SCOPE_LINK and ifa.scope <= scope:
            return ifa.address
    return ANY


def onlink(dev: NetDevice, one: bytes, other: bytes) -> bool:
    """Whether both are in the network of one address of ``dev`` (inet_addr_onlink)."""
    return any(ifa.covers(one) and ifa.covers(other) for ifa in in_device(dev).addresses)


def confirm_addr(net: Net, dev: NetDevice | None, dst: bytes, local: bytes, scope: int) -> bool:
    """Whether we have ``local`` on ``dev`` (None: on any), of ``scope`` at most, in one network with ``dst`` unless
    that is ANY (inet_confirm_addr).
    """
    found = in_device(dev).addresses if dev is not None else _addresses(net)
    return any(ifa.address == local and ifa.scope <= scope and (dst == ANY or ifa.covers(dst)) for ifa in found)


# --- following the devices --------------------------------------------------------------------------------------------


def inetaddr_chain(inet: InetNet) -> RawNotifierChain:
    """Who hears of addresses that come and go in this namespace."""
    chain = inet.state["inetaddr_chain"]
    assert isinstance(chain, RawNotifierChain)
    return chain


def setup(inet: InetNet) -> None:
    """Give a namespace its device settings, and follow the devices (inetdev_event) once a kernel.

    A loopback device that comes up without an address gets 127.0.0.1/8. A device that goes down loses its routes but
    for its own addresses, which stay ours; a device that comes up again gets the connected ones back, not those that
    somebody added. One that goes away takes everything along.
    """
    inet.state["devconf"] = DevConfs(inet)
    inet.state["inetaddr_chain"] = RawNotifierChain("inetaddr_chain", inet.kernel.errors)
    chain = inet.kernel.dev_layer.netdev_chain
    if "inet" not in chain.callbacks():
        chain.register(_netdev_event, name="inet")
        inet.kernel.dev_layer.gifconf[AF_INET] = gifconf


def gifconf(dev: NetDevice) -> list[bytes]:
    """The addresses of ``dev`` as SIOCGIFCONF lists them, each a struct sockaddr_in (inet_gifconf)."""
    state = dev.proto_priv.get("inet")
    found = state.addresses if isinstance(state, InDevice) else []
    return [SOCKADDR_IN.pack(AF_INET, b"\0\0", ifa.address) for ifa in found]


def _netdev_event(event: int, dev: NetDevice) -> None:
    if not dev.net.has(InetNet):
        return
    inet = dev.net.get(InetNet)
    if event == NETDEV_UP:
        _device_up(inet, dev)
    elif event == NETDEV_DOWN:
        inet.fib.device_down(dev)
    elif event in (NETDEV_REGISTER, NETDEV_CHANGENAME):
        confs_of(inet).add_device(dev)
    elif event == NETDEV_UNREGISTER:
        inet.fib.remove_device(dev)
        confs_of(inet).remove_device(dev)
        dev.proto_priv.pop("inet", None)
    elif event == NETDEV_CHANGE:
        carrier_changed(inet, dev)
    elif event in (NETDEV_CHANGEMTU, NETDEV_CHANGEADDR, NETDEV_FEAT_CHANGE):
        inet.fib.flush()  # routes in use hold MTU, address, whether it has ARP, and whether packets are paced


def carrier_changed(inet: InetNet, dev: NetDevice) -> None:
    """The carrier of ``dev`` came or went, or its setting changed: whether routes over it are passed over
    (RTNH_F_LINKDOWN, fib_sync_up).
    """
    state = in_device(dev)
    ignored = not dev.carrier and (state.conf.ignore_routes_with_linkdown or state.all.ignore_routes_with_linkdown)
    inet.fib.set_dead(dev, bool(ignored), single=True)


def _device_up(inet: InetNet, dev: NetDevice) -> None:
    state = in_device(dev)
    carrier_changed(inet, dev)
    if dev.flags & IFF_LOOPBACK and not state.addresses:
        add_address(inet, dev, LOOPBACK, 8)
        return
    for ifa in state.addresses:
        _add_routes(inet, dev, ifa)
    inet.fib.flush()

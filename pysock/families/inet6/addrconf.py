"""Addresses of devices (net/ipv6/addrconf.c): what a device gets when it comes up, and what an address brings along.

    device registered -> Inet6Dev, member of ff02::1 and ff01::1
    up, with carrier  -> route to ff00::/8, link-local address (EUI-64), or ::1 on loopback
    address added     -> connected route, solicited-node group, duplicate address detection (dad.py)
    DAD done          -> local route: it is ours now; for a link-local one, router solicitations (slaac.py)
    device down       -> all addresses go, as on Linux (there is no keep_addr_on_down)

A device with an MTU below 1280 has no IPv6. Needs the kernel lock.
"""

from __future__ import annotations

import errno

from pysock.core.clock import NEVER
from pysock.core.errors import err
from pysock.core.netdev_events import (
    NETDEV_CHANGE,
    NETDEV_CHANGEADDR,
    NETDEV_CHANGEMTU,
    NETDEV_CHANGENAME,
    NETDEV_DOWN,
    NETDEV_FEAT_CHANGE,
    NETDEV_NOTIFY_PEERS,
    NETDEV_REGISTER,
    NETDEV_UNREGISTER,
    NETDEV_UP,
)
from pysock.core.notifier import RawNotifierChain
from pysock.families.inet.fib import RTN_LOCAL, RTN_MULTICAST, RTN_UNICAST
from pysock.families.inet6.addr import (
    ALL_NODES,
    ALL_NODES_NODELOCAL,
    ALL_ROUTERS,
    ANY6,
    LINKLOCAL_PREFIX,
    LOOPBACK6,
    eui64,
    is_linklocal,
    is_multicast,
    prefix_of,
    solicited_node,
)
from pysock.families.inet6.devconf import (
    IFA_F_NOPREFIXROUTE,
    IFA_F_PERMANENT,
    IFA_F_TENTATIVE,
    Conf,
    Inet6Dev,
    Inet6Ifaddr,
    address_on,
    idev_of,
    register,
)
from pysock.families.inet6.fib6 import METRIC_ADDRCONF, RTPROT_KERNEL, Fib6Entry
from pysock.families.inet6.net import Inet6Net
from pysock.uapi.if_ import IFF_LOOPBACK, IFF_NOARP, IFF_SLAVE, IFF_UP
from pysock.uapi.in6 import IPV6_MIN_MTU

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.netdevice import NetDevice
    from pysock.core.timer import Timer

_MULTICAST_PREFIX = b"\xff" + bytes(15)


class AddrconfNet:
    """The settings "all" and "default" of one namespace, and the timer of `slaac.verify`. ``chain`` tells who wants to
    know of addresses: NETDEV_UP or NETDEV_DOWN and the `Inet6Ifaddr` (inet6addr_chain).
    """

    __slots__ = ("all", "chain", "default", "timer")

    def __init__(self, inet6: Inet6Net) -> None:
        self.chain = RawNotifierChain("inet6addr_chain", inet6.kernel.errors)
        self.all = Conf()
        self.all.accept_dad = 0
        self.default = Conf()
        self.timer: Timer | None = None


def addrconf_of(inet6: Inet6Net) -> AddrconfNet:
    """The namespace's "all" and "default"."""
    state = inet6.state["addrconf"]
    assert isinstance(state, AddrconfNet)
    return state


def setup(inet6: Inet6Net) -> None:
    """Follow the devices (addrconf_notify)."""
    state = inet6.state["addrconf"] = AddrconfNet(inet6)
    sysctl = inet6.net.sysctl

    def all_changed(setting: str, value: int) -> None:
        _all_changed(inet6, setting, value)

    def default_changed(setting: str, value: int) -> None:
        pass

    sysctl.register_lazy("net.ipv6.conf.all", lambda: register(inet6.net, "all", state.all, all_changed))
    sysctl.register_lazy(
        "net.ipv6.conf.default", lambda: register(inet6.net, "default", state.default, default_changed)
    )

    chain = inet6.kernel.dev_layer.netdev_chain
    if "inet6" not in chain.callbacks():  # one for all namespaces
        chain.register(netdev_event, name="inet6")


def netdev_event(event: int, dev: NetDevice) -> None:
    """addrconf_notify(), for namespaces that have IPv6."""
    inet6 = dev.net.made(Inet6Net)
    if inet6 is None:
        return
    if event == NETDEV_REGISTER:
        if dev.mtu >= IPV6_MIN_MTU:
            make_idev(inet6, dev)
    elif event == NETDEV_UP:
        _mtu_changed(inet6, dev)  # perhaps while it was down
        device_up(inet6, dev)
    elif event == NETDEV_CHANGE:
        if dev.flags & IFF_UP and dev.carrier:
            device_up(inet6, dev)
    elif event == NETDEV_DOWN:
        device_down(inet6, dev)
    elif event == NETDEV_UNREGISTER:
        _remove_idev(inet6, dev)
    elif event == NETDEV_CHANGEMTU:
        _mtu_changed(inet6, dev)
    elif event in (NETDEV_CHANGEADDR, NETDEV_FEAT_CHANGE):
        inet6.fib6.flush()  # routes in use hold the address, and whether packets are paced
    elif event == NETDEV_NOTIFY_PEERS:
        from pysock.families.inet6 import ndisc

        ndisc.announce(inet6, dev)
    elif event == NETDEV_CHANGENAME and idev_of(dev) is not None:
        _register_conf(inet6, dev)


# --- devices ------------------------------------------------------------------------------------------------------


def make_idev(inet6: Inet6Net, dev: NetDevice) -> Inet6Dev:
    """Put IPv6 on ``dev`` (ipv6_add_dev), with the settings of "default"."""
    idev = Inet6Dev(dev, Conf(addrconf_of(inet6).default))
    if dev.flags & IFF_LOOPBACK:
        idev.conf.accept_dad = -1
        idev.conf.use_tempaddr = -1
    dev.proto_priv["inet6"] = idev
    idev.groups[ALL_NODES_NODELOCAL] = idev.groups[ALL_NODES] = 1
    _register_conf(inet6, dev)
    return idev


def _register_conf(inet6: Inet6Net, dev: NetDevice) -> None:
    idev = idev_of(dev)
    assert idev is not None

    def changed(setting: str, value: int) -> None:
        _changed(inet6, dev, setting, value)

    if idev.sysctl_dir:
        inet6.net.sysctl.unregister_below(idev.sysctl_dir)
    idev.sysctl_dir = f"net.ipv6.conf.{dev.name.replace('.', '/')}"
    conf = idev.conf
    inet6.net.sysctl.register_lazy(idev.sysctl_dir, lambda: register(inet6.net, dev.name, conf, changed))


def _remove_idev(inet6: Inet6Net, dev: NetDevice) -> None:
    idev = idev_of(dev)
    if idev is None:
        return
    device_down(inet6, dev)
    inet6.fib6.remove_device(dev)
    inet6.net.sysctl.unregister_below(idev.sysctl_dir)
    del dev.proto_priv["inet6"]


def device_up(inet6: Inet6Net, dev: NetDevice) -> None:
    """The device is up and has carrier, or IPv6 was enabled on it: give it what it has of right (addrconf_dev_config).
    Harmless when it has that already.
    """
    idev = idev_of(dev)
    if idev is None or idev.conf.disable_ipv6 or not dev.flags & IFF_UP or not dev.carrier:
        return
    if dev.flags & IFF_SLAVE:
        return  # its bond speaks IPv6
    if dev.flags & IFF_LOOPBACK:
        if address_on(dev, LOOPBACK6) is None:
            add_address(inet6, dev, LOOPBACK6, 128, IFA_F_PERMANENT)
        return
    if idev.ready:
        return
    idev.ready = True
    inet6.fib6.revive(dev)
    entry = Fib6Entry(_MULTICAST_PREFIX, 8, RTN_MULTICAST, dev, metric=METRIC_ADDRCONF, protocol=RTPROT_KERNEL)
    inet6.fib6.add(entry)
    from pysock.families.inet6 import dad, mcast

    mcast.device_up(inet6, idev)
    for ifa in idev.addresses:  # given while it was down
        _add_prefix_route(inet6, ifa)
        dad.start(inet6, ifa)
    if dev.addr_len == 6 and idev.conf.addr_gen_mode == 0:
        address = LINKLOCAL_PREFIX + eui64(dev.dev_addr)
        if address_on(dev, address) is None:
            add_address(inet6, dev, address, 64, IFA_F_PERMANENT)


def device_down(inet6: Inet6Net, dev: NetDevice) -> None:
    """The device went down, or IPv6 was disabled on it (addrconf_ifdown)."""
    idev = idev_of(dev)
    if idev is None:
        return
    idev.ready = False
    if idev.rs_timer is not None:
        inet6.kernel.timers.del_timer(idev.rs_timer)
    for ifa in list(idev.addresses):
        del_address(inet6, dev, ifa.address)
    if not dev.flags & IFF_LOOPBACK:
        from pysock.families.inet6 import mcast

        mcast.device_down(inet6, idev)
    inet6.fib6.remove_device(dev, gone=False)


def _mtu_changed(inet6: Inet6Net, dev: NetDevice) -> None:
    idev = idev_of(dev)
    if dev.mtu < IPV6_MIN_MTU:
        _remove_idev(inet6, dev)
    elif idev is None:
        make_idev(inet6, dev)
        device_up(inet6, dev)
    elif idev.mtu != dev.mtu:
        idev.mtu = dev.mtu
        inet6.fib6.flush()


def _changed(inet6: Inet6Net, dev: NetDevice, setting: str, value: int) -> None:
    """A setting of one device was written."""
    if setting == "disable_ipv6":
        if value:
            device_down(inet6, dev)
        else:
            device_up(inet6, dev)
    elif setting == "hop_limit":
        inet6.fib6.flush()  # connections keep it in their cached headers
    elif setting == "forwarding":
        _forwarding_changed(inet6, dev, bool(value))


def _forwarding_changed(inet6: Inet6Net, dev: NetDevice, router: bool) -> None:
    """A router hears what is sent to all routers, and has no router of its own (dev_forward_change)."""
    from pysock.families.inet6 import mcast, slaac

    idev = idev_of(dev)
    if idev is None or router == (ALL_ROUTERS in idev.groups):
        return
    if router:
        mcast.join(inet6, dev, ALL_ROUTERS)
        slaac.drop_routers(inet6, dev)
    else:
        mcast.leave(inet6, dev, ALL_ROUTERS)


def _all_changed(inet6: Inet6Net, setting: str, value: int) -> None:
    """Two settings of "all" are for every device, and those to come (addrconf_fixup_forwarding,
    addrconf_disable_change).
    """
    if setting not in ("disable_ipv6", "forwarding"):
        return
    setattr(addrconf_of(inet6).default, setting, value)
    if setting == "forwarding":
        inet6.forwarding = bool(value)
    for dev in inet6.net.devices:
        idev = idev_of(dev)
        if idev is not None:
            setattr(idev.conf, setting, value)
            _changed(inet6, dev, setting, value)


# --- addresses ----------------------------------------------------------------------------------------------------


def add_address(
    inet6: Inet6Net,
    dev: NetDevice,
    address: bytes,
    plen: int,
    flags: int = IFA_F_PERMANENT,
    preferred_until: int = NEVER,
    valid_until: int = NEVER,
) -> Inet6Ifaddr:
    """Give ``dev`` the address ``address``/``plen`` (inet6_addr_add); ``flags`` IFA_F_*, IFA_F_NODAD among them. It is
    usable at once where duplicate address detection does not apply, else when that is done.

    EEXIST when it has it, EINVAL for a bad length, EADDRNOTAVAIL for what can't be a device's address, EACCES when IPv6
    is off there, ENODEV when it has none.
    """
    if not 0 <= plen <= 128:
        raise err(errno.EINVAL)
    idev = idev_of(dev)
    if idev is None:
        raise err(errno.ENODEV)
    if idev.conf.disable_ipv6:
        raise err(errno.EACCES)
    if address == ANY6 or is_multicast(address) or (address == LOOPBACK6 and not dev.flags & IFF_LOOPBACK):
        raise err(errno.EADDRNOTAVAIL)
    if address_on(dev, address) is not None:
        raise err(errno.EEXIST)
    ifa = Inet6Ifaddr(dev, address, plen, flags | IFA_F_TENTATIVE)
    ifa.preferred_until = preferred_until
    ifa.valid_until = valid_until
    at = next((i for i, other in enumerate(idev.addresses) if other.scope <= ifa.scope), len(idev.addresses))
    idev.addresses.insert(at, ifa)
    if dev.flags & (IFF_LOOPBACK | IFF_NOARP) == 0:
        from pysock.families.inet6 import mcast

        mcast.join(inet6, dev, solicited_node(address))
    if dev.flags & IFF_LOOPBACK:
        activate(inet6, ifa)
    elif idev.ready:
        from pysock.families.inet6 import dad

        _add_prefix_route(inet6, ifa)
        dad.start(inet6, ifa)
    if valid_until != NEVER or preferred_until != NEVER:
        from pysock.families.inet6 import slaac

        slaac.verify(inet6)
    return ifa


def _add_prefix_route(inet6: Inet6Net, ifa: Inet6Ifaddr) -> None:
    """The network that an address is in is on the link (addrconf_prefix_route)."""
    if ifa.plen == 128 or ifa.flags & IFA_F_NOPREFIXROUTE:
        return
    add_prefix_route(inet6, ifa.dev, prefix_of(ifa.address, ifa.plen), ifa.plen)


def add_prefix_route(inet6: Inet6Net, dev: NetDevice, prefix: bytes, plen: int) -> Fib6Entry:
    """The connected route for ``prefix`` on ``dev``: the one that is there, or a new one."""
    for entry in inet6.fib6.main.at(prefix, plen):
        if entry.dev is dev and entry.gateway is None and entry.metric == METRIC_ADDRCONF:
            return entry
    entry = Fib6Entry(prefix, plen, RTN_UNICAST, dev, metric=METRIC_ADDRCONF, protocol=RTPROT_KERNEL)
    inet6.fib6.add(entry)
    return entry


def activate(inet6: Inet6Net, ifa: Inet6Ifaddr) -> None:
    """``ifa`` is ours: no longer tentative, and packets to it are for us."""
    ifa.flags &= ~IFA_F_TENTATIVE
    route = Fib6Entry(ifa.address, 128, RTN_LOCAL, ifa.dev, metric=0, protocol=RTPROT_KERNEL)
    if not any(inet6.fib6.has(entry) for entry in ifa.routes):
        ifa.routes.append(route)
        inet6.fib6.add(route)
    addrconf_of(inet6).chain.call_chain(NETDEV_UP, ifa)


def del_address(inet6: Inet6Net, dev: NetDevice, address: bytes) -> None:
    """Take ``address`` from ``dev`` (inet6_addr_del). EADDRNOTAVAIL when it is not there. The connected route goes with
    the last address of its network.
    """
    idev = idev_of(dev)
    ifa = address_on(dev, address)
    if idev is None or ifa is None:
        raise err(errno.EADDRNOTAVAIL)
    idev.addresses.remove(ifa)
    if ifa.timer is not None:
        inet6.kernel.timers.del_timer(ifa.timer)
        ifa.timer = None
    for entry in ifa.routes:
        inet6.fib6.discard(entry)
    prefix = prefix_of(address, ifa.plen)
    same = [one for one in idev.addresses if one.plen == ifa.plen and prefix_of(one.address, one.plen) == prefix]
    if ifa.plen < 128 and not same:
        for entry in list(inet6.fib6.main.at(prefix, ifa.plen)):
            if entry.dev is dev and entry.gateway is None and entry.protocol == RTPROT_KERNEL:
                inet6.fib6.remove(entry)
    if dev.flags & (IFF_LOOPBACK | IFF_NOARP) == 0:
        from pysock.families.inet6 import mcast

        mcast.leave(inet6, dev, solicited_node(address))
    inet6.fib6.flush()
    addrconf_of(inet6).chain.call_chain(NETDEV_DOWN, ifa)


def link_local_of(dev: NetDevice) -> bytes | None:
    """A link-local address of ``dev`` to send from (ipv6_get_lladdr), None when it has none yet."""
    idev = idev_of(dev)
    if idev is not None:
        for ifa in reversed(idev.addresses):
            if is_linklocal(ifa.address) and not ifa.flags & IFA_F_TENTATIVE:
                return ifa.address
    return None

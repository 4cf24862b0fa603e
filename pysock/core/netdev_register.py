"""How a device comes into being and goes: names, alloc_netdev, register_netdev, unregister_netdev.

    uninitialized --register_netdev--> registered --unregister_netdev--> unregistering --> unregistered

Registration checks everything, then makes the device visible, then tells the notifiers; one that objects takes it all
back. All functions need the kernel lock. Source: net/core/dev.c, by function name.
"""

from __future__ import annotations

import errno

from pysock.core.errors import err
from pysock.core.netdev_config import call_driver, corrected_features, dev_close
from pysock.core.netdev_events import (
    NETDEV_POST_INIT,
    NETDEV_PRE_UNINIT,
    NETDEV_REGISTER,
    NETDEV_UNREGISTER,
)
from pysock.core.netdev_features import NETIF_F_NETNS_LOCAL, NETIF_F_NEVER_CHANGE, NETIF_F_SOFT_FEATURES
from pysock.core.netdevice import (
    NETREG_REGISTERED,
    NETREG_UNINITIALIZED,
    NETREG_UNREGISTERED,
    NETREG_UNREGISTERING,
    PACKET_TYPE,
    NetDevice,
    dev_put,
    netif_napi_del,
)
from pysock.core.notifier import notifier_to_errno
from pysock.core.qdisc import qdisc_destroy, qdisc_graft
from pysock.core.skbuff import kfree_skb
from pysock.uapi.if_ import IFF_LOOPBACK, IFNAMSIZ

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pysock.core.kernel import Kernel
    from pysock.core.net import Net

#: Numbers that a %d can take (a page of bits in Linux).
MAX_NETDEVICES = 8 * 4096
DEFAULT_TX_QUEUE_LEN = 1000


def dev_valid_name(name: str) -> bool:
    """Whether a device may be called ``name``: 1 to 15 bytes, no "/", ":" or white space, neither "." nor ".."."""
    if not name or name in (".", "..") or len(name.encode("utf-8", "surrogateescape")) >= IFNAMSIZ:
        return False
    return not any(char in "/:\0" or char.isspace() for char in name)


def dev_alloc_name(net: Net, name: str) -> str:
    """The first free name for a pattern with one %d ("eth%d"); a name without % is returned as it is.

    EINVAL for a bad name or pattern, EEXIST for a name that is taken, ENFILE when no number is left.
    """
    if not dev_valid_name(name):
        raise err(errno.EINVAL, f"not a device name: {name!r}")
    if "%" not in name:
        if name in net.dev_by_name:
            raise err(errno.EEXIST, f"a device {name!r} exists")
        return name
    before, mark, after = name.partition("%d")
    if not mark or "%" in before or "%" in after:
        raise err(errno.EINVAL, f"a device name pattern has one %d and no other %: {name!r}")
    for number in range(MAX_NETDEVICES):
        candidate = f"{before}{number}{after}"
        if candidate not in net.dev_by_name:
            if not dev_valid_name(candidate):
                break  # the number made it too long
            return candidate
    raise err(errno.ENFILE, f"no name is free for {name!r}")


def alloc_netdev(kernel: Kernel, name: str, setup: Callable[[NetDevice], None], net: Net | None = None) -> NetDevice:
    """A new device in ``net`` (the kernel's first namespace if None), filled in by ``setup``, not registered.

    ``name`` may be a pattern ("eth%d"), resolved when it is registered. EINVAL when it is no name at all.
    """
    if not dev_valid_name(name):
        raise err(errno.EINVAL, f"not a device name: {name!r}")
    dev = NetDevice(kernel, kernel.netns[0] if net is None else net, name)
    setup(dev)
    if not dev.tx_queue_len:
        dev.no_queue = True
        dev.tx_queue_len = DEFAULT_TX_QUEUE_LEN
    return dev


def register_netdev(dev: NetDevice) -> None:
    """Make ``dev`` part of its namespace (register_netdevice): down, with a name and an ifindex of its own.

    EINVAL for a device that is no longer new, EEXIST or ENFILE for its name, EBUSY when the ifindex it asks for is
    taken, or what ndo_init or a notifier objected with; nothing is left behind then.
    """
    if dev.reg_state != NETREG_UNINITIALIZED:
        raise err(errno.EINVAL, f"{dev.name} was registered before")
    net = dev.net
    name = dev_alloc_name(net, dev.name)
    if dev.ifindex in net.dev_by_index or dev.ifindex < 0:
        raise err(errno.EBUSY)
    layer = dev.kernel.dev_layer
    if dev.driver is not None and not dev.owner:
        dev.owner = layer.driver_owner(dev.driver.name)
    pattern, dev.name = dev.name, name
    chain = layer.netdev_chain
    try:
        call_driver(dev, "ndo_init", lambda: dev.netdev_ops.ndo_init(dev))
        _init_features(dev)
        dev.start_xmit = dev.netdev_ops.ndo_start_xmit
        number = notifier_to_errno(chain.call_chain(NETDEV_POST_INIT, dev))
        if number:
            _uninit(dev)
            raise err(number)
    except OSError:
        dev.name = pattern
        raise
    if not dev.ifindex:
        dev.ifindex = net.new_ifindex()
        while dev.ifindex in net.dev_by_index:
            dev.ifindex = net.new_ifindex()
    _list(dev)
    dev.reg_state = NETREG_REGISTERED
    dev.update_path()
    number = notifier_to_errno(chain.call_chain(NETDEV_REGISTER, dev))
    if number:
        unregister_netdev(dev)
        raise err(number)


def _init_features(dev: NetDevice) -> None:
    dev.hw_features = dev.hw_features & ~NETIF_F_NEVER_CHANGE | NETIF_F_SOFT_FEATURES
    dev.features |= NETIF_F_SOFT_FEATURES
    dev.wanted_features = dev.features & dev.hw_features
    dev.features = corrected_features(dev, dev.features)


def _list(dev: NetDevice) -> None:
    net = dev.net
    net.devices.append(dev)
    net.dev_by_name[dev.name] = dev
    net.dev_by_index[dev.ifindex] = dev
    if dev.flags & IFF_LOOPBACK and net.loopback_dev is None:
        net.loopback_dev = dev


def _unlist(dev: NetDevice) -> None:
    net = dev.net
    net.devices.remove(dev)
    del net.dev_by_name[dev.name]
    del net.dev_by_index[dev.ifindex]
    if net.loopback_dev is dev:
        net.loopback_dev = None


def _uninit(dev: NetDevice) -> None:
    try:
        dev.netdev_ops.ndo_uninit(dev)
    except Exception as exc:
        dev.kernel.errors.report(dev.owner or dev.name, "ndo_uninit", exc)


def unregister_netdev(dev: NetDevice) -> None:
    """Close ``dev`` and take it out of its namespace; nothing refers to it afterwards (unregister_netdevice_many).

    Packets that wait to be sent or received over it are dropped and counted. Who holds it (`dev_hold`) and does not let
    go of it when told, twice, is named in the log. No effect on a device that is not registered.
    """
    if dev.reg_state != NETREG_REGISTERED:
        return
    layer = dev.kernel.dev_layer
    dev.reg_state = NETREG_UNREGISTERING
    dev_close(dev)
    _unlist(dev)
    qdisc, dev.qdisc = dev.qdisc, None
    if qdisc is not None:
        qdisc_destroy(qdisc)
    for napi in tuple(dev.napi_list):
        netif_napi_del(dev, napi)
    layer.netdev_chain.call_chain(NETDEV_UNREGISTER, dev)
    layer.netdev_chain.call_chain(NETDEV_PRE_UNINIT, dev)
    _uninit(dev)
    _forget(dev)
    dev.update_path()
    dev.reg_state = NETREG_UNREGISTERED
    if dev.holders:
        layer.netdev_chain.call_chain(NETDEV_UNREGISTER, dev)
    if dev.holders:  # netdev_wait_allrefs(), which can't wait here
        held = ", ".join(f"{count} by {who}" for who, count in dev.holders.items())
        dev.kernel.errors.note(f"unregister_netdevice: {dev.name} does not become free, it is held: {held}")


def _forget(dev: NetDevice) -> None:
    """What others left with it: packets, addresses, taps, the families' state."""
    _flush_backlog(dev)
    dev.uc.clear()
    dev.mc.clear()
    for _ in dev.ptype_all:
        dev_put(dev, PACKET_TYPE)
    dev.ptype_all = ()
    dev.proto_priv.clear()


def dev_change_net(dev: NetDevice, net: Net, name: str | None = None) -> None:
    """Move ``dev`` to namespace ``net`` (dev_change_net_namespace): it goes down, its addresses, routes and queueing
    discipline are lost, and it keeps its name, or takes ``name`` (a pattern will do), and its ifindex if that is free
    there.

    ENODEV unless it is registered, EINVAL for a device that may not move (loopback) or another kernel's namespace,
    EEXIST and other errors of `dev_alloc_name`. Nothing has changed then. A notifier that objects to its arrival has it
    unregistered, and its errno is raised.
    """
    if dev.reg_state != NETREG_REGISTERED:
        raise err(errno.ENODEV)
    if dev.features & NETIF_F_NETNS_LOCAL or net.kernel is not dev.kernel:
        raise err(errno.EINVAL)
    if net is dev.net:
        return
    name = dev_alloc_name(net, dev.name if name is None else name)
    chain = dev.kernel.dev_layer.netdev_chain
    dev_close(dev)
    _unlist(dev)
    chain.call_chain(NETDEV_UNREGISTER, dev)
    if dev.qdisc is not None:
        qdisc_graft(dev, None)  # dev_shutdown(): the next dev_open gives it a default one again
    _forget(dev)
    dev.net = net
    dev.name = name
    while not dev.ifindex or dev.ifindex in net.dev_by_index:
        dev.ifindex = net.new_ifindex()
    _list(dev)
    dev.update_path()
    number = notifier_to_errno(chain.call_chain(NETDEV_REGISTER, dev))
    if number:
        unregister_netdev(dev)
        raise err(number)


def _flush_backlog(dev: NetDevice) -> None:
    """flush_backlog(): received packets that nobody has looked at yet."""
    for cpu in dev.kernel.cpus:
        queue = cpu.input_pkt_queue
        gone = [skb for skb in queue if skb.dev is dev]
        if not gone:
            continue
        kept = [skb for skb in queue if skb.dev is not dev]
        queue.clear()
        queue.extend(kept)
        for skb in gone:
            dev.stats.rx_dropped += 1
            kfree_skb(skb, "DEV_READY")

"""Changing a device: up and down, flags, MTU, name, addresses, features, queue length, carrier.

Each function checks first, asks the notifiers and the driver, and stores last, so that a refusal changes nothing. All
need the kernel lock; errors are OSError with Linux's errno. Source: net/core/dev.c, dev_addr_lists.c, link_watch.c.
"""

from __future__ import annotations

import errno

from pysock.core.errors import err
from pysock.core.netdev_events import (
    NETDEV_CHANGE,
    NETDEV_CHANGE_TX_QUEUE_LEN,
    NETDEV_CHANGEADDR,
    NETDEV_CHANGEMTU,
    NETDEV_CHANGENAME,
    NETDEV_DOWN,
    NETDEV_FEAT_CHANGE,
    NETDEV_GOING_DOWN,
    NETDEV_PRE_CHANGEADDR,
    NETDEV_PRE_UP,
    NETDEV_PRECHANGEMTU,
    NETDEV_UP,
)
from pysock.core.netdev_features import fix_features
from pysock.core.netdevice import NETREG_REGISTERED, default_operstate, napi_disable
from pysock.core.notifier import notifier_to_errno
from pysock.core.qdisc import attach_default_qdisc
from pysock.uapi.if_ import (
    IFALIASZ,
    IFF_ALLMULTI,
    IFF_AUTOMEDIA,
    IFF_DEBUG,
    IFF_DYNAMIC,
    IFF_MULTICAST,
    IFF_NOARP,
    IFF_NOTRAILERS,
    IFF_PORTSEL,
    IFF_PROMISC,
    IFF_UP,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pysock.core.netdevice import NetDevice

#: What SIOCSIFFLAGS may store, besides IFF_UP, IFF_PROMISC and IFF_ALLMULTI, which do something.
_SETTABLE = IFF_DEBUG | IFF_NOTRAILERS | IFF_NOARP | IFF_DYNAMIC | IFF_MULTICAST | IFF_PORTSEL | IFF_AUTOMEDIA


def call_driver(dev: NetDevice, where: str, call: Callable[[], None]) -> None:
    """Let the driver do ``call``. Its OSError comes out as it is; anything else is reported and comes out as EIO."""
    try:
        call()
    except OSError:
        raise
    except Exception as exc:
        dev.kernel.errors.report(dev.owner or dev.name, where, exc)
        raise err(errno.EIO) from exc


def _ask(dev: NetDevice, event: int, proposed: object = None) -> None:
    """Tell the notifiers, and raise what one of them objects with."""
    dev.proposed = proposed
    try:
        number = notifier_to_errno(dev.kernel.dev_layer.netdev_chain.call_chain(event, dev))
    finally:
        dev.proposed = None
    if number:
        raise err(number)


def _tell(dev: NetDevice, event: int) -> None:
    dev.kernel.dev_layer.netdev_chain.call_chain(event, dev)


# --- up and down ------------------------------------------------------------------------------------------------------


def dev_open(dev: NetDevice) -> None:
    """Bring ``dev`` up; nothing happens when it is. ENODEV if it is not registered or absent, what a notifier objects
    with (NETDEV_PRE_UP), or what the driver's ndo_open raised: it stays down then.
    """
    if dev.flags & IFF_UP:
        return
    if dev.reg_state != NETREG_REGISTERED or not dev.present:
        raise err(errno.ENODEV)
    _ask(dev, NETDEV_PRE_UP)
    ops = dev.netdev_ops
    dev.running = True
    dev.tx_stopped = False
    try:
        call_driver(dev, "ndo_validate_addr", lambda: ops.ndo_validate_addr(dev))
        call_driver(dev, "ndo_open", lambda: ops.ndo_open(dev))
    except OSError:
        dev.running = False
        raise
    dev.flags |= IFF_UP
    dev_set_rx_mode(dev)
    attach_default_qdisc(dev)
    dev.update_path()
    _tell(dev, NETDEV_UP)


def dev_close(dev: NetDevice) -> None:
    """Take ``dev`` down; never refused. Packets that wait to be sent are freed."""
    if not dev.flags & IFF_UP:
        return
    _tell(dev, NETDEV_GOING_DOWN)
    dev.running = False
    dev.xmit_direct = False
    if dev.qdisc is not None:
        dev.qdisc.purge()
    for napi in dev.napi_list:
        napi_disable(napi)
    try:
        dev.netdev_ops.ndo_stop(dev)
    except Exception as exc:
        dev.kernel.errors.report(dev.owner or dev.name, "ndo_stop", exc)
    dev.flags &= ~IFF_UP
    dev.tx_stopped = False
    if dev.watchdog is not None:
        dev.kernel.timers.del_timer(dev.watchdog)
    dev.update_path()
    _tell(dev, NETDEV_DOWN)


def dev_change_flags(dev: NetDevice, flags: int) -> None:
    """SIOCSIFFLAGS: up or down by IFF_UP, promiscuity by IFF_PROMISC and IFF_ALLMULTI, a few stored as they are; flags
    that only the kernel sets are ignored. Errors as dev_open.
    """
    before = dev.flags
    dev.flags = before & ~_SETTABLE | flags & _SETTABLE
    if (before ^ flags) & IFF_MULTICAST:
        dev_set_rx_mode(dev)
    if (before ^ flags) & IFF_UP:
        if flags & IFF_UP:
            try:
                dev_open(dev)
            except OSError:
                dev.flags = before
                raise
        else:
            dev_close(dev)
    if (dev.gflags ^ flags) & IFF_PROMISC:
        dev.gflags ^= IFF_PROMISC
        dev_set_promiscuity(dev, 1 if flags & IFF_PROMISC else -1)
    if (dev.gflags ^ flags) & IFF_ALLMULTI:
        dev.gflags ^= IFF_ALLMULTI
        dev_set_allmulti(dev, 1 if flags & IFF_ALLMULTI else -1)
    if dev.flags & IFF_UP and (before ^ dev.flags) & ~(IFF_UP | IFF_PROMISC | IFF_ALLMULTI):
        _tell(dev, NETDEV_CHANGE)


# --- carrier ----------------------------------------------------------------------------------------------------------


def netif_carrier_on(dev: NetDevice) -> None:
    """The driver found a link. Packets flow, and NETDEV_CHANGE tells who wants to know."""
    if not dev.carrier:
        dev.carrier = True
        _linkwatch(dev)


def netif_carrier_off(dev: NetDevice) -> None:
    """The link is gone: what is sent is dropped from now on. Drivers may call it before registration, too."""
    if dev.carrier:
        dev.carrier = False
        _linkwatch(dev)


def netif_dormant(dev: NetDevice, dormant: bool) -> None:
    """There is a link, but it waits for something, such as 802.1X (netif_dormant_on and _off)."""
    if dev.dormant != dormant:
        dev.dormant = dormant
        _linkwatch(dev)


def _linkwatch(dev: NetDevice) -> None:
    """linkwatch_do_dev(), at once: Linux defers it to a work queue."""
    dev.operstate = default_operstate(dev)
    dev.update_path()
    if not dev.carrier and dev.qdisc is not None:
        dev.qdisc.purge()  # dev_deactivate
    if dev.flags & IFF_UP and dev.reg_state == NETREG_REGISTERED:
        _tell(dev, NETDEV_CHANGE)


# --- MTU, name, queue length, features --------------------------------------------------------------------------------


def dev_set_mtu(dev: NetDevice, mtu: int) -> None:
    """Change the MTU (bytes). EINVAL outside dev.min_mtu..dev.max_mtu, or what driver or notifier objects with."""
    if mtu == dev.mtu:
        return
    if mtu < 0 or mtu < dev.min_mtu or (dev.max_mtu > 0 and mtu > dev.max_mtu):
        raise err(errno.EINVAL, f"{dev.name}: mtu {mtu} is not in {dev.min_mtu}..{dev.max_mtu or 'any'}")
    if not dev.present:
        raise err(errno.ENODEV)
    _ask(dev, NETDEV_PRECHANGEMTU, mtu)
    old = dev.mtu
    call_driver(dev, "ndo_change_mtu", lambda: dev.netdev_ops.ndo_change_mtu(dev, mtu))
    dev.mtu = mtu
    try:
        _ask(dev, NETDEV_CHANGEMTU)
    except OSError:
        # Those who were told of the new one are told of the old one; nobody is asked.
        call_driver(dev, "ndo_change_mtu", lambda: dev.netdev_ops.ndo_change_mtu(dev, old))
        dev.mtu = old
        _tell(dev, NETDEV_CHANGEMTU)
        raise


def dev_change_name(dev: NetDevice, new_name: str) -> None:
    """Rename; ``new_name`` may be a pattern ("net%d"). Errors as dev_alloc_name, or what a notifier objects with.

    A device that is up may be renamed, as in Linux since 6.2.
    """
    from pysock.core.netdev_register import dev_alloc_name

    old = dev.name
    if new_name == old:
        return
    name = dev_alloc_name(dev.net, new_name)
    _rename(dev, name)
    try:
        _ask(dev, NETDEV_CHANGENAME)
    except OSError:
        _rename(dev, old)
        _tell(dev, NETDEV_CHANGENAME)
        raise


def _rename(dev: NetDevice, name: str) -> None:
    by_name = dev.net.dev_by_name
    if by_name.get(dev.name) is dev:
        del by_name[dev.name]
        by_name[name] = dev
    dev.name = name


def dev_set_alias(dev: NetDevice, alias: str) -> None:
    """Call it ``alias`` besides its name, for people: `ip link set DEV alias TEXT`; "" ends that. EINVAL for 256 bytes
    or more.
    """
    if len(alias.encode("utf-8", "surrogateescape")) >= IFALIASZ:
        raise err(errno.EINVAL)
    dev.alias = alias


def dev_change_tx_queue_len(dev: NetDevice, length: int) -> None:
    """Change how many packets the default disciplines hold. ERANGE if negative or beyond 32 bits."""
    if not 0 <= length < 1 << 32:
        raise err(errno.ERANGE)
    old = dev.tx_queue_len
    if length == old:
        return
    dev.tx_queue_len = length
    try:
        _ask(dev, NETDEV_CHANGE_TX_QUEUE_LEN)
    except OSError:
        dev.tx_queue_len = old
        raise


def dev_set_features(dev: NetDevice, wanted: int) -> None:
    """Switch features as `ethtool -K` does: of those in dev.hw_features, the device is to have ``wanted``. What it gets
    of them `netdev_update_features` decides, now and whenever it is asked again.
    """
    dev.wanted_features = wanted & dev.hw_features
    netdev_update_features(dev)


def netdev_update_features(dev: NetDevice) -> None:
    """What a device's features rest on changed: the wishes in dev.wanted_features, or the devices below it.

    The driver's ndo_fix_features and the rules of `fix_features` take away what cannot be (__netdev_update_features).
    What ndo_set_features raises comes out, and nothing has changed.
    """
    features = corrected_features(dev, dev.features & ~dev.hw_features | dev.wanted_features)
    if features == dev.features:
        return
    call_driver(dev, "ndo_set_features", lambda: dev.netdev_ops.ndo_set_features(dev, features))
    dev.features = features
    dev.update_path()
    _tell(dev, NETDEV_FEAT_CHANGE)


def corrected_features(dev: NetDevice, features: int) -> int:
    """``features`` without what the driver or the rules among them do not allow."""
    try:
        features &= dev.netdev_ops.ndo_fix_features(dev, features)
    except Exception as exc:
        dev.kernel.errors.report(dev.owner or dev.name, "ndo_fix_features", exc)
    return fix_features(features)


# --- addresses and what to receive ------------------------------------------------------------------------------------


def dev_set_mac_address(dev: NetDevice, addr: bytes) -> None:
    """Change the hardware address. EINVAL for a wrong length, EOPNOTSUPP, EBUSY or EADDRNOTAVAIL from the driver."""
    if len(addr) != dev.addr_len:
        raise err(errno.EINVAL)
    if not dev.present:
        raise err(errno.ENODEV)
    _ask(dev, NETDEV_PRE_CHANGEADDR, addr)
    if addr != dev.dev_addr:
        call_driver(dev, "ndo_set_mac_address", lambda: dev.netdev_ops.ndo_set_mac_address(dev, addr))
        dev.dev_addr = addr
    _tell(dev, NETDEV_CHANGEADDR)


def dev_set_rx_mode(dev: NetDevice) -> None:
    """Tell the driver what to receive, if the device is up."""
    if not dev.flags & IFF_UP or not dev.present:
        return
    try:
        dev.netdev_ops.ndo_set_rx_mode(dev)
    except Exception as exc:
        dev.kernel.errors.report(dev.owner or dev.name, "ndo_set_rx_mode", exc)


def dev_set_promiscuity(dev: NetDevice, delta: int) -> None:
    """One more (+1) or one fewer (-1) wants every frame. EOVERFLOW for one fewer than none."""
    if dev.promiscuity + delta < 0:
        raise err(errno.EOVERFLOW)
    dev.promiscuity += delta
    _set_flag(dev, IFF_PROMISC, dev.promiscuity > 0)


def dev_set_allmulti(dev: NetDevice, delta: int) -> None:
    """The same for every multicast frame."""
    if dev.allmulti + delta < 0:
        raise err(errno.EOVERFLOW)
    dev.allmulti += delta
    _set_flag(dev, IFF_ALLMULTI, dev.allmulti > 0)


def _set_flag(dev: NetDevice, flag: int, on: bool) -> None:
    flags = dev.flags | flag if on else dev.flags & ~flag
    if flags != dev.flags:
        dev.flags = flags
        dev_set_rx_mode(dev)


def dev_mc_add(dev: NetDevice, addr: bytes) -> None:
    """Receive the multicast address ``addr`` too; each caller is counted. EINVAL for a wrong length."""
    _add_address(dev, dev.mc, addr)


def dev_mc_del(dev: NetDevice, addr: bytes) -> None:
    """Take one dev_mc_add back. ENOENT when there was none."""
    _del_address(dev, dev.mc, addr)


def dev_uc_add(dev: NetDevice, addr: bytes) -> None:
    """Receive the unicast address ``addr`` too, besides the device's own."""
    _add_address(dev, dev.uc, addr)


def dev_uc_del(dev: NetDevice, addr: bytes) -> None:
    """Take one dev_uc_add back. ENOENT when there was none."""
    _del_address(dev, dev.uc, addr)


def _add_address(dev: NetDevice, addresses: dict[bytes, int], addr: bytes) -> None:
    if len(addr) != dev.addr_len:
        raise err(errno.EINVAL)
    addresses[addr] = addresses.get(addr, 0) + 1
    if addresses[addr] == 1:
        dev_set_rx_mode(dev)


def _del_address(dev: NetDevice, addresses: dict[bytes, int], addr: bytes) -> None:
    if addr not in addresses:
        raise err(errno.ENOENT)
    addresses[addr] -= 1
    if not addresses[addr]:
        del addresses[addr]
        dev_set_rx_mode(dev)

"""Devices upon devices: who is stacked on whom, and what the upper one wants of the lower.

    netdev_upper_dev_link(dev, upper)      `upper` sends through `dev` (a VLAN, a macvlan)
    netdev_master_upper_dev_link(...)      and owns it: a device has one master (a bond, a bridge)
    LowerFilter                            the addresses and promiscuity that an upper device asked of a lower one
    netif_stacked_transfer_operstate       carrier and dormancy follow the lower device
    netdev_ingress_register                who sees received packets before VLANs and the rx_handler do

Source: net/core/dev.c and dev_addr_lists.c, by function name. All need the kernel lock.
"""

from __future__ import annotations

import errno

from pysock.core.errors import err
from pysock.core.netdev_config import (
    dev_mc_add,
    dev_mc_del,
    dev_set_allmulti,
    dev_set_promiscuity,
    dev_uc_add,
    dev_uc_del,
    netif_carrier_off,
    netif_carrier_on,
    netif_dormant,
)
from pysock.core.netdev_events import NETDEV_CHANGEUPPER, NETDEV_PRECHANGEUPPER
from pysock.core.netdevice import default_operstate, dev_hold, dev_put
from pysock.core.notifier import notifier_to_errno
from pysock.uapi.if_ import IFF_ALLMULTI, IFF_PROMISC

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pysock.core.netdevice import NetDevice
    from pysock.core.skbuff import SkBuff

#: Devices may be stacked so deep (MAX_NEST_DEV).
MAX_NEST_DEV = 8
#: Whose reference it is.
_UPPER = "upper device"


def _depth(dev: NetDevice) -> int:
    return 1 + max((_depth(lower) for lower in dev.lowers), default=0)


def _height(dev: NetDevice) -> int:
    return 1 + max((_height(upper) for upper in dev.uppers), default=0)


def _is_above(dev: NetDevice, upper: NetDevice) -> bool:
    return dev is upper or any(_is_above(one, upper) for one in dev.uppers)


def netdev_upper_dev_link(dev: NetDevice, upper: NetDevice) -> None:
    """``upper`` stands on ``dev`` from now on. EBUSY when that makes a loop, EEXIST when it does already, EMLINK when
    the stack becomes too deep, or what a notifier objects with (NETDEV_PRECHANGEUPPER).
    """
    _link(dev, upper, master=False)


def netdev_master_upper_dev_link(dev: NetDevice, upper: NetDevice) -> None:
    """The same, and ``upper`` becomes the master of ``dev``: EBUSY when it has another one."""
    _link(dev, upper, master=True)


def _link(dev: NetDevice, upper: NetDevice, *, master: bool) -> None:
    if _is_above(upper, dev):
        raise err(errno.EBUSY)
    if upper in dev.uppers:
        raise err(errno.EEXIST)
    if master and dev.master is not None:
        raise err(errno.EBUSY, f"{dev.name} is part of {dev.master.name}")
    if _depth(dev) + _height(upper) > MAX_NEST_DEV:
        raise err(errno.EMLINK)
    chain = dev.kernel.dev_layer.netdev_chain
    dev.proposed = upper
    try:
        number = notifier_to_errno(chain.call_chain(NETDEV_PRECHANGEUPPER, dev))
    finally:
        dev.proposed = None
    if number:
        raise err(number)
    dev_hold(dev, _UPPER)
    dev.uppers = (*dev.uppers, upper)
    upper.lowers = (*upper.lowers, dev)
    if master:
        dev.master = upper
    chain.call_chain(NETDEV_CHANGEUPPER, dev)


def netdev_upper_dev_unlink(dev: NetDevice, upper: NetDevice) -> None:
    """Take the link back; nothing happens when there is none."""
    if upper not in dev.uppers:
        return
    dev.uppers = tuple(one for one in dev.uppers if one is not upper)
    upper.lowers = tuple(one for one in upper.lowers if one is not dev)
    dev_put(dev, _UPPER)
    if dev.master is upper:
        dev.master = None
    dev.kernel.dev_layer.netdev_chain.call_chain(NETDEV_CHANGEUPPER, dev)


def netif_stacked_transfer_operstate(lower: NetDevice, dev: NetDevice) -> None:
    """``dev`` has carrier, or waits, exactly when ``lower`` does. A lower device that is down counts as no carrier."""
    netif_dormant(dev, lower.dormant)
    if lower.carrier and lower.running:
        netif_carrier_on(dev)
    else:
        netif_carrier_off(dev)
    dev.operstate = default_operstate(dev)


def netdev_ingress_register(dev: NetDevice, handler: Callable[[SkBuff], int]) -> None:
    """Show ``handler`` what ``dev`` receives, behind the taps and before its VLANs and rx_handler: it answers
    RX_HANDLER_PASS, or RX_HANDLER_CONSUMED for a packet that it took. EBUSY when there is one already.
    """
    if dev.ingress is not None:
        raise err(errno.EBUSY)
    dev.ingress = handler
    dev.update_path()


def netdev_ingress_unregister(dev: NetDevice) -> None:
    """Take it off; there may be none."""
    dev.ingress = None
    dev.update_path()


class LowerFilter:
    """What an upper device asked ``lower`` to receive for it (dev_uc_sync, dev_mc_sync), so that it can be taken back
    even after the lower device forgot it, as it does when it moves to another namespace.
    """

    __slots__ = ("_allmulti", "_mc", "_promisc", "_uc", "lower")

    def __init__(self, lower: NetDevice) -> None:
        self.lower = lower
        self._uc: set[bytes] = set()
        self._mc: set[bytes] = set()
        self._promisc = self._allmulti = False

    def sync(self, uc: Iterable[bytes], mc: Iterable[bytes], flags: int) -> None:
        """Ask for these addresses and for IFF_PROMISC and IFF_ALLMULTI of ``flags``, and for nothing else any more."""
        lower = self.lower
        self._uc = _move(lower, self._uc, set(uc), dev_uc_add, dev_uc_del)
        self._mc = _move(lower, self._mc, set(mc), dev_mc_add, dev_mc_del)
        promisc, allmulti = flags & IFF_PROMISC != 0, flags & IFF_ALLMULTI != 0
        if promisc != self._promisc:
            self._promisc = promisc
            dev_set_promiscuity(lower, 1 if promisc else -1)
        if allmulti != self._allmulti:
            self._allmulti = allmulti
            dev_set_allmulti(lower, 1 if allmulti else -1)

    def clear(self) -> None:
        """Ask for nothing."""
        self.sync((), (), 0)


def _move(
    lower: NetDevice,
    old: set[bytes],
    new: set[bytes],
    add: Callable[[NetDevice, bytes], None],
    remove: Callable[[NetDevice, bytes], None],
) -> set[bytes]:
    for address in sorted(new - old):
        add(lower, address)
    for address in sorted(old - new):
        try:
            remove(lower, address)
        except OSError:
            pass  # the lower device forgot it
    return new

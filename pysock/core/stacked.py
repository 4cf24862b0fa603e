"""A device that stands on one other and sends through it: what VLANs and macvlans have in common.

    StackedEthtool          what it says of its link is what the lower one says
    StackedOps              derive from it: follows the lower device's MTU limit, features and end; counts what it sends
    check_lower, stack_on   before, and while, one is made on a device

Rules that keep it true: a packet with a tag beside it goes by `xmit_slow`, never by the lower device's direct path
(core/vlan.py); what an upper device asked the lower to receive stands in its `filter` and is taken back from there.
"""

from __future__ import annotations

import errno
from contextlib import suppress

from pysock.core.dev_xmit import NET_XMIT_CN, xmit_slow
from pysock.core.errors import err
from pysock.core.eth import EthDeviceOps
from pysock.core.ethtool_ops import EthtoolOps, ethtool_op_get_link
from pysock.core.netdev_config import dev_set_mtu, netdev_update_features
from pysock.core.netdev_events import NETDEV_CHANGEMTU, NETDEV_FEAT_CHANGE, NETDEV_REGISTER, NETDEV_UNREGISTER
from pysock.core.netdev_features import NETIF_F_LLTX, SOFTWARE_DEVICE_FEATURES
from pysock.core.netdev_register import unregister_netdev
from pysock.core.netdev_upper import LowerFilter
from pysock.core.netdevice import NETREG_UNREGISTERING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from pysock.core.ethtool_types import DrvInfo, LinkSettings, TsInfo
    from pysock.core.kernel import Kernel
    from pysock.core.netdevice import NetDevice
    from pysock.core.skbuff import SkBuff

#: Whatever the lower device takes, such a device takes.
STACKED_FEATURES = SOFTWARE_DEVICE_FEATURES | NETIF_F_LLTX


class StackedOps(EthDeviceOps):
    """One device ``dev`` upon ``lower``."""

    __slots__ = ("dev", "filter", "lower")

    def __init__(self, dev: NetDevice, lower: NetDevice) -> None:
        self.dev = dev
        self.lower = lower
        self.filter = LowerFilter(lower)

    def send_below(self, skb: SkBuff) -> None:
        """Send it by the lower device. What that refuses is counted in tx_dropped."""
        lower = self.lower
        size = skb.len
        skb.dev = lower
        tagged = skb.ext is not None and skb.ext.vlan_tci is not None
        self.count_sent(xmit_slow(lower, skb) if tagged else lower.queue_xmit(skb), size)

    def count_sent(self, result: int, size: int) -> None:
        """Count a packet of ``size`` bytes that was sent with ``result`` (NET_XMIT_*)."""
        stats = self.dev.stats
        if result in (0, NET_XMIT_CN):
            stats.tx_packets += 1
            stats.tx_bytes += size
        else:
            stats.tx_dropped += 1

    def ask_for(self, *own: bytes) -> None:
        """Have the lower device receive what this one wants, and the addresses ``own`` (dev_uc_sync, dev_mc_sync)."""
        dev = self.dev
        self.filter.sync((*dev.uc, *own), dev.mc, dev.flags)

    def lower_event(self, event: int, lower: NetDevice) -> None:
        """What happened to the lower device, as far as all such devices take it the same way."""
        dev = self.dev
        if event == NETDEV_CHANGEMTU:
            if dev.mtu > lower.mtu:
                dev_set_mtu(dev, lower.mtu)
        elif event == NETDEV_FEAT_CHANGE:
            netdev_update_features(dev)
        elif event == NETDEV_REGISTER:
            dev.link = lower.ifindex  # it moved to another namespace
        elif event == NETDEV_UNREGISTER and lower.reg_state == NETREG_UNREGISTERING:
            unregister_netdev(dev)  # not when it only moves to another namespace


class StackedEthtool(EthtoolOps):
    """Its link is the lower device's."""

    __slots__ = ("info", "lower")

    def __init__(self, lower: NetDevice, info: DrvInfo) -> None:
        self.lower = lower
        self.info = info

    def get_drvinfo(self, dev: NetDevice) -> DrvInfo:
        return self.info

    def get_link(self, dev: NetDevice) -> bool:
        return ethtool_op_get_link(dev)

    def get_link_ksettings(self, dev: NetDevice) -> LinkSettings:
        return self.lower.ethtool_ops.get_link_ksettings(self.lower)

    def get_ts_info(self, dev: NetDevice) -> TsInfo:
        return self.lower.ethtool_ops.get_ts_info(self.lower)


def stacked_event(event: int, lower: NetDevice, stacked: Iterable[StackedOps]) -> None:
    """Tell each of them. What one objects to (it does not want to come up, say) is no reason to stop the lower one."""
    for ops in tuple(stacked):
        with suppress(OSError):
            ops.lower_event(event, lower)


def stack_on(dev: NetDevice, lower: NetDevice) -> None:
    """Give a new device what it has of the lower one."""
    dev.link = lower.ifindex
    dev.mtu = lower.mtu
    dev.gso_max_size = lower.gso_max_size
    dev.hard_header_len = lower.hard_header_len


def check_lower(kernel: Kernel, lower: NetDevice) -> None:
    """ENODEV for a device that goes, or is another kernel's."""
    if lower.net.dev_by_index.get(lower.ifindex) is not lower or lower.kernel is not kernel:
        raise err(errno.ENODEV)

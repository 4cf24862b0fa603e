"""ifb: a detour for packets, so that a queueing discipline can stand where there is none. drivers/net/ifb.c.

    ifb = create_device(net, "ifb", "ifb0");  dev_open(ifb);  qdisc_replace(ifb, "netem", {...})
    redirect_ingress(eth0, ifb)     what eth0 receives waits in ifb's queue first  (tc ... action mirred redirect)
    redirect_egress(eth0, ifb)      what eth0 sends does; several devices may share one queue so

When the discipline lets a packet go it is put back where it was taken from: received by that device, past taps and
ingress, which had it before; or sent by it. Packets that were not redirected are dropped, as are those whose device is
gone.
"""

from __future__ import annotations

import errno

from pysock.core.dev_xmit import NET_XMIT_DROP, NET_XMIT_SUCCESS, hard_start_xmit, validate_xmit, xmit_refused
from pysock.core.device import NETREG_REGISTERED, RX_HANDLER_CONSUMED, Driver, NetDevice
from pysock.core.device_ops import NETDEV_TX_BUSY, NETDEV_TX_OK
from pysock.core.errors import err
from pysock.core.eth import EthDeviceOps, eth_random_addr, ether_setup
from pysock.core.ethtool_ops import EthtoolOps
from pysock.core.netdev_events import NETDEV_UNREGISTER
from pysock.core.netdev_features import NETIF_F_HW_VLAN_CTAG_TX, NETIF_F_HW_VLAN_STAG_TX, SOFTWARE_DEVICE_FEATURES
from pysock.core.netdev_upper import netdev_ingress_register, netdev_ingress_unregister
from pysock.core.qdisc import Qdisc, attach_default_qdisc, qdisc_graft
from pysock.core.skbuff import kfree_skb, skb_pull
from pysock.uapi.ethtool import ETH_SS_STATS
from pysock.uapi.if_ import IFF_MULTICAST, IFF_NOARP, IFF_UP

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pysock.core.skbuff import SkBuff

_FEATURES = SOFTWARE_DEVICE_FEATURES | NETIF_F_HW_VLAN_CTAG_TX | NETIF_F_HW_VLAN_STAG_TX
#: Packets its queue holds when no discipline says otherwise (TX_Q_LIMIT).
TX_Q_LIMIT = 32


class _Ingress:
    """One device's way in: its `ingress` handler, and the mark of the packets it redirected."""

    __slots__ = ("dev", "ifb")

    def __init__(self, dev: NetDevice, ifb: NetDevice) -> None:
        self.dev = dev
        self.ifb = ifb

    def take(self, skb: SkBuff) -> int:
        """tcf_mirred_act() with TCA_EGRESS_REDIR at ingress."""
        skb.need_ext().redirect = self
        skb.skb_iif = self.dev.ifindex
        skb.network_header = skb.data
        if skb.mac_header >= 0:
            skb.len += skb.data - skb.mac_header
            skb.data = skb.mac_header
        skb.dev = self.ifb
        self.ifb.queue_xmit(skb)
        return RX_HANDLER_CONSUMED

    def put_back(self, skb: SkBuff) -> bool:
        """Receive it after all. False when the backlog is full."""
        skb_pull(skb, skb.network_header - skb.data)
        skb.dev = self.dev
        return not self.dev.kernel.softnet.netif_rx(skb)

    def end(self) -> None:
        if self.dev.ingress == self.take:
            netdev_ingress_unregister(self.dev)


class _Egress(Qdisc):
    """One device's way out: a root discipline that keeps nothing, and the mark of the packets it redirected."""

    __slots__ = ("ifb",)

    def __init__(self, dev: NetDevice, ifb: NetDevice) -> None:
        super().__init__(dev)
        self.id = "ifb"
        self.ifb = ifb

    def enqueue(self, skb: SkBuff) -> int:
        skb.need_ext().redirect = self
        skb.dev = self.ifb
        self.packets += 1
        self.bytes += skb.len
        return NET_XMIT_DROP if self.ifb.queue_xmit(skb) else NET_XMIT_SUCCESS

    def dequeue(self) -> SkBuff | None:
        return None

    def peek(self) -> SkBuff | None:
        return None

    def put_back(self, skb: SkBuff) -> bool:
        """Send it after all. False when the device went down meanwhile."""
        dev = self.dev
        if not dev.flags & IFF_UP or not dev.carrier or dev.tx_stopped:
            return False
        skb.dev = dev
        skb.need_ext().redirect = None
        for one in validate_xmit(dev, skb):
            if hard_start_xmit(dev, one) == NETDEV_TX_BUSY:
                xmit_refused(dev, one)
        return True

    def end(self) -> None:
        if self.dev.qdisc is self:
            qdisc_graft(self.dev, None)
            if self.dev.flags & IFF_UP:
                attach_default_qdisc(self.dev)
                self.dev.update_path()


class IfbOps(EthDeviceOps):
    """One ifb and the detours that lead through it."""

    __slots__ = ("ways",)

    def __init__(self) -> None:
        self.ways: list[_Ingress | _Egress] = []

    def ndo_start_xmit(self, skb: SkBuff, dev: NetDevice) -> int:
        """ifb_xmit() and ifb_ri_tasklet(): rx counts what came, tx what was put back."""
        stats = dev.stats
        size = skb.len
        stats.rx_packets += 1
        stats.rx_bytes += size
        way = None if skb.ext is None else skb.ext.redirect
        if not isinstance(way, _Ingress | _Egress):
            stats.rx_dropped += 1
            kfree_skb(skb, "DEV_READY")
        elif way.dev.reg_state != NETREG_REGISTERED or not way.put_back(skb):
            stats.tx_dropped += 1
            kfree_skb(skb, "DEV_READY")
        else:
            stats.tx_packets += 1
            stats.tx_bytes += size
        return NETDEV_TX_OK

    def ndo_uninit(self, dev: NetDevice) -> None:
        for way in self.ways:
            way.end()
        self.ways = []


def _ops(ifb: NetDevice) -> IfbOps:
    ops = ifb.netdev_ops
    if not isinstance(ops, IfbOps):
        raise err(errno.EINVAL, f"{ifb.name} is no ifb")
    return ops


def _check(dev: NetDevice, ifb: NetDevice) -> IfbOps:
    ops = _ops(ifb)
    if isinstance(dev.netdev_ops, IfbOps):
        raise err(errno.ELOOP, "an ifb can't be redirected")
    if dev.reg_state != NETREG_REGISTERED or ifb.reg_state != NETREG_REGISTERED:
        raise err(errno.ENODEV)
    return ops


def redirect_ingress(dev: NetDevice, ifb: NetDevice) -> None:
    """Send what ``dev`` receives through ``ifb`` first. EINVAL when that is no ifb, ELOOP for an ifb as ``dev``, ENODEV
    for one that is not registered, EBUSY for a device with an ingress handler already.
    """
    ops = _check(dev, ifb)
    way = _Ingress(dev, ifb)
    netdev_ingress_register(dev, way.take)
    ops.ways.append(way)


def redirect_egress(dev: NetDevice, ifb: NetDevice) -> None:
    """Send what ``dev`` is to send through ``ifb`` first; takes the place of its queueing discipline. Errors as
    `redirect_ingress`, EBUSY when it is redirected already.
    """
    ops = _check(dev, ifb)
    if isinstance(dev.qdisc, _Egress):
        raise err(errno.EBUSY)
    way = _Egress(dev, ifb)
    qdisc_graft(dev, way)
    ops.ways.append(way)


def redirect_end(dev: NetDevice, ifb: NetDevice) -> None:
    """No detour for ``dev`` any more; what waits in ``ifb`` is still put back. EINVAL when ``ifb`` is no ifb."""
    ops = _ops(ifb)
    mine = [way for way in ops.ways if way.dev is dev]
    ops.ways = [way for way in ops.ways if way.dev is not dev]
    for way in mine:
        way.end()


def _netdev_event(event: int, dev: NetDevice) -> None:
    """A redirected device goes, or moves to where the ifb is not wanted."""
    if event == NETDEV_UNREGISTER and (dev.ingress is not None or isinstance(dev.qdisc, _Egress)):
        way = getattr(dev.ingress, "__self__", dev.qdisc)
        if isinstance(way, _Ingress | _Egress):
            redirect_end(dev, way.ifb)


class IfbEthtool(EthtoolOps):
    """ifb_ethtool_ops: what came to the queue, and what left it."""

    __slots__ = ()

    def get_strings(self, dev: NetDevice, stringset: int) -> Sequence[str]:
        if stringset != ETH_SS_STATS:
            raise err(errno.EOPNOTSUPP)
        return ("rx_queue_0_packets", "rx_queue_0_bytes", "tx_queue_0_packets", "tx_queue_0_bytes")

    def get_ethtool_stats(self, dev: NetDevice) -> Sequence[int]:
        stats = dev.get_stats()
        return stats.rx_packets, stats.rx_bytes, stats.tx_packets, stats.tx_bytes


class IfbDriver(Driver):
    """`ip link add ifb0 type ifb`."""

    __slots__ = ()
    name = "ifb"
    device_name = "ifb%d"

    def setup(self, dev: NetDevice) -> None:
        ether_setup(dev)
        dev.netdev_ops = IfbOps()
        dev.ethtool_ops = IfbEthtool()
        dev.tx_queue_len = TX_Q_LIMIT
        dev.flags |= IFF_NOARP
        dev.flags &= ~IFF_MULTICAST
        dev.live_addr_change = True
        dev.min_mtu = dev.max_mtu = 0
        dev.features = dev.hw_features = _FEATURES
        dev.dev_addr = eth_random_addr(dev.kernel.random("mac"))
        chain = dev.kernel.dev_layer.netdev_chain
        if "ifb" not in chain.callbacks():
            chain.register(_netdev_event, name="ifb")

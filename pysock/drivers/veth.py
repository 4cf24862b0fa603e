"""veth: two Ethernet devices back to back, each usually in a namespace of its own. drivers/net/veth.c, veth(4).

What one end sends, the other receives: the same bytes, the same super-segments, through the backlog (netif_rx). Both
ends have carrier while both are up. Either end's removal takes the other away.

    create_device(net, "veth", "eth0", peer="eth0", peer_net=other)

The checksum of a packet that only crossed memory is not computed: it arrives as CHECKSUM_PARTIAL, which counts as
verified and which a real device behind a router would still finish.
"""

from __future__ import annotations

import errno
from itertools import count

from pysock.core.device import (
    alloc_netdev,
    dev_alloc_name,
    netif_carrier_off,
    netif_carrier_on,
    register_netdev,
    unregister_netdev,
)
from pysock.core.device_ops import NETDEV_TX_OK, Driver
from pysock.core.errors import err
from pysock.core.eth import EthDeviceOps, eth_random_addr, eth_type_trans, ether_setup
from pysock.core.ethtool_ops import EthtoolOps, ethtool_op_get_link
from pysock.core.net import Net
from pysock.core.netdev_features import NETIF_F_LLTX, NETIF_F_RXCSUM, SOFTWARE_DEVICE_FEATURES
from pysock.core.skbuff import kfree_skb, skb_orphan
from pysock.uapi.ethtool import DUPLEX_FULL, ETH_SS_STATS, SPEED_10000
from pysock.uapi.if_ether import ETH_MAX_MTU, VLAN_HLEN
from pysock.uapi.if_packet import PACKET_HOST

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pysock.core.ethtool_types import Channels, DrvInfo, LinkSettings, TsInfo
    from pysock.core.kernel import Kernel
    from pysock.core.netdevice import NetDevice
    from pysock.core.skbuff import SkBuff

#: rtnl_link_ops say how many queues there may be.
MAX_QUEUES = 4096
_FEATURES = SOFTWARE_DEVICE_FEATURES | NETIF_F_RXCSUM | NETIF_F_LLTX


class VethOps(EthDeviceOps):
    """One end. ``peer`` is the other, None when it is gone; the ``leader`` brings the peer into being with itself."""

    __slots__ = ("leader", "peer")

    def __init__(self) -> None:
        self.peer: NetDevice | None = None
        self.leader = False

    def ndo_init(self, dev: NetDevice) -> None:
        if self.leader and self.peer is not None:
            register_netdev(self.peer)

    def ndo_uninit(self, dev: NetDevice) -> None:
        peer, self.peer = self.peer, None
        if peer is not None:
            _ops(peer).peer = None
            unregister_netdev(peer)

    def ndo_open(self, dev: NetDevice) -> None:
        """veth_open(). ENOTCONN while the pair goes away."""
        peer = self.peer
        if peer is None:
            raise err(errno.ENOTCONN)
        if peer.running:
            netif_carrier_on(dev)
            netif_carrier_on(peer)

    def ndo_stop(self, dev: NetDevice) -> None:
        netif_carrier_off(dev)
        if self.peer is not None:
            netif_carrier_off(self.peer)

    def ndo_start_xmit(self, skb: SkBuff, dev: NetDevice) -> int:
        """The frame arrives at the other end (veth_xmit). Lost and counted in tx_dropped when that is down or its
        backlog full, in its rx_dropped too when it is longer than its MTU.
        """
        peer = self.peer
        size = skb.len
        stats = dev.stats
        ext = skb.ext
        if ext is not None:
            skb_orphan(skb)
            ext.pkt_type = PACKET_HOST
            ext.mark = ext.priority = ext.skb_iif = ext.tstamp = 0
            ext.nfct = ext.cb = None
            if peer is not None and peer.num_rx_queues > 1:
                # It comes in through the receive queue with the number of the queue that it leaves by.
                queue = ext.queue_mapping if dev.num_tx_queues > 1 else 0
                ext.queue_mapping = queue + 1 if queue < peer.num_rx_queues else 0
            else:
                ext.queue_mapping = 0
        skb.sk = skb.dst = None
        if peer is None or not peer.running or not eth_type_trans(skb, peer):
            stats.tx_dropped += 1
            kfree_skb(skb, "DEV_READY")
            return NETDEV_TX_OK
        if skb.len > peer.mtu + VLAN_HLEN and not skb.gso_size:
            peer.stats.rx_dropped += 1
            stats.tx_dropped += 1
            kfree_skb(skb, "PKT_TOO_BIG")
            return NETDEV_TX_OK
        if dev.kernel.softnet.netif_rx(skb):
            stats.tx_dropped += 1
            kfree_skb(skb, "CPU_BACKLOG")
            return NETDEV_TX_OK
        stats.tx_packets += 1
        stats.tx_bytes += size
        stats = peer.stats
        stats.rx_packets += 1
        stats.rx_bytes += size
        return NETDEV_TX_OK


class VethEthtool(EthtoolOps):
    """veth_ethtool_ops. The one statistic says which device is the other end."""

    __slots__ = ()

    def get_drvinfo(self, dev: NetDevice) -> DrvInfo:
        from pysock.core.ethtool_types import DrvInfo

        return DrvInfo("veth", "1.0")

    def get_link(self, dev: NetDevice) -> bool:
        return ethtool_op_get_link(dev)

    def get_link_ksettings(self, dev: NetDevice) -> LinkSettings:
        from pysock.core.ethtool_types import LinkSettings

        return LinkSettings(SPEED_10000, DUPLEX_FULL)

    def get_strings(self, dev: NetDevice, stringset: int) -> Sequence[str]:
        if stringset != ETH_SS_STATS:
            raise err(errno.EOPNOTSUPP)
        return ("peer_ifindex",)

    def get_ethtool_stats(self, dev: NetDevice) -> Sequence[int]:
        peer = _ops(dev).peer
        return (0 if peer is None else peer.ifindex,)

    def get_channels(self, dev: NetDevice) -> Channels:
        from pysock.core.ethtool_types import Channels

        rx, tx = dev.num_rx_queues, dev.num_tx_queues
        return Channels(max_rx=rx, max_tx=tx, rx_count=rx, tx_count=tx)

    def get_ts_info(self, dev: NetDevice) -> TsInfo:
        from pysock.core.ethtool_types import TS_INFO_SOFTWARE

        return TS_INFO_SOFTWARE


def _ops(dev: NetDevice) -> VethOps:
    ops = dev.netdev_ops
    assert isinstance(ops, VethOps)
    return ops


def veth_peer(dev: NetDevice) -> NetDevice | None:
    """The other end of a veth device, None when it is going."""
    return _ops(dev).peer


def _second_name(peer: NetDevice, dev: NetDevice) -> str:
    """A name for ``peer``, which is not to take the one that ``dev`` is about to get."""
    name = dev_alloc_name(peer.net, peer.name)
    if name != dev.name or peer.net is not dev.net:
        return name
    if name == peer.name:
        raise err(errno.EEXIST, f"both ends can't be {name!r}")
    taken = peer.net.dev_by_name
    return next(n for i in count() if (n := peer.name.replace("%d", str(i))) not in taken and n != dev.name)


class VethDriver(Driver):
    """`ip link add NAME type veth peer name PEER netns NET`."""

    __slots__ = ()
    name = "veth"
    device_name = "veth%d"
    options = ("peer", "peer_net", "num_tx_queues", "num_rx_queues")

    def setup(self, dev: NetDevice) -> None:
        ether_setup(dev)
        dev.netdev_ops = VethOps()
        dev.ethtool_ops = VethEthtool()
        dev.no_queue = True
        dev.live_addr_change = True
        dev.max_mtu = ETH_MAX_MTU
        dev.features = dev.hw_features = _FEATURES
        dev.dev_addr = eth_random_addr(dev.kernel.random("mac"))
        netif_carrier_off(dev)  # until both ends are up

    def create(self, kernel: Kernel, net: Net, name: str | None = None, **options: object) -> NetDevice:
        """The end in ``net``; the other is named ``peer`` (a pattern will do) and comes into ``peer_net`` (default: the
        same namespace) when this one is registered. Both have ``num_tx_queues`` and ``num_rx_queues`` (1). EINVAL for
        options of another type or out of range, EEXIST and other errors of `dev_alloc_name`.
        """
        peer_name = options.pop("peer", None)
        peer_net = options.pop("peer_net", None)
        tx, rx = options.pop("num_tx_queues", 1), options.pop("num_rx_queues", 1)
        if not (isinstance(tx, int) and isinstance(rx, int) and 1 <= tx <= MAX_QUEUES and 1 <= rx <= MAX_QUEUES):
            raise err(errno.EINVAL, f"num_tx_queues and num_rx_queues are 1 to {MAX_QUEUES}")
        if not isinstance(peer_name, str | None) or not isinstance(peer_net, Net | None):
            raise err(errno.EINVAL, "veth takes peer=name and peer_net=Net")
        dev = Driver.create(self, kernel, net, name, **options)
        peer = alloc_netdev(kernel, peer_name or self.device_name, self.setup, peer_net or net)
        peer.driver = self
        for end in (dev, peer):
            end.num_tx_queues, end.num_rx_queues = tx, rx
        dev.name = dev_alloc_name(net, dev.name)
        peer.name = _second_name(peer, dev)
        ops = _ops(dev)
        ops.leader = True
        ops.peer = peer
        _ops(peer).peer = dev
        return dev

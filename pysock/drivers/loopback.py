"""The loopback device: what is sent comes back. drivers/net/loopback.c.

A frame keeps its Ethernet header, with zero addresses, so captures and packet sockets see what they see in Linux. It
declares every offload: super-segments pass whole, and a checksum that nobody computed (CHECKSUM_PARTIAL) counts as
verified, since the bytes never left memory.
"""

from __future__ import annotations

import errno

from pysock.core.device_ops import NETDEV_TX_OK, DeviceStats, Driver
from pysock.core.errors import err
from pysock.core.eth import ETH_HEADER_OPS, ZERO_ADDR, EthDeviceOps, eth_type_trans
from pysock.core.ethtool_ops import EthtoolOps
from pysock.core.netdev_features import (
    NETIF_F_GSO_SOFTWARE,
    NETIF_F_LLTX,
    NETIF_F_LOOPBACK,
    NETIF_F_NETNS_LOCAL,
    NETIF_F_RXCSUM,
    NETIF_F_VLAN_CHALLENGED,
    SOFTWARE_DEVICE_FEATURES,
)
from pysock.core.skbuff import kfree_skb, skb_orphan
from pysock.uapi.if_ import ARPHRD_LOOPBACK, IFF_LOOPBACK
from pysock.uapi.if_ether import ETH_ALEN, ETH_HLEN, ETH_P_IP

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.ethtool_types import DrvInfo, TsInfo
    from pysock.core.netdevice import NetDevice
    from pysock.core.skbuff import SkBuff
    from pysock.core.softirq import SoftnetData

LOOPBACK_MTU = 65536
#: The header of nearly every frame: IPv4 between zero addresses.
_IPV4_HEADER = ZERO_ADDR + ZERO_ADDR + ETH_P_IP.to_bytes(2, "big")
_FIRST_14 = slice(0, ETH_HLEN)  # a constant slice takes half the time of [0:14]


class LoopbackOps(EthDeviceOps):
    """One for each device. What is sent is counted; as it is all received, ndo_get_stats64 counts it twice."""

    __slots__ = ("softnet", "stats")

    def __init__(self, softnet: SoftnetData, stats: DeviceStats) -> None:
        self.softnet = softnet
        self.stats = stats

    def ndo_start_xmit(self, skb: SkBuff, dev: NetDevice) -> int:
        """Turn the outgoing frame into an incoming one and queue it on the backlog (loopback_xmit)."""
        size = skb.len
        if skb.ext is None and not skb.data and skb.head[_FIRST_14] == _IPV4_HEADER:
            # eth_type_trans() for the common case: a head that starts with the frame
            skb.mac_header = 0
            skb.data = ETH_HLEN
            skb.len = size - ETH_HLEN
            skb.protocol = ETH_P_IP
        else:
            skb_orphan(skb)
            if skb.ext is not None:
                skb.ext.tstamp = 0  # when it was to leave is not when it arrives
            if not eth_type_trans(skb, dev):
                self.stats.tx_dropped += 1
                kfree_skb(skb, "PKT_TOO_SMALL")
                return NETDEV_TX_OK
        skb.sk = skb.dst = None
        stats = self.stats
        if self.softnet.netif_rx(skb):
            stats.rx_dropped += 1
            kfree_skb(skb, "CPU_BACKLOG")
            return NETDEV_TX_OK
        stats.tx_packets += 1
        stats.tx_bytes += size
        return NETDEV_TX_OK

    def ndo_get_stats64(self, dev: NetDevice) -> DeviceStats:
        stats = self.stats.copy()
        stats.rx_packets = stats.tx_packets
        stats.rx_bytes = stats.tx_bytes
        return stats

    def ndo_validate_addr(self, dev: NetDevice) -> None:
        """Zero is its address."""


class LoopbackEthtool(EthtoolOps):
    """Its link is always there (loopback_ethtool_ops)."""

    __slots__ = ()

    def get_link(self, dev: NetDevice) -> bool:
        return True

    def get_drvinfo(self, dev: NetDevice) -> DrvInfo:
        """It is no kind of `ip link add`."""
        raise err(errno.EOPNOTSUPP)

    def get_ts_info(self, dev: NetDevice) -> TsInfo:
        from pysock.core.ethtool_types import TS_INFO_SOFTWARE

        return TS_INFO_SOFTWARE


class LoopbackDriver(Driver):
    """Makes "lo" in each namespace."""

    __slots__ = ()
    name = "loopback"
    device_name = "lo"

    def setup(self, dev: NetDevice) -> None:
        dev.mtu = LOOPBACK_MTU
        dev.hard_header_len = ETH_HLEN
        dev.addr_len = ETH_ALEN
        dev.dev_addr = dev.broadcast = ZERO_ADDR
        dev.type = ARPHRD_LOOPBACK
        dev.flags = IFF_LOOPBACK
        dev.live_addr_change = True
        dev.hw_features = NETIF_F_GSO_SOFTWARE
        dev.features = (
            SOFTWARE_DEVICE_FEATURES | NETIF_F_RXCSUM | NETIF_F_LLTX
            | NETIF_F_NETNS_LOCAL | NETIF_F_VLAN_CHALLENGED | NETIF_F_LOOPBACK
        )  # fmt: skip
        dev.header_ops = ETH_HEADER_OPS
        dev.ethtool_ops = LoopbackEthtool()
        dev.netdev_ops = LoopbackOps(dev.kernel.softnet, dev.stats)

"""The dummy device: takes everything and sends nothing. drivers/net/dummy.c.

For addresses that must not depend on a real link, and for tests: with a tap one sees what would have been sent.
"""

from __future__ import annotations

from pysock.core.device_ops import NETDEV_TX_OK, Driver
from pysock.core.eth import EthDeviceOps, eth_random_addr, ether_setup
from pysock.core.ethtool_ops import EthtoolOps
from pysock.core.netdev_features import NETIF_F_LLTX, SOFTWARE_DEVICE_FEATURES
from pysock.core.skbuff import consume_skb
from pysock.uapi.if_ import IFF_MULTICAST, IFF_NOARP

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.ethtool_types import TsInfo
    from pysock.core.netdevice import NetDevice
    from pysock.core.skbuff import SkBuff


class DummyOps(EthDeviceOps):
    """Counts and frees."""

    __slots__ = ()

    def ndo_start_xmit(self, skb: SkBuff, dev: NetDevice) -> int:
        dev.stats.tx_packets += 1
        dev.stats.tx_bytes += skb.len
        consume_skb(skb)
        return NETDEV_TX_OK


class DummyEthtool(EthtoolOps):
    """dummy_ethtool_ops."""

    __slots__ = ()

    def get_ts_info(self, dev: NetDevice) -> TsInfo:
        from pysock.core.ethtool_types import TS_INFO_SOFTWARE

        return TS_INFO_SOFTWARE


class DummyDriver(Driver):
    """`ip link add dummy0 type dummy`."""

    __slots__ = ()
    name = "dummy"
    device_name = "dummy%d"

    def setup(self, dev: NetDevice) -> None:
        ether_setup(dev)
        dev.netdev_ops = DummyOps()
        dev.ethtool_ops = DummyEthtool()
        dev.flags |= IFF_NOARP
        dev.flags &= ~IFF_MULTICAST
        dev.live_addr_change = True
        dev.tx_queue_len = 0  # no queueing discipline
        dev.min_mtu = dev.max_mtu = 0  # any
        dev.features = dev.hw_features = SOFTWARE_DEVICE_FEATURES | NETIF_F_LLTX
        dev.dev_addr = eth_random_addr(dev.kernel.random("mac"))

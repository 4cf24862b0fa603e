"""Network devices: the door to everything about them, which lives in a handful of modules.

    device_ops.py       what a driver is and does: Driver, NetDeviceOps, HeaderOps, DeviceStats. Start here to write one
    netdevice.py        NetDevice itself; stopping and waking its queue; NAPI
    netdev_register.py  names, alloc_netdev, register_netdev, unregister_netdev, dev_change_net
    ethtool_ops.py      EthtoolOps: what a driver tells and lets be changed;  ethtool.py  SIOCETHTOOL
    netdev_config.py    up, down, flags, carrier, MTU, name, addresses, features
    netdev_features.py  NETIF_F_* and the rules among them;  netdev_events.py  NETDEV_*
    netdev_upper.py     devices upon devices: links, masters, what an upper one asks of a lower;  vlan.py  802.1Q tags
    stacked.py          what devices that send through one other have in common;  link_speed.py  how fast a link is
    eth.py              Ethernet framing and defaults
    dev_xmit.py         from dev_queue_xmit to the driver;  qdisc.py  queueing disciplines
    dev.py              DeviceLayer (one per Kernel), netif_rx, netif_receive_skb, packet types
    softirq.py          a CPU's queues;  smp.py  several CPUs;  rps.py  which of them receives, which queue sends

Everybody else imports devices' names from here.
"""

from __future__ import annotations

from pysock.core.device_ops import (
    NETDEV_TX_BUSY,
    NETDEV_TX_OK,
    DeviceStats,
    Driver,
    HeaderOps,
    NetDeviceOps,
)
from pysock.core.netdev_config import (
    dev_change_flags,
    dev_change_name,
    dev_change_tx_queue_len,
    dev_close,
    dev_mc_add,
    dev_mc_del,
    dev_open,
    dev_set_alias,
    dev_set_allmulti,
    dev_set_features,
    dev_set_mac_address,
    dev_set_mtu,
    dev_set_promiscuity,
    dev_set_rx_mode,
    dev_uc_add,
    dev_uc_del,
    netdev_update_features,
    netif_carrier_off,
    netif_carrier_on,
    netif_dormant,
)
from pysock.core.netdev_register import (
    alloc_netdev,
    dev_alloc_name,
    dev_change_net,
    dev_valid_name,
    register_netdev,
    unregister_netdev,
)
from pysock.core.netdevice import (
    NETREG_REGISTERED,
    NETREG_UNINITIALIZED,
    NETREG_UNREGISTERED,
    NETREG_UNREGISTERING,
    RX_HANDLER_ANOTHER,
    RX_HANDLER_CONSUMED,
    RX_HANDLER_EXACT,
    RX_HANDLER_PASS,
    NetDevice,
    dev_hold,
    dev_put,
    napi_disable,
    netdev_rx_handler_register,
    netdev_rx_handler_unregister,
    netif_carrier_ok,
    netif_napi_add,
    netif_napi_del,
    netif_queue_stopped,
    netif_running,
    netif_start_queue,
    netif_stop_queue,
    netif_wake_queue,
)

__all__ = [
    "NETDEV_TX_BUSY",
    "NETDEV_TX_OK",
    "NETREG_REGISTERED",
    "NETREG_UNINITIALIZED",
    "NETREG_UNREGISTERED",
    "NETREG_UNREGISTERING",
    "RX_HANDLER_ANOTHER",
    "RX_HANDLER_CONSUMED",
    "RX_HANDLER_EXACT",
    "RX_HANDLER_PASS",
    "DeviceStats",
    "Driver",
    "HeaderOps",
    "NetDevice",
    "NetDeviceOps",
    "alloc_netdev",
    "dev_alloc_name",
    "dev_change_flags",
    "dev_change_name",
    "dev_change_net",
    "dev_change_tx_queue_len",
    "dev_close",
    "dev_mc_add",
    "dev_mc_del",
    "dev_hold",
    "dev_open",
    "dev_put",
    "dev_set_alias",
    "dev_set_allmulti",
    "dev_set_features",
    "dev_set_mac_address",
    "dev_set_mtu",
    "dev_set_promiscuity",
    "dev_set_rx_mode",
    "dev_uc_add",
    "dev_uc_del",
    "dev_valid_name",
    "napi_disable",
    "netdev_rx_handler_register",
    "netdev_rx_handler_unregister",
    "netdev_update_features",
    "netif_carrier_off",
    "netif_carrier_ok",
    "netif_carrier_on",
    "netif_dormant",
    "netif_napi_add",
    "netif_napi_del",
    "netif_queue_stopped",
    "netif_running",
    "netif_start_queue",
    "netif_stop_queue",
    "netif_wake_queue",
    "register_netdev",
    "unregister_netdev",
]

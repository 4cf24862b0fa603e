"""What goes into and out of `EthtoolOps`, under the names and in the order of linux/ethtool.h.

The tuples of numbers are the structs behind their command word; a program's copy is packed and unpacked as such.
"""

from __future__ import annotations

from typing import NamedTuple

from pysock.uapi.socket import SOF_TIMESTAMPING_RX_SOFTWARE, SOF_TIMESTAMPING_SOFTWARE, SOF_TIMESTAMPING_TX_SOFTWARE


class DrvInfo(NamedTuple):
    """struct ethtool_drvinfo: at most 31 bytes each. A version of "" is the kernel's own."""

    driver: str
    version: str = ""
    fw_version: str = ""
    bus_info: str = ""


class LinkSettings(NamedTuple):
    """struct ethtool_link_settings: ``speed`` in Mbit/s (SPEED_*), DUPLEX_*, PORT_*, AUTONEG_*; the last three are sets
    of LINK_* bits.
    """

    speed: int = 0
    duplex: int = 0
    port: int = 0
    phy_address: int = 0
    autoneg: int = 0
    mdio_support: int = 0
    eth_tp_mdix: int = 0
    eth_tp_mdix_ctrl: int = 0
    transceiver: int = 0
    supported: int = 0
    advertising: int = 0
    lp_advertising: int = 0


class RingParam(NamedTuple):
    """struct ethtool_ringparam: descriptors."""

    rx_max_pending: int = 0
    rx_mini_max_pending: int = 0
    rx_jumbo_max_pending: int = 0
    tx_max_pending: int = 0
    rx_pending: int = 0
    rx_mini_pending: int = 0
    rx_jumbo_pending: int = 0
    tx_pending: int = 0


class Channels(NamedTuple):
    """struct ethtool_channels: how many queues of each kind there may be, and are."""

    max_rx: int = 0
    max_tx: int = 0
    max_other: int = 0
    max_combined: int = 0
    rx_count: int = 0
    tx_count: int = 0
    other_count: int = 0
    combined_count: int = 0


class Coalesce(NamedTuple):
    """struct ethtool_coalesce: when a device interrupts. Microseconds, frames."""

    rx_coalesce_usecs: int = 0
    rx_max_coalesced_frames: int = 0
    rx_coalesce_usecs_irq: int = 0
    rx_max_coalesced_frames_irq: int = 0
    tx_coalesce_usecs: int = 0
    tx_max_coalesced_frames: int = 0
    tx_coalesce_usecs_irq: int = 0
    tx_max_coalesced_frames_irq: int = 0
    stats_block_coalesce_usecs: int = 0
    use_adaptive_rx_coalesce: int = 0
    use_adaptive_tx_coalesce: int = 0
    pkt_rate_low: int = 0
    rx_coalesce_usecs_low: int = 0
    rx_max_coalesced_frames_low: int = 0
    tx_coalesce_usecs_low: int = 0
    tx_max_coalesced_frames_low: int = 0
    pkt_rate_high: int = 0
    rx_coalesce_usecs_high: int = 0
    rx_max_coalesced_frames_high: int = 0
    tx_coalesce_usecs_high: int = 0
    tx_max_coalesced_frames_high: int = 0
    rate_sample_interval: int = 0


class PauseParam(NamedTuple):
    """struct ethtool_pauseparam: IEEE 802.3x flow control; 0 or 1 each."""

    autoneg: int = 0
    rx_pause: int = 0
    tx_pause: int = 0


class WolInfo(NamedTuple):
    """struct ethtool_wolinfo: WAKE_* bits, and the 6 bytes of a SecureOn password."""

    supported: int = 0
    wolopts: int = 0
    sopass: bytes = bytes(6)


class TsInfo(NamedTuple):
    """struct ethtool_ts_info: SOF_TIMESTAMPING_* flags, the hardware clock (-1: none), and masks of HWTSTAMP_*."""

    so_timestamping: int = SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE
    phc_index: int = -1
    tx_types: int = 0
    rx_filters: int = 0


#: A device whose driver takes the time of what it sends, too (ethtool_op_get_ts_info).
TS_INFO_SOFTWARE = TsInfo(
    SOF_TIMESTAMPING_TX_SOFTWARE | SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE
)

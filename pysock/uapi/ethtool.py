"""SIOCETHTOOL: commands, sizes and layouts. linux/ethtool.h, ethtool(8)."""

from __future__ import annotations

from struct import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

ETHTOOL_GSET: Final = 0x01
ETHTOOL_SSET: Final = 0x02
ETHTOOL_GDRVINFO: Final = 0x03
ETHTOOL_GREGS: Final = 0x04
ETHTOOL_GWOL: Final = 0x05
ETHTOOL_SWOL: Final = 0x06
ETHTOOL_GMSGLVL: Final = 0x07
ETHTOOL_SMSGLVL: Final = 0x08
ETHTOOL_NWAY_RST: Final = 0x09
ETHTOOL_GLINK: Final = 0x0A
ETHTOOL_GEEPROM: Final = 0x0B
ETHTOOL_SEEPROM: Final = 0x0C
ETHTOOL_GCOALESCE: Final = 0x0E
ETHTOOL_SCOALESCE: Final = 0x0F
ETHTOOL_GRINGPARAM: Final = 0x10
ETHTOOL_SRINGPARAM: Final = 0x11
ETHTOOL_GPAUSEPARAM: Final = 0x12
ETHTOOL_SPAUSEPARAM: Final = 0x13
ETHTOOL_GRXCSUM: Final = 0x14
ETHTOOL_SRXCSUM: Final = 0x15
ETHTOOL_GTXCSUM: Final = 0x16
ETHTOOL_STXCSUM: Final = 0x17
ETHTOOL_GSG: Final = 0x18
ETHTOOL_SSG: Final = 0x19
ETHTOOL_TEST: Final = 0x1A
ETHTOOL_GSTRINGS: Final = 0x1B
ETHTOOL_GSTATS: Final = 0x1D
ETHTOOL_GTSO: Final = 0x1E
ETHTOOL_STSO: Final = 0x1F
ETHTOOL_GPERMADDR: Final = 0x20
ETHTOOL_GUFO: Final = 0x21
ETHTOOL_GGSO: Final = 0x23
ETHTOOL_SGSO: Final = 0x24
ETHTOOL_GFLAGS: Final = 0x25
ETHTOOL_SFLAGS: Final = 0x26
ETHTOOL_GPFLAGS: Final = 0x27
ETHTOOL_GRXFH: Final = 0x29
ETHTOOL_GGRO: Final = 0x2B
ETHTOOL_SGRO: Final = 0x2C
ETHTOOL_GRXRINGS: Final = 0x2D
ETHTOOL_GRXCLSRLCNT: Final = 0x2E
ETHTOOL_GRXCLSRULE: Final = 0x2F
ETHTOOL_GRXCLSRLALL: Final = 0x30
ETHTOOL_GSSET_INFO: Final = 0x37
ETHTOOL_GRXFHINDIR: Final = 0x38
ETHTOOL_GFEATURES: Final = 0x3A
ETHTOOL_SFEATURES: Final = 0x3B
ETHTOOL_GCHANNELS: Final = 0x3C
ETHTOOL_SCHANNELS: Final = 0x3D
ETHTOOL_GET_TS_INFO: Final = 0x41
ETHTOOL_GEEE: Final = 0x44
ETHTOOL_GRSSH: Final = 0x46
ETHTOOL_GTUNABLE: Final = 0x48
ETHTOOL_GPHYSTATS: Final = 0x4A
ETHTOOL_GLINKSETTINGS: Final = 0x4C
ETHTOOL_SLINKSETTINGS: Final = 0x4D
ETHTOOL_PHY_GTUNABLE: Final = 0x4E
ETHTOOL_GFECPARAM: Final = 0x50

# Sets of strings (enum ethtool_stringset)
ETH_SS_TEST: Final = 0
ETH_SS_STATS: Final = 1
ETH_SS_PRIV_FLAGS: Final = 2
ETH_SS_FEATURES: Final = 4
ETH_GSTRING_LEN: Final = 32

# ETHTOOL_GFLAGS
ETH_FLAG_TXVLAN: Final = 1 << 7
ETH_FLAG_RXVLAN: Final = 1 << 8
ETH_FLAG_LRO: Final = 1 << 15
ETH_FLAG_NTUPLE: Final = 1 << 27
ETH_FLAG_RXHASH: Final = 1 << 28

# What ETHTOOL_SFEATURES returns
ETHTOOL_F_UNSUPPORTED: Final = 1  # some cannot be changed
ETHTOOL_F_WISH: Final = 2  # some will change when others allow it

# Self tests
ETH_TEST_FL_OFFLINE: Final = 1 << 0  # asked: the disturbing ones, too
ETH_TEST_FL_FAILED: Final = 1 << 1  # answered

# struct ethtool_link_settings; speed in Mbit/s
SPEED_10: Final = 10
SPEED_100: Final = 100
SPEED_1000: Final = 1000
SPEED_10000: Final = 10000
SPEED_UNKNOWN: Final = 0xFFFFFFFF
DUPLEX_HALF: Final = 0
DUPLEX_FULL: Final = 1
DUPLEX_UNKNOWN: Final = 0xFF
PORT_TP: Final = 0
PORT_MII: Final = 2
PORT_OTHER: Final = 0xFF
AUTONEG_DISABLE: Final = 0
AUTONEG_ENABLE: Final = 1
ETH_TP_MDI_INVALID: Final = 0
XCVR_INTERNAL: Final = 0
XCVR_EXTERNAL: Final = 1

# Bits of supported, advertising, lp_advertising (enum ethtool_link_mode_bit_indices)
LINK_10_HALF: Final = 1 << 0
LINK_10_FULL: Final = 1 << 1
LINK_100_HALF: Final = 1 << 2
LINK_100_FULL: Final = 1 << 3
LINK_1000_HALF: Final = 1 << 4
LINK_1000_FULL: Final = 1 << 5
LINK_AUTONEG: Final = 1 << 6
LINK_TP: Final = 1 << 7
LINK_MII: Final = 1 << 9
LINK_PAUSE: Final = 1 << 13
LINK_ASYM_PAUSE: Final = 1 << 14
LINK_MODE_WORDS: Final = 4  # 32-bit words of each set of modes
LINK_MODE_LEGACY: Final = (1 << 32) - 1  # what ETHTOOL_GSET has room for

# Wake-on-LAN
WAKE_PHY: Final = 1 << 0
WAKE_MAGIC: Final = 1 << 5

# netif_msg_init(): kinds of messages of a driver
NETIF_MSG_DRV: Final = 1 << 0
NETIF_MSG_PROBE: Final = 1 << 1
NETIF_MSG_LINK: Final = 1 << 2

# --- layouts: each starts with the command ----------------------------------------------------------------------------

U32: Final = Struct("=I")
ETHTOOL_VALUE: Final = Struct("=II")  # cmd, data
ETHTOOL_CMD: Final = Struct("=IIIHBBBBBBIIHBBI8x")
ETHTOOL_DRVINFO: Final = Struct("=I32s32s32s32s32s12x5I")  # driver, version, fw, bus, erom; priv, stats, test, ee, regs
ETHTOOL_REGS: Final = Struct("=III")  # cmd, version, len
ETHTOOL_EEPROM: Final = Struct("=IIII")  # cmd, magic, offset, len
ETHTOOL_WOLINFO: Final = Struct("=III6s")  # cmd, supported, wolopts, sopass; 2 bytes of padding follow
ETHTOOL_GSTRINGS_HEAD: Final = Struct("=III")  # cmd, string_set, len
ETHTOOL_SSET_INFO: Final = Struct("=IIQ")  # cmd, reserved, sset_mask; a u32 for each set follows
ETHTOOL_TEST_HEAD: Final = Struct("=IIII")  # cmd, flags, reserved, len
ETHTOOL_STATS_HEAD: Final = Struct("=II")  # cmd, n_stats
ETHTOOL_PERM_ADDR: Final = Struct("=II")  # cmd, size
ETHTOOL_FEATURES_HEAD: Final = Struct("=II")  # cmd, size: blocks of 32 features
ETHTOOL_GET_FEATURES_BLOCK: Final = Struct("=IIII")  # available, requested, active, never_changed
ETHTOOL_SET_FEATURES_BLOCK: Final = Struct("=II")  # valid, requested
ETHTOOL_TS_INFO: Final = Struct("=IIiI12xI12x")  # cmd, so_timestamping, phc_index, tx_types, rx_filters
ETHTOOL_LINK_SETTINGS: Final = Struct("=IIBBBBBBBbBBBB28x")

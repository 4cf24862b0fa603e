"""Ethernet numbers: lengths and EtherTypes (``<linux/if_ether.h>``, IEEE 802)."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

ETH_ALEN: Final = 6
ETH_HLEN: Final = 14
ETH_ZLEN: Final = 60  # the shortest frame, without its FCS
ETH_DATA_LEN: Final = 1500
ETH_FRAME_LEN: Final = 1514
ETH_FCS_LEN: Final = 4
ETH_MIN_MTU: Final = 68
ETH_MAX_MTU: Final = 65535
VLAN_HLEN: Final = 4

ETH_P_LOOP: Final = 0x0060
ETH_P_PUP: Final = 0x0200
ETH_P_IP: Final = 0x0800
ETH_P_X25: Final = 0x0805
ETH_P_ARP: Final = 0x0806
ETH_P_RARP: Final = 0x8035
ETH_P_ATALK: Final = 0x809B
ETH_P_AARP: Final = 0x80F3
ETH_P_8021Q: Final = 0x8100
ETH_P_IPX: Final = 0x8137
ETH_P_IPV6: Final = 0x86DD
ETH_P_PAUSE: Final = 0x8808
ETH_P_SLOW: Final = 0x8809
ETH_P_MPLS_UC: Final = 0x8847
ETH_P_MPLS_MC: Final = 0x8848
ETH_P_PPP_DISC: Final = 0x8863
ETH_P_PPP_SES: Final = 0x8864
ETH_P_PAE: Final = 0x888E
ETH_P_AOE: Final = 0x88A2
ETH_P_8021AD: Final = 0x88A8
ETH_P_802_EX1: Final = 0x88B5
ETH_P_TIPC: Final = 0x88CA
ETH_P_LLDP: Final = 0x88CC
ETH_P_MACSEC: Final = 0x88E5
ETH_P_8021AH: Final = 0x88E7
ETH_P_1588: Final = 0x88F7
ETH_P_FCOE: Final = 0x8906
ETH_P_LOOPBACK: Final = 0x9000
ETH_P_802_3_MIN: Final = 0x0600  # values below are 802.3 lengths, not types

# Not on the wire: how the stack names frames that have no EtherType, and the taps
ETH_P_802_3: Final = 0x0001
ETH_P_AX25: Final = 0x0002
ETH_P_ALL: Final = 0x0003
ETH_P_802_2: Final = 0x0004
ETH_P_SNAP: Final = 0x0005
ETH_P_CAN: Final = 0x000C

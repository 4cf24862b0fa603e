"""Device features: what a NetDevice can do for the stack, and the rules by which claims are corrected.

A driver declares NETIF_F_* bits in `dev.features` in its setup(); register_netdev passes them through
`fix_features`, so that no device ends with a combination that the transmit path cannot honour. Bits have Linux's
positions where its transmit path computes with them (GSO types shift into place), and ethtool's names.
Source: include/linux/netdev_features.h, netdev_fix_features() in net/core/dev.c.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

NETIF_F_SG: Final = 1 << 0  # takes packets whose data is partly in frags
NETIF_F_IP_CSUM: Final = 1 << 1  # finishes TCP and UDP checksums over IPv4 only
NETIF_F_HW_CSUM: Final = 1 << 3  # finishes any checksum, given csum_start and csum_offset
NETIF_F_IPV6_CSUM: Final = 1 << 4
NETIF_F_HIGHDMA: Final = 1 << 5
NETIF_F_FRAGLIST: Final = 1 << 6  # takes packets with a frag_list
NETIF_F_HW_VLAN_CTAG_TX: Final = 1 << 7
NETIF_F_HW_VLAN_CTAG_RX: Final = 1 << 8
NETIF_F_HW_VLAN_CTAG_FILTER: Final = 1 << 9
NETIF_F_VLAN_CHALLENGED: Final = 1 << 10
NETIF_F_GSO: Final = 1 << 11  # super-segments may be queued for it: the stack cuts what the device can't
NETIF_F_LLTX: Final = 1 << 12
NETIF_F_NETNS_LOCAL: Final = 1 << 13  # may not move to another namespace
NETIF_F_GRO: Final = 1 << 14
NETIF_F_LRO: Final = 1 << 15
NETIF_F_GSO_SHIFT: Final = 16  # SKB_GSO_x << 16 is the feature that takes it
NETIF_F_TSO: Final = 1 << 16  # cuts TCP super-segments itself (IPv4)
NETIF_F_GSO_ROBUST: Final = 1 << 17
NETIF_F_TSO_ECN: Final = 1 << 18
NETIF_F_TSO_MANGLEID: Final = 1 << 19
NETIF_F_TSO6: Final = 1 << 20
NETIF_F_GSO_SCTP: Final = 1 << 30
NETIF_F_GSO_UDP_L4: Final = 1 << 33
NETIF_F_GSO_FRAGLIST: Final = 1 << 34
NETIF_F_RXCSUM: Final = 1 << 40
NETIF_F_RXHASH: Final = 1 << 41
NETIF_F_NTUPLE: Final = 1 << 42
NETIF_F_LOOPBACK: Final = 1 << 43
NETIF_F_RXALL: Final = 1 << 44
NETIF_F_HW_VLAN_STAG_TX: Final = 1 << 45  # the same three for service tags (802.1ad)
NETIF_F_HW_VLAN_STAG_RX: Final = 1 << 46
NETIF_F_HW_VLAN_STAG_FILTER: Final = 1 << 47

NETIF_F_CSUM_MASK: Final = NETIF_F_IP_CSUM | NETIF_F_IPV6_CSUM | NETIF_F_HW_CSUM
NETIF_F_ALL_TSO: Final = NETIF_F_TSO | NETIF_F_TSO6 | NETIF_F_TSO_ECN | NETIF_F_TSO_MANGLEID
NETIF_F_GSO_SOFTWARE: Final = (
    NETIF_F_TSO | NETIF_F_TSO6 | NETIF_F_TSO_ECN | NETIF_F_TSO_MANGLEID
    | NETIF_F_GSO_SCTP | NETIF_F_GSO_UDP_L4 | NETIF_F_GSO_FRAGLIST
)
#: What a device made of software claims: any packet goes through it as it is, or to a device that finishes it.
SOFTWARE_DEVICE_FEATURES: Final = (
    NETIF_F_SG | NETIF_F_FRAGLIST | NETIF_F_GSO_SOFTWARE | NETIF_F_HW_CSUM | NETIF_F_HIGHDMA
)  # fmt: skip
NETIF_F_SOFT_FEATURES: Final = NETIF_F_GSO | NETIF_F_GRO  # every device gets these from the stack
#: A device with all of these takes any packet as it is: nothing is left to check when it transmits.
NETIF_F_TAKES_ALL: Final = (
    NETIF_F_SG | NETIF_F_HW_CSUM | NETIF_F_FRAGLIST | NETIF_F_TSO | NETIF_F_TSO6 | NETIF_F_GSO_UDP_L4
)

#: What no administrator can switch: facts about the device.
NETIF_F_NEVER_CHANGE: Final = NETIF_F_VLAN_CHALLENGED | NETIF_F_LLTX | NETIF_F_NETNS_LOCAL
FEATURE_COUNT: Final = 64

#: ethtool -k's names.
FEATURE_NAMES: Final[dict[int, str]] = {
    NETIF_F_SG: "tx-scatter-gather",
    NETIF_F_IP_CSUM: "tx-checksum-ipv4",
    NETIF_F_HW_CSUM: "tx-checksum-ip-generic",
    NETIF_F_IPV6_CSUM: "tx-checksum-ipv6",
    NETIF_F_HIGHDMA: "highdma",
    NETIF_F_FRAGLIST: "tx-scatter-gather-fraglist",
    NETIF_F_HW_VLAN_CTAG_TX: "tx-vlan-hw-insert",
    NETIF_F_HW_VLAN_CTAG_RX: "rx-vlan-hw-parse",
    NETIF_F_HW_VLAN_CTAG_FILTER: "rx-vlan-filter",
    NETIF_F_VLAN_CHALLENGED: "vlan-challenged",
    NETIF_F_GSO: "tx-generic-segmentation",
    NETIF_F_LLTX: "tx-lockless",
    NETIF_F_NETNS_LOCAL: "netns-local",
    NETIF_F_GRO: "rx-gro",
    NETIF_F_LRO: "rx-lro",
    NETIF_F_TSO: "tx-tcp-segmentation",
    NETIF_F_GSO_ROBUST: "tx-gso-robust",
    NETIF_F_TSO_ECN: "tx-tcp-ecn-segmentation",
    NETIF_F_TSO_MANGLEID: "tx-tcp-mangleid-segmentation",
    NETIF_F_TSO6: "tx-tcp6-segmentation",
    NETIF_F_GSO_SCTP: "tx-sctp-segmentation",
    NETIF_F_GSO_UDP_L4: "tx-udp-segmentation",
    NETIF_F_GSO_FRAGLIST: "tx-gso-list",
    NETIF_F_RXCSUM: "rx-checksum",
    NETIF_F_RXHASH: "rx-hashing",
    NETIF_F_NTUPLE: "rx-ntuple-filter",
    NETIF_F_LOOPBACK: "loopback",
    NETIF_F_RXALL: "rx-all",
    NETIF_F_HW_VLAN_STAG_TX: "tx-vlan-stag-hw-insert",
    NETIF_F_HW_VLAN_STAG_RX: "rx-vlan-stag-hw-parse",
    NETIF_F_HW_VLAN_STAG_FILTER: "rx-vlan-stag-filter",
}


def fix_features(features: int) -> int:
    """``features`` without the claims that lack what they rest on (netdev_fix_features). Idempotent."""
    csum = features & NETIF_F_CSUM_MASK
    if features & NETIF_F_HW_CSUM and csum != NETIF_F_HW_CSUM:
        features &= ~(NETIF_F_IP_CSUM | NETIF_F_IPV6_CSUM)  # the general one does all
    if features & NETIF_F_TSO and not features & (NETIF_F_HW_CSUM | NETIF_F_IP_CSUM):
        features &= ~(NETIF_F_TSO | NETIF_F_TSO_ECN | NETIF_F_TSO_MANGLEID)  # each segment needs a checksum
    if features & NETIF_F_TSO6 and not features & (NETIF_F_HW_CSUM | NETIF_F_IPV6_CSUM):
        features &= ~NETIF_F_TSO6
    if not features & NETIF_F_IP_CSUM and not features & NETIF_F_HW_CSUM:
        features &= ~NETIF_F_TSO_MANGLEID
    if features & NETIF_F_ALL_TSO and not features & NETIF_F_SG:
        features &= ~NETIF_F_ALL_TSO  # super-segments come in frags
    if features & NETIF_F_ALL_TSO == NETIF_F_TSO_ECN:
        features &= ~NETIF_F_TSO_ECN  # it refines TSO
    if features & NETIF_F_GSO_UDP_L4 and not features & NETIF_F_HW_CSUM:
        if features & (NETIF_F_IP_CSUM | NETIF_F_IPV6_CSUM) != NETIF_F_IP_CSUM | NETIF_F_IPV6_CSUM:
            features &= ~NETIF_F_GSO_UDP_L4
    if features & NETIF_F_GSO and not features & NETIF_F_SG:
        features &= ~NETIF_F_GSO
    if features & NETIF_F_LRO and not features & NETIF_F_RXCSUM:
        features &= ~NETIF_F_LRO
    return features


def feature_strings() -> list[str]:
    """A name for each of the FEATURE_COUNT positions, "" where there is none (netdev_features_strings)."""
    return [FEATURE_NAMES.get(1 << bit, "") for bit in range(FEATURE_COUNT)]


def feature_names(features: int) -> list[str]:
    """The ethtool names of the bits that are set, in bit order."""
    return [name for bit, name in sorted(FEATURE_NAMES.items()) if features & bit]

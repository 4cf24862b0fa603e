"""IPv4 numbers: protocols, options at level SOL_IP, well-known addresses, ports (ip(7), ``<netinet/in.h>``).

Addresses here are ints in host order, as the INADDR_* macros are; wire.addr has text and bytes.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

# Protocols (IANA) ---------------------------------------------------------------------------------

IPPROTO_IP: Final = 0
IPPROTO_HOPOPTS: Final = 0
IPPROTO_ICMP: Final = 1
IPPROTO_IGMP: Final = 2
IPPROTO_IPIP: Final = 4
IPPROTO_TCP: Final = 6
IPPROTO_EGP: Final = 8
IPPROTO_PUP: Final = 12
IPPROTO_UDP: Final = 17
IPPROTO_IDP: Final = 22
IPPROTO_TP: Final = 29
IPPROTO_DCCP: Final = 33
IPPROTO_IPV6: Final = 41
IPPROTO_ROUTING: Final = 43
IPPROTO_FRAGMENT: Final = 44
IPPROTO_RSVP: Final = 46
IPPROTO_GRE: Final = 47
IPPROTO_ESP: Final = 50
IPPROTO_AH: Final = 51
IPPROTO_ICMPV6: Final = 58
IPPROTO_NONE: Final = 59
IPPROTO_DSTOPTS: Final = 60
IPPROTO_MTP: Final = 92
IPPROTO_BEETPH: Final = 94
IPPROTO_ENCAP: Final = 98
IPPROTO_PIM: Final = 103
IPPROTO_COMP: Final = 108
IPPROTO_SCTP: Final = 132
IPPROTO_MH: Final = 135
IPPROTO_UDPLITE: Final = 136
IPPROTO_MPLS: Final = 137
IPPROTO_ETHERNET: Final = 143
IPPROTO_RAW: Final = 255
IPPROTO_MPTCP: Final = 262
IPPROTO_MAX: Final = 263  # one past the largest protocol number (IPPROTO_MPTCP + 1)

# Options at level SOL_IP --------------------------------------------------------------------------

IP_TOS: Final = 1
IP_TTL: Final = 2
IP_HDRINCL: Final = 3
IP_OPTIONS: Final = 4
IP_ROUTER_ALERT: Final = 5
IP_RECVOPTS: Final = 6
IP_RETOPTS: Final = 7
IP_PKTINFO: Final = 8
IP_PKTOPTIONS: Final = 9
IP_MTU_DISCOVER: Final = 10
IP_RECVERR: Final = 11
IP_RECVTTL: Final = 12
IP_RECVTOS: Final = 13
IP_MTU: Final = 14
IP_FREEBIND: Final = 15
IP_IPSEC_POLICY: Final = 16
IP_XFRM_POLICY: Final = 17
IP_PASSSEC: Final = 18
IP_TRANSPARENT: Final = 19
IP_RECVRETOPTS: Final = 7
IP_ORIGDSTADDR: Final = 20
IP_RECVORIGDSTADDR: Final = 20
IP_MINTTL: Final = 21
IP_NODEFRAG: Final = 22
IP_CHECKSUM: Final = 23
IP_BIND_ADDRESS_NO_PORT: Final = 24
IP_RECVFRAGSIZE: Final = 25
IP_RECVERR_RFC4884: Final = 26
IP_MULTICAST_IF: Final = 32
IP_MULTICAST_TTL: Final = 33
IP_MULTICAST_LOOP: Final = 34
IP_ADD_MEMBERSHIP: Final = 35
IP_DROP_MEMBERSHIP: Final = 36
IP_UNBLOCK_SOURCE: Final = 37
IP_BLOCK_SOURCE: Final = 38
IP_ADD_SOURCE_MEMBERSHIP: Final = 39
IP_DROP_SOURCE_MEMBERSHIP: Final = 40
IP_MSFILTER: Final = 41
MCAST_JOIN_GROUP: Final = 42
MCAST_BLOCK_SOURCE: Final = 43
MCAST_UNBLOCK_SOURCE: Final = 44
MCAST_LEAVE_GROUP: Final = 45
MCAST_JOIN_SOURCE_GROUP: Final = 46
MCAST_LEAVE_SOURCE_GROUP: Final = 47
MCAST_MSFILTER: Final = 48
IP_MULTICAST_ALL: Final = 49
IP_UNICAST_IF: Final = 50
IP_LOCAL_PORT_RANGE: Final = 51
IP_PROTOCOL: Final = 52

IP_DEFAULT_MULTICAST_TTL: Final = 1
IP_DEFAULT_MULTICAST_LOOP: Final = 1
IP_MAX_MEMBERSHIPS: Final = 20

# Values of IP_MTU_DISCOVER
IP_PMTUDISC_DONT: Final = 0
IP_PMTUDISC_WANT: Final = 1
IP_PMTUDISC_DO: Final = 2
IP_PMTUDISC_PROBE: Final = 3
IP_PMTUDISC_INTERFACE: Final = 4
IP_PMTUDISC_OMIT: Final = 5

# Type-of-service byte (RFC 1349, kept by IP_TOS)
IPTOS_LOWDELAY: Final = 0x10
IPTOS_THROUGHPUT: Final = 0x08
IPTOS_RELIABILITY: Final = 0x04
IPTOS_MINCOST: Final = 0x02

# Where a struct ip_recverr came from (``<linux/errqueue.h>``)
SO_EE_ORIGIN_NONE: Final = 0
SO_EE_ORIGIN_LOCAL: Final = 1
SO_EE_ORIGIN_ICMP: Final = 2
SO_EE_ORIGIN_ICMP6: Final = 3
SO_EE_ORIGIN_TXSTATUS: Final = 4
SO_EE_ORIGIN_ZEROCOPY: Final = 5

# Addresses ----------------------------------------------------------------------------------------

INADDR_ANY: Final = 0
INADDR_BROADCAST: Final = 0xFFFFFFFF
INADDR_NONE: Final = 0xFFFFFFFF
INADDR_LOOPBACK: Final = 0x7F000001
INADDR_UNSPEC_GROUP: Final = 0xE0000000
INADDR_ALLHOSTS_GROUP: Final = 0xE0000001
INADDR_ALLRTRS_GROUP: Final = 0xE0000002
INADDR_MAX_LOCAL_GROUP: Final = 0xE00000FF

INET_ADDRSTRLEN: Final = 16

# Ports --------------------------------------------------------------------------------------------

IPPORT_RESERVED: Final = 1024
IPPORT_USERRESERVED: Final = 5000
PROT_SOCK: Final = 1024  # the first port that needs no CAP_NET_BIND_SERVICE


def in_loopback(addr: int) -> bool:
    """Is this host-order address in 127.0.0.0/8?"""
    return addr >> 24 == 127


def in_multicast(addr: int) -> bool:
    """Is this host-order address in 224.0.0.0/4 (class D)?"""
    return addr >> 28 == 0xE


def in_local_multicast(addr: int) -> bool:
    """Is this host-order address in 224.0.0.0/24, which routers never forward?"""
    return addr >> 8 == 0xE00000


def in_badclass(addr: int) -> bool:
    """Is this host-order address in 240.0.0.0/4 (class E, and the limited broadcast)?"""
    return addr >> 28 == 0xF


def in_zeronet(addr: int) -> bool:
    """Is this host-order address in 0.0.0.0/8 ("this network")?"""
    return addr >> 24 == 0

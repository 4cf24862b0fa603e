"""IPv6 numbers: options at level SOL_IPV6, scopes, address constants (ipv6(7), RFC 3493, RFC 3542)."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

# Options at level SOL_IPV6 ------------------------------------------------------------------------

IPV6_ADDRFORM: Final = 1
IPV6_2292PKTINFO: Final = 2
IPV6_2292HOPOPTS: Final = 3
IPV6_2292DSTOPTS: Final = 4
IPV6_2292RTHDR: Final = 5
IPV6_2292PKTOPTIONS: Final = 6
IPV6_CHECKSUM: Final = 7
IPV6_2292HOPLIMIT: Final = 8
IPV6_NEXTHOP: Final = 9
IPV6_AUTHHDR: Final = 10
IPV6_FLOWINFO: Final = 11
IPV6_UNICAST_HOPS: Final = 16
IPV6_MULTICAST_IF: Final = 17
IPV6_MULTICAST_HOPS: Final = 18
IPV6_MULTICAST_LOOP: Final = 19
IPV6_JOIN_GROUP: Final = 20
IPV6_LEAVE_GROUP: Final = 21
IPV6_ADD_MEMBERSHIP: Final = 20
IPV6_DROP_MEMBERSHIP: Final = 21
IPV6_ROUTER_ALERT: Final = 22
IPV6_MTU_DISCOVER: Final = 23
IPV6_MTU: Final = 24
IPV6_RECVERR: Final = 25
IPV6_V6ONLY: Final = 26
IPV6_JOIN_ANYCAST: Final = 27
IPV6_LEAVE_ANYCAST: Final = 28
IPV6_MULTICAST_ALL: Final = 29
IPV6_ROUTER_ALERT_ISOLATE: Final = 30
IPV6_RECVERR_RFC4884: Final = 31
IPV6_FLOWLABEL_MGR: Final = 32
IPV6_FLOWINFO_SEND: Final = 33
IPV6_IPSEC_POLICY: Final = 34
IPV6_XFRM_POLICY: Final = 35
IPV6_HDRINCL: Final = 36
IPV6_RECVPKTINFO: Final = 49
IPV6_PKTINFO: Final = 50
IPV6_RECVHOPLIMIT: Final = 51
IPV6_HOPLIMIT: Final = 52
IPV6_RECVHOPOPTS: Final = 53
IPV6_HOPOPTS: Final = 54
IPV6_RTHDRDSTOPTS: Final = 55
IPV6_RECVRTHDR: Final = 56
IPV6_RTHDR: Final = 57
IPV6_RECVDSTOPTS: Final = 58
IPV6_DSTOPTS: Final = 59
IPV6_RECVPATHMTU: Final = 60
IPV6_PATHMTU: Final = 61
IPV6_DONTFRAG: Final = 62
IPV6_RECVTCLASS: Final = 66
IPV6_TCLASS: Final = 67
IPV6_AUTOFLOWLABEL: Final = 70
IPV6_ADDR_PREFERENCES: Final = 72
IPV6_MINHOPCOUNT: Final = 73
IPV6_ORIGDSTADDR: Final = 74
IPV6_RECVORIGDSTADDR: Final = 74
IPV6_TRANSPARENT: Final = 75
IPV6_UNICAST_IF: Final = 76
IPV6_RECVFRAGSIZE: Final = 77
IPV6_FREEBIND: Final = 78

IPV6_RTHDR_TYPE_0: Final = 0
IPV6_RTHDR_LOOSE: Final = 0
IPV6_RTHDR_STRICT: Final = 1

# Values of IPV6_MTU_DISCOVER
IPV6_PMTUDISC_DONT: Final = 0
IPV6_PMTUDISC_WANT: Final = 1
IPV6_PMTUDISC_DO: Final = 2
IPV6_PMTUDISC_PROBE: Final = 3
IPV6_PMTUDISC_INTERFACE: Final = 4
IPV6_PMTUDISC_OMIT: Final = 5

# ICMPv6 (level SOL_ICMPV6) and raw sockets
ICMPV6_FILTER: Final = 1

# Addresses ----------------------------------------------------------------------------------------

IN6ADDR_ANY: Final = bytes(16)
IN6ADDR_LOOPBACK: Final = bytes(15) + b"\1"
IN6ADDR_LINKLOCAL_ALLNODES: Final = b"\xff\x02" + bytes(13) + b"\1"
IN6ADDR_LINKLOCAL_ALLROUTERS: Final = b"\xff\x02" + bytes(13) + b"\2"
V4MAPPED_PREFIX: Final = bytes(10) + b"\xff\xff"

INET6_ADDRSTRLEN: Final = 46
IPV6_MIN_MTU: Final = 1280

# Multicast scopes (RFC 4291 section 2.7): the low nibble of an ff00::/8 address's second byte
IPV6_ADDR_SCOPE_NODELOCAL: Final = 1
IPV6_ADDR_SCOPE_LINKLOCAL: Final = 2
IPV6_ADDR_SCOPE_SITELOCAL: Final = 5
IPV6_ADDR_SCOPE_ORGLOCAL: Final = 8
IPV6_ADDR_SCOPE_GLOBAL: Final = 14


def in6_is_multicast(addr: bytes) -> bool:
    """Is this 16-byte address in ff00::/8?"""
    return addr[0] == 0xFF


def in6_is_linklocal(addr: bytes) -> bool:
    """Is this 16-byte address in fe80::/10?"""
    return addr[0] == 0xFE and addr[1] & 0xC0 == 0x80


def in6_is_v4mapped(addr: bytes) -> bool:
    """Is this 16-byte address in ::ffff:0:0/96, an IPv4 address in IPv6 clothes?"""
    return addr[:12] == V4MAPPED_PREFIX

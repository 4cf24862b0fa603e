"""Netlink numbers: protocols of AF_NETLINK, the message header, its flags and the control messages (netlink(7))."""

from __future__ import annotations

from struct import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

# Protocols ----------------------------------------------------------------------------------------

NETLINK_ROUTE: Final = 0
NETLINK_UNUSED: Final = 1
NETLINK_USERSOCK: Final = 2
NETLINK_FIREWALL: Final = 3
NETLINK_SOCK_DIAG: Final = 4
NETLINK_NFLOG: Final = 5
NETLINK_XFRM: Final = 6
NETLINK_SELINUX: Final = 7
NETLINK_ISCSI: Final = 8
NETLINK_AUDIT: Final = 9
NETLINK_FIB_LOOKUP: Final = 10
NETLINK_CONNECTOR: Final = 11
NETLINK_NETFILTER: Final = 12
NETLINK_IP6_FW: Final = 13
NETLINK_DNRTMSG: Final = 14
NETLINK_KOBJECT_UEVENT: Final = 15
NETLINK_GENERIC: Final = 16
NETLINK_CRYPTO: Final = 21

# Options at level SOL_NETLINK ---------------------------------------------------------------------

NETLINK_ADD_MEMBERSHIP: Final = 1
NETLINK_DROP_MEMBERSHIP: Final = 2
NETLINK_PKTINFO: Final = 3
NETLINK_BROADCAST_ERROR: Final = 4
NETLINK_NO_ENOBUFS: Final = 5
NETLINK_LISTEN_ALL_NSID: Final = 8
NETLINK_LIST_MEMBERSHIPS: Final = 9
NETLINK_CAP_ACK: Final = 10
NETLINK_EXT_ACK: Final = 11
NETLINK_GET_STRICT_CHK: Final = 12

# The message header -------------------------------------------------------------------------------

NLMSGHDR: Final = Struct("=IHHII")
"""struct nlmsghdr: length with this header, type, flags, sequence, port id."""

NLMSG_HDRLEN: Final = 16
NLMSG_ALIGNTO: Final = 4

NLATTR: Final = Struct("=HH")
"""struct nlattr: length with this header, type."""

NLA_HDRLEN: Final = 4
NLA_F_NESTED: Final = 0x8000
NLA_F_NET_BYTEORDER: Final = 0x4000

NLMSG_NOOP: Final = 1
NLMSG_ERROR: Final = 2
NLMSG_DONE: Final = 3
NLMSG_OVERRUN: Final = 4
NLMSG_MIN_TYPE: Final = 0x10

NLM_F_REQUEST: Final = 0x1
NLM_F_MULTI: Final = 0x2
NLM_F_ACK: Final = 0x4
NLM_F_ECHO: Final = 0x8
NLM_F_DUMP_INTR: Final = 0x10
NLM_F_DUMP_FILTERED: Final = 0x20
NLM_F_ROOT: Final = 0x100
NLM_F_MATCH: Final = 0x200
NLM_F_ATOMIC: Final = 0x400
NLM_F_DUMP: Final = 0x300
NLM_F_REPLACE: Final = 0x100
NLM_F_EXCL: Final = 0x200
NLM_F_CREATE: Final = 0x400
NLM_F_APPEND: Final = 0x800

"""Which of our addresses a packet leaves with: RFC 6724 section 5 (ipv6_dev_get_saddr in net/ipv6/addrconf.c).

Candidates are all our addresses but tentative ones; for a link-local or multicast destination, those of the outgoing
device alone. The rules are applied in order, as the items of a tuple that is compared whole:

    1 the destination itself; 2 appropriate scope; 3 not deprecated; 4 home addresses (IPV6_PREFER_SRC_COA reverses it);
    5 on the outgoing device; 6 the destination's label; 7 temporary or public, as preferred; 8 longest common prefix

A tie goes to the first: devices in order of their index, addresses as `Inet6Dev` orders them.
"""

from __future__ import annotations

import errno

from pysock.core.errors import err
from pysock.families.inet6.addr import SCOPE_LINKLOCAL, common_prefix_len, prefix_of, scope_of
from pysock.families.inet6.devconf import (
    IFA_F_DEPRECATED,
    IFA_F_HOMEADDRESS,
    IFA_F_OPTIMISTIC,
    IFA_F_TEMPORARY,
    IFA_F_TENTATIVE,
    Inet6Dev,
    Inet6Ifaddr,
    idev_of,
)
from pysock.wire.addr import inet6_aton

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from pysock.core.netdevice import NetDevice
    from pysock.families.inet6.net import Inet6Net

# Values of IPV6_ADDR_PREFERENCES (RFC 5014)
IPV6_PREFER_SRC_TMP: Final = 0x0001
IPV6_PREFER_SRC_PUBLIC: Final = 0x0002
IPV6_PREFER_SRC_COA: Final = 0x0004

#: The policy table's labels, longest prefix first (RFC 6724 2.1, and what Linux adds: ip6addrlbl_init_table).
LABELS: Final = tuple(
    sorted(
        (
            (128, inet6_aton("::1"), 0),
            (0, inet6_aton("::"), 1),
            (16, inet6_aton("2002::"), 2),
            (96, inet6_aton("::"), 3),
            (96, inet6_aton("::ffff:0:0"), 4),
            (7, inet6_aton("fc00::"), 5),
            (32, inet6_aton("2001::"), 6),
            (28, inet6_aton("2001:10::"), 7),
            (10, inet6_aton("fec0::"), 11),
            (16, inet6_aton("3ffe::"), 12),
        ),
        reverse=True,
    )
)


def label_of(addr: bytes) -> int:
    """The label of the longest prefix of the table that ``addr`` is in (ipv6_addr_label)."""
    for plen, prefix, label in LABELS:
        if prefix_of(addr, plen) == prefix:
            return label
    raise AssertionError("::/0 matches everything")


def _score(
    ifa: Inet6Ifaddr, daddr: bytes, scope: int, label: int, dev: NetDevice | None, prefs: int
) -> tuple[int, ...]:
    """Rules 1 to 8 as a tuple: the greater one is the better source."""
    address = ifa.address
    flags = ifa.flags
    idev = idev_of(ifa.dev)
    use_tempaddr = idev.conf.use_tempaddr if idev is not None else 0
    if prefs & (IPV6_PREFER_SRC_PUBLIC | IPV6_PREFER_SRC_TMP):
        prefer_temporary = prefs & IPV6_PREFER_SRC_TMP != 0
    else:
        prefer_temporary = use_tempaddr >= 2
    return (
        address == daddr,
        -ifa.scope if ifa.scope >= scope else ifa.scope - 128,
        not flags & (IFA_F_DEPRECATED | IFA_F_OPTIMISTIC),
        (flags & IFA_F_HOMEADDRESS != 0) != (prefs & IPV6_PREFER_SRC_COA != 0),
        dev is None or ifa.dev is dev,
        label_of(address) == label,
        (flags & IFA_F_TEMPORARY != 0) == prefer_temporary,
        min(common_prefix_len(address, daddr), ifa.plen),
        not flags & IFA_F_OPTIMISTIC,
    )


def _candidates(inet6: Inet6Net, daddr: bytes, scope: int, dev: NetDevice | None) -> list[Inet6Ifaddr]:
    if dev is not None and (daddr[0] == 0xFF or scope <= SCOPE_LINKLOCAL):
        devices = [dev]
    else:
        devices = inet6.net.devices
    idevs = [idev for idev in map(idev_of, devices) if isinstance(idev, Inet6Dev)]
    return [
        ifa
        for idev in idevs
        for ifa in idev.addresses
        if not ifa.flags & IFA_F_TENTATIVE or ifa.flags & IFA_F_OPTIMISTIC
    ]


def select(inet6: Inet6Net, dev: NetDevice | None, daddr: bytes, prefs: int = 0) -> bytes:
    """The source address for a packet to ``daddr`` that leaves through ``dev`` (None: not known yet); ``prefs`` are
    IPV6_PREFER_SRC_* bits. EADDRNOTAVAIL when we have no address to offer.
    """
    scope = scope_of(daddr)
    label = label_of(daddr)
    found = _candidates(inet6, daddr, scope, dev)
    if not found:
        raise err(errno.EADDRNOTAVAIL)
    if len(found) == 1:
        return found[0].address
    return max(found, key=lambda ifa: _score(ifa, daddr, scope, label, dev, prefs)).address

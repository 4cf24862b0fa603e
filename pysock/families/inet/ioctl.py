"""The ioctls of AF_INET sockets that are not a protocol's (inet_ioctl): the ARP table, the routing table, addresses.
What is about devices `SocketFile.ioctl` passes on to core/ifioctl.py.

The modules that answer them are loaded by the first program that asks.
"""

from __future__ import annotations

from pysock.uapi import ioctl as nr

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from pysock.families.inet.inet_sock import InetSock

_ARP: Final = (nr.SIOCSARP, nr.SIOCGARP, nr.SIOCDARP)
_ROUTE: Final = (nr.SIOCADDRT, nr.SIOCDELRT)
_ADDRESS: Final = (
    nr.SIOCGIFADDR, nr.SIOCGIFBRDADDR, nr.SIOCGIFDSTADDR, nr.SIOCGIFNETMASK, nr.SIOCSIFADDR, nr.SIOCSIFBRDADDR,
    nr.SIOCSIFNETMASK,
)  # fmt: skip


def inet_ioctl(sk: InetSock, cmd: int, arg: bytes | int) -> bytes | int:
    """The protocol's answer or ours. ENOTTY when nobody knows ``cmd``."""
    if cmd in _ARP:
        from pysock.families.inet.arp_ioctl import arp_ioctl

        return arp_ioctl(sk.inet, sk.creds, cmd, arg)
    if cmd in _ROUTE:
        from pysock.families.inet.fib_config import route_ioctl

        return route_ioctl(sk.inet, sk.creds, cmd, arg)
    if cmd in _ADDRESS:
        from pysock.families.inet.devinet_ioctl import devinet_ioctl

        return devinet_ioctl(sk.inet, sk.creds, cmd, arg)
    return sk.prot.ioctl(sk, cmd, arg)

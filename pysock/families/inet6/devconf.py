"""What IPv6 keeps of a device: its addresses, its groups, its settings (struct inet6_dev, struct inet6_ifaddr).

`Inet6Dev` hangs on ``dev.proto_priv["inet6"]``; `addrconf` makes it when a device appears and fills it in. Settings are
the sysctls net.ipv6.conf.<device>.*; "all" and "default" are kept in `Conf` objects of their own, see `register`.
"""

from __future__ import annotations

from pysock.core.clock import NEVER
from pysock.families.inet6.addr import scope_of
from pysock.uapi.in6 import IPV6_MIN_MTU

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from pysock.core.net import Net
    from pysock.core.netdevice import NetDevice
    from pysock.core.timer import Timer
    from pysock.families.inet6.fib6 import Fib6Entry

# Flags of an address, as rtnetlink has them (IFA_F_*)
IFA_F_TEMPORARY: Final = 0x01
IFA_F_NODAD: Final = 0x02
IFA_F_OPTIMISTIC: Final = 0x04
IFA_F_DADFAILED: Final = 0x08
IFA_F_HOMEADDRESS: Final = 0x10
IFA_F_DEPRECATED: Final = 0x20
IFA_F_TENTATIVE: Final = 0x40
IFA_F_PERMANENT: Final = 0x80
IFA_F_NOPREFIXROUTE: Final = 0x200

#: name, minimum, maximum of the settings that have an effect here
_RANGES: Final = (
    ("accept_dad", -1, 2),
    ("accept_ra", 0, 2),
    ("accept_ra_defrtr", 0, 1),
    ("accept_ra_min_hop_limit", 0, 255),
    ("accept_ra_mtu", 0, 1),
    ("accept_ra_pinfo", 0, 1),
    ("accept_redirects", 0, 1),
    ("addr_gen_mode", 0, 1),
    ("autoconf", 0, 1),
    ("dad_transmits", 0, 255),
    ("disable_ipv6", 0, 1),
    ("force_mld_version", 0, 2),
    ("forwarding", 0, 1),
    ("hop_limit", 1, 255),
    ("mldv1_unsolicited_report_interval", 1, 1 << 30),
    ("mldv2_unsolicited_report_interval", 1, 1 << 30),
    ("proxy_ndp", 0, 1),
    ("router_solicitation_interval", 1, 1 << 20),
    ("router_solicitations", -1, 1 << 20),
    ("use_tempaddr", -1, 2),
)


class Conf:
    """The settings of one device, or of "all" or "default" (struct ipv6_devconf): an int each, times as the sysctl has
    them. Unlike Linux, which solicits for ever, ``router_solicitations`` is 3 (RFC 4861): in virtual time a host
    without a router would otherwise never come to rest.

    An instance holds only what was changed, the class the rest: nearly all are as they were born.
    """

    accept_dad: int = 1
    accept_ra: int = 1
    accept_ra_defrtr: int = 1
    accept_ra_min_hop_limit: int = 1
    accept_ra_mtu: int = 1
    accept_ra_pinfo: int = 1
    accept_redirects: int = 1
    addr_gen_mode: int = 0
    autoconf: int = 1
    dad_transmits: int = 1
    disable_ipv6: int = 0
    force_mld_version: int = 0
    forwarding: int = 0
    hop_limit: int = 64
    mc_forwarding: int = 0
    mldv1_unsolicited_report_interval: int = 10000
    mldv2_unsolicited_report_interval: int = 1000
    proxy_ndp: int = 0
    router_solicitation_interval: int = 4
    router_solicitations: int = 3
    use_tempaddr: int = 0

    def __init__(self, template: Conf | None = None) -> None:
        if template is not None:
            vars(self).update(vars(template))


def register(net: Net, name: str, conf: Conf, changed: Callable[[str, int], None]) -> None:
    """Make ``conf`` visible as net.ipv6.conf.<name>.*; a write stores the value and then calls ``changed(setting,
    value)``.
    """

    def on_change(setting: str) -> Callable[[int], None]:
        def store(value: int) -> None:
            setattr(conf, setting, value)
            changed(setting, value)

        return store

    base = f"net.ipv6.conf.{name.replace('.', '/')}."
    add = net.sysctl.register_int
    add(f"{base}mc_forwarding", conf.mc_forwarding, writable=False)  # a routing daemon's business
    for setting, minimum, maximum in _RANGES:
        add(base + setting, getattr(conf, setting), minimum, maximum, on_change(setting))


class Inet6Ifaddr:
    """One address of a device: 16 bytes, prefix length, scope, IFA_F_* flags. ``preferred_until`` and ``valid_until``
    in monotonic ns, NEVER for ever. ``dad_probes`` is how many solicitations are still to be sent while it is
    tentative, ``timer`` runs them.
    """

    __slots__ = (
        "address", "dad_nonce", "dad_probes", "dev", "flags", "plen", "preferred_until", "routes", "scope", "timer",
        "valid_until",
    )  # fmt: skip

    def __init__(self, dev: NetDevice, address: bytes, plen: int, flags: int) -> None:
        self.dev = dev
        self.address = address
        self.plen = plen
        self.scope = scope_of(address)
        self.flags = flags
        self.preferred_until = self.valid_until = NEVER
        self.dad_probes = 0
        self.dad_nonce = b""
        self.timer: Timer | None = None
        self.routes: list[Fib6Entry] = []

    def __repr__(self) -> str:
        return f"<Inet6Ifaddr {self.address.hex(':', 2)}/{self.plen} flags {self.flags:#x}>"


class Inet6Dev:
    """What inet6 keeps on a device. ``addresses`` are ordered by scope, widest first, the youngest first in each.
    ``mtu`` is IPv6's, at most the device's; ``groups`` is `mcast`'s.
    """

    __slots__ = (
        "addresses", "conf", "dev", "groups", "mld", "mtu", "ready", "rs_interval", "rs_left", "rs_timer", "sysctl_dir",
    )  # fmt: skip

    def __init__(self, dev: NetDevice, conf: Conf) -> None:
        self.dev = dev
        self.conf = conf
        self.mtu = dev.mtu
        self.addresses: list[Inet6Ifaddr] = []
        #: group -> how many joined it: sockets, and the stack itself
        self.groups: dict[bytes, int] = {}
        self.mld: object = None
        self.rs_timer: Timer | None = None
        self.rs_left = 0
        self.rs_interval = 0
        #: up, with carrier, and configured
        self.ready = False
        #: where its settings are, as it was called when they were registered
        self.sysctl_dir = ""


def idev_of(dev: NetDevice) -> Inet6Dev | None:
    """The Inet6Dev of ``dev`` (__in6_dev_get); None when IPv6 is not on it (MTU below 1280, disabled at birth)."""
    state = dev.proto_priv.get("inet6")
    return state if isinstance(state, Inet6Dev) else None


def mtu_of(dev: NetDevice) -> int:
    """IPv6's MTU on ``dev`` in bytes."""
    idev = idev_of(dev)
    return idev.mtu if idev is not None else max(dev.mtu, IPV6_MIN_MTU)


def hop_limit_of(dev: NetDevice) -> int:
    """The hop limit of unicast packets that leave through ``dev`` (ip6_dst_hoplimit)."""
    idev = idev_of(dev)
    return idev.conf.hop_limit if idev is not None else 64


def is_member(dev: NetDevice, group: bytes) -> bool:
    """Are packets to ``group`` for us on ``dev`` (ipv6_chk_mcast_addr)?"""
    idev = idev_of(dev)
    return idev is not None and group in idev.groups


def address_on(dev: NetDevice, address: bytes) -> Inet6Ifaddr | None:
    """The record of ``address`` on ``dev``, tentative or not (ipv6_get_ifaddr)."""
    idev = idev_of(dev)
    if idev is not None:
        for ifa in idev.addresses:
            if ifa.address == address:
                return ifa
    return None


def find_address(net: Net, address: bytes, dev: NetDevice | None = None) -> Inet6Ifaddr | None:
    """Who has ``address``: ``dev``, or any device if that is None; tentative ones don't count (ipv6_chk_addr)."""
    for one in net.devices if dev is None else (dev,):
        ifa = address_on(one, address)
        if ifa is not None and (not ifa.flags & IFA_F_TENTATIVE or ifa.flags & IFA_F_OPTIMISTIC):
            return ifa
    return None

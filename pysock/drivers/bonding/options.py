"""What a bond can be told: names, ranges, and what goes with which mode. drivers/net/bonding/bond_options.c."""

from __future__ import annotations

import errno

from pysock.core.errors import err
from pysock.core.eth import is_valid_ether_addr
from pysock.wire.addr import inet_aton

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

MODE_ROUNDROBIN: Final = 0
MODE_ACTIVEBACKUP: Final = 1
MODE_XOR: Final = 2
MODE_BROADCAST: Final = 3
MODE_8023AD: Final = 4
MODES: Final = ("balance-rr", "active-backup", "balance-xor", "broadcast", "802.3ad", "balance-tlb", "balance-alb")
#: Modes that are not here: EOPNOTSUPP.
_MISSING: Final = ("balance-tlb", "balance-alb")

RESELECT: Final = ("always", "better", "failure")
FAIL_OVER_MAC: Final = ("none", "active", "follow")
MAC_NONE, MAC_ACTIVE, MAC_FOLLOW = range(3)
VALIDATE: Final = ("none", "active", "backup", "all", "filter", "filter_active", "filter_backup")
VALIDATE_ACTIVE, VALIDATE_BACKUP, VALIDATE_FILTER = 1, 2, 4
ALL_TARGETS: Final = ("any", "all")
HASH: Final = ("layer2", "layer3+4", "layer2+3")
LACP_RATE: Final = ("slow", "fast")
AD_SELECT: Final = ("stable", "bandwidth", "count")

#: How often links are looked at when nobody says, ms.
DEFAULT_MIIMON: Final = 100
_MOST = (1 << 31) - 1
MAX_ARP_TARGETS: Final = 16


class BondParams:
    """The options of one bond (struct bond_params). Times in ms; ``miimon`` 0: links are taken to be up;
    ``num_peer_notif`` is how often a failover is announced; ``arp_ip_target`` addresses of 4 bytes.
    """

    __slots__ = (
        "ad_actor_sys_prio", "ad_actor_system", "ad_select", "ad_user_port_key", "arp_all_targets", "arp_interval",
        "arp_ip_target", "arp_validate", "downdelay", "fail_over_mac", "lacp_active", "lacp_rate", "miimon",
        "min_links", "missed_max", "mode", "num_peer_notif", "primary", "primary_reselect", "updelay",
        "xmit_hash_policy",
    )  # fmt: skip

    def __init__(self, **options: object) -> None:
        """EINVAL for an unknown option or name, a number out of range, both monitors at once; EACCES for what the mode
        has no use for; EPERM for a delay without miimon; EOPNOTSUPP for a mode that is not here.
        """
        take = options.pop
        self.mode = _choice(take("mode", MODE_ROUNDROBIN), MODES, "mode")
        self.arp_interval = _number(take("arp_interval", 0), "arp_interval", _MOST)
        miimon = take("miimon", 0 if self.arp_interval else DEFAULT_MIIMON)
        self.miimon = _number(miimon, "miimon", _MOST)
        self.updelay = _number(take("updelay", 0), "updelay", _MOST)
        self.downdelay = _number(take("downdelay", 0), "downdelay", _MOST)
        self.num_peer_notif = _number(take("num_peer_notif", 1), "num_peer_notif", 255)
        primary = take("primary", "")
        if not isinstance(primary, str):
            raise err(errno.EINVAL, "bond: primary is the name of a device")
        self.primary = primary
        self.primary_reselect = _choice(take("primary_reselect", 0), RESELECT, "primary_reselect")
        self.fail_over_mac = _choice(take("fail_over_mac", 0), FAIL_OVER_MAC, "fail_over_mac")
        self.arp_ip_target = _targets(take("arp_ip_target", ()))
        self.arp_validate = _choice(take("arp_validate", 0), VALIDATE, "arp_validate")
        self.arp_all_targets = _choice(take("arp_all_targets", 0), ALL_TARGETS, "arp_all_targets")
        self.missed_max = _number(take("missed_max", 2), "missed_max", 255, 1)
        self.xmit_hash_policy = _choice(take("xmit_hash_policy", 0), HASH, "xmit_hash_policy")
        self.lacp_rate = _choice(take("lacp_rate", 0), LACP_RATE, "lacp_rate")
        self.lacp_active = _choice(take("lacp_active", 1), ("off", "on"), "lacp_active")
        self.ad_select = _choice(take("ad_select", 0), AD_SELECT, "ad_select")
        self.min_links = _number(take("min_links", 0), "min_links", _MOST)
        self.ad_actor_sys_prio = _number(take("ad_actor_sys_prio", 65535), "ad_actor_sys_prio", 65535, 1)
        self.ad_user_port_key = _number(take("ad_user_port_key", 0), "ad_user_port_key", 1023)
        system = take("ad_actor_system", b"")
        if not isinstance(system, bytes) or (system and not is_valid_ether_addr(system)):
            raise err(errno.EINVAL, "bond: ad_actor_system is an address of 6 bytes")
        self.ad_actor_system = system
        if options:
            raise err(errno.EINVAL, f"bond has no option {', '.join(options)}")
        self._check()

    def _check(self) -> None:
        mode = MODES[self.mode]
        if mode in _MISSING:
            raise err(errno.EOPNOTSUPP, f"bond mode {mode}")
        if self.arp_interval and self.miimon:
            raise err(errno.EINVAL, "a bond looks at links by miimon or by ARP")
        if (self.updelay or self.downdelay) and not self.miimon:
            raise err(errno.EPERM, "delays are multiples of miimon, which is 0")
        lacp_only = self.lacp_rate or not self.lacp_active or self.ad_actor_system or self.ad_user_port_key
        if (
            (self.mode == MODE_8023AD and (self.arp_interval or self.arp_validate))
            or (self.mode != MODE_ACTIVEBACKUP and self.primary)
            or (self.mode != MODE_8023AD and lacp_only)
        ):
            raise err(errno.EACCES, f"an option that bond mode {mode} has no use for")
        if self.mode == MODE_8023AD and not self.miimon:
            self.miimon = DEFAULT_MIIMON
        if self.miimon:
            self.updelay -= self.updelay % self.miimon
            self.downdelay -= self.downdelay % self.miimon

    @property
    def uses_hash(self) -> bool:
        """bond_mode_uses_xmit_hash()."""
        return self.mode in (MODE_XOR, MODE_8023AD)


def _number(value: object, what: str, most: int, least: int = 0) -> int:
    if not isinstance(value, int) or not least <= value <= most:
        raise err(errno.EINVAL, f"bond: {what} is not within {least}..{most}")
    return value


def _choice(value: object, names: tuple[str, ...], what: str) -> int:
    """A name, or its number."""
    if isinstance(value, str):
        value = names.index(value) if value in names else -1
    return _number(value, what, len(names) - 1)


def _targets(value: object) -> tuple[bytes, ...]:
    texts = value.split(",") if isinstance(value, str) else value
    if not isinstance(texts, tuple | list) or len(texts) > MAX_ARP_TARGETS:
        raise err(errno.EINVAL, "bond: arp_ip_target is a list of IPv4 addresses, at most 16")
    found = []
    for text in texts:
        try:
            address = inet_aton(text)
        except (OSError, ValueError, TypeError, AttributeError):
            raise err(errno.EINVAL, f"bond: no IPv4 address: {text!r}") from None
        if address in (bytes(4), b"\xff" * 4) or address in found:
            raise err(errno.EINVAL, f"bond: no target for ARP: {text}")
        found.append(address)
    return tuple(found)

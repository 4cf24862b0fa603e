"""The link's settings through SIOCETHTOOL: ETHTOOL_GLINKSETTINGS and SLINKSETTINGS, and the older GSET and SSET, which
have no room for modes beyond the first 32. net/ethtool/ioctl.c.
"""

from __future__ import annotations

import errno

from pysock.core.errors import err
from pysock.core.ethtool_ops import need
from pysock.core.ethtool_types import LinkSettings
from pysock.uapi import ethtool as et

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from pysock.core.netdevice import NetDevice
    from pysock.core.uaccess import UserMemory

    Handler = Callable[[NetDevice, UserMemory], int | None]

_MODE_BYTES: Final = 4 * et.LINK_MODE_WORDS


def _glinksettings(dev: NetDevice, user: UserMemory) -> None:
    """A program that does not know how many words a set of modes has is told: the number, negative, and nothing else
    (ethtool_get_link_ksettings).
    """
    settings = dev.ethtool_ops.get_link_ksettings(dev)
    words: int = et.ETHTOOL_LINK_SETTINGS.unpack(user.read(et.ETHTOOL_LINK_SETTINGS.size))[9]
    if words != et.LINK_MODE_WORDS:
        unknown = (et.ETHTOOL_GLINKSETTINGS, *[0] * 8, -et.LINK_MODE_WORDS, *[0] * 4)
        user.write(et.ETHTOOL_LINK_SETTINGS.pack(*unknown))
        return
    head = et.ETHTOOL_LINK_SETTINGS.pack(
        et.ETHTOOL_GLINKSETTINGS, *settings[:8], et.LINK_MODE_WORDS, settings.transceiver, 0, 0, 0
    )
    user.write(head + b"".join(modes.to_bytes(_MODE_BYTES, "little") for modes in settings[9:]))


def _slinksettings(dev: NetDevice, user: UserMemory) -> None:
    """ethtool_set_link_ksettings(). EINVAL for another number of words."""
    fields = et.ETHTOOL_LINK_SETTINGS.unpack(user.read(et.ETHTOOL_LINK_SETTINGS.size))
    ops = need(dev, "set_link_ksettings")
    if fields[9] != et.LINK_MODE_WORDS:
        raise err(errno.EINVAL)
    raw = user.read(3 * _MODE_BYTES, et.ETHTOOL_LINK_SETTINGS.size)
    modes = (int.from_bytes(raw[at : at + _MODE_BYTES], "little") for at in range(0, len(raw), _MODE_BYTES))
    ops.set_link_ksettings(dev, LinkSettings._make((*fields[1:9], fields[10], *modes)))


def _gset(dev: NetDevice, user: UserMemory) -> None:
    """ethtool_get_settings()."""
    s = dev.ethtool_ops.get_link_ksettings(dev)
    old = et.LINK_MODE_LEGACY
    user.write(
        et.ETHTOOL_CMD.pack(
            et.ETHTOOL_GSET, s.supported & old, s.advertising & old, s.speed & 0xFFFF, s.duplex, s.port, s.phy_address,
            s.transceiver, s.autoneg, s.mdio_support, 0, 0, s.speed >> 16, s.eth_tp_mdix, s.eth_tp_mdix_ctrl,
            s.lp_advertising & old,
        )
    )  # fmt: skip


def _sset(dev: NetDevice, user: UserMemory) -> None:
    """ethtool_set_settings()."""
    (
        _, supported, advertising, speed, duplex, port, phy_address, transceiver, autoneg, mdio, _, _, speed_hi, mdix,
        mdix_ctrl, partner,
    ) = et.ETHTOOL_CMD.unpack(user.read(et.ETHTOOL_CMD.size))  # fmt: skip
    ops = need(dev, "set_link_ksettings")
    settings = LinkSettings(
        speed | speed_hi << 16, duplex, port, phy_address, autoneg, mdio, mdix, mdix_ctrl, transceiver, supported,
        advertising, partner,
    )  # fmt: skip
    ops.set_link_ksettings(dev, settings)


HANDLERS: Final[dict[int, Handler]] = {
    et.ETHTOOL_GSET: _gset,
    et.ETHTOOL_SSET: _sset,
    et.ETHTOOL_GLINKSETTINGS: _glinksettings,
    et.ETHTOOL_SLINKSETTINGS: _slinksettings,
}

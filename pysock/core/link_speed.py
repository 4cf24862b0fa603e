"""How fast a device says its link is: what a spanning tree's costs and a bond's aggregators go by.

Source: __ethtool_get_link_ksettings() as net/bridge/br_if.c and drivers/net/bonding ask it.
"""

from __future__ import annotations

from pysock.uapi.ethtool import DUPLEX_FULL, SPEED_UNKNOWN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.netdevice import NetDevice


def link_settings(dev: NetDevice) -> tuple[int, bool]:
    """Mbit/s, 0 for a device that does not say; and whether it can send and receive at once."""
    try:
        found = dev.ethtool_ops.get_link_ksettings(dev)
    except OSError:
        return 0, False
    except Exception as exc:
        dev.kernel.errors.report(dev.owner or dev.name, "get_link_ksettings", exc)
        return 0, False
    return 0 if found.speed == SPEED_UNKNOWN else found.speed, found.duplex == DUPLEX_FULL


def link_speed(dev: NetDevice) -> int:
    """Mbit/s, 0 for a device that does not say."""
    return link_settings(dev)[0]

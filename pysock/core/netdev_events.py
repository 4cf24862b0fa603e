"""The events of the device notifier chain (enum netdev_cmd of include/linux/netdevice.h) and their names.

A callback on `kernel.dev_layer.netdev_chain` is called as `callback(event, dev)` under the kernel lock. Those marked
"veto" may be refused with `notifier_from_errno(e)`: the operation is undone and its caller gets that errno. A PRE event
finds the value that was asked for in `dev.proposed`.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

NETDEV_UP: Final = 1  # it is up; addresses may be added, routes appear
NETDEV_DOWN: Final = 2  # it went down
NETDEV_REBOOT: Final = 3
NETDEV_CHANGE: Final = 4  # flags or carrier changed
NETDEV_REGISTER: Final = 5  # veto. It exists
NETDEV_UNREGISTER: Final = 6  # it goes: drop every reference
NETDEV_CHANGEMTU: Final = 7  # veto: the old MTU comes back
NETDEV_CHANGEADDR: Final = 8
NETDEV_PRE_CHANGEADDR: Final = 9  # veto
NETDEV_GOING_DOWN: Final = 10  # it still sends and receives
NETDEV_CHANGENAME: Final = 11  # veto: the old name comes back
NETDEV_FEAT_CHANGE: Final = 12
NETDEV_BONDING_FAILOVER: Final = 13  # another device sends for this one from now on
NETDEV_PRE_UP: Final = 14  # veto
NETDEV_POST_INIT: Final = 17  # veto. ndo_init is done, nobody sees it yet
NETDEV_PRE_UNINIT: Final = 18
NETDEV_NOTIFY_PEERS: Final = 20  # tell the link our addresses: gratuitous ARP, unsolicited advertisements
NETDEV_JOIN: Final = 21  # it is about to become part of another device
NETDEV_CHANGEUPPER: Final = 22  # it got or lost a device above it
NETDEV_PRECHANGEMTU: Final = 24  # veto
NETDEV_PRECHANGEUPPER: Final = 27  # veto. `proposed` is the device that comes above it
NETDEV_CHANGE_TX_QUEUE_LEN: Final = 31  # veto: the old length comes back

EVENT_NAMES: Final[dict[int, str]] = {
    value: name for name, value in list(globals().items()) if name.startswith("NETDEV_") and isinstance(value, int)
}

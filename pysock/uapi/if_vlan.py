"""VLAN numbers for programs: struct vlan_ioctl_args (SIOCSIFVLAN, SIOCGIFVLAN), names, flags (``linux/if_vlan.h``)."""

from __future__ import annotations

from struct import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

# Commands
ADD_VLAN_CMD: Final = 0
DEL_VLAN_CMD: Final = 1
SET_VLAN_INGRESS_PRIORITY_CMD: Final = 2
SET_VLAN_EGRESS_PRIORITY_CMD: Final = 3
GET_VLAN_INGRESS_PRIORITY_CMD: Final = 4
GET_VLAN_EGRESS_PRIORITY_CMD: Final = 5
SET_VLAN_NAME_TYPE_CMD: Final = 6
SET_VLAN_FLAG_CMD: Final = 7
GET_VLAN_REALDEV_NAME_CMD: Final = 8
GET_VLAN_VID_CMD: Final = 9

# How ADD_VLAN_CMD names the device of VLAN 5 on eth0
VLAN_NAME_TYPE_PLUS_VID: Final = 0  # vlan0005
VLAN_NAME_TYPE_RAW_PLUS_VID: Final = 1  # eth0.0005
VLAN_NAME_TYPE_PLUS_VID_NO_PAD: Final = 2  # vlan5
VLAN_NAME_TYPE_RAW_PLUS_VID_NO_PAD: Final = 3  # eth0.5
VLAN_NAME_TYPE_HIGHEST: Final = 4

# Flags
VLAN_FLAG_REORDER_HDR: Final = 0x1  # programs see frames without the tag
VLAN_FLAG_GVRP: Final = 0x2
VLAN_FLAG_LOOSE_BINDING: Final = 0x4  # up and down independently of the lower device
VLAN_FLAG_MVRP: Final = 0x8
VLAN_FLAG_BRIDGE_BINDING: Final = 0x10

VLAN_IOCTL_ARGS: Final = Struct("=i24s24sh2x")
"""cmd, device1, a union (device2, or one number: VID, skb_priority, name_type, flag), vlan_qos."""
VLAN_IOCTL_NUMBER: Final = Struct("=I")  # the union's number


def pack_vlan_args(cmd: int, device: str = "", number: int = 0, qos: int = 0) -> bytes:
    """A struct vlan_ioctl_args whose union holds a number. ValueError for a name of more than 23 bytes."""
    raw = device.encode("utf-8", "surrogateescape")
    if len(raw) > 23:
        raise ValueError(f"a device name here has at most 23 bytes: {device!r}")
    return VLAN_IOCTL_ARGS.pack(cmd, raw, VLAN_IOCTL_NUMBER.pack(number), qos)

"""/proc/net/vlan/config: the VLAN devices of a namespace. net/8021q/vlanproc.c."""

from __future__ import annotations

from pysock.drivers.vlan.device import vlan_ops
from pysock.drivers.vlan.ioctl import VlanNet
from pysock.uapi.if_vlan import VLAN_NAME_TYPE_RAW_PLUS_VID_NO_PAD

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.net import Net

_NAME_TYPES = ("PLUS_VID", "RAW_PLUS_VID", "PLUS_VID_NO_PAD", "RAW_PLUS_VID_NO_PAD")


def config_text(net: Net) -> str:
    """A line a device: its name, its VLAN, the device below."""
    kind = net.get(VlanNet).name_type if net.has(VlanNet) else VLAN_NAME_TYPE_RAW_PLUS_VID_NO_PAD
    lines = ["VLAN Dev name\t | VLAN ID", f"Name-Type: VLAN_NAME_TYPE_{_NAME_TYPES[kind]}"]
    for dev in net.devices:
        ops = vlan_ops(dev)
        if ops is not None:
            lines.append(f"{dev.name:<15}| {ops.vid}  | {ops.real.name}")
    return "\n".join(lines) + "\n"

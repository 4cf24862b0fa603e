"""/proc/net/vlan: the VLAN devices of a namespace, and each of them. net/8021q/vlanproc.c."""

from __future__ import annotations

from pysock.drivers.vlan.device import vlan_ops
from pysock.drivers.vlan.ioctl import VlanNet
from pysock.uapi.if_vlan import VLAN_FLAG_REORDER_HDR, VLAN_NAME_TYPE_RAW_PLUS_VID_NO_PAD
from pysock.wire.vlan import PCP_SHIFT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.core.net import Net
    from pysock.drivers.vlan.device import VlanOps

_NAME_TYPES = ("PLUS_VID", "RAW_PLUS_VID", "PLUS_VID_NO_PAD", "RAW_PLUS_VID_NO_PAD")


def config_text(net: Net) -> str:
    """A line a device: its name, its VLAN, the device below."""
    kind = net.get(VlanNet).name_type if net.has(VlanNet) else VLAN_NAME_TYPE_RAW_PLUS_VID_NO_PAD
    lines = ["VLAN Dev name\t | VLAN ID", f"Name-Type: VLAN_NAME_TYPE_{_NAME_TYPES[kind]}"]
    for dev in net.devices:
        ops = vlan_ops(dev)
        if ops is not None:
            lines.append(f"{dev.name:<15}| {ops.vid}  | {ops.lower.name}")
    return "\n".join(lines) + "\n"


def device_text(ops: VlanOps) -> str:
    """/proc/net/vlan/NAME: what it is, its counters, its priorities."""
    stats = ops.dev.get_stats()
    reorder = int(ops.flags & VLAN_FLAG_REORDER_HDR != 0)
    lines = [f"{ops.dev.name}  VID: {ops.vid}\t REORDER_HDR: {reorder}  dev->priv_flags: 1"]
    for what, value in (
        ("total frames received", stats.rx_packets),
        ("total bytes received", stats.rx_bytes),
        ("Broadcast/Multicast Rcvd", stats.multicast),
        ("total frames transmitted", stats.tx_packets),
        ("total bytes transmitted", stats.tx_bytes),
    ):
        lines += [""] if what == "total frames transmitted" else []
        lines.append(f"{what:>30} {value:12}")
    ingress = "  ".join(f"{pcp}:{priority}" for pcp, priority in enumerate(ops.ingress[:7])) + f" 7:{ops.ingress[7]}"
    egress = "".join(f"{priority}:{bits >> PCP_SHIFT} " for priority, bits in ops.egress.items())
    lines += [f"Device: {ops.lower.name}", f"INGRESS priority mappings: {ingress}"]
    lines.append(f" EGRESS priority mappings: {egress}")
    return "\n".join(lines) + "\n"

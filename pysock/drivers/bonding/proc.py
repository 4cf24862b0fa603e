"""/proc/net/bonding/NAME: what a bond is doing, for people. drivers/net/bonding/bond_procfs.c."""

from __future__ import annotations

from pysock.drivers.bonding.device import MODE_ACTIVEBACKUP, BondOps
from pysock.drivers.bonding.slave import LINK_NAMES

_TITLES = ("load balancing (round-robin)", "fault-tolerance (active-backup)", "load balancing (xor)")


def bond_text(bond: BondOps) -> str:
    """The bond first, then a paragraph a slave. Delays in ms."""
    lines = [f"Bonding Mode: {_TITLES[bond.mode]}"]
    if bond.mode == MODE_ACTIVEBACKUP:
        lines.append(f"Primary Slave: {bond.primary or 'None'}")
        lines.append(f"Currently Active Slave: {bond.active.dev.name if bond.active is not None else 'None'}")
    lines += [
        f"MII Status: {'up' if bond.dev.carrier else 'down'}",
        f"MII Polling Interval (ms): {bond.miimon}",
        f"Up Delay (ms): {bond.updelay}",
        f"Down Delay (ms): {bond.downdelay}",
        "Peer Notification Delay (ms): 0",
    ]
    for slave in bond.slaves:
        lines += [
            "",
            f"Slave Interface: {slave.dev.name}",
            f"MII Status: {LINK_NAMES[slave.link]}",
            f"Link Failure Count: {slave.failures}",
            f"Permanent HW addr: {slave.address.hex(':')}",
        ]
    return "\n".join(lines) + "\n"

"""/proc/net/bonding/NAME: what a bond is doing, for people. drivers/net/bonding/bond_procfs.c."""

from __future__ import annotations

from pysock.core.link_speed import link_settings
from pysock.drivers.bonding import options
from pysock.drivers.bonding.options import MODE_8023AD, MODE_ACTIVEBACKUP
from pysock.drivers.bonding.slave import LINK_NAMES
from pysock.wire.addr import inet_ntoa

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pysock.drivers.bonding.ad import Ad, AdPort
    from pysock.drivers.bonding.device import BondOps
    from pysock.drivers.bonding.slave import Slave
    from pysock.wire.lacp import Participant

_TITLES = (
    "load balancing (round-robin)", "fault-tolerance (active-backup)", "load balancing (xor)",
    "fault-tolerance (broadcast)", "IEEE 802.3ad Dynamic link aggregation",
)  # fmt: skip


def bond_text(bond: BondOps) -> str:
    """The bond first, then a paragraph a slave. Times in ms."""
    params = bond.params
    title = _TITLES[params.mode]
    if params.mode == MODE_ACTIVEBACKUP and params.fail_over_mac:
        title += f" (fail_over_mac {options.FAIL_OVER_MAC[params.fail_over_mac]})"
    lines = ["Ethernet Channel Bonding Driver: pysock", "", f"Bonding Mode: {title}"]
    if params.uses_hash:
        policy = params.xmit_hash_policy
        lines.append(f"Transmit Hash Policy: {options.HASH[policy]} ({policy})")
    if params.mode == MODE_ACTIVEBACKUP:
        primary = next((slave.dev.name for slave in bond.slaves if slave.dev.name == params.primary), "")
        reselect = f" (primary_reselect {options.RESELECT[params.primary_reselect]})" if primary else ""
        lines.append(f"Primary Slave: {primary or 'None'}{reselect}")
        lines.append(f"Currently Active Slave: {bond.active.dev.name if bond.active is not None else 'None'}")
    lines += [
        f"MII Status: {'up' if bond.dev.carrier else 'down'}",
        f"MII Polling Interval (ms): {params.miimon}",
        f"Up Delay (ms): {params.updelay}",
        f"Down Delay (ms): {params.downdelay}",
        "Peer Notification Delay (ms): 0",
    ]
    if params.arp_interval:
        lines += [
            f"ARP Polling Interval (ms): {params.arp_interval}",
            f"ARP Missed Max: {params.missed_max}",
            "ARP IP target/s (n.n.n.n form):" + ",".join(f" {inet_ntoa(each)}" for each in params.arp_ip_target),
            "NS IPv6 target/s (xx::xx form):",
        ]
    if bond.ad is not None:
        lines += _ad_lines(bond, bond.ad)
    for slave in bond.slaves:
        lines += _slave_lines(bond, slave)
    return "\n".join(lines) + "\n"


def _ad_lines(bond: BondOps, ad: Ad) -> list[str]:
    params = bond.params
    lines = [
        "",
        "802.3ad info",
        f"LACP active: {'on' if params.lacp_active else 'off'}",
        f"LACP rate: {options.LACP_RATE[params.lacp_rate]}",
        f"Min links: {params.min_links}",
        f"Aggregator selection policy (ad_select): {options.AD_SELECT[params.ad_select]}",
        f"System priority: {params.ad_actor_sys_prio}",
        f"System MAC address: {(params.ad_actor_system or bond.dev.dev_addr).hex(':')}",
    ]
    if ad.best is None:
        return [*lines, f"bond {bond.dev.name} has no active aggregator"]
    first = ad.best.ports[0]
    return [
        *lines,
        "Active Aggregator Info:",
        f"\tAggregator ID: {ad.best.number}",
        f"\tNumber of ports: {len(ad.best.ports)}",
        f"\tActor Key: {first.actor.key}",
        f"\tPartner Key: {first.partner.key}",
        f"\tPartner Mac Address: {first.partner.system.hex(':')}",
    ]


def _slave_lines(bond: BondOps, slave: Slave) -> list[str]:
    speed, full = link_settings(slave.dev)
    lines = [
        "",
        f"Slave Interface: {slave.dev.name}",
        f"MII Status: {LINK_NAMES[slave.link]}",
        f"Speed: {f'{speed} Mbps' if speed else 'Unknown'}",
        f"Duplex: {'full' if full else 'half' if speed else 'Unknown'}",
        f"Link Failure Count: {slave.failures}",
        f"Permanent HW addr: {slave.address.hex(':')}",
        "Slave queue ID: 0",
    ]
    if bond.params.mode == MODE_8023AD:
        lines += _port_lines(slave.ad)
    return lines


def _port_lines(port: AdPort | None) -> list[str]:
    if port is None or port.aggregator is None:
        return ["Aggregator ID: N/A"]
    return [
        f"Aggregator ID: {port.aggregator.number}",
        "Actor Churn State: none",
        "Partner Churn State: none",
        "Actor Churned Count: 0",
        "Partner Churned Count: 0",
        "details actor lacp pdu:",
        *_participant_lines(port.actor, "port key"),
        "details partner lacp pdu:",
        *_participant_lines(port.partner, "oper key"),
    ]


def _participant_lines(one: Participant, key: str) -> list[str]:
    return [
        f"    system priority: {one.system_priority}",
        f"    system mac address: {one.system.hex(':')}",
        f"    {key}: {one.key}",
        f"    port priority: {one.port_priority}",
        f"    port number: {one.port}",
        f"    port state: {one.state}",
    ]
